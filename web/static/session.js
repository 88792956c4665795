/**
 * One stay in a room: signalling, roster and transport held together; comes back by itself
 * when any of them is lost. Knows no DOM: what to show goes to its owner.
 *
 * @typedef {import("./messages.js").ToBrowser} ToBrowser
 * @typedef {import("./messages.js").FromBrowser} FromBrowser
 * @typedef {import("./messages.js").Failure} Failure
 * @typedef {import("./media.js").Devices} Devices
 * @typedef {import("./media.js").OwnKind} OwnKind
 * @typedef {import("./roster.js").Roster} Roster
 * @typedef {import("./rtt.js").Rtts} Rtts
 * @typedef {"joining" | "connected" | "reconnecting"} Connection
 * @typedef {{room: string, name: string, region: string | null, rtts_ms: Rtts}} Ticket
 * @typedef {object} Owner
 * @property {(after: Roster, before: Roster) => void} roster
 * @property {(connection: Connection) => void} connection
 * @property {(occupied: ReadonlyMap<RTCRtpReceiver, number>) => void} slots
 * @property {(receivers: readonly RTCRtpReceiver[]) => void} sounds
 * @property {(participant: number, level: number) => void} level
 * @property {(words: string) => void} notice
 * @property {(failure: Failure) => void} ended
 */

import { pictureFor } from "./layout.js";
import { participantOf } from "./messages.js";
import { NOBODY, rosterAfter } from "./roster.js";
import { Signalling } from "./signalling.js";
import { Slots } from "./slots.js";
import { Tally, countersOf } from "./tally.js";
import { Transport } from "./transport.js";

const OWN = /** @type {OwnKind[]} */ (["microphone", "camera"]);
/** A transport has this long to connect, and as long to recover from a disconnection. */
const CONNECT_BOUND_MS = 10_000;
const RECOVER_BOUND_MS = 1000;
/** The focus gives a bridge 8 s; no word at all by then: the signalling itself must be dead. */
const ANSWER_BOUND_MS = 10_000;
const LONGEST_RETRY_MS = 8000;
const TALLY_MS = 1000;
/** Failures that time heals; the others are final. */
const PASSING = new Set(["no-bridge", "internal"]);

export class Session {
  roster = NOBODY;
  /** @type {Connection} */
  connection = "joining";
  #tally = new Tally();
  /** @type {Transport | null} the newest, connected or not */
  #transport = null;
  /** @type {Transport | null} the one before, shown until the newest connects */
  #previous = null;
  /** @type {Slots | null} of the transport that is shown */
  #slots = null;
  /** @type {Transport | null} */
  #shown = null;
  #attempts = 0;
  #failures = 0;
  /** Whether the signalling connection is up, or its first one on the way. */
  #online = true;
  #greeted = false;
  #joined = false;
  /** Whether the room has been joined before, on this signalling connection or an earlier one. */
  #welcome = false;
  /** Whether this signalling connection has heard an offer: before it, there is nothing to mute. */
  #offered = false;
  #closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #answer_deadline;

