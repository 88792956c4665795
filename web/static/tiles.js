/**
 * Everybody's tiles and where they stand: all alike, or one on the stage and the others in a strip.
 *
 * @typedef {import("./messages.js").Person} Person
 * @typedef {import("./roster.js").Roster} Roster
 * @typedef {import("./layout.js").Rect} Rect
 * @typedef {import("./view.js").Seen} Seen
 * @typedef {"tiles" | "stage"} Arrangement
 * @typedef {{seen: (seen: Seen[]) => void, arranged: (arrangement: Arrangement) => void,
 *   pages: (page: number, pages: number) => void}} Owner
 */

import { layoutStage, layoutTiles, roomFor } from "./layout.js";
import { kindOf, participantOf, sourceOf } from "./messages.js";
import { isSending, NOBODY } from "./roster.js";
import { claimsAfter, pageOf, Seats, stageOf } from "./staging.js";
import { Tile } from "./tile.js";

const SPEAKING_POLL_MS = 200;
const NARROW_PX = 600;

export class Tiles {
  /** @type {Map<number, Tile>} by source */
  #tiles = new Map();
  #seats = new Seats();
  /** @type {Roster} */
  #roster = NOBODY;
  /** @type {ReadonlyMap<RTCRtpReceiver, number>} */
  #occupied = new Map();
  /** @type {{camera: MediaStreamTrack | null, heard: boolean, sharing: boolean}} */
  #own = { camera: null, heard: false, sharing: false };
  /** @type {import("./staging.js").Claims} */
  #claims = [];
  /** @type {ReadonlySet<number>} screens of others, in the order in which they began */
  #screens = new Set();
  /** @type {number | null} */
  #pinned = null;
  /** @type {number | null} */
  #speaker = null;
  /** @type {number | null} the last speaker who is not oneself */
  #spoke = null;
  /** @type {Arrangement | null} what the user asked for; null leaves it to what there is to see */
  #asked = null;
  #page = 0;

