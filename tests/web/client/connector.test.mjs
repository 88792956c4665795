import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { Connector } from "../../../web/static/connector.js";

/** @type {Connection[]} every one that was made, in order */
let connections = [];

class Connection {
  connectionState = "new";
  signalingState = "stable";
  localDescription = null;
  remoteDescription = null;
  transceivers = [];
  restarts = 0;
  checks = 0;

  constructor() {
    connections.push(this);
  }

  addTransceiver(media, { direction, sendEncodings = [] }) {
    const transceiver = {
      direction,
      mid: String(this.transceivers.length),
      receiver: { track: { kind: media } },
      sender: {
        track: null,
        replaceTrack: async () => undefined,
        getParameters: () => ({ codecs: [], encodings: structuredClone(sendEncodings) }),
        setParameters: async () => undefined,
      },
      setCodecPreferences: () => undefined,
    };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  async setLocalDescription() {
    this.localDescription = { sdp: "offer" };
  }

  async setRemoteDescription({ sdp }) {
    if (sdp === "nonsense") throw new DOMException("no SDP", "OperationError");
    this.remoteDescription = { sdp };
  }

  restartIce() {
    this.restarts += 1;
  }

  async getStats() {
    return new Map([["pair", { type: "candidate-pair", responsesReceived: this.checks }]]);
  }

  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }

  close() {
    this.connectionState = "closed";
  }

  get slots() {
    return this.transceivers.filter(
      ({ direction, receiver }) => direction === "recvonly" && receiver.track.kind === "video",
    ).length;
  }
}

globalThis.RTCPeerConnection = Connection;
globalThis.RTCRtpReceiver = { getCapabilities: () => null };
globalThis.MediaStream = class {};
globalThis.document = {
  createElement: () => ({ contentWindow: globalThis }),
  body: { append: () => undefined },
};

/** Lets everything that has been promised happen. */
async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

async function pass(duration_ms) {
  for (let passed_ms = 0; passed_ms < duration_ms; passed_ms += 50) {
    mock.timers.tick(50);
    await settle();
  }
}

/** A connector, what its owner has been told, and the offers that it made. */
async function begun() {
  const told = [];
  const offers = [];
  const setup = { codecs: ["vp8"], codec: null, ice_servers: [], relay: false };
  const connector = new Connector(setup, 49, {
    made: () => told.push("made"),
    offer: (offer) => offers.push(offer),
    settled: () => told.push("settled"),
    shown: () => told.push("shown"),
    connection: (is) => told.push(is),
    lost: () => told.push("lost"),
    unanswered: () => told.push("unanswered"),
  });
  connector.begin();
  await settle();
  return { connector, told, offers };
}

/** The same, connected by its first transport. */
async function connected() {
  const all = await begun();
  await all.connector.answered(0, "answer");
  connections[0].become("connected");
  await settle();
  return all;
}

