/**
 * The one WebSocket to the web room; comes back by itself for as long as it is wanted.
 *
 * @typedef {import("./messages.js").FromBrowser} FromBrowser
 * @typedef {import("./messages.js").ToBrowser} ToBrowser
 */

import { parseServerMessage } from "./messages.js";

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 5000;
/** An attempt that neither opens nor fails by then is given up. */
const OPEN_BOUND_MS = 8000;
/**
 * A connection that says nothing for so long after a new one has opened may be dead: on a path that
 * is merely slow it would have answered while the new one opened, which takes more round trips.
 */
const GRACE_MS = 100;

/**
 * How long to wait before attempt number `failures` + 1; `chance` in [0, 1) spreads a crowd that
 * lost its server at the same moment.
 * @param {number} failures in a row
 * @param {number} chance
 */
export function reconnectDelay(failures, chance) {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.max(0, failures - 1));
  return longest * (0.5 + chance / 2);
}

export class Signalling {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {WebSocket | null} opened to find out whether the other one is dead */
  #spare = null;
  /** Messages heard, ever. */
  #heard = 0;
  /** @type {FromBrowser[]} said while the socket was still opening */
  #queue = [];
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #wanted = true;

  /**
   * `greeting` gives what every new connection says first; `lost` is told of each loss, before
   * the next attempt; whatever was still queued on the lost one is gone.
   * @param {URL} url
   * @param {{greeting: () => FromBrowser[], message: (message: ToBrowser) => void,
   *   lost: () => void}} owner
   */
  constructor(url, owner) {
    this.url = url;
    this.owner = owner;
    addEventListener("online", this.#hurry);
    this.#connect();
  }

  /**
   * Sends now, or as soon as the connection opens; says nothing into a lost one.
   * @param {FromBrowser} message
   */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
    else if (this.#socket?.readyState === WebSocket.CONNECTING) this.#queue.push(message);
  }

  /** The server is heard: the next loss starts with a short delay again. */
  settled() {
    this.#failures = 0;
  }

  /** Gives up this connection and makes a new one; for a socket that looks open and is dead. */
  restart() {
    this.#drop();
  }

  /**
   * This connection may be dead, though it looks open: TCP takes long to notice that an address
   * is gone. Opens another one, and goes over to it unless there is an answer meanwhile; call it
   * after saying something that is answered.
   */
  suspect() {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || this.#spare !== null) return;
    const heard = this.#heard;
    const spare = new WebSocket(this.url);
    this.#spare = spare;
    spare.onclose = () => this.#forget(spare);
    const judge = () => {
      if (this.#spare !== spare) return;
      this.#spare = null;
      if (this.#heard !== heard || this.#socket !== socket) spare.close();
      else this.#replace(spare);
    };
    spare.onopen = () => setTimeout(judge, GRACE_MS);
  }

  /** For good: says so politely and never comes back. */
  close() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    removeEventListener("online", this.#hurry);
    this.send({ type: "leave" });
    this.#socket?.close(1000);
    this.#socket = null;
    this.#dropSpare();
  }

  #connect() {
    this.#listen(new WebSocket(this.url));
    this.#timer = setTimeout(() => this.#drop(), OPEN_BOUND_MS);
  }

  /** @param {WebSocket} socket from now on */
  #listen(socket) {
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => {
      this.#heard += 1;
      const message = typeof data === "string" ? parseServerMessage(data) : null;
      if (message !== null) this.owner.message(message);
    };
    socket.onclose = () => this.#drop();
  }

  #opened() {
    clearTimeout(this.#timer);
    const waiting = this.#queue;
    this.#queue = [];
    for (const message of [...this.owner.greeting(), ...waiting]) this.send(message);
  }

  /** @param {WebSocket} open */
  #replace(open) {
    this.#lose();
    this.#listen(open);
    this.#opened();
  }

  #drop() {
    if (this.#socket === null) return;
    this.#dropSpare();
    this.#lose();
    this.#failures += 1;
    if (!this.#wanted) return;
    this.#timer = setTimeout(
      () => this.#connect(),
      reconnectDelay(this.#failures, Math.random()),
    );
  }

  #lose() {
    const socket = this.#socket;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.#socket = null;
    this.#queue = [];
    clearTimeout(this.#timer);
    this.owner.lost();
  }

  #dropSpare() {
    const spare = this.#spare;
    if (spare === null) return;
    spare.onopen = spare.onclose = null;
    spare.close();
    this.#spare = null;
  }

  /** @param {WebSocket} spare */
  #forget(spare) {
    if (this.#spare === spare) this.#spare = null;
  }

  #hurry = () => {
    if (this.#socket !== null || !this.#wanted) return;
    clearTimeout(this.#timer);
    this.#connect();
  };
}
