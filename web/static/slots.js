/**
 * Who is in which slot: the media itself says so, by the CSRC of what a slot plays.
 *
 * @typedef {{source: number, timestamp: number}} Contribution
 */

/** A slot that has shown nobody for this long is empty. */
export const STALE_MS = 2000;
const POLL_MS = 200;

/**
 * One slot's occupant from what its receiver reports. The reported times are of a clock that
 * browsers do not agree on, so only their advance counts.
 */
export class Occupancy {
  /** @type {number | null} */
  #source = null;
  #timestamp = -Infinity;
  #seen_ms = -Infinity;

  /**
   * The source in the slot at `now_ms`, or null.
   * @param {readonly Contribution[]} contributions of the last ten seconds
   * @param {number} now_ms
   * @returns {number | null}
   */
  observe(contributions, now_ms) {
    for (const { source, timestamp } of contributions) {
      if (timestamp > this.#timestamp) {
        this.#timestamp = timestamp;
        this.#source = source;
        this.#seen_ms = now_ms;
      }
    }
    return now_ms - this.#seen_ms < STALE_MS ? this.#source : null;
  }
}

/** Watches the receivers of one transport. */
export class Slots {
  /** @type {{receiver: RTCRtpReceiver, occupancy: Occupancy, source: number | null}[]} */
  #slots;
  /** @type {ReturnType<typeof setInterval>} */
  #timer;

  /**
   * `changed` is told when a slot's source changes; `level` how loud a source is now, 0 to 1.
   * @param {readonly RTCRtpReceiver[]} receivers
   * @param {{changed: (before: ReadonlyMap<RTCRtpReceiver, number>) => void,
   *   level: (source: number, level: number) => void}} owner
   */
  constructor(receivers, owner) {
    this.#slots = receivers.map((receiver) => ({
      receiver,
      occupancy: new Occupancy(),
      source: null,
    }));
    this.owner = owner;
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
  }

  /** @returns {Map<RTCRtpReceiver, number>} the source in each occupied slot */
  occupied() {
    /** @type {Map<RTCRtpReceiver, number>} */
    const found = new Map();
    for (const { receiver, source } of this.#slots) {
      if (source !== null) found.set(receiver, source);
    }
    return found;
  }

  close() {
    clearInterval(this.#timer);
  }

  #poll() {
    const before = this.occupied();
    const now_ms = performance.now();
    let changed = false;
    for (const slot of this.#slots) {
      const source = slot.occupancy.observe(slot.receiver.getContributingSources(), now_ms);
      changed ||= source !== slot.source;
      slot.source = source;
      if (source === null || slot.receiver.track.kind !== "audio") continue;
      // RFC 6464: the sender's own measurement, which the bridge passes on.
      const level = slot.receiver.getSynchronizationSources()[0]?.audioLevel;
      if (level !== undefined) this.owner.level(source, level);
    }
    if (changed) this.owner.changed(before);
  }
}
