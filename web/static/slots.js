/**
 * How many slots there are, and who is in which: the media itself says so, by the CSRC of what a
 * slot plays.
 *
 * @typedef {{source: number, timestamp: number}} Contribution
 */

import { kindOf } from "./messages.js";

/** A slot that has shown nobody for this long is empty. */
export const STALE_MS = 2000;
const POLL_MS = 100;
/** Video slots come in these numbers, so that a growing room costs few offers. */
const TIERS = [9, 25, 49];

/** The most pictures at once, whatever the room. */
export const MOST_PICTURES = 49;

/**
 * How many video slots to have for so many pictures, at most `cap`.
 * @param {number} pictures
 * @param {number} cap
 */
export function slotsFor(pictures, cap) {
  return Math.min(cap, TIERS.find((tier) => tier >= pictures) ?? MOST_PICTURES);
}

/**
 * One slot's occupant from what its receiver reports. The reported times are of a clock that
 * browsers do not agree on, so only their advance counts.
 */
export class Occupancy {
  /** @type {number | null} */
  #source = null;
  #timestamp = -Infinity;
  #seen_ms = -Infinity;

  /** When it last played something, on the clock that `observe` is given. */
  get seen_ms() {
    return this.#seen_ms;
  }

  /**
   * The source in the slot at `now_ms`, or null. A screen that nothing moves on sends nothing
   * and is still there.
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
    if (this.#source !== null && kindOf(this.#source) === "screen") return this.#source;
    return now_ms - this.#seen_ms < STALE_MS ? this.#source : null;
  }
}

/** Watches the receivers of one transport. */
export class Slots {
  /** @type {{receiver: RTCRtpReceiver, occupancy: Occupancy, source: number | null}[]} */
  #slots = [];
  /** @type {ReturnType<typeof setInterval>} */
  #timer;

  /**
   * `changed` is told when a slot's source changes; `level` how loud a source is now, 0 to 1;
   * `polled` that all have been looked at.
   * @param {{changed: (before: ReadonlyMap<RTCRtpReceiver, number>) => void,
   *   level: (source: number, level: number) => void, polled: () => void}} owner
   */
  constructor(owner) {
    this.owner = owner;
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
  }

  /**
   * Watches these too.
   * @param {readonly RTCRtpReceiver[]} receivers all of the transport
   */
  watch(receivers) {
    const known = new Set(this.#slots.map(({ receiver }) => receiver));
    for (const receiver of receivers) {
      if (known.has(receiver)) continue;
      this.#slots.push({ receiver, occupancy: new Occupancy(), source: null });
    }
  }

  /**
   * The source in each occupied slot; a source is in one slot, the one that played it last.
   * @returns {Map<RTCRtpReceiver, number>}
   */
  occupied() {
    /** @type {Map<RTCRtpReceiver, number>} */
    const found = new Map();
    const taken = new Set();
    const latest = [...this.#slots].sort((a, b) => b.occupancy.seen_ms - a.occupancy.seen_ms);
    for (const { receiver, source } of latest) {
      if (source === null || taken.has(source)) continue;
      taken.add(source);
      found.set(receiver, source);
    }
    return found;
  }

  /** When any of them last played something; −∞ before the first. */
  get seen_ms() {
    return Math.max(...this.#slots.map(({ occupancy }) => occupancy.seen_ms));
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
    this.owner.polled();
  }
}
