/** Plays the audio slots; a browser that wants a click first is given one. */

export class Playback {
  /** @type {HTMLAudioElement[]} */
  #elements = [];
  #blocked = false;

  /**
   * @param {HTMLElement} home where the hidden elements live
   * @param {(blocked: boolean) => void} blocked
   */
  constructor(home, blocked) {
    this.home = home;
    this.blocked = blocked;
  }

  /** @param {readonly RTCRtpReceiver[]} receivers instead of those before */
  play(receivers) {
    this.stop();
    this.#elements = receivers.map(({ track }) => {
      const audio = document.createElement("audio");
      audio.autoplay = true;
      audio.srcObject = new MediaStream([track]);
      this.home.append(audio);
      return audio;
    });
    void this.resume();
  }

  /** Tries again if it was refused: from a click, or once the microphone is on. */
  async retry() {
    if (this.#blocked) await this.resume();
  }

  async resume() {
    const results = await Promise.allSettled(this.#elements.map((audio) => audio.play()));
    this.#blocked = results.some(
      (result) => result.status === "rejected" && result.reason?.name === "NotAllowedError",
    );
    this.blocked(this.#blocked);
  }

  stop() {
    for (const audio of this.#elements) {
      audio.srcObject = null;
      audio.remove();
    }
    this.#elements = [];
  }
}
