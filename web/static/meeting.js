/**
 * The meeting as one sees and hears it: stage, controls, words; the session does the work.
 *
 * @typedef {import("./messages.js").Failure} Failure
 * @typedef {import("./roster.js").Roster} Roster
 * @typedef {import("./session.js").Connection} Connection
 * @typedef {import("./session.js").Own} Own
 * @typedef {import("./session.js").Terms} Terms
 * @typedef {import("./session.js").Ticket} Ticket
 * @typedef {import("./tiles.js").Arrangement} Arrangement
 */

import { bindKeys } from "./controls.js";
import { find, setIcon } from "./dom.js";
import { Meter } from "./meter.js";
import { Playback } from "./playback.js";
import { comings, regionTitle } from "./roster.js";
import { screensShareable } from "./screen.js";
import { Session } from "./session.js";
import { Tiles } from "./tiles.js";
import { toast } from "./toasts.js";
import { Gaze } from "./view.js";

const OWN_LEVEL_MS = 150;
/** A connection that comes back sooner is not worth a banner. */
const BANNER_DELAY_MS = 400;
/** With more at once, names would only flicker by. */
const NAMED_AT_ONCE = 3;
const WORDS = /** @type {const} */ ({
  joining: "Joining…",
  reconnecting: "Reconnecting…",
  connected: "",
});

export class Meeting {
  #meter = new Meter();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #banner;

  /**
   * @param {HTMLElement} root
   * @param {URL} url of the signalling
   * @param {Ticket} ticket
   * @param {Own} own
   * @param {Terms} terms
   * @param {(failure: Failure | null) => void} over null when the user left
   */
  constructor(root, url, ticket, own, terms, over) {
    this.root = root;
    this.own = own;
    this.over = over;
    this.toasts = find(document, "#toasts", HTMLElement);
    this.gaze = new Gaze((pictures) => this.session.look(pictures));
    this.tiles = new Tiles(find(root, "#stage", HTMLElement), {
      seen: (seen) => this.gaze.look(seen),
      arranged: (arrangement) => this.#showArrangement(arrangement),
      pages: (page, pages) => this.#showPages(page, pages),
    });
    const blocked = find(root, "#blocked", HTMLButtonElement);
    this.playback = new Playback(find(root, "#sounds", HTMLElement), (is) => {
      blocked.hidden = !is;
    });
    this.listeners = new AbortController();
    this.#bind(this.listeners.signal);
    find(root, "#bar-room", HTMLElement).textContent = ticket.room;
    find(root, "#meeting-title", HTMLElement).textContent = `Meeting ${ticket.room}`;
    const { devices, screen } = own;
    const unwatch = [
      devices.watch((kind) => {
        const { problem } = devices.of(kind);
        if (problem !== null) toast(this.toasts, problem);
        if (devices.live(kind)) void this.playback.retry(); // who is heard may hear
        this.#showOwn();
      }),
      screen.watch(() => this.#showOwn()),
    ];
    this.unwatch = () => unwatch.forEach((stop) => stop());
    this.timer = setInterval(() => {
      if (devices.live("microphone")) this.tiles.ownLevel(this.#meter.level());
    }, OWN_LEVEL_MS);
    this.session = new Session(url, ticket, own, terms, {
      roster: (after, before) => this.#showRoster(after, before),
      connection: (connection) => this.#showConnection(connection),
      slots: (occupied) => this.tiles.slots(occupied),
      sounds: (receivers) => this.playback.play(receivers),
      level: (participant, level) => this.tiles.level(participant, level),
      speaker: (participant) => this.tiles.speaker(participant),
      notice: (words) => toast(this.toasts, words),
      ended: (failure) => this.#end(failure),
    });
    this.#showConnection("joining");
    this.#showOwn();
  }

  /** @param {AbortSignal} signal */
  #bind(signal) {
    // Any click or key is the gesture that browsers ask for, not only one on the banner.
    for (const gesture of ["click", "keydown"]) {
      addEventListener(gesture, () => void this.playback.retry(), { signal });
    }
    // A closed page must not linger in the room until its socket times out.
    addEventListener("pagehide", () => this.session.close(), { signal });
    const button = (/** @type {string} */ action, /** @type {() => void} */ act) => {
      const found = find(this.root, `[data-action=${action}]`, HTMLButtonElement);
      found.addEventListener("click", act, { signal });
      return found;
    };
    const share = () => void this.#share();
    const arrange = () => this.tiles.toggle();
    button("leave", () => this.#end(null));
    button("share", share).hidden = !screensShareable();
    button("arrange", arrange);
    button("previous", () => this.tiles.turn(-1));
    button("next", () => this.tiles.turn(1));
    bindKeys(this.root, { s: screensShareable() ? share : () => undefined, t: arrange }, signal);
  }

  async #share() {
    const { screen } = this.own;
    if (screen.track !== null) {
      screen.stop();
      return;
    }
    const problem = await screen.share();
    if (problem !== null) toast(this.toasts, problem);
    if (this.listeners.signal.aborted) screen.stop(); // left meanwhile
  }

  /** @param {Failure | null} failure */
  #end(failure) {
    this.listeners.abort();
    this.unwatch();
    clearInterval(this.timer);
    clearTimeout(this.#banner);
    this.own.screen.stop();
    this.session.close();
    this.playback.stop();
    this.gaze.close();
    this.tiles.close();
    this.#meter.listen(null);
    this.over(failure);
  }

  #showOwn() {
    const { devices, screen } = this.own;
    const sharing = screen.track !== null;
    this.#meter.listen(devices.of("microphone").track);
    this.tiles.own({
      camera: devices.of("camera").track,
      heard: devices.live("microphone"),
      sharing,
    });
    const share = find(this.root, "[data-action=share]", HTMLButtonElement);
    const label = sharing ? "Stop sharing" : "Share screen";
    share.dataset.sharing = String(sharing);
    share.setAttribute("aria-label", label);
    share.title = `${label} (S)`;
    setIcon(share, sharing ? "screen-off" : "screen");
  }

