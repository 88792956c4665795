/**
 * How far each region is: STUN round trips to its bridges' media ports, by the browser's own ICE.
 *
 * A bridge answers binding requests for the user `ping` without any session. So a peer connection
 * is given a made-up ICE-lite answer that lists the bridge's addresses; what its connectivity
 * checks measure is the media path. Nothing else ever connects.
 *
 * @typedef {{host: string, port: number}} Address
 * @typedef {{bridge: string, addresses: Address[], ping_password: string}} PingTarget
 * @typedef {{region: string, bridges: PingTarget[]}} RegionTargets
 * @typedef {Record<string, number>} Rtts region to milliseconds
 */

import { unboundConnection } from "./unbound.js";

export const MEASURE_MS = 600;
/** No join waits longer than this for its measurements, whatever the network does. */
export const MEASURE_BOUND_MS = 1000;
const POLL_MS = 50;
/** Bounds the checks that a page starts: of a region with more bridges the first few are asked. */
const BRIDGES_PER_REGION = 3;
/** RFC 8122 §5: a fingerprint is required; nobody presents a certificate for this one. */
const NO_FINGERPRINT = Array(32).fill("00").join(":");

/**
 * The answer that a bridge would give if it answered: RFC 8445 §2.5 lite, all its addresses.
 * @param {string} offer
 * @param {PingTarget} target
 */
export function pingAnswer(offer, target) {
  const mid = /^a=mid:(\S+)/m.exec(offer)?.[1] ?? "0";
  const candidates = target.addresses.map(
    ({ host, port }, index) =>
      // RFC 8445 §5.1.2.1: type preference 126 (host), component 1, local preference falls.
      `a=candidate:${index + 1} 1 udp ${126 * 2 ** 24 + (65535 - index) * 2 ** 8 + 255} ` +
      `${host} ${port} typ host`,
  );
  return [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=ice-lite",
    `a=group:BUNDLE ${mid}`,
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    `a=mid:${mid}`,
    "a=ice-ufrag:ping",
    `a=ice-pwd:${target.ping_password}`,
    `a=fingerprint:sha-256 ${NO_FINGERPRINT}`,
    "a=setup:passive",
    "a=sctp-port:5000",
    ...candidates,
    "a=end-of-candidates",
    "",
  ].join("\r\n");
}

/**
 * The best measurement of each region; regions that never answered are left out.
 * @param {Iterable<{region: string, rtt_ms: number | null}>} measurements
 * @returns {Rtts}
 */
export function bestRtts(measurements) {
  /** @type {Rtts} */
  const best = {};
  for (const { region, rtt_ms } of measurements) {
    if (rtt_ms !== null) best[region] = Math.min(rtt_ms, best[region] ?? Infinity);
  }
  return best;
}

/**
 * The region with the shortest round trip, or null when nothing was measured.
 * @param {Rtts} rtts_ms
 */
export function nearest(rtts_ms) {
  const [first] = Object.entries(rtts_ms).sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
  return first?.[0] ?? null;
}

/**
 * The round trip in words: below a millisecond the browser's clock says no more.
 * @param {number | undefined} rtt_ms
 */
export function rttText(rtt_ms) {
  if (rtt_ms === undefined) return "–";
  return rtt_ms < 1 ? "< 1 ms" : `${Math.round(rtt_ms)} ms`;
}

/**
 * All regions with their ping targets; empty when the web room cannot say.
 * @param {URL} url
 * @returns {Promise<RegionTargets[]>}
 */
export async function fetchRegions(url) {
  try {
    const response = await fetch(url, { cache: "no-store" });
    return response.ok ? await response.json() : [];
  } catch {
    return [];
  }
}

/**
 * Round trips to all regions at once, within MEASURE_BOUND_MS.
 * @param {RegionTargets[]} regions
 * @param {(rtts_ms: Rtts) => void} [progress] called with every improvement
 * @returns {Promise<Rtts>}
 */
export async function measureRegions(regions, progress) {
  /** @type {{region: string, rtt_ms: number | null}[]} */
  const measured = [];
  await Promise.all(
    regions.flatMap(({ region, bridges }) =>
      bridges.slice(0, BRIDGES_PER_REGION).map(async (target) => {
        measured.push({ region, rtt_ms: await measureBridge(target).catch(() => null) });
        progress?.(bestRtts(measured));
      }),
    ),
  );
  return bestRtts(measured);
}

/**
 * The shortest of the round trips seen in MEASURE_MS after the first, or null.
 * @param {PingTarget} target
 * @returns {Promise<number | null>}
 */
async function measureBridge(target) {
  if (target.addresses.length === 0) return null;
  const connection = unboundConnection({});
  try {
    connection.createDataChannel("ping");
    await connection.setLocalDescription();
    const offer = connection.localDescription?.sdp ?? "";
    await connection.setRemoteDescription({ type: "answer", sdp: pingAnswer(offer, target) });
    const started = performance.now();
    let until = started + MEASURE_BOUND_MS;
    /** @type {number | null} */
    let best = null;
    while (performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      for (const rtt_ms of roundTrips(await connection.getStats())) {
        if (best === null) until = Math.min(until, performance.now() + MEASURE_MS);
        best = Math.min(best ?? Infinity, rtt_ms);
      }
    }
    return best;
  } finally {
    connection.close();
  }
}

/**
 * @param {RTCStatsReport} report
 * @returns {number[]} milliseconds
 */
function roundTrips(report) {
  /** @type {number[]} */
  const found = [];
  report.forEach((/** @type {RTCIceCandidatePairStats} */ entry) => {
    if (entry.type === "candidate-pair" && entry.currentRoundTripTime !== undefined) {
      found.push(entry.currentRoundTripTime * 1000);
    }
  });
  return found;
}
