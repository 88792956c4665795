/**
 * Whether a path is gone, by how long nothing has come on it: that shows long before the browser
 * says so. Of all that comes, the slots tell at any time what they play; what arrives at all costs
 * a look at the browser's statistics, so it is asked for only when they play nothing.
 */

/** Slots that play nothing for so long are asked about. */
const ASK_MS = 250;
/** So long nothing at all arrives when the path is gone: cameras always move. */
const STILL_MS = 500;
/** Without them: a quiet microphone sends a packet each 400 ms (Opus's DTX). */
const SILENCE_MS = 1200;
/** What is looked at changes what comes: silence says nothing for as long after it. */
const LOOKED_MS = 1000;
/** Another path is sought no more often than this, and half as often each time. */
const SEEK_MS = 5000;
const LONGEST_SEEK_MS = 80_000;

export class Silence {
  #sought_ms = -Infinity;
  #patience_ms = SEEK_MS;

  /**
   * Whether it is worth asking what has arrived, when a slot last played something at `played_ms`
   * and what is looked at last changed at `looked_ms`.
   * @param {number} now_ms
   * @param {{played_ms: number, looked_ms: number}} last
   */
  suspicious(now_ms, { played_ms, looked_ms }) {
    return (
      now_ms - played_ms >= ASK_MS &&
      played_ms >= this.#sought_ms &&
      now_ms - this.#sought_ms >= this.#patience_ms &&
      now_ms - looked_ms >= LOOKED_MS
    );
  }

  /**
   * Whether to look for another path now, when nothing has arrived for `silent_ms`; `moving` tells
   * that there were cameras and not voices alone.
   * @param {number} now_ms
   * @param {boolean} moving
   * @param {number} silent_ms
   */
  ends(now_ms, moving, silent_ms) {
    if (silent_ms < (moving ? STILL_MS : SILENCE_MS)) return false;
    const forgiven = now_ms - this.#sought_ms > 2 * this.#patience_ms;
    this.#patience_ms = forgiven ? SEEK_MS : Math.min(LONGEST_SEEK_MS, 2 * this.#patience_ms);
    this.#sought_ms = now_ms;
    return true;
  }
}
