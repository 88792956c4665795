/**
 * What was received and sent, by the names of W3C's statistics. Slots are reused, so what they
 * count is shared out among the sources that were in them.
 *
 * @typedef {{framesDecoded: number, audioEnergy: number, bytesReceived: number,
 *   packetsLost: number, concealedSamples: number, totalSamplesReceived: number}} Counters
 * @typedef {{frameHeight: number | null, framesPerSecond: number | null,
 *   codec: string | null}} Shown a picture as it is now
 * @typedef {{kind: string, rid: string, active: boolean, codec: string | null, frameHeight: number,
 *   framesPerSecond: number, bytesSent: number, bitrate_bps: number}} Sent one encoding
 */

/** @type {Counters} */
const ZERO = Object.freeze({
  framesDecoded: 0,
  audioEnergy: 0,
  bytesReceived: 0,
  packetsLost: 0,
  concealedSamples: 0,
  totalSamplesReceived: 0,
});
const NAMES = /** @type {(keyof Counters)[]} */ (Object.keys(ZERO));

export class Tally {
  /** @type {Map<string, Counters>} what of each slot is already shared out */
  #shared = new Map();
  /** @type {Map<number, Counters>} */
  #totals = new Map();

  /**
   * A slot's counters since it exists, and which source has been in it since the last record.
   * What came while none was known to be in it belongs to the one that turns out to be.
   * @param {string} slot
   * @param {number | null} source
   * @param {Counters} counters
   */
  record(slot, source, counters) {
    if (source === null) return;
    const before = this.#shared.get(slot) ?? ZERO;
    const total = { ...(this.#totals.get(source) ?? ZERO) };
    for (const name of NAMES) total[name] += Math.max(0, counters[name] - before[name]);
    this.#shared.set(slot, counters);
    this.#totals.set(source, total);
  }

  /**
   * Of one source, or of several together.
   * @param {readonly number[]} sources
   * @returns {Counters}
   */
  of(...sources) {
    const sum = { ...ZERO };
    for (const source of sources) {
      const total = this.#totals.get(source) ?? ZERO;
      for (const name of NAMES) sum[name] += total[name];
    }
    return sum;
  }
}

/**
 * The counters of each received track, by its id.
 * @param {Iterable<[string, any]>} report an RTCStatsReport
 * @returns {Map<string, Counters>}
 */
export function countersOf(report) {
  /** @type {Map<string, Counters>} */
  const found = new Map();
  for (const [, entry] of report) {
    if (entry.type !== "inbound-rtp") continue;
    found.set(entry.trackIdentifier, {
      framesDecoded: entry.framesDecoded ?? 0,
      audioEnergy: entry.totalAudioEnergy ?? 0,
      bytesReceived: entry.bytesReceived ?? 0,
      packetsLost: entry.packetsLost ?? 0,
      concealedSamples: entry.concealedSamples ?? 0,
      totalSamplesReceived: entry.totalSamplesReceived ?? 0,
    });
  }
  return found;
}

/**
 * The picture on each received track, by its id.
 * @param {ReadonlyMap<string, any>} report an RTCStatsReport
 * @returns {Map<string, Shown>}
 */
export function shownOf(report) {
  /** @type {Map<string, Shown>} */
  const found = new Map();
  for (const entry of report.values()) {
    if (entry.type !== "inbound-rtp" || entry.kind !== "video") continue;
    found.set(entry.trackIdentifier, {
      frameHeight: smallerSide(entry),
      framesPerSecond: entry.framesPerSecond ?? null,
      codec: codecOf(report, entry),
    });
  }
  return found;
}

/**
 * Every encoding of one's own sources; the bit rate is since the report before.
 * @param {ReadonlyMap<string, any>} report an RTCStatsReport
 * @param {ReadonlyMap<string, any> | null} before the one before, of the same connection
 * @param {ReadonlyMap<string, string>} kinds by mid
 * @returns {Sent[]}
 */
export function sentOf(report, before, kinds) {
  const sent = [];
  for (const [id, entry] of report) {
    if (entry.type !== "outbound-rtp") continue;
    const earlier = before?.get(id);
    const seconds = (entry.timestamp - (earlier?.timestamp ?? entry.timestamp)) / 1000;
    const bytes = entry.bytesSent - (earlier?.bytesSent ?? 0);
    sent.push({
      kind: kinds.get(entry.mid) ?? "",
      rid: entry.rid ?? "",
      active: entry.active !== false,
      codec: codecOf(report, entry),
      frameHeight: smallerSide(entry) ?? 0,
      framesPerSecond: entry.framesPerSecond ?? 0,
      bytesSent: entry.bytesSent,
      bitrate_bps: seconds > 0 ? Math.max(0, (8 * bytes) / seconds) : 0,
    });
  }
  return sent;
}

/** @param {{frameWidth?: number, frameHeight?: number}} entry */
function smallerSide({ frameWidth, frameHeight }) {
  if (frameWidth === undefined || frameHeight === undefined) return null;
  return Math.min(frameWidth, frameHeight);
}

/**
 * @param {ReadonlyMap<string, any>} report
 * @param {{codecId?: string}} entry
 * @returns {string | null} `vp8`, `opus` …
 */
function codecOf(report, { codecId }) {
  const type = codecId === undefined ? undefined : report.get(codecId)?.mimeType;
  return type?.split("/")[1]?.toLowerCase() ?? null;
}
