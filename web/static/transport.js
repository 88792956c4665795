/**
 * One peer connection to one bridge: own microphone and camera out, slots in, one offer for life.
 *
 * @typedef {import("./messages.js").Kind} Kind
 * @typedef {"microphone" | "camera"} OwnKind
 * @typedef {"audio" | "video"} Media
 * @typedef {{height_px: number, max_bitrate_bps: number}} Picture
 */

export const AUDIO_SLOTS = 5;
export const VIDEO_SLOTS = 9;
/** What is offered; the rest of a browser's codecs would triple the offer for nothing. */
const CODECS = new Set(["audio/opus", "video/vp8", "video/rtx"]);

export class Transport {
  /** @type {RTCPeerConnection} */
  #connection;
  /** @type {Record<OwnKind, RTCRtpTransceiver>} */
  #own;
  #limits = Promise.resolve();

  /**
   * `changed` is told of each state of the connection.
   * @param {number} attempt
   * @param {(state: RTCPeerConnectionState) => void} changed
   */
  constructor(attempt, changed) {
    this.attempt = attempt;
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#connection = connection;
    connection.onconnectionstatechange = () => changed(connection.connectionState);
    const own = new MediaStream();
    // Both exist with or without a device, so that a device found later costs no new offer.
    this.#own = {
      microphone: connection.addTransceiver("audio", { direction: "sendonly", streams: [own] }),
      camera: connection.addTransceiver("video", { direction: "sendonly", streams: [own] }),
    };
    const slots = (/** @type {Media} */ media, /** @type {number} */ length) =>
      Array.from({ length }, () => connection.addTransceiver(media, { direction: "recvonly" }));
    const audio = slots("audio", AUDIO_SLOTS);
    const video = slots("video", VIDEO_SLOTS);
    this.receivers = [...audio, ...video].map(({ receiver }) => receiver);
    for (const transceiver of connection.getTransceivers()) preferCodecs(transceiver);
  }

  get state() {
    return this.#connection.connectionState;
  }

  /**
   * The offer; the bridge answers with its candidates and never trickles, nor do we: its lite
   * agent learns our addresses from our checks (RFC 8445 §7.3.1.3).
   * @returns {Promise<import("./messages.js").Offer>}
   */
  async offer() {
    await this.#connection.setLocalDescription();
    /** @type {Record<string, Kind>} */
    const sources = {};
    for (const [kind, { mid }] of Object.entries(this.#own)) {
      if (mid !== null) sources[mid] = /** @type {OwnKind} */ (kind);
    }
    const sdp = this.#connection.localDescription?.sdp ?? "";
    return { type: "offer", attempt: this.attempt, sdp, sources };
  }

  /** @param {string} sdp */
  async accept(sdp) {
    await this.#connection.setRemoteDescription({ type: "answer", sdp });
  }

  /**
   * Sends this track from now on, or nothing.
   * @param {OwnKind} kind
   * @param {MediaStreamTrack | null} track
   */
  async carry(kind, track) {
    await this.#own[kind].sender.replaceTrack(track).catch(ignoreClosed);
  }

  /**
   * Sends the camera no larger than this.
   * @param {Picture} picture
   */
  async limitPicture(picture) {
    // One after the other: setParameters refuses parameters that were read before another's.
    this.#limits = this.#limits.then(() => this.#applyPicture(picture)).catch(ignoreClosed);
    await this.#limits;
  }

  /** @param {Picture} picture */
  async #applyPicture({ height_px, max_bitrate_bps }) {
    const { sender } = this.#own.camera;
    const parameters = sender.getParameters();
    const [encoding] = parameters.encodings;
    const { width, height } = sender.track?.getSettings() ?? {};
    if (encoding === undefined || width === undefined || height === undefined) return;
    const scale = Math.max(1, Math.min(width, height) / height_px);
    if (encoding.maxBitrate === max_bitrate_bps && encoding.scaleResolutionDownBy === scale) return;
    encoding.maxBitrate = max_bitrate_bps;
    encoding.scaleResolutionDownBy = scale;
    await sender.setParameters(parameters);
  }

  /** @returns {Promise<RTCStatsReport>} */
  stats() {
    return this.#connection.getStats();
  }

  close() {
    this.#connection.onconnectionstatechange = null;
    this.#connection.close();
  }
}

/** @param {RTCRtpTransceiver} transceiver */
function preferCodecs(transceiver) {
  const media = transceiver.receiver.track.kind;
  const codecs = RTCRtpReceiver.getCapabilities(media)?.codecs ?? [];
  const wanted = codecs.filter(({ mimeType }) => CODECS.has(mimeType.toLowerCase()));
  if (wanted.length > 0) transceiver.setCodecPreferences?.(wanted);
}

/**
 * A transport may be closed while a device is still coming.
 * @param {unknown} error
 */
function ignoreClosed(error) {
  if (!(error instanceof DOMException && error.name === "InvalidStateError")) throw error;
}