  /** @param {Arrangement} arrangement as it is; the button leads to the other */
  #showArrangement(arrangement) {
    this.root.dataset.arrangement = arrangement;
    const button = find(this.root, "[data-action=arrange]", HTMLButtonElement);
    const label = arrangement === "stage" ? "Tiles" : "Stage";
    button.setAttribute("aria-label", label);
    button.title = `${label} (T)`;
    setIcon(button, label.toLowerCase());
  }

  /**
   * @param {number} page
   * @param {number} pages
   */
  #showPages(page, pages) {
    const pager = find(this.root, "#pager", HTMLElement);
    pager.hidden = pages < 2;
    find(pager, "#page", HTMLElement).textContent = `${page + 1} of ${pages}`;
    find(pager, "[data-action=previous]", HTMLButtonElement).disabled = page === 0;
    find(pager, "[data-action=next]", HTMLButtonElement).disabled = page === pages - 1;
  }

  /**
   * @param {Roster} after
   * @param {Roster} before
   */
  #showRoster(after, before) {
    this.tiles.people(after);
    this.#showOwn();
    const people = after.people.size + (after.self === null ? 0 : 1);
    find(this.root, "#count", HTMLElement).textContent = String(people);
    find(this.root, "#alone", HTMLElement).hidden = after.self === null || people > 1;
    const region = after.self?.region ?? "";
    find(this.root, "#bar-region", HTMLElement).textContent = regionTitle(region);
    if (before.self === null) return; // those who were here already are no news
    const { arrived, departed } = comings(before, after);
    if (arrived.length + departed.length <= NAMED_AT_ONCE) {
      for (const { name } of arrived) toast(this.toasts, `${name} joined`);
      for (const { name } of departed) toast(this.toasts, `${name} left`);
    }
    if (region !== "" && region !== before.self.region) {
      toast(this.toasts, `You are on ${regionTitle(region)} now`);
    }
  }

  /** @param {Connection} connection */
  #showConnection(connection) {
    this.root.dataset.connection = connection;
    const banner = find(this.root, "#connection", HTMLElement);
    clearTimeout(this.#banner);
    if (connection === "connected") {
      banner.hidden = true;
      return;
    }
    this.#banner = setTimeout(() => {
      find(banner, ".banner-words", HTMLElement).textContent = WORDS[connection];
      banner.hidden = false;
    }, BANNER_DELAY_MS);
  }
}