beforeEach(() => {
  connections = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("the first offer has nine slots for pictures and begins a transport", async () => {
  const { offers, told } = await connected();
  assert.equal(connections[0].slots, 9);
  assert.deepEqual(offers.map(({ attempt, renews }) => [attempt, renews]), [[0, false]]);
  assert.deepEqual(told, ["made", "settled", "shown", "connected"]);
});

test("more pictures than slots are asked for by a later offer of the same connection", async () => {
  const { connector, offers } = await connected();
  connector.want(9);
  await settle();
  assert.equal(offers.length, 1);
  connector.want(12);
  await settle();
  assert.equal(connections[0].slots, 25);
  assert.deepEqual([offers[1].attempt, offers[1].renews, connections.length], [1, true, 1]);
  await connector.answered(1, "answer");
  connector.want(3);
  await settle();
  assert.equal(offers.length, 2);
});

test("slots that are wanted while an offer waits are asked for after its answer", async () => {
  const { connector, offers } = await begun();
  connector.want(30);
  await settle();
  assert.equal(offers.length, 1);
  await connector.answered(0, "answer");
  await settle();
  assert.equal(connections[0].slots, 49);
  assert.equal(offers.length, 2);
});

test("a later offer that is refused makes another transport with all the slots", async () => {
  const { connector, offers } = await connected();
  connector.want(12);
  await settle();
  connector.refused(1);
  await settle();
  assert.deepEqual(offers.map(({ renews }) => renews), [false, true, false]);
  assert.equal(connections[1].slots, 25);
  assert.equal(connections[0].connectionState, "connected"); // shown until the other is
  await connector.answered(2, "answer");
  connections[1].become("connected");
  assert.equal(connections[0].connectionState, "closed");
});

test("a first offer that is refused is made again, less and less often", async () => {
  const { connector, offers } = await begun();
  const waits_ms = [];
  for (let attempt = 0; attempt < 6; attempt += 1) {
    connector.refused(attempt);
    let waited_ms = 0;
    for (; offers.length === attempt + 1; waited_ms += 250) await pass(250);
    waits_ms.push(waited_ms);
  }
  assert.deepEqual(waits_ms, [...waits_ms].sort((a, b) => a - b));
  assert.ok(waits_ms[5] > waits_ms[0] && waits_ms[5] <= 8000);
});

test("an answer or a refusal of an offer given up since is ignored", async () => {
  const { connector, offers, told } = await begun();
  connector.renew();
  await settle();
  connector.refused(0);
  await connector.answered(0, "answer");
  await pass(5000);
  assert.equal(offers.length, 2);
  assert.ok(!told.includes("settled"));
});

test("a disconnection that lasts a second is met by looking for another path", async () => {
  const { offers, told } = await connected();
  connections[0].become("disconnected");
  await pass(900);
  assert.equal(offers.length, 1);
  await pass(200);
  assert.equal(connections[0].restarts, 1);
  assert.deepEqual([offers[1].renews, connections.length], [true, 1]);
  assert.ok(told.includes("lost"));
});

test("a path that is found ends the search", async () => {
  const { connector, offers } = await connected();
  connections[0].become("failed");
  await settle();
  await connector.answered(1, "answer");
  connections[0].become("connecting");
  connections[0].become("connected");
  await pass(60_000);
  assert.deepEqual([offers.length, connections.length], [2, 1]);
});

test("where no path is found within two seconds another transport is made", async () => {
  const { connector } = await connected();
  connections[0].become("failed");
  await settle();
  await connector.answered(1, "answer");
  await pass(2000);
  assert.equal(connections.length, 2);
});

test("a state that is said to be connected counts only if checks are answered", async () => {
  const { connector } = await connected();
  connector.restart();
  await settle();
  await connector.answered(1, "answer");
  connections[0].checks += 1;
  await pass(2000);
  assert.equal(connections.length, 1);
  connector.restart();
  await settle();
  await connector.answered(2, "answer");
  await pass(2000);
  assert.equal(connections.length, 2);
});

test("a search that begins while an offer waits begins after its answer", async () => {
  const { connector, offers } = await connected();
  connector.want(12);
  await settle();
  connector.restart();
  assert.equal(connections[0].restarts, 0);
  await connector.answered(1, "answer");
  await settle();
  assert.equal(connections[0].restarts, 1);
  assert.equal(offers.length, 3);
});

test("without signalling nothing is offered, and media goes on", async () => {
  const { connector, offers } = await connected();
  connector.offline();
  connector.restart();
  connector.want(20);
  connections[0].become("disconnected");
  await pass(60_000);
  assert.deepEqual([offers.length, connections[0].connectionState], [1, "disconnected"]);
  connector.begin();
  await settle();
  assert.deepEqual([offers.length, connections.length, connections[1].slots], [2, 2, 25]);
});

test("whoever is known again repeats the offer that was not answered, and goes on", async () => {
  const { connector, offers, told } = await connected();
  connector.restart();
  await settle();
  connector.offline();
  assert.deepEqual(connector.repeat(), [offers[1]]);
  await pass(60_000);
  connector.resume();
  await settle();
  assert.deepEqual([offers.length, connections.length], [2, 1]); // it has been said
  await connector.answered(1, "answer");
  connections[0].checks += 1;
  await pass(2000);
  assert.deepEqual([offers.length, connections.length, told.at(-1)], [2, 1, "connected"]);
});

test("an offer that is made while there is nobody is said when there is somebody", async () => {
  const { connector, offers } = await connected();
  connector.want(12);
  connector.offline();
  await settle();
  assert.deepEqual(connector.repeat().map(({ attempt }) => attempt), [1]);
  connector.restart();
  connector.resume();
  await settle();
  assert.equal(offers.length, 1);
  await connector.answered(1, "answer");
  await settle();
  assert.equal(connections[0].restarts, 1);
  assert.deepEqual(offers.map(({ attempt }) => attempt), [0, 2]);
});

test("a path that is lost while there is nobody is sought when there is somebody", async () => {
  const { connector, offers } = await connected();
  connector.offline();
  connector.restart();
  assert.deepEqual(connector.repeat(), []);
  connector.resume();
  await settle();
  assert.equal(connections[0].restarts, 1);
  assert.deepEqual(offers.map(({ renews }) => renews), [false, true]);
});

test("whoever is not known again offers another transport, and the offer before is void", async () => {
  const { connector, offers } = await connected();
  connector.restart();
  await settle();
  connector.offline();
  connector.repeat();
  connector.begin();
  await settle();
  connector.refused(1);
  await connector.answered(1, "answer");
  await settle();
  assert.deepEqual(offers.map(({ attempt, renews }) => [attempt, renews]), [
    [0, false],
    [1, true],
    [2, false],
  ]);
  assert.equal(connections.length, 2);
});

test("an answer that cannot be used, or a transport that never connects, is tried again", async () => {
  const { connector, offers } = await begun();
  await connector.answered(0, "nonsense");
  await pass(1000);
  assert.equal(offers.length, 2);
  await connector.answered(1, "answer");
  await pass(10_000);
  await pass(1000);
  assert.equal(offers.length, 3);
});

test("a transport that fails at once, for its address is gone, may still connect", async () => {
  const { connector, offers, told } = await begun();
  await connector.answered(0, "answer");
  connections[0].become("failed");
  await pass(2500);
  connections[0].become("connecting");
  connections[0].become("connected");
  await pass(60_000);
  assert.equal(offers.length, 1);
  assert.equal(told.at(-1), "connected");
});

test("a transport that fails and stays so is replaced", async () => {
  const { connector, offers } = await begun();
  await connector.answered(0, "answer");
  connections[0].become("failed");
  await pass(3000);
  await pass(1000);
  assert.equal(offers.length, 2);
});

test("a transport that connects when its successor is due already is kept", async () => {
  const { connector, offers } = await begun();
  connector.refused(0);
  await connector.answered(0, "answer");
  connections[0].become("connected");
  await pass(60_000);
  assert.equal(offers.length, 1);
});

test("an offer that nobody answers is told", async () => {
  const { told } = await begun();
  await pass(10_000);
  assert.ok(told.includes("unanswered"));
});

test("closing closes all", async () => {
  const { connector } = await connected();
  connector.renew();
  await settle();
  connector.close();
  assert.ok(connections.every(({ connectionState }) => connectionState === "closed"));
});
