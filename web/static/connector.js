/**
 * Keeps a transport connected: offers it, renews it, finds another path for it, and replaces it
 * when all that fails. The one that is shown stays until its successor connects.
 *
 * @typedef {import("./messages.js").Offer} Offer
 * @typedef {import("./transport.js").Setup} Setup
 * @typedef {"connected" | "reconnecting"} Connection
 * @typedef {object} Owner
 * @property {(transport: Transport) => void} made a new one, before its offer
 * @property {(offer: Offer) => void} offer
 * @property {() => void} settled an answer has been accepted
 * @property {(transport: Transport) => void} shown it is connected, and those before are closed
 * @property {(connection: Connection) => void} connection
 * @property {() => void} lost the path is, so the signalling may be dead with it
 * @property {() => void} unanswered the signalling must be dead
 */

import { slotsFor } from "./slots.js";
import { Transport } from "./transport.js";

/** A transport has this long to connect, and as long to recover by itself. */
const CONNECT_BOUND_MS = 10_000;
const RECOVER_BOUND_MS = 1000;
/** Another path is found in a few round trips or not at all; it is looked each so often. */
const RESTART_BOUND_MS = 2000;
const RESTART_LOOK_MS = 200;
/**
 * A transport that fails is left as long before it is replaced: browsers learn of a new network
 * address up to two seconds late, and then it connects by itself.
 */
const FAILED_BOUND_MS = 3000;
/** The focus gives a bridge 8 s; no word at all by then: the signalling itself must be dead. */
const ANSWER_BOUND_MS = 10_000;
const LONGEST_RETRY_MS = 8000;

export class Connector {
  /** @type {Transport | null} the newest, connected or not */
  #transport = null;
  /** @type {Transport | null} the one before, shown until the newest connects */
  #previous = null;
  /** @type {Transport | null} */
  #shown = null;
  #attempts = 0;
  #failures = 0;
  #pictures = 0;
  /** Whether an offer is being made or waits for its answer. */
  #awaiting = false;
  /** @type {Offer | null} what waits for its answer */
  #pending = null;
  /** Whether that has been said on the signalling connection that is there now. */
  #said = false;
  /** Whether the newest looks for another path. */
  #restarting = false;
  /** Whether it should look for one as soon as the answer is there. */
  #restart_due = false;
  /** Whether there is anybody to send an offer to. */
  #online = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #deadline;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #answer_deadline;

  /**
   * `most` is how many pictures at once there may be.
   * @param {Omit<Setup, "pictures">} setup of transports from now on; the owner may change it
   * @param {number} most
   * @param {Owner} owner
   */
  constructor(setup, most, owner) {
    this.setup = setup;
    this.most = most;
    this.owner = owner;
  }

  /** Of the latest offer. */
  get attempt() {
    return this.#transport?.attempt ?? 0;
  }

