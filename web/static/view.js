/**
 * Which pictures one looks at and how large they are, told when it changes and not more often.
 *
 * @typedef {import("./messages.js").Picture} Picture
 * @typedef {{source: number, width: number, height: number, stage: boolean, pinned: boolean}} Seen
 *   one picture's place, in CSS pixels
 */

import { kindOf } from "./messages.js";

/** A layout that is still moving is not worth telling. */
const SETTLE_MS = 100;
/** A page may be hidden for a moment without its pictures having to begin anew. */
const HIDDEN_MS = 10_000;
/** Heights are told in these steps, so that a window that is dragged changes nothing each time. */
const STEP_PX = 90;
const HIGHEST_PX = 2160;

/**
 * The pictures to ask for: pins before others, then the stage, then as they stand.
 * @param {readonly Seen[]} seen
 * @param {number} pixel_ratio device pixels to a CSS pixel
 * @returns {Picture[]}
 */
export function picturesOf(seen, pixel_ratio) {
  const rank = (/** @type {Seen} */ { pinned, stage }) => (pinned ? 0 : stage ? 1 : 2);
  return [...seen]
    .sort((a, b) => rank(a) - rank(b))
    .map((place) => ({
      source: place.source,
      height_px: stepped(smallerSide(place) * pixel_ratio),
      stage: place.stage,
    }));
}

/**
 * Of the picture: it fills a tile, and stands whole on the stage, as a screen does everywhere.
 * @param {Seen} place
 */
function smallerSide({ source, width, height, stage }) {
  const whole = stage || kindOf(source) === "screen";
  return Math.min(height, whole ? (width * 9) / 16 : width);
}

/** @param {number} pixels */
function stepped(pixels) {
  // A hundredth of a pixel too much is how a browser rounds, not a wish.
  return Math.min(HIGHEST_PX, STEP_PX * Math.max(1, Math.ceil((pixels - 0.01) / STEP_PX)));
}

export class Gaze {
  /** @type {readonly Seen[]} */
  #seen = [];
  #said = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #asleep = false;

  /** @param {(pictures: Picture[]) => void} say */
  constructor(say) {
    this.say = say;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    document.addEventListener("visibilitychange", () => this.#turned(), { signal });
    this.#turned();
  }

  /** @param {readonly Seen[]} seen from now on */
  look(seen) {
    this.#seen = seen;
    if (!document.hidden) this.#settle(SETTLE_MS);
  }

  close() {
    clearTimeout(this.#timer);
    this.listeners.abort();
  }

  #turned() {
    if (document.hidden) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#asleep = true;
        this.#tell();
      }, HIDDEN_MS);
    } else {
      this.#asleep = false;
      this.#settle(0);
    }
  }

  /** @param {number} delay_ms */
  #settle(delay_ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), delay_ms);
  }

  #tell() {
    const pictures = this.#asleep ? [] : picturesOf(this.#seen, devicePixelRatio);
    const said = JSON.stringify(pictures);
    if (said === this.#said) return;
    this.#said = said;
    this.say(pictures);
  }
}
