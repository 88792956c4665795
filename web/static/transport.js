/**
 * One peer connection to one bridge: own sources out, slots in; later offers renew it.
 *
 * @typedef {import("./messages.js").Kind} Kind
 * @typedef {import("./messages.js").VideoCodec} VideoCodec
 * @typedef {import("./encodings.js").PictureKind} PictureKind
 * @typedef {"audio" | "video"} Media
 * @typedef {object} Setup
 * @property {readonly string[]} codecs that may be spoken at all
 * @property {VideoCodec | null} codec of the conference, null before that is known
 * @property {RTCIceServer[]} ice_servers
 * @property {boolean} relay whether media may go by a relay server only
 * @property {number} pictures video slots to begin with
 */

import { codecsToOffer, FIRST_CODEC } from "./codecs.js";
import { Encoder } from "./encoder.js";
import { encodingsOf, FLAT } from "./encodings.js";
import { isDomException, unboundConnection } from "./unbound.js";

/**
 * What TypeScript's DOM does not know yet (WebRTC extensions §5.2).
 * @typedef {{uri: string, direction: string}} Extension
 * @typedef {RTCRtpTransceiver & {getHeaderExtensionsToNegotiate?: () => Extension[],
 *   setHeaderExtensionsToNegotiate?: (wanted: Extension[]) => void}} Tunable
 */

export const AUDIO_SLOTS = 5;
/**
 * Header extensions that bridges read or pass on. Others would lengthen each section, and push
 * these beyond the ids that a one-byte header has (RFC 8285 §4.2).
 */
const EXTENSIONS = new Set([
  "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
  "urn:ietf:params:rtp-hdrext:sdes:mid",
  "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
  "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
  "urn:3gpp:video-orientation",
  "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
  "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
  "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
]);
const PICTURE_KINDS = /** @type {PictureKind[]} */ (["camera", "screen"]);
let made = 0;

export class Transport {
  /** @type {RTCPeerConnection} */
  #connection;
  /** @type {Record<Kind, RTCRtpTransceiver>} */
  #own;
  /** @type {Record<PictureKind, Encoder>} */
  #encoders;
  /** @type {RTCRtpReceiver[]} */
  #sounds;
  /** @type {RTCRtpReceiver[]} */
  #pictures = [];
  /** Of the latest offer; −1 before the first. */
  attempt = -1;
  /** Tells this transport from all others of the page. */
  number = made++;

