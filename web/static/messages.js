/**
 * What browser and web room say to each other, as `web/PROTOCOL.md` documents it.
 *
 * @typedef {"microphone" | "camera" | "screen"} Kind
 * @typedef {"av1" | "vp9" | "vp8" | "h264"} VideoCodec
 * @typedef {{id: number, kind: Kind, muted: boolean}} Source
 * @typedef {{id: number, name: string, region: string, bridge: string,
 *   sources: readonly Source[]}} Person
 * @typedef {{spatial: number, temporal: number}} Layer
 * @typedef {{source: number, height_px: number, stage: boolean}} Picture
 *
 * @typedef {{type: "join", room: string, name: string, region: string | null,
 *   rtts_ms: Record<string, number>, resume: string | null}} Join
 * @typedef {{type: "offer", attempt: number, renews: boolean, sdp: string,
 *   sources: Record<string, Kind>}} Offer
 * @typedef {{type: "mute", kind: Kind, muted: boolean}} Mute
 * @typedef {{type: "view", pictures: readonly Picture[] | null, last_n: number | null,
 *   height_px: number}} View
 * @typedef {{type: "leave"}} Leave
 * @typedef {Join | Offer | Mute | View | Leave} FromBrowser
 *
 * @typedef {{type: "joined", room: string, you: Person, people: Person[], codec: VideoCodec,
 *   ice_servers: RTCIceServer[], resumed: boolean, resume: string}} Joined
 * @typedef {{type: "answer", attempt: number, sdp: string}} Answer
 * @typedef {{type: "person", person: Person}} PersonChanged
 * @typedef {{type: "left", id: number}} PersonLeft
 * @typedef {{type: "moved", region: string, bridge: string}} Moved
 * @typedef {{type: "codec", codec: VideoCodec}} CodecChanged
 * @typedef {{type: "layers", kind: Kind, layers: Layer[]}} LayersWanted
 * @typedef {{type: "speaker", id: number | null}} Speaker
 * @typedef {"bad-request" | "no-bridge" | "unknown-region" | "offer-refused" | "room-full" |
 *   "internal"} ErrorCode
 * @typedef {{type: "error", code: ErrorCode, message: string, fatal: boolean,
 *   attempt?: number | null}} Failure
 * @typedef {Joined | Answer | PersonChanged | PersonLeft | Moved | CodecChanged | LayersWanted |
 *   Speaker | Failure} ToBrowser
 */

const TYPES = new Set([
  "joined",
  "answer",
  "person",
  "left",
  "moved",
  "codec",
  "layers",
  "speaker",
  "error",
]);

/**
 * The message in one text frame, or null for one this client does not know: a newer server
 * may say more than we understand. The server is trusted for the rest of the shape.
 * @param {string} text
 * @returns {ToBrowser | null}
 */
export function parseServerMessage(text) {
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  return typeof value.type === "string" && TYPES.has(value.type)
    ? /** @type {ToBrowser} */ (value)
    : null;
}

/** The low two bits of a source's id (relay/ids.py). */
const KIND_NUMBERS = /** @type {const} */ ({ 1: "microphone", 2: "camera", 3: "screen" });
const NUMBERS = /** @type {const} */ ({ microphone: 1, camera: 2, screen: 3 });

/**
 * The id of a participant's source. JavaScript's `<<` is signed, an id is not.
 * @param {number} participant
 * @param {Kind} kind
 */
export function sourceOf(participant, kind) {
  return ((participant << 2) | NUMBERS[kind]) >>> 0;
}

/**
 * Whose source a CSRC names: the participant is its upper 30 bits.
 * @param {number} csrc
 */
export function participantOf(csrc) {
  return csrc >>> 2;
}

/**
 * What a CSRC names: its low two bits; null for the number that is no kind.
 * @param {number} csrc
 * @returns {Kind | null}
 */
export function kindOf(csrc) {
  const number = csrc & 3;
  return number === 0 ? null : KIND_NUMBERS[/** @type {1 | 2 | 3} */ (number)];
}