  /**
   * @param {HTMLElement} home
   * @param {Owner} owner
   */
  constructor(home, owner) {
    this.home = home;
    this.owner = owner;
    this.observer = new ResizeObserver(() => this.#place());
    this.observer.observe(home);
    this.timer = setInterval(() => this.#ring(), SPEAKING_POLL_MS);
    home.onclick = ({ target }) => {
      const root = target instanceof Element ? target.closest("[data-tile]") : null;
      if (root instanceof HTMLElement) this.#pin(Number(root.dataset.tile));
    };
  }

  /** @returns {Arrangement} */
  get arrangement() {
    return this.#asked ?? (this.#claims.length > 0 ? "stage" : "tiles");
  }

  /** @param {Roster} roster */
  people(roster) {
    this.#roster = roster;
    this.#populate();
  }

  /** @param {ReadonlyMap<RTCRtpReceiver, number>} occupied the source in each occupied slot */
  slots(occupied) {
    this.#occupied = occupied;
    this.#attach();
  }

  /**
   * The user's own side, which does not wait for the roster.
   * @param {{camera: MediaStreamTrack | null, heard: boolean, sharing: boolean}} own
   */
  own(own) {
    this.#own = own;
    this.#populate();
  }

  /** @param {number | null} participant who speaks, oneself perhaps */
  speaker(participant) {
    this.#speaker = participant;
    if (participant !== null && this.#roster.people.has(participant)) {
      this.#spoke = sourceOf(participant, "camera");
    }
    this.#place();
    this.#ring();
  }

  /**
   * @param {number} participant
   * @param {number} level
   */
  level(participant, level) {
    this.#tiles.get(sourceOf(participant, "camera"))?.heard(level);
  }

  /** @param {number} level */
  ownLevel(level) {
    if (this.#roster.self !== null) this.level(this.#roster.self.id, level);
  }

  /** From tiles to stage and back. */
  toggle() {
    const back = this.arrangement === "stage";
    if (back) this.#unpin();
    this.#asked = back ? "tiles" : "stage";
    this.#page = 0;
    this.#place();
  }

  /** @param {number} by pages forth, or back if negative */
  turn(by) {
    this.#page += by;
    this.#place();
  }

  close() {
    clearInterval(this.timer);
    this.observer.disconnect();
    this.home.onclick = null;
    for (const tile of this.#tiles.values()) tile.remove();
    this.#tiles.clear();
  }

  /** @param {number} source */
  #pin(source) {
    const again = this.#pinned === source;
    this.#unpin();
    if (!again) {
      this.#pinned = source;
      this.#claims = [...this.#claims.filter((claim) => claim !== source), source];
      if (this.#asked === "tiles") this.#asked = null;
    }
    this.#place();
  }

  #unpin() {
    const pinned = this.#pinned;
    this.#pinned = null;
    this.#claims = this.#claims.filter((claim) => claim !== pinned || this.#screens.has(claim));
  }

  /** Makes the tiles agree with who is there. */
  #populate() {
    const { self, people } = this.#roster;
    /** @type {Map<number, Person>} */
    const wanted = new Map();
    for (const person of people.values()) {
      wanted.set(sourceOf(person.id, "camera"), person);
      if (isSending(person, "screen")) wanted.set(sourceOf(person.id, "screen"), person);
    }
    if (self !== null) {
      wanted.set(sourceOf(self.id, "camera"), self);
      if (this.#own.sharing) wanted.set(sourceOf(self.id, "screen"), self);
    }
    for (const [source, tile] of this.#tiles) {
      if (wanted.has(source)) continue;
      tile.remove();
      this.#tiles.delete(source);
    }
    for (const [source, person] of wanted) {
      const tile = this.#tiles.get(source) ?? this.#add(source);
      const mine = person === self;
      if (kindOf(source) === "screen") tile.describeScreen(person, mine);
      else tile.describe(person, mine ? this.#own.heard : isSending(person, "microphone"), mine);
    }
    this.#claim();
    this.#attach();
    this.#place();
  }

  /** A screen that somebody begins to share goes on the stage. */
  #claim() {
    const self = this.#roster.self?.id;
    const shared = [...this.#tiles.keys()].filter(
      (source) => kindOf(source) === "screen" && participantOf(source) !== self,
    );
    const there = new Set(this.#tiles.keys());
    this.#claims = claimsAfter(this.#claims, shared, this.#screens, there);
    const fresh = shared.some((source) => !this.#screens.has(source));
    if (fresh && this.#asked === "tiles") this.#asked = null;
    const before = [...this.#screens].filter((source) => there.has(source));
    this.#screens = new Set([...before, ...shared]);
    if (this.#pinned !== null && !there.has(this.#pinned)) this.#pinned = null;
    if (this.#spoke !== null && !there.has(this.#spoke)) this.#spoke = null;
  }

  /** @param {number} source */
  #add(source) {
    const tile = new Tile(source);
    this.#tiles.set(source, tile);
    // Never moved again: a video that is put in anew stops playing.
    this.home.append(tile.root);
    return tile;
  }

  #attach() {
    /** @type {Map<number, MediaStreamTrack>} */
    const pictures = new Map();
    for (const [{ track }, source] of this.#occupied) {
      if (track.kind === "video") pictures.set(source, track);
    }
    const taken = new Set(pictures.values());
    const self = this.#roster.self?.id;
    for (const [source, tile] of this.#tiles) {
      const kind = kindOf(source);
      if (participantOf(source) === self) {
        tile.show(kind === "camera" ? this.#own.camera : null); // one's own screen is seen already
        continue;
      }
      const person = this.#roster.people.get(participantOf(source));
      const picture = pictures.get(source);
      if (person === undefined || kind === null || !isSending(person, kind)) tile.show(null);
      else if (picture === undefined) tile.linger(taken);
      else tile.show(picture);
    }
  }

  #place() {
    const { clientWidth: width, clientHeight: height } = this.home;
    const box = { width, height, gap: width < NARROW_PX ? 6 : 10 };
    const self = this.#roster.self?.id;
    const all = [...this.#tiles.keys()];
    const own = all
      .filter((source) => participantOf(source) === self)
      .sort((a, b) => b - a); // the screen, then oneself
    const people = all.filter((source) => kindOf(source) === "camera" && !own.includes(source));
    const screens = [...this.#screens].reverse();
    const stage =
      this.arrangement === "stage"
        ? stageOf({
            claims: this.#claims,
            speaker: this.#spoke,
            others: people,
            self: own.at(-1) ?? null,
          })
        : null;
    const off = (/** @type {number} */ source) => source !== stage;
    const first = [...screens, ...(this.#pinned === null ? [] : [this.#pinned])].filter(off);
    const front = [...new Set(first.filter((source) => !own.includes(source)))];
    const last = own.filter(off);
    const rest = people.filter((source) => off(source) && !front.includes(source));
    const count = front.length + rest.length + last.length;
    const room = stage === null ? roomFor(box) : layoutStage({ ...box, count }).room;
    const speaker = this.#speaker === null ? null : sourceOf(this.#speaker, "camera");
    const seats = (count > room ? Math.max(1, room - last.length) : room) - front.length;
    const seated = this.#seats.arranged(rest, seats, speaker);
    const { shown, page, pages } = pageOf([...front, ...seated], last, room, this.#page);
    this.#page = page;
    this.#put(stage, shown, box);
    this.owner.arranged(this.arrangement);
    this.owner.pages(page, pages);
  }

  /**
   * @param {number | null} stage
   * @param {readonly number[]} shown the others, in order
   * @param {{width: number, height: number, gap: number}} box
   */
  #put(stage, shown, box) {
    const count = shown.length;
    /** @type {Map<number, Rect>} */
    const rects = new Map();
    const staged = stage === null ? null : layoutStage({ ...box, count });
    if (stage !== null && staged !== null) rects.set(stage, staged.stage);
    (staged?.strip ?? layoutTiles({ ...box, count })).forEach((rect, index) => {
      const source = shown[index];
      if (source !== undefined) rects.set(source, rect);
    });
    /** @type {Seen[]} */
    const seen = [];
    for (const [source, tile] of this.#tiles) {
      const rect = rects.get(source) ?? null;
      const how = { stage: source === stage, pinned: source === this.#pinned };
      tile.place(rect, how);
      const others = this.#roster.people.has(participantOf(source));
      if (rect === null || !others || rect.width <= 0) continue;
      seen.push({ source, width: rect.width, height: rect.height, ...how });
    }
    // In the order in which they stand, which is that of how much they are wanted.
    const order = new Map([...rects.keys()].map((source, index) => [source, index]));
    seen.sort((a, b) => (order.get(a.source) ?? 0) - (order.get(b.source) ?? 0));
    this.owner.seen(seen);
  }

  #ring() {
    const { self, people } = this.#roster;
    for (const [source, tile] of this.#tiles) {
      if (kindOf(source) !== "camera") continue;
      const id = participantOf(source);
      const person = people.get(id);
      const heard = person === undefined ? this.#own.heard : isSending(person, "microphone");
      tile.ring(heard && (person !== undefined || id === self?.id), id === this.#speaker);
    }
  }
}