  /**
   * `changed` is told of each state of the connection.
   * @param {Setup} setup
   * @param {(state: RTCPeerConnectionState) => void} changed
   */
  constructor(setup, changed) {
    this.setup = setup;
    const connection = unboundConnection({
      bundlePolicy: "max-bundle",
      iceServers: setup.ice_servers,
      iceTransportPolicy: setup.relay ? "relay" : "all",
    });
    this.#connection = connection;
    connection.onconnectionstatechange = () => changed(connection.connectionState);
    const person = new MediaStream();
    // All exist with or without a device, so that a device found later costs no new offer.
    this.#own = {
      microphone: connection.addTransceiver("audio", { direction: "sendonly", streams: [person] }),
      camera: this.#addPicture("camera", person),
      screen: this.#addPicture("screen", new MediaStream()),
    };
    this.#encoders = {
      camera: new Encoder(this.#own.camera.sender, "camera"),
      screen: new Encoder(this.#own.screen.sender, "screen"),
    };
    this.#sounds = Array.from({ length: AUDIO_SLOTS }, () => this.#addSlot("audio"));
    for (const transceiver of Object.values(this.#own)) this.#prefer(transceiver);
    this.grow(setup.pictures);
  }

  get state() {
    return this.#connection.connectionState;
  }

  /** The audio slots. */
  get sounds() {
    return this.#sounds;
  }

  /** The video slots; they only ever become more. */
  get pictures() {
    return this.#pictures;
  }

  /** @returns {RTCRtpReceiver[]} */
  get receivers() {
    return [...this.#sounds, ...this.#pictures];
  }

  /** Whether an answer has ever been accepted. */
  get settled() {
    return this.#connection.remoteDescription !== null;
  }

  /**
   * Has at least that many video slots with the next offer.
   * @param {number} pictures
   */
  grow(pictures) {
    while (this.#pictures.length < pictures) this.#pictures.push(this.#addSlot("video"));
  }

  /**
   * An offer; the bridge answers with its candidates and never trickles, nor do we: its lite
   * agent learns our addresses from our checks (RFC 8445 §7.3.1.3).
   * @param {number} attempt
   * @param {boolean} restart whether to look for a path anew (RFC 8445 §2.4)
   * @returns {Promise<import("./messages.js").Offer>}
   */
  async offer(attempt, restart = false) {
    const renews = this.attempt >= 0;
    this.attempt = attempt;
    if (restart) this.#connection.restartIce();
    await this.#connection.setLocalDescription();
    /** @type {Record<string, Kind>} */
    const sources = {};
    for (const [kind, { mid }] of Object.entries(this.#own)) {
      if (mid !== null) sources[mid] = /** @type {Kind} */ (kind);
    }
    const sdp = this.#connection.localDescription?.sdp ?? "";
    return { type: "offer", attempt, renews, sdp, sources };
  }

  /** @param {string} sdp */
  async accept(sdp) {
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
    await Promise.all(PICTURE_KINDS.map((kind) => this.#encoders[kind].refresh()));
  }

  /**
   * Sends this track from now on, or nothing.
   * @param {Kind} kind
   * @param {MediaStreamTrack | null} track
   */
  async carry(kind, track) {
    await this.#own[kind].sender.replaceTrack(track).catch(ignoreClosed);
    if (kind !== "microphone") await this.#encoders[kind].refresh();
  }

  /**
   * What to encode of one's own picture.
   * @param {PictureKind} kind
   * @param {{codec: VideoCodec, layers: readonly import("./messages.js").Layer[] | null}} wanted
   */
  async encode(kind, wanted) {
    await this.#encoders[kind].want(wanted);
  }

  /**
   * Whether this browser sends the camera with that codec; also true as long as nothing is sent.
   * @param {VideoCodec} codec
   */
  speaks(codec) {
    return (this.#encoders.camera.codec ?? codec) === codec;
  }

  /** @returns {Promise<RTCStatsReport>} */
  stats() {
    return this.#connection.getStats();
  }

  /**
   * How many checks of each candidate pair have been answered.
   * @returns {Promise<Map<string, number>>}
   */
  async checks() {
    const found = new Map();
    for (const [id, entry] of await this.stats()) {
      if (entry.type === "candidate-pair") found.set(id, entry.responsesReceived ?? 0);
    }
    return found;
  }

  /**
   * How long nothing has arrived; null where the browser does not say.
   * @returns {Promise<number | null>} milliseconds
   */
  async silence() {
    let silence_ms = null;
    for (const [, { timestamp, lastPacketReceivedTimestamp: at }] of await this.stats()) {
      if (at !== undefined) silence_ms = Math.min(silence_ms ?? Infinity, timestamp - at);
    }
    return silence_ms;
  }

  /**
   * Which own source each sent stream belongs to, by the stream's `mid`.
   * @returns {Map<string, Kind>}
   */
  sections() {
    const found = new Map();
    for (const [kind, { mid }] of Object.entries(this.#own)) if (mid !== null) found.set(mid, kind);
    return found;
  }

  close() {
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }

  /**
   * @param {PictureKind} kind
   * @param {MediaStream} stream
   */
  #addPicture(kind, stream) {
    const codec = this.setup.codec ?? FIRST_CODEC;
    const sendEncodings = encodingsOf(kind, { codec, layers: null, height_px: null });
    return this.#connection.addTransceiver("video", {
      direction: "sendonly",
      streams: [stream],
      // The codec itself is chosen once both sides have agreed on which there are.
      sendEncodings: sendEncodings.map((encoding) => ({ ...encoding, scalabilityMode: FLAT })),
    });
  }

  /** @param {Media} media */
  #addSlot(media) {
    const transceiver = this.#connection.addTransceiver(media, { direction: "recvonly" });
    this.#prefer(transceiver);
    return transceiver.receiver;
  }

  /** @param {RTCRtpTransceiver} transceiver */
  #prefer(transceiver) {
    const media = transceiver.receiver.track.kind;
    const { codecs: allowed, codec: first } = this.setup;
    const all = RTCRtpReceiver.getCapabilities(media)?.codecs ?? [];
    const wanted = codecsToOffer(all, { media, allowed, first: first ?? FIRST_CODEC });
    if (wanted.length > 0) transceiver.setCodecPreferences?.(wanted);
    const tunable = /** @type {Tunable} */ (transceiver);
    const extensions = tunable.getHeaderExtensionsToNegotiate?.();
    if (extensions === undefined) return;
    for (const extension of extensions) {
      extension.direction = EXTENSIONS.has(extension.uri) ? "sendrecv" : "stopped";
    }
    tunable.setHeaderExtensionsToNegotiate?.(extensions);
  }
}

/**
 * A transport may be closed while a device is still coming.
 * @param {unknown} error
 */
function ignoreClosed(error) {
  if (!(isDomException(error) && error.name === "InvalidStateError")) throw error;
}
