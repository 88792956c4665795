/**
 * What browser and web room say to each other, as `web/PROTOCOL.md` documents it.
 *
 * @typedef {"microphone" | "camera" | "screen"} Kind
 * @typedef {{id: number, kind: Kind, muted: boolean}} Source
 * @typedef {{id: number, name: string, region: string, bridge: string,
 *   sources: readonly Source[]}} Person
 *
 * @typedef {{type: "join", room: string, name: string, region: string | null,
 *   rtts_ms: Record<string, number>}} Join
 * @typedef {{type: "offer", attempt: number, sdp: string, sources: Record<string, Kind>}} Offer
 * @typedef {{type: "mute", kind: Kind, muted: boolean}} Mute
 * @typedef {{type: "view", sources: number[] | null}} View
 * @typedef {{type: "leave"}} Leave
 * @typedef {Join | Offer | Mute | View | Leave} FromBrowser
 *
 * @typedef {{type: "joined", room: string, you: Person, people: Person[]}} Joined
 * @typedef {{type: "answer", attempt: number, sdp: string}} Answer
 * @typedef {{type: "person", person: Person}} PersonChanged
 * @typedef {{type: "left", id: number}} PersonLeft
 * @typedef {{type: "moved", region: string, bridge: string}} Moved
 * @typedef {"bad-request" | "no-bridge" | "unknown-region" | "offer-refused" | "room-full" |
 *   "internal"} ErrorCode
 * @typedef {{type: "error", code: ErrorCode, message: string, fatal: boolean}} Failure
 * @typedef {Joined | Answer | PersonChanged | PersonLeft | Moved | Failure} ToBrowser
 */

const KINDS = new Set(["joined", "answer", "person", "left", "moved", "error"]);

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
  return typeof value.type === "string" && KINDS.has(value.type)
    ? /** @type {ToBrowser} */ (value)
    : null;
}

/** The low two bits of a source's id (relay/ids.py). */
const KIND_NUMBERS = /** @type {const} */ ({ 1: "microphone", 2: "camera", 3: "screen" });

/**
 * Whose source a CSRC names: the participant is its upper 30 bits. JavaScript's `>>` is signed,
 * a CSRC is not.
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
