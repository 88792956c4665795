/** Whether somebody speaks, from levels that come and go; pure. */

/** Linear amplitude; about −36 dBov, above a quiet room's noise. */
const THRESHOLD = 0.016;
/** Words have gaps: the ring stays this long after the last loud moment. */
const HOLD_MS = 700;

export class Speaking {
  #loud_ms = -Infinity;

  /**
   * @param {number} level 0 to 1
   * @param {number} now_ms
   */
  heard(level, now_ms) {
    if (level >= THRESHOLD) this.#loud_ms = now_ms;
  }

  /** @param {number} now_ms */
  at(now_ms) {
    return now_ms - this.#loud_ms < HOLD_MS;
  }
}
