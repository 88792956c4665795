/**
 * One stay in a room: signalling, roster and transport held together; comes back by itself
 * when any of them is lost. Knows no DOM: what to show goes to its owner.
 *
 * @typedef {import("./messages.js").ToBrowser} ToBrowser
 * @typedef {import("./messages.js").FromBrowser} FromBrowser
 * @typedef {import("./messages.js").Failure} Failure
 * @typedef {import("./messages.js").Kind} Kind
 * @typedef {import("./messages.js").Picture} Picture
 * @typedef {import("./encodings.js").PictureKind} PictureKind
 * @typedef {import("./media.js").Devices} Devices
 * @typedef {import("./screen.js").Screen} Screen
 * @typedef {import("./roster.js").Roster} Roster
 * @typedef {import("./rtt.js").Rtts} Rtts
 * @typedef {import("./settings.js").Settings} Settings
 * @typedef {import("./transport.js").Transport} Transport
 * @typedef {"joining" | "connected" | "reconnecting"} Connection
 * @typedef {{room: string, name: string, region: string | null, rtts_ms: Rtts}} Ticket
 * @typedef {{devices: Devices, screen: Screen}} Own
 * @typedef {{settings: Settings, slots: number, relay: boolean}} Terms how many pictures at most,
 *   and whether media may go by a relay server only
 * @typedef {object} Owner
 * @property {(after: Roster, before: Roster) => void} roster
 * @property {(connection: Connection) => void} connection
 * @property {(occupied: ReadonlyMap<RTCRtpReceiver, number>) => void} slots
 * @property {(receivers: readonly RTCRtpReceiver[]) => void} sounds
 * @property {(participant: number, level: number) => void} level
 * @property {(participant: number | null) => void} speaker
 * @property {(words: string) => void} notice
 * @property {(failure: Failure) => void} ended
 */

import { FIRST_CODEC } from "./codecs.js";
import { Connector } from "./connector.js";
import { kindOf, participantOf } from "./messages.js";
import { Reception } from "./reception.js";
import { isSending, NOBODY, rosterAfter } from "./roster.js";
import { Signalling } from "./signalling.js";
import { Silence } from "./silence.js";

const OWN = /** @type {Kind[]} */ (["microphone", "camera", "screen"]);
const PICTURES = /** @type {PictureKind[]} */ (["camera", "screen"]);
/** Failures that time heals; the others are final. */
const PASSING = new Set(["no-bridge", "internal"]);
/** Of pictures that a view does not list. */
const UNLISTED_PX = 360;

export class Session {
  roster = NOBODY;
  /** @type {Connection} */
  connection = "joining";
  #greeted = false;
  #joined = false;
  /** Whether the room has been joined before, on this signalling connection or an earlier one. */
  #welcome = false;
  /** Whether this signalling connection has heard an offer: before it, there is nothing to mute. */
  #offered = false;
  /** Whether any transport has ever been connected. */
  #shown = false;
  #closed = false;
  /** @type {import("./messages.js").VideoCodec} */
  #codec = FIRST_CODEC;
  /** @type {Map<Kind, readonly import("./messages.js").Layer[]>} what the newest transport heard */
  #layers = new Map();
  /** @type {readonly Picture[] | null} */
  #pictures = null;
  #looked_ms = -Infinity;
  #silence = new Silence();
  #asking = false;
  /** @type {string | null} by which another signalling connection may go on as this participant */
  #secret = null;

