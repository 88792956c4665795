/**
 * The tiles on the stage: one for each person, a picture only while there is a moving one.
 *
 * @typedef {import("./messages.js").Person} Person
 * @typedef {import("./roster.js").Roster} Roster
 */

import { copyOf, find } from "./dom.js";
import { layoutTiles } from "./layout.js";
import { kindOf, participantOf } from "./messages.js";
import { colourOf, initials, isSending, regionTitle } from "./roster.js";
import { Speaking } from "./speaking.js";

const SPEAKING_POLL_MS = 200;
/** The last picture stands this long while its person changes slots or transports. */
const LINGER_MS = 800;

class Tile {
  #speaking = new Speaking();
  /** @type {MediaStreamTrack | null} */
  #track = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #lingering;

  constructor() {
    this.root = copyOf("tile");
    this.video = find(this.root, "video", HTMLVideoElement);
    this.root.dataset.video = "off";
  }

  /**
   * @param {Person} person
   * @param {boolean} heard whether their microphone is on
   * @param {boolean} self
   */
  describe(person, heard, self) {
    const { dataset } = this.root;
    dataset.participant = String(person.id);
    dataset.name = person.name;
    dataset.region = person.region;
    dataset.colour = String(colourOf(person.name));
    dataset.self = String(self);
    dataset.microphone = heard ? "on" : "off";
    const region = regionTitle(person.region);
    find(this.root, ".tile-name", HTMLElement).textContent = self
      ? `${person.name} (you)`
      : person.name;
    find(this.root, ".tile-region", HTMLElement).textContent = region;
    find(this.root, ".avatar", HTMLElement).textContent = initials(person.name);
    this.root.setAttribute(
      "aria-label",
      `${person.name}${self ? " (you)" : ""}, ${region}${heard ? "" : ", microphone off"}`,
    );
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

  /** @param {number} level */
  heard(level) {
    this.#speaking.heard(level, performance.now());
  }

  /** @param {boolean} can whether they can be heard at all */
  ring(can) {
    this.root.dataset.speaking = String(can && this.#speaking.at(performance.now()));
  }
}

export class Tiles {
  /** @type {Map<number, Tile>} */
  #tiles = new Map();
  /** @type {Tile | null} */
  #own = null;
  /** @type {Roster | null} */
  #roster = null;
  /** @type {ReadonlyMap<RTCRtpReceiver, number>} */
  #occupied = new Map();
  /** @type {MediaStreamTrack | null} */
  #camera = null;
  #heard = false;

  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.stage = stage;
    this.observer = new ResizeObserver(() => this.#place());
    this.observer.observe(stage);
    this.timer = setInterval(() => this.#ring(), SPEAKING_POLL_MS);
  }

  /** @param {Roster} roster */
  people(roster) {
    this.#roster = roster;
    for (const [id, tile] of this.#tiles) {
      if (roster.people.has(id)) continue;
      tile.show(null);
      tile.root.remove();
      this.#tiles.delete(id);
    }
    for (const person of roster.people.values()) {
      const tile = this.#tiles.get(person.id) ?? this.#add(person.id);
      tile.describe(person, isSending(person, "microphone"), false);
    }
    if (roster.self !== null) {
      this.#own ??= new Tile();
      this.#own.describe(roster.self, this.#heard, true);
      // Only once: a video that is put in again stops playing.
      if (!this.#own.root.isConnected) this.stage.append(this.#own.root);
    }
    this.#attach();
    this.#place();
  }

  /** @param {ReadonlyMap<RTCRtpReceiver, number>} occupied the source in each occupied slot */
  slots(occupied) {
    this.#occupied = occupied;
    this.#attach();
  }

  /**
   * The user's own side, which does not wait for the roster.
   * @param {MediaStreamTrack | null} camera
   * @param {boolean} heard
   */
  own(camera, heard) {
    this.#camera = camera;
    this.#heard = heard;
    if (this.#roster?.self) this.#own?.describe(this.#roster.self, heard, true);
    this.#attach();
  }

  /**
   * @param {number} participant
   * @param {number} level
   */
  level(participant, level) {
    this.#tiles.get(participant)?.heard(level);
  }

  /** @param {number} level */
  ownLevel(level) {
    this.#own?.heard(level);
  }

  close() {
    clearInterval(this.timer);
    this.observer.disconnect();
    for (const tile of this.#tiles.values()) tile.show(null);
    this.#own?.show(null);
    this.stage.replaceChildren();
  }

  /** @param {number} id */
  #add(id) {
    const tile = new Tile();
    this.#tiles.set(id, tile);
    this.stage.insertBefore(tile.root, this.#own?.root ?? null);
    return tile;
  }

  #attach() {
    /** @type {Map<number, MediaStreamTrack>} */
    const pictures = new Map();
    for (const [{ track }, source] of this.#occupied) {
      if (track.kind === "video" && kindOf(source) === "camera") {
        pictures.set(participantOf(source), track);
      }
    }
    const taken = new Set(pictures.values());
    for (const [id, tile] of this.#tiles) {
      const person = this.#roster?.people.get(id);
      const picture = pictures.get(id);
      if (person === undefined || !isSending(person, "camera")) tile.show(null);
      else if (picture === undefined) tile.linger(taken);
      else tile.show(picture);
    }
    this.#own?.show(this.#camera);
  }

  #place() {
    const roots = [...this.#tiles.values()].map(({ root }) => root);
    if (this.#own !== null) roots.push(this.#own.root);
    const { clientWidth: width, clientHeight: height } = this.stage;
    const gap = width < 600 ? 6 : 10;
    const rects = layoutTiles({ width, height, count: roots.length, gap });
    roots.forEach((root, index) => {
      const rect = rects[index];
      if (rect === undefined) return;
      root.style.translate = `${rect.x}px ${rect.y}px`;
      root.style.width = `${rect.width}px`;
      root.style.height = `${rect.height}px`;
      const side = Math.min(rect.width, rect.height);
      root.style.setProperty("--side", `${side}px`);
      root.classList.toggle("tile-small", rect.width < 200);
    });
  }

  #ring() {
    for (const [id, tile] of this.#tiles) {
      const person = this.#roster?.people.get(id);
      tile.ring(person !== undefined && isSending(person, "microphone"));
    }
    this.#own?.ring(this.#heard);
  }
}
