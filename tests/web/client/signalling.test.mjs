import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { reconnectDelay, Signalling } from "../../../web/static/signalling.js";

/** @type {Socket[]} every one that was made, in order */
let sockets = [];

class Socket {
  static CONNECTING = 0;
  static OPEN = 1;
  readyState = Socket.CONNECTING;
  said = [];

  constructor() {
    sockets.push(this);
  }

  open() {
    this.readyState = Socket.OPEN;
    this.onopen?.();
  }

  send(text) {
    this.said.push(JSON.parse(text).type);
  }

  hear(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  close() {
    this.readyState = 3;
  }
}

globalThis.WebSocket = Socket;
globalThis.addEventListener ??= () => undefined;
globalThis.removeEventListener ??= () => undefined;

/** A signalling whose first connection is open, and what its owner has been told. */
function connected() {
  const told = [];
  const signalling = new Signalling(new URL("wss://meet.example"), {
    greeting: () => [{ type: "join" }],
    message: ({ type }) => told.push(type),
    lost: () => told.push("lost"),
  });
  sockets[0].open();
  return { signalling, told };
}

beforeEach(() => {
  sockets = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("reconnecting is tried soon, then less and less often, never never", () => {
  const delays = [1, 2, 3, 4, 5, 6, 20].map((failures) => reconnectDelay(failures, 0.5));
  for (const [index, delay] of delays.entries()) {
    assert.ok(delay > 0 && delay <= 5000);
    assert.ok(index === 0 || delay >= delays[index - 1]);
  }
  assert.ok(delays[0] < 500);
});

test("a crowd that lost its server does not come back in one moment", () => {
  assert.notEqual(reconnectDelay(4, 0.1), reconnectDelay(4, 0.9));
});

test("a suspected connection that answers is kept, and the spare one closed", () => {
  const { signalling, told } = connected();
  signalling.suspect();
  sockets[1].open();
  sockets[0].hear({ type: "left", id: 1 });
  mock.timers.tick(10_000);
  assert.equal(sockets[1].readyState, 3);
  assert.deepEqual(sockets[1].said, []);
  signalling.send({ type: "leave" });
  assert.deepEqual(sockets[0].said, ["join", "leave"]);
  assert.deepEqual(told, ["left"]);
});

test("a suspected connection that stays silent is replaced soon after a new one opens", () => {
  const { signalling, told } = connected();
  signalling.suspect();
  mock.timers.tick(5000);
  assert.deepEqual(told, []); // the network may just be slow: nothing opens either
  sockets[1].open();
  mock.timers.tick(500);
  assert.deepEqual(told, ["lost"]);
  assert.deepEqual(sockets[1].said, ["join"]);
  assert.equal(sockets[0].readyState, 3);
  sockets[1].hear({ type: "left", id: 1 });
  assert.deepEqual(told, ["lost", "left"]);
});

test("suspecting twice opens one spare connection", () => {
  const { signalling } = connected();
  signalling.suspect();
  signalling.suspect();
  assert.equal(sockets.length, 2);
});

test("a spare connection that fails changes nothing", () => {
  const { signalling, told } = connected();
  signalling.suspect();
  sockets[1].onclose();
  mock.timers.tick(10_000);
  assert.deepEqual(told, []);
  signalling.suspect();
  assert.equal(sockets.length, 3);
});

test("whoever leaves leaves no spare connection behind", () => {
  const { signalling, told } = connected();
  signalling.suspect();
  signalling.close();
  mock.timers.tick(10_000);
  assert.ok(sockets.every(({ readyState }) => readyState === 3));
  assert.deepEqual(told, []);
});

test("a lost connection is made anew and greets again", () => {
  const { told } = connected();
  sockets[0].onclose();
  mock.timers.tick(5000);
  sockets[1].open();
  assert.deepEqual(told, ["lost"]);
  assert.deepEqual(sockets[1].said, ["join"]);
});
