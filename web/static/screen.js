/** The user's own shared screen: chosen in the browser's dialogue, ended here or in its own bar. */

import { SCREEN_FPS } from "./encodings.js";

/** More pixels would only be sent blurred. */
const LARGEST = { width: { max: 2560 }, height: { max: 1440 } };

/** @returns {boolean} whether this browser can share a screen at all; phones cannot */
export function screensShareable() {
  // Typed as always there; a page of an insecure origin has none.
  const devices = /** @type {MediaDevices | undefined} */ (navigator.mediaDevices);
  return typeof devices?.getDisplayMedia === "function";
}

export class Screen {
  /** @type {MediaStreamTrack | null} */
  #track = null;
  #asking = false;
  /** @type {Set<() => void>} */
  #watchers = new Set();

  /** What is shared now, or null. */
  get track() {
    return this.#track;
  }

  /**
   * Tells of each change until the returned function is called.
   * @param {() => void} watcher
   * @returns {() => void}
   */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Asks which screen or window, and shares it.
   * @returns {Promise<string | null>} why not, in words; null also when the user changed their mind
   */
  async share() {
    if (this.#asking) return null;
    this.#asking = true;
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({
        video: { ...LARGEST, frameRate: { ideal: SCREEN_FPS, max: SCREEN_FPS } },
        audio: false,
      });
      this.#take(stream.getVideoTracks()[0] ?? null);
      return null;
    } catch (error) {
      const name = error instanceof Error ? error.name : "";
      if (name === "NotAllowedError" || name === "AbortError") return null;
      return name === "NotFoundError"
        ? "There is no screen to share here."
        : "The screen could not be shared.";
    } finally {
      this.#asking = false;
    }
  }

  stop() {
    if (this.#track !== null) this.#take(null);
  }

  /** @param {MediaStreamTrack | null} track */
  #take(track) {
    const before = this.#track;
    this.#track = track;
    if (before !== null) {
      before.onended = null;
      before.stop();
    }
    if (track !== null) {
      track.contentHint = "detail"; // rather sharp than smooth
      track.onended = () => this.stop(); // by the browser's own bar
    }
    for (const watcher of this.#watchers) watcher();
  }
}
