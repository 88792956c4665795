/**
 * What was received of each participant: slots are reused, so their counters are shared out.
 *
 * @typedef {{framesDecoded: number, audioEnergy: number, bytesReceived: number,
 *   packetsLost: number}} Counters
 */

/** @type {Counters} */
const ZERO = Object.freeze({ framesDecoded: 0, audioEnergy: 0, bytesReceived: 0, packetsLost: 0 });
const NAMES = /** @type {(keyof Counters)[]} */ (Object.keys(ZERO));

export class Tally {
  /** @type {Map<string, Counters>} what of each slot is already shared out */
  #shared = new Map();
  /** @type {Map<number, Counters>} */
  #totals = new Map();

  /**
   * A slot's counters since it exists, and who has been in it since the last record. What came
   * while nobody was known to be in it belongs to whoever turns out to be.
   * @param {string} slot
   * @param {number | null} participant
   * @param {Counters} counters
   */
  record(slot, participant, counters) {
    if (participant === null) return;
    const before = this.#shared.get(slot) ?? ZERO;
    const total = { ...(this.#totals.get(participant) ?? ZERO) };
    for (const name of NAMES) total[name] += Math.max(0, counters[name] - before[name]);
    this.#shared.set(slot, counters);
    this.#totals.set(participant, total);
  }

  /**
   * @param {number} participant
   * @returns {Counters}
   */
  of(participant) {
    return { ...(this.#totals.get(participant) ?? ZERO) };
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
    });
  }
  return found;
}
