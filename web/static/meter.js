/** How loud the user's own microphone is now. */

export class Meter {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {Float32Array<ArrayBuffer>} */
  #samples = new Float32Array(512);

  /** @param {MediaStreamTrack | null} track null stops measuring */
  listen(track) {
    if (track === this.#track) return;
    this.#track = track;
    void this.#context?.close();
    this.#context = this.#analyser = null;
    if (track === null) return;
    this.#context = new AudioContext();
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = this.#samples.length;
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(this.#analyser);
  }

  /** @returns {number} 0 to 1, root mean square; 0 while the browser lets nothing be measured */
  level() {
    if (this.#analyser === null || this.#context?.state !== "running") return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const sum = this.#samples.reduce((total, sample) => total + sample * sample, 0);
    return Math.sqrt(sum / this.#samples.length);
  }
}
