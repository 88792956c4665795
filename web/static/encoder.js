/**
 * Keeps one sender encoding what is wanted of it, without renegotiation.
 *
 * @typedef {import("./encodings.js").Encoding} Encoding
 * @typedef {import("./encodings.js").PictureKind} PictureKind
 * @typedef {import("./messages.js").Layer} Layer
 * @typedef {import("./messages.js").VideoCodec} VideoCodec
 * @typedef {RTCRtpEncodingParameters & {codec?: RTCRtpCodec, scalabilityMode?: string}} Parameters
 *   with what TypeScript's DOM does not know yet
 */

import { codecNamed, FIRST_CODEC } from "./codecs.js";
import { encodingsOf, FLAT } from "./encodings.js";
import { isDomException } from "./unbound.js";

/** What a codec that knows no temporal layers is given: the H.264 of some browsers. */
const SINGLE = "L1T1";
const PREFERENCE = "maintain-resolution";
const FALLBACKS = [FLAT, SINGLE];

export class Encoder {
  #codec = FIRST_CODEC;
  /** @type {readonly Layer[] | null} */
  #layers = null;
  /** One after the other: parameters that were read before another's change are refused. */
  /** Whether the browser knows what matters more. */
  #preferred = false;
  #last = Promise.resolve();

  /**
   * @param {RTCRtpSender} sender
   * @param {PictureKind} kind
   */
  constructor(sender, kind) {
    this.sender = sender;
    this.kind = kind;
  }

  /**
   * What to encode from now on; layers null for all.
   * @param {{codec: VideoCodec, layers: readonly Layer[] | null}} wanted
   */
  async want({ codec, layers }) {
    this.#codec = codec;
    this.#layers = layers;
    await this.refresh();
  }

  /** Heeds another picture or another answer. */
  async refresh() {
    this.#last = this.#last.then(() => this.#apply()).catch(ignoreClosed);
    await this.#last;
  }

  /**
   * The codec that is sent, as far as the browser says so; null before any is agreed on.
   * @returns {VideoCodec | null}
   */
  get codec() {
    const { encodings, codecs = [] } = this.sender.getParameters();
    const [encoding] = /** @type {Parameters[]} */ (encodings);
    return codecNamed(encoding?.codec?.mimeType ?? codecs[0]?.mimeType);
  }

  async #apply() {
    const wanted = encodingsOf(this.kind, {
      codec: this.#codec,
      layers: this.#layers,
      height_px: heightOf(this.sender.track),
    });
    if (await this.#set(wanted)) return;
    for (const scalabilityMode of FALLBACKS) {
      if (await this.#set(wanted.map((encoding) => ({ ...encoding, scalabilityMode })))) return;
    }
  }

  /**
   * Whether the browser can encode so.
   * @param {readonly Encoding[]} wanted
   */
  async #set(wanted) {
    const parameters = this.sender.getParameters();
    const codec = parameters.codecs?.find(({ mimeType }) => codecNamed(mimeType) === this.#codec);
    // Sizes are the bridge's to choose; a browser that is short of time sends fewer pictures.
    let changed = !this.#preferred;
    parameters.degradationPreference = PREFERENCE;
    for (const encoding of /** @type {Parameters[]} */ (parameters.encodings)) {
      const next = wanted.find(({ rid }) => rid === encoding.rid);
      if (next === undefined) continue;
      changed ||= Object.entries(next).some(
        ([name, value]) => encoding[/** @type {keyof Parameters} */ (name)] !== value,
      );
      Object.assign(encoding, next);
      if (codec === undefined || codecNamed(encoding.codec?.mimeType) === this.#codec) continue;
      encoding.codec = codec;
      changed = true;
    }
    if (!changed) return true;
    try {
      await this.sender.setParameters(parameters);
      this.#preferred = true;
      return true;
    } catch (error) {
      ignoreClosed(error);
      return false;
    }
  }
}

/**
 * The smaller side of what a track captures, or null.
 * @param {MediaStreamTrack | null} track
 */
function heightOf(track) {
  const { width, height } = track?.getSettings() ?? {};
  return width === undefined || height === undefined ? null : Math.min(width, height);
}

/**
 * A transport may be closed while a device is still coming; and what a browser cannot encode it
 * refuses.
 * @param {unknown} error
 */
function ignoreClosed(error) {
  if (!isDomException(error)) throw error;
}