  /**
   * @param {URL} url
   * @param {Ticket} ticket
   * @param {Devices} devices
   * @param {Owner} owner
   */
  constructor(url, ticket, devices, owner) {
    this.ticket = ticket;
    this.devices = devices;
    this.owner = owner;
    this.unwatch = devices.watch((kind) => this.#deviceChanged(kind));
    this.timer = setInterval(() => void this.#count(this.#slots?.occupied()), TALLY_MS);
    this.signalling = new Signalling(url, {
      greeting: () => this.#greeting(),
      message: (message) => this.#heard(message),
      lost: () => this.#signallingLost(),
    });
    this.#renew();
  }

  /** Leaves for good. The devices stay the caller's. */
  close() {
    this.#closed = true;
    this.unwatch();
    clearInterval(this.timer);
    for (const timer of [this.#retry, this.#deadline, this.#answer_deadline]) clearTimeout(timer);
    this.signalling.close();
    this.#slots?.close();
    this.#previous?.close();
    this.#transport?.close();
  }

  /** What was received of each other participant since the session began. */
  async stats() {
    await this.#count(this.#slots?.occupied());
    return [...this.roster.people.values()].map(({ id, name, region, bridge }) => ({
      id,
      name,
      region,
      bridge,
      ...this.#tally.of(id),
    }));
  }

  get attempt() {
    return this.#transport?.attempt ?? 0;
  }

  /**
   * What a new signalling connection says first. The first transport is made beside it, to save
   * time; later ones follow it, for the focus lets a participant go with their socket.
   * @returns {FromBrowser[]}
   */
  #greeting() {
    this.#online = true;
    if (this.#greeted) this.#renew();
    this.#greeted = true;
    return [{ type: "join", ...this.ticket }];
  }

  /** @param {ToBrowser} message */
  #heard(message) {
    const before = this.roster;
    this.roster = rosterAfter(before, message);
    switch (message.type) {
      case "joined":
        this.#joined = this.#welcome = true;
        this.signalling.settled();
        break;
      case "answer":
        void this.#answered(message.attempt, message.sdp);
        break;
      case "moved":
        this.#failures = 0;
        this.#renew();
        break;
      case "error":
        this.#failed(message);
        break;
      default:
    }
    if (this.roster !== before) {
      this.owner.roster(this.roster, before);
      this.#limitPicture();
    }
  }

  /**
   * @param {number} attempt
   * @param {string} sdp
   */
  async #answered(attempt, sdp) {
    const transport = this.#transport;
    if (transport === null || transport.attempt !== attempt) return; // of one given up since
    clearTimeout(this.#answer_deadline);
    try {
      await transport.accept(sdp);
    } catch {
      if (transport === this.#transport) this.#renewLater();
    }
  }

  /** @param {Failure} failure */
  #failed(failure) {
    if (this.#welcome && failure.code === "unknown-region") {
      // A focus that has just begun anew knows no region until its bridges are back.
      this.ticket = { ...this.ticket, region: null };
      this.signalling.restart();
      return;
    }
    const refused = !this.#joined && !PASSING.has(failure.code);
    if (refused || (failure.fatal && !PASSING.has(failure.code))) {
      this.close();
      this.owner.ended(failure);
      return;
    }
    this.owner.notice(failure.message);
    if (!this.#joined) {
      this.signalling.restart(); // and asks again, a little later each time
    } else if (failure.code === "offer-refused") {
      this.#renewLater();
    } else if (failure.code === "no-bridge") {
      // `moved` comes as soon as there is one: nothing to do until then.
      for (const timer of [this.#retry, this.#deadline, this.#answer_deadline]) clearTimeout(timer);
      this.#say("reconnecting");
    }
  }

  #signallingLost() {
    this.#online = this.#joined = this.#offered = false;
    for (const timer of [this.#retry, this.#deadline, this.#answer_deadline]) clearTimeout(timer);
    this.#say("reconnecting");
  }

  /** A new transport instead of the newest; the one shown stays until the new one connects. */
  #renew() {
    if (this.#closed || !this.#online) return; // the next signalling connection brings a new one
    clearTimeout(this.#retry);
    clearTimeout(this.#deadline);
    clearTimeout(this.#answer_deadline);
    if (this.#transport !== null && this.#transport !== this.#shown) this.#transport.close();
    else this.#previous = this.#transport;
    const transport = new Transport(this.#attempts, (state) => this.#transportIs(transport, state));
    this.#attempts += 1;
    this.#transport = transport;
    if (this.#shown !== null) this.#say("reconnecting");
    this.#deadline = setTimeout(() => this.#renewLater(), CONNECT_BOUND_MS);
    void this.#offer(transport);
  }

  #renewLater() {
    clearTimeout(this.#retry);
    const delay_ms = Math.min(LONGEST_RETRY_MS, 250 * 2 ** this.#failures);
    this.#failures += 1;
    this.#say("reconnecting");
    this.#retry = setTimeout(() => this.#renew(), delay_ms);
  }

  /** @param {Transport} transport */
  async #offer(transport) {
    for (const kind of OWN) void transport.carry(kind, this.devices.of(kind).track);
    const offer = await transport.offer().catch(() => null); // closed meanwhile
    if (offer === null || transport !== this.#transport || this.#closed) return;
    this.signalling.send(offer);
    this.#offered = true;
    for (const kind of OWN) this.#sayMuted(kind);
    this.#answer_deadline = setTimeout(() => this.signalling.restart(), ANSWER_BOUND_MS);
  }

  /**
   * @param {Transport} transport
   * @param {RTCPeerConnectionState} state
   */
  #transportIs(transport, state) {
    if (transport !== this.#transport || !this.#online) return;
    clearTimeout(this.#deadline);
    switch (state) {
      case "connected":
        this.#failures = 0;
        this.#show(transport);
        this.#limitPicture();
        this.#say("connected");
        break;
      case "disconnected":
        this.#say("reconnecting");
        this.#deadline = setTimeout(() => this.#renewLater(), RECOVER_BOUND_MS);
        break;
      case "failed":
        this.#renewLater();
        break;
      default:
        this.#deadline = setTimeout(() => this.#renewLater(), CONNECT_BOUND_MS);
    }
  }

  /** @param {Transport} transport */
  #show(transport) {
    if (this.#shown === transport) return;
    void this.#count(this.#slots?.occupied());
    this.#slots?.close();
    this.#previous?.close();
    this.#previous = null;
    this.#shown = transport;
    const slots = new Slots(transport.receivers, {
      changed: (before) => {
        void this.#count(before);
        this.owner.slots(slots.occupied());
      },
      level: (source, level) => this.owner.level(participantOf(source), level),
    });
    this.#slots = slots;
    this.owner.sounds(transport.receivers.filter(({ track }) => track.kind === "audio"));
    this.owner.slots(slots.occupied());
  }

  /** @param {OwnKind} kind */
  #deviceChanged(kind) {
    const { track } = this.devices.of(kind);
    void this.#transport?.carry(kind, track).then(() => this.#limitPicture());
    if (this.#transport !== this.#shown) void this.#shown?.carry(kind, track);
    if (this.#offered) this.#sayMuted(kind);
  }

  /** @param {OwnKind} kind */
  #sayMuted(kind) {
    this.signalling.send({ type: "mute", kind, muted: !this.devices.live(kind) });
  }

  #limitPicture() {
    void this.#transport?.limitPicture(pictureFor(this.roster.people.size + 1));
  }

  /** @param {Connection} connection */
  #say(connection) {
    const next = connection === "reconnecting" && this.#shown === null ? "joining" : connection;
    if (next === this.connection || this.#closed) return;
    this.connection = next;
    this.owner.connection(next);
  }

  /**
   * Shares out what the shown slots received since the last time.
   * @param {ReadonlyMap<RTCRtpReceiver, number> | undefined} occupied
   */
  async #count(occupied) {
    const transport = this.#shown;
    if (transport === null || occupied === undefined) return;
    const counters = countersOf(await transport.stats());
    for (const [{ track }, source] of occupied) {
      const slot = counters.get(track.id);
      if (slot !== undefined) {
        this.#tally.record(`${transport.attempt}/${track.id}`, participantOf(source), slot);
      }
    }
  }
}
