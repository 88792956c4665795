/**
 * One tile: a person with or without a picture, or a shared screen.
 *
 * @typedef {import("./messages.js").Person} Person
 * @typedef {import("./layout.js").Rect} Rect
 */

import { copyOf, find } from "./dom.js";
import { colourOf, initials, regionTitle } from "./roster.js";
import { Speaking } from "./speaking.js";

/** The last picture stands this long while its person changes slots or transports. */
const LINGER_MS = 800;
const SMALL_PX = 200;
const TINY_PX = 112;

export class Tile {
  #speaking = new Speaking();
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #lingering;

  /** @param {number} source whose tile this is: a person's camera, on or off, or a screen */
  constructor(source) {
    this.source = source;
    this.root = copyOf("tile");
    this.video = find(this.root, "video", HTMLVideoElement);
    this.root.dataset.video = "off";
    this.root.dataset.tile = String(source);
  }

  /**
   * @param {Person} person
   * @param {boolean} heard whether their microphone is on
   * @param {boolean} self
   */
  describe(person, heard, self) {
    const { dataset } = this.root;
    dataset.name = person.name;
    dataset.microphone = heard ? "on" : "off";
    const region = regionTitle(person.region);
    this.#label(person, self, self ? `${person.name} (you)` : person.name, region);
    this.root.setAttribute(
      "aria-label",
      `${person.name}${self ? " (you)" : ""}, ${region}${heard ? "" : ", microphone off"}`,
    );
  }

  /**
   * @param {Person} person
   * @param {boolean} self
   */
  describeScreen(person, self) {
    const { dataset } = this.root;
    dataset.name = `${person.name}'s screen`;
    dataset.source = String(this.source);
    this.#label(person, self, self ? "Your screen" : dataset.name, "");
    this.root.setAttribute("aria-label", self ? "You are sharing" : dataset.name);
  }

  /**
   * @param {Person} person
   * @param {boolean} self
   * @param {string} name
   * @param {string} region
   */
  #label(person, self, name, region) {
    const { dataset } = this.root;
    dataset.participant = String(person.id);
    dataset.region = person.region;
    dataset.colour = String(colourOf(person.name));
    dataset.self = String(self);
    find(this.root, ".tile-name", HTMLElement).textContent = name;
    find(this.root, ".tile-region", HTMLElement).textContent = region;
    find(this.root, ".avatar", HTMLElement).textContent = initials(person.name);
  }

  /**
   * Shows this track, or the avatar. The avatar also stays until the track's first picture.
   * @param {MediaStreamTrack | null} track
   */
  show(track) {
    clearTimeout(this.#lingering);
    this.#lingering = undefined;
    if (track === this.#track) return;
    this.#track = track;
    this.root.dataset.video = "off";
    this.video.onloadeddata = null;
    this.video.srcObject = track === null ? null : new MediaStream([track]);
    if (track === null) return;
    const appeared = () => {
      if (this.#track === track) this.root.dataset.video = "on";
    };
    this.video.onloadeddata = appeared;
    this.video.requestVideoFrameCallback?.(appeared);
    // Muted video always may play; a stream that is replaced meanwhile aborts, which is no news.
    this.video.play().catch(() => undefined);
  }

  /**
   * For somebody who should be seen and is in no slot now: the last picture, for a moment, unless
   * its track shows somebody else already.
   * @param {ReadonlySet<MediaStreamTrack>} taken
   */
  linger(taken) {
    if (this.#track === null || taken.has(this.#track)) this.show(null);
    else this.#lingering ??= setTimeout(() => this.show(null), LINGER_MS);
  }

  /**
   * Where it stands, or nowhere.
   * @param {Rect | null} rect
   * @param {{stage: boolean, pinned: boolean}} how
   */
  place(rect, { stage, pinned }) {
    const { root } = this;
    root.hidden = rect === null;
    if (rect === null) return;
    root.style.translate = `${rect.x}px ${rect.y}px`;
    root.style.width = `${rect.width}px`;
    root.style.height = `${rect.height}px`;
    root.style.setProperty("--side", `${Math.min(rect.width, rect.height)}px`);
    root.classList.toggle("tile-small", rect.width < SMALL_PX);
    root.classList.toggle("tile-tiny", rect.height < TINY_PX);
    if (stage) root.dataset.stage = "true";
    else delete root.dataset.stage;
    root.dataset.pinned = String(pinned);
    const pin = find(root, ".tile-pin", HTMLButtonElement);
    const words = `${pinned ? "Unpin" : "Pin"} ${root.dataset.name}`;
    pin.setAttribute("aria-label", words);
    pin.title = words;
    pin.setAttribute("aria-pressed", String(pinned));
  }

  /** @param {number} level */
  heard(level) {
    this.#speaking.heard(level, performance.now());
  }

  /**
   * @param {boolean} can whether they can be heard at all
   * @param {boolean} dominant whether they are the one who speaks
   */
  ring(can, dominant) {
    this.root.dataset.speaking = String(can && this.#speaking.at(performance.now()));
    this.root.dataset.dominant = String(can && dominant);
  }

  remove() {
    this.show(null);
    this.root.remove();
  }
}
