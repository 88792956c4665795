/**
 * Lip sync between slots, which browsers play each for itself: whichever of a person's voice and
 * picture is early waits for the other; pure.
 *
 * @typedef {{timestamp: number, captureTimestamp?: number}} Played what a slot has just played:
 *   when, on this clock, and when it was captured, on its sender's (abs-capture-time); in ms
 * @typedef {{microphone_ms: number | null, camera_ms: number | null}} Targets the least that each
 *   jitter buffer shall hold; null leaves it to the browser
 */

/** Less is not noticed, and is within what the measurement itself strays. */
const TOLERANCE_MS = 20;
/** Of the skew that is seen, so much is corrected each time: what a step does shows late. */
const GAIN = 0.5;
/** At once, so that a voice is never heard to slow down. */
const LONGEST_STEP_MS = 40;
/** Somebody so far apart would rather be heard early. */
const MOST_MS = 600;
/** What was not played at about the same time says nothing about the other. */
const APART_MS = 1000;

/**
 * How much later the picture is played than the voice that belongs to it; null when unknown.
 * @param {Played | undefined} voice
 * @param {Played | undefined} picture
 * @returns {number | null}
 */
export function skewOf(voice, picture) {
  if (voice?.captureTimestamp === undefined || picture?.captureTimestamp === undefined) return null;
  if (Math.abs(voice.timestamp - picture.timestamp) > APART_MS) return null;
  return (
    picture.timestamp - picture.captureTimestamp - (voice.timestamp - voice.captureTimestamp)
  );
}

export class Lips {
  /** @type {Map<number, number>} how long each person's voice waits; their picture if negative */
  #waits = new Map();

  /**
   * The targets of everybody who is both heard and seen, after another second.
   * @param {ReadonlyMap<number, number | null>} skews_ms by participant
   * @returns {Map<number, Targets>}
   */
  update(skews_ms) {
    for (const id of this.#waits.keys()) if (!skews_ms.has(id)) this.#waits.delete(id);
    /** @type {Map<number, Targets>} */
    const targets = new Map();
    for (const [id, skew_ms] of skews_ms) {
      const before_ms = this.#waits.get(id) ?? 0;
      const off = skew_ms !== null && Math.abs(skew_ms) > TOLERANCE_MS;
      const wait_ms = off ? bounded(before_ms + step(skew_ms), MOST_MS) : before_ms;
      this.#waits.set(id, wait_ms);
      targets.set(id, {
        microphone_ms: wait_ms > 0 ? Math.round(wait_ms) : null,
        camera_ms: wait_ms < 0 ? Math.round(-wait_ms) : null,
      });
    }
    return targets;
  }
}

/** @param {number} skew_ms */
function step(skew_ms) {
  return bounded(GAIN * skew_ms, LONGEST_STEP_MS);
}

/**
 * @param {number} value
 * @param {number} most
 */
function bounded(value, most) {
  return Math.max(-most, Math.min(most, value));
}
