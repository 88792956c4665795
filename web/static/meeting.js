/**
 * The meeting as one sees and hears it: stage, controls, words; the session does the work.
 *
 * @typedef {import("./media.js").Devices} Devices
 * @typedef {import("./messages.js").Failure} Failure
 * @typedef {import("./roster.js").Roster} Roster
 * @typedef {import("./session.js").Connection} Connection
 * @typedef {import("./session.js").Ticket} Ticket
 */

import { find } from "./dom.js";
import { Meter } from "./meter.js";
import { Playback } from "./playback.js";
import { comings, regionTitle } from "./roster.js";
import { Session } from "./session.js";
import { Tiles } from "./tiles.js";
import { toast } from "./toasts.js";

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
   * @param {Devices} devices
   * @param {(failure: Failure | null) => void} over null when the user left
   */
  constructor(root, url, ticket, devices, over) {
    this.root = root;
    this.devices = devices;
    this.over = over;
    this.toasts = find(document, "#toasts", HTMLElement);
    this.tiles = new Tiles(find(root, "#stage", HTMLElement));
    const blocked = find(root, "#blocked", HTMLButtonElement);
    this.playback = new Playback(find(root, "#sounds", HTMLElement), (is) => {
      blocked.hidden = !is;
    });
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    // Any click or key is the gesture that browsers ask for, not only one on the banner.
    for (const gesture of ["click", "keydown"]) {
      addEventListener(gesture, () => void this.playback.retry(), { signal });
    }
    find(root, "[data-action=leave]", HTMLButtonElement).addEventListener(
      "click",
      () => this.#end(null),
      { signal },
    );
    // A closed page must not linger in the room until its socket times out.
    addEventListener("pagehide", () => this.session.close(), { signal });
    find(root, "#bar-room", HTMLElement).textContent = ticket.room;
    find(root, "#meeting-title", HTMLElement).textContent = `Meeting ${ticket.room}`;
    this.unwatch = devices.watch((kind) => {
      const { problem } = devices.of(kind);
      if (problem !== null) toast(this.toasts, problem);
      if (devices.live(kind)) void this.playback.retry(); // who is heard may hear
      this.#showOwn();
    });
    this.timer = setInterval(() => {
      if (devices.live("microphone")) this.tiles.ownLevel(this.#meter.level());
    }, OWN_LEVEL_MS);
    this.session = new Session(url, ticket, devices, {
      roster: (after, before) => this.#showRoster(after, before),
      connection: (connection) => this.#showConnection(connection),
      slots: (occupied) => this.tiles.slots(occupied),
      sounds: (receivers) => this.playback.play(receivers),
      level: (participant, level) => this.tiles.level(participant, level),
      notice: (words) => toast(this.toasts, words),
      ended: (failure) => this.#end(failure),
    });
    this.#showConnection("joining");
    this.#showOwn();
  }

  /** @param {Failure | null} failure */
  #end(failure) {
    this.listeners.abort();
    this.unwatch();
    clearInterval(this.timer);
    clearTimeout(this.#banner);
    this.session.close();
    this.playback.stop();
    this.tiles.close();
    this.#meter.listen(null);
    this.over(failure);
  }

  #showOwn() {
    this.#meter.listen(this.devices.of("microphone").track);
    this.tiles.own(this.devices.of("camera").track, this.devices.live("microphone"));
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