  /**
   * @param {URL} url
   * @param {Ticket} ticket
   * @param {Own} own
   * @param {Terms} terms
   * @param {Owner} owner
   */
  constructor(url, ticket, own, terms, owner) {
    this.ticket = ticket;
    this.own = own;
    this.terms = terms;
    this.owner = owner;
    const unwatch = [
      own.devices.watch((kind) => this.#changed(kind)),
      own.screen.watch(() => this.#changed("screen")),
    ];
    this.unwatch = () => unwatch.forEach((stop) => stop());
    this.listeners = new AbortController();
    this.#watchNetwork(this.listeners.signal);
    this.reception = new Reception({
      slots: (occupied) => owner.slots(occupied),
      level: (participant, level) => owner.level(participant, level),
      polled: () => void this.#listen(),
    });
    const setup = {
      codecs: terms.settings.codecs,
      codec: null,
      ice_servers: [],
      relay: terms.relay,
    };
    this.connector = new Connector(setup, terms.slots, {
      made: (transport) => this.#equip(transport),
      offer: (offer) => this.#offer(offer),
      settled: () => {
        this.reception.grown();
        this.#mindCodec();
      },
      shown: (transport) => this.#show(transport),
      connection: (is) => this.#say(is),
      lost: () => this.signalling.suspect(),
      unanswered: () => this.signalling.restart(),
    });
    this.signalling = new Signalling(url, {
      greeting: () => this.#greeting(),
      message: (message) => this.#heard(message),
      lost: () => this.#signallingLost(),
    });
    if (!terms.settings.turn) this.connector.begin();
  }

  /** Leaves for good. The devices stay the caller's. */
  close() {
    this.#closed = true;
    this.unwatch();
    this.listeners.abort();
    this.signalling.close();
    this.reception.close();
    this.connector.close();
  }

  /** What was received of each other participant since the session began. */
  async stats() {
    await this.reception.count();
    return [...this.roster.people.values()].map(({ id, name, region, bridge }) => ({
      id,
      name,
      region,
      bridge,
      ...this.reception.of(id),
    }));
  }

  /** What is sent, by source and encoding. */
  get sent() {
    return this.reception.sent;
  }

  get attempt() {
    return this.connector.attempt;
  }

  /**
   * What one looks at from now on.
   * @param {readonly Picture[]} pictures
   */
  look(pictures) {
    this.#pictures = pictures;
    this.#looked_ms = performance.now();
    this.#sayView();
    this.#makeRoom();
  }

  /**
   * What a new signalling connection says first. The first transport is made beside it, to save
   * time, unless it needs to know of relay servers. One that goes on as this participant repeats
   * the offer that has no answer yet.
   * @returns {FromBrowser[]}
   */
  #greeting() {
    /** @type {FromBrowser} */
    const join = { type: "join", ...this.ticket, resume: this.#secret };
    if (this.#secret !== null) return [join, ...this.connector.repeat()];
    if (this.#greeted && !this.terms.settings.turn) this.connector.begin();
    this.#greeted = true;
    return [join];
  }

  /** @param {ToBrowser} message */
  #heard(message) {
    const before = this.roster;
    this.roster = rosterAfter(before, message);
    switch (message.type) {
      case "joined":
        this.connector.setup.ice_servers = message.ice_servers ?? [];
        this.#secret = message.resume ?? null;
        this.#speak(message.codec);
        if (message.resumed) this.#resume();
        // The focus lets a participant go, sooner or later after their socket.
        else if (this.#welcome || this.terms.settings.turn) this.connector.begin();
        this.#joined = this.#welcome = true;
        this.signalling.settled();
        this.#sayView();
        break;
      case "answer":
        void this.connector.answered(message.attempt, message.sdp);
        break;
      case "moved":
        this.connector.begin();
        break;
      case "codec":
        this.#speak(message.codec);
        break;
      case "layers":
        this.#layers.set(message.kind, message.layers);
        void this.#encode();
        break;
      case "speaker":
        this.owner.speaker(message.id);
        break;
      case "error":
        this.#failed(message);
        break;
      default:
    }
    if (this.roster !== before) {
      this.owner.roster(this.roster, before);
      this.#makeRoom();
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
      this.connector.refused(failure.attempt ?? this.attempt);
    } else if (failure.code === "no-bridge") {
      this.connector.wait(); // `moved` comes as soon as there is one
    }
  }

  #resume() {
    this.connector.resume();
    this.#offered = true;
    for (const kind of OWN) this.#sayMuted(kind); // what was muted meanwhile
  }

  #signallingLost() {
    this.#joined = this.#offered = false;
    this.connector.offline();
    this.owner.speaker(null);
    this.#say("reconnecting");
  }

  /** @param {import("./messages.js").VideoCodec | undefined} codec */
  #speak(codec) {
    this.#codec = codec ?? FIRST_CODEC;
    this.connector.setup.codec = this.#codec;
    void this.#encode().then(() => this.#mindCodec());
  }

  async #encode() {
    const codec = this.#codec;
    await Promise.all(
      this.connector.transports.flatMap((transport) =>
        PICTURES.map((kind) =>
          transport.encode(kind, { codec, layers: this.#layers.get(kind) ?? null }),
        ),
      ),
    );
  }

  /** A browser that cannot change its codec offers anew with the right one first; once. */
  #mindCodec() {
    const [newest] = this.connector.transports;
    if (newest === undefined || newest.speaks(this.#codec)) return;
    if (newest.setup.codec !== this.#codec) this.connector.renew();
  }

  /** @param {Transport} transport */
  #equip(transport) {
    this.#layers.clear(); // of another bridge, or of another stay
    for (const kind of OWN) void transport.carry(kind, this.#track(kind));
    void this.#encode();
  }

  /** @param {import("./messages.js").Offer} offer */
  #offer(offer) {
    this.signalling.send(offer);
    this.#offered = true;
    if (!offer.renews) for (const kind of OWN) this.#sayMuted(kind);
  }

  /** @param {Transport} transport */
  #show(transport) {
    this.#shown = true;
    this.reception.show(transport);
    this.owner.sounds(transport.sounds);
  }

  /** @param {Kind} kind */
  #changed(kind) {
    for (const transport of this.connector.transports) {
      void transport.carry(kind, this.#track(kind));
    }
    if (this.#offered) this.#sayMuted(kind);
  }

  /** @param {Kind} kind */
  #track(kind) {
    return kind === "screen" ? this.own.screen.track : this.own.devices.of(kind).track;
  }

  /** @param {Kind} kind */
  #sayMuted(kind) {
    const live = kind === "screen" ? this.#track(kind) !== null : this.own.devices.live(kind);
    this.signalling.send({ type: "mute", kind, muted: !live });
  }

  #sayView() {
    if (!this.#joined || this.#pictures === null) return;
    const { last_n } = this.terms.settings;
    const pictures = this.#pictures;
    this.signalling.send({ type: "view", pictures, last_n, height_px: UNLISTED_PX });
  }

  /** A slot for each picture that there is to see. */
  #makeRoom() {
    this.connector.want(this.#visible().length);
  }

  /** The pictures that are looked at and sent. */
  #visible() {
    return (this.#pictures ?? []).filter(({ source }) => {
      const person = this.roster.people.get(participantOf(source));
      const kind = kindOf(source);
      return person !== undefined && kind !== null && isSending(person, kind);
    });
  }

  /** A path that is gone shows as silence long before the browser says so. */
  async #listen() {
    const { played_ms } = this.reception;
    const looked_ms = this.#looked_ms;
    if (this.#asking || !this.#silence.suspicious(performance.now(), { played_ms, looked_ms })) {
      return;
    }
    const cameras = this.#visible().filter(({ source }) => kindOf(source) === "camera");
    const moving = this.reception.plays(cameras.map(({ source }) => source));
    const people = [...this.roster.people.values()];
    if (!moving && !people.some((person) => isSending(person, "microphone"))) return;
    this.#asking = true;
    const silent_ms = await this.reception.silence();
    this.#asking = false;
    const now_ms = performance.now();
    if (this.#silence.ends(now_ms, moving, silent_ms ?? now_ms - played_ms)) {
      this.connector.restart();
    }
  }

  /** @param {AbortSignal} signal */
  #watchNetwork(signal) {
    const search = () => this.connector.restart();
    addEventListener("online", search, { signal });
    // What TypeScript's DOM does not know; it also changes with mere estimates of the network.
    const network = /** @type {(EventTarget & {type?: string}) | undefined} */ (
      Reflect.get(navigator, "connection")
    );
    let type = network?.type;
    network?.addEventListener(
      "change",
      () => {
        if (network.type === type) return;
        type = network.type;
        search();
      },
      { signal },
    );
  }

  /** @param {Connection} connection */
  #say(connection) {
    const next = connection === "reconnecting" && !this.#shown ? "joining" : connection;
    if (next === this.connection || this.#closed) return;
    this.connection = next;
    this.owner.connection(next);
  }
}
