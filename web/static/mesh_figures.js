/**
 * What the mesh page shows, from what `/api/mesh` says; pure. A figure that nobody measured is
 * a dash, never a guess.
 *
 * @typedef {{bridge: string, region: string, participants: number, cpu: number | null,
 *   packets_per_s: number | null, media_addresses: string[], up_s: number | null}} Bridge
 * @typedef {{from: string, to: string, up: boolean, rtt_ms: number | null,
 *   rtt_min_ms: number | null, rtt_p50_ms: number | null, rtt_p95_ms: number | null,
 *   jitter_ms: number | null, loss: number | null, sources_out: number | null,
 *   sources_in: number | null, sent_bps: number | null, received_bps: number | null}} Link
 * @typedef {{id: number, name: string, region: string | null, bridge: string | null,
 *   sources: import("./messages.js").Source[]}} Seat
 * @typedef {{region: string | null, bridge: string | null}} NamelessSeat
 * @typedef {{conference: string, participants: Seat[]} |
 *   {conference: null, participants: NamelessSeat[]}} Conference without names, both lack them
 * @typedef {{bridges: Bridge[], links: Link[], names: boolean, conferences: Conference[]}} Mesh
 */

export const UNMEASURED = "–";

/** Upper bounds of the heat steps, in ms; the last step is open. */
const HEAT_MS = [50, 100, 150, 250, 320];

/**
 * 0 (near) to 5 (too far for a conversation), or null when unmeasured.
 * @param {number | null} rtt_ms
 */
export function heatOf(rtt_ms) {
  if (rtt_ms === null) return null;
  const step = HEAT_MS.findIndex((bound_ms) => rtt_ms < bound_ms);
  return step === -1 ? HEAT_MS.length : step;
}

/**
 * @param {number | null | undefined} value
 */
export function milliseconds(value) {
  if (value === null || value === undefined) return UNMEASURED;
  return value < 10 ? value.toFixed(2) : value.toFixed(1);
}

/** @param {number | null | undefined} share 0 to 1 */
export function percent(share) {
  if (share === null || share === undefined) return UNMEASURED;
  const value = share * 100;
  return `${value === 0 || value >= 10 ? value.toFixed(0) : value.toFixed(1)} %`;
}

/** @param {number | null | undefined} value */
export function whole(value) {
  return value === null || value === undefined ? UNMEASURED : Math.round(value).toString();
}

/** @param {number | null | undefined} value_bps */
export function bitrate(value_bps) {
  if (value_bps === null || value_bps === undefined) return UNMEASURED;
  if (value_bps >= 1e6) return `${(value_bps / 1e6).toFixed(2)} Mbit/s`;
  return `${(value_bps / 1e3).toFixed(0)} kbit/s`;
}

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return UNMEASURED;
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** @param {number} count */
export function people(count) {
  return count === 1 ? "1 person" : `${count} people`;
}

/**
 * The seats of a conference under their bridges, in order.
 * @template {NamelessSeat} S
 * @param {readonly S[]} seats
 * @returns {[string, S[]][]}
 */
export function seatsByBridge(seats) {
  /** @type {Map<string, S[]>} */
  const by_bridge = new Map();
  for (const seat of seats) {
    const bridge = seat.bridge ?? "waiting for a bridge";
    by_bridge.set(bridge, [...(by_bridge.get(bridge) ?? []), seat]);
  }
  return [...by_bridge].sort(([a], [b]) => (a < b ? -1 : 1));
}

/**
 * The two ends' reports of each trunk, under its two bridges in order.
 * @param {readonly Link[]} links
 * @returns {{a: string, b: string, ends: Link[]}[]}
 */
export function trunksOf(links) {
  /** @type {Map<string, {a: string, b: string, ends: Link[]}>} */
  const trunks = new Map();
  for (const link of links) {
    const [a, b] = link.from < link.to ? [link.from, link.to] : [link.to, link.from];
    const key = JSON.stringify([a, b]);
    const trunk = trunks.get(key) ?? { a, b, ends: [] };
    trunk.ends.push(link);
    trunks.set(key, trunk);
  }
  return [...trunks.values()].sort((x, y) => (x.a + x.b < y.a + y.b ? -1 : 1));
}

/**
 * Points on an ellipse for `count` bridges, the first at the top.
 * @param {number} count
 * @param {{width: number, height: number, margin_x: number, margin_y: number}} box
 * @returns {{x: number, y: number}[]}
 */
export function ringOf(count, { width, height, margin_x, margin_y }) {
  const first = count === 2 ? Math.PI : -Math.PI / 2;
  const radius = count === 1 ? 0 : 1;
  const points = Array.from({ length: count }, (_, index) => {
    const angle = first + (2 * Math.PI * index) / count;
    return {
      x: width / 2 + radius * (width / 2 - margin_x) * Math.cos(angle),
      y: height / 2 + radius * (height / 2 - margin_y) * Math.sin(angle),
    };
  });
  // Three on a ring leave room below: the group's middle goes to the box's.
  const ys = points.map(({ y }) => y);
  const shift = height / 2 - (Math.min(...ys) + Math.max(...ys)) / 2;
  return points.map(({ x, y }) => ({ x, y: y + shift }));
}