  /** @returns {Transport[]} those that carry media or are about to, the newest first */
  get transports() {
    const all = [this.#transport, this.#shown, this.#previous];
    return [...new Set(all)].filter((transport) => transport !== null);
  }

  /** A new transport instead of the newest; the one shown stays until the new one connects. */
  renew() {
    if (!this.#online) return; // the next signalling connection brings a new one
    this.#clear();
    if (this.#transport !== null && this.#transport !== this.#shown) this.#transport.close();
    else this.#previous = this.#transport;
    const pictures = slotsFor(this.#pictures, this.most);
    const transport = new Transport({ ...this.setup, pictures }, (state) =>
      this.#transportIs(transport, state),
    );
    this.#transport = transport;
    this.#restarting = this.#restart_due = false;
    if (this.#shown !== null) this.owner.connection("reconnecting");
    this.#deadline = setTimeout(() => this.#renewLater(), CONNECT_BOUND_MS);
    this.owner.made(transport);
    void this.#offer(transport);
  }

  /** The first one, or one for a new seat: whatever went wrong before does not count. */
  begin() {
    this.#online = true;
    this.#failures = 0;
    this.renew();
  }

  /** There is nobody to talk to; media goes on as it can. */
  offline() {
    this.#online = this.#said = false;
    this.#clear();
  }

  /**
   * What to say first to whom may know of the transports: `resume` or `begin` follows.
   * @returns {Offer[]}
   */
  repeat() {
    this.#said = this.#pending !== null;
    return this.#pending === null ? [] : [this.#pending];
  }

  /** There is somebody again who knows of the transports; what was begun goes on. */
  resume() {
    const transport = this.#transport;
    this.#online = true;
    if (this.#pending !== null) this.#say(this.#pending);
    if (transport === null) return;
    if (this.#restarting) this.#search(transport);
    else this.#transportIs(transport, transport.state);
    if (this.#restart_due && !this.#awaiting) this.restart();
  }

  /** There is no bridge now: nothing to do until there is word of one. */
  wait() {
    this.#clear();
    this.owner.connection("reconnecting");
  }

  /**
   * @param {number} attempt
   * @param {string} sdp
   */
  async answered(attempt, sdp) {
    const transport = this.#transport;
    if (transport === null || transport.attempt !== attempt) return; // of one given up since
    clearTimeout(this.#answer_deadline);
    try {
      await transport.accept(sdp);
    } catch {
      if (transport === this.#transport) this.#renewLater();
      return;
    }
    if (transport !== this.#transport) return;
    this.#awaiting = false;
    this.#pending = null;
    this.owner.settled();
    if (this.#restart_due) this.restart();
    else this.#grow();
  }

  /**
   * The bridge did not take an offer.
   * @param {number} attempt
   */
  refused(attempt) {
    if (this.#transport?.attempt !== attempt) return; // of one given up since
    if (this.#transport.settled) this.renew();
    else this.#renewLater();
  }

  /**
   * Makes room for so many pictures at once, by another offer if need be.
   * @param {number} pictures
   */
  want(pictures) {
    this.#pictures = pictures;
    this.#grow();
  }

  /** Looks for another path, and makes another transport if there is none. */
  restart() {
    const transport = this.#transport;
    if (this.#restarting || transport === null || transport !== this.#shown) return;
    if (!this.#online || this.#awaiting) {
      this.#restart_due = true;
      if (this.#online) this.owner.lost();
      return;
    }
    this.#restarting = true;
    this.#restart_due = false;
    this.#search(transport);
    void this.#offer(transport, true).then(() => this.owner.lost());
  }

  close() {
    this.offline();
    for (const transport of this.transports) transport.close();
  }

  /** @param {Transport} transport */
  #search(transport) {
    this.#look(transport, transport.checks(), RESTART_BOUND_MS);
  }

  /**
   * @param {Transport} transport
   * @param {Promise<ReadonlyMap<string, number>>} before
   * @param {number} left_ms
   */
  #look(transport, before, left_ms) {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(
      () => void this.#judge(transport, before, left_ms - RESTART_LOOK_MS),
      RESTART_LOOK_MS,
    );
  }

  /**
   * Whether the restart has found a path.
   * @param {Transport} transport
   * @param {Promise<ReadonlyMap<string, number>>} before
   * @param {number} left_ms
   */
  async #judge(transport, before, left_ms) {
    const [then, now] = await Promise.all([before, transport.checks()]);
    if (transport !== this.#transport || !this.#restarting || !this.#online) return;
    const alive = [...now].some(([pair, answers]) => answers > (then.get(pair) ?? 0));
    // A state that says connected may be as old as the path.
    if (transport.state === "connected" && alive) this.#transportIs(transport, "connected");
    else if (left_ms > 0) this.#look(transport, before, left_ms);
    else this.renew();
  }

  #clear() {
    for (const timer of [this.#retry, this.#deadline, this.#answer_deadline]) clearTimeout(timer);
  }

  #renewLater() {
    clearTimeout(this.#retry);
    const delay_ms = Math.min(LONGEST_RETRY_MS, 250 * 2 ** this.#failures);
    this.#failures += 1;
    this.owner.connection("reconnecting");
    this.#retry = setTimeout(() => this.renew(), delay_ms);
  }

  #grow() {
    const transport = this.#transport;
    const pictures = slotsFor(this.#pictures, this.most);
    if (transport === null || this.#awaiting || !this.#online) return; // the answer asks again
    if (pictures <= transport.pictures.length) return;
    transport.grow(pictures);
    void this.#offer(transport);
  }

  /**
   * @param {Transport} transport
   * @param {boolean} restart
   */
  async #offer(transport, restart = false) {
    this.#awaiting = true;
    this.#pending = null;
    this.#said = false;
    const attempt = this.#attempts++;
    const offer = await transport.offer(attempt, restart).catch(() => null); // closed meanwhile
    if (offer === null || transport !== this.#transport) return;
    this.#pending = offer;
    if (this.#online) this.#say(offer);
  }

  /** @param {Offer} offer */
  #say(offer) {
    if (!this.#said) this.owner.offer(offer);
    this.#said = true;
    clearTimeout(this.#answer_deadline);
    this.#answer_deadline = setTimeout(() => this.owner.unanswered(), ANSWER_BOUND_MS);
  }

  /**
   * @param {Transport} transport
   * @param {RTCPeerConnectionState} state
   */
  #transportIs(transport, state) {
    if (transport !== this.#transport || !this.#online) return;
    if (this.#restarting && state !== "connected") return; // its deadline is set
    clearTimeout(this.#deadline);
    switch (state) {
      case "connected":
        clearTimeout(this.#retry);
        this.#failures = 0;
        this.#restarting = false;
        this.#show(transport);
        this.owner.connection("connected");
        break;
      case "disconnected":
        this.owner.connection("reconnecting");
        this.#deadline = setTimeout(() => this.restart(), RECOVER_BOUND_MS);
        break;
      case "failed":
        if (transport === this.#shown) this.restart();
        else this.#deadline = setTimeout(() => this.#renewLater(), FAILED_BOUND_MS);
        break;
      default:
        this.#deadline = setTimeout(() => this.#renewLater(), CONNECT_BOUND_MS);
    }
  }

  /** @param {Transport} transport */
  #show(transport) {
    if (this.#shown === transport) return;
    this.#previous?.close();
    this.#previous = null;
    this.#shown = transport;
    this.owner.shown(transport);
  }
}
