import assert from "node:assert/strict";
import { test } from "node:test";
import { countersOf, sentOf, shownOf, Tally } from "../../../web/static/tally.js";

const frames = (framesDecoded) => ({
  framesDecoded,
  audioEnergy: 0,
  bytesReceived: framesDecoded * 1000,
  packetsLost: 0,
  concealedSamples: 0,
  totalSamplesReceived: 0,
});

test("a slot's frames belong to whoever was in it", () => {
  const tally = new Tally();
  tally.record("slot", 1, frames(100));
  tally.record("slot", 2, frames(130));
  assert.equal(tally.of(1).framesDecoded, 100);
  assert.equal(tally.of(2).framesDecoded, 30);
});

test("one person's frames add up over slots", () => {
  const tally = new Tally();
  tally.record("first", 1, frames(100));
  tally.record("second", 1, frames(50));
  tally.record("second", 1, frames(60));
  assert.equal(tally.of(1).framesDecoded, 160);
});

test("what came before anybody was known belongs to the one who turns out to be", () => {
  const tally = new Tally();
  tally.record("slot", null, frames(5));
  tally.record("slot", 1, frames(20));
  assert.equal(tally.of(1).framesDecoded, 20);
});

test("reports that arrive late never count backwards", () => {
  const tally = new Tally();
  tally.record("slot", 1, frames(100));
  tally.record("slot", 1, frames(90));
  assert.equal(tally.of(1).framesDecoded, 100);
});

test("nothing is known of a stranger", () => {
  assert.deepEqual(new Tally().of(7), frames(0));
});

test("counters are read by track, of incoming streams alone", () => {
  const report = new Map([
    ["a", { type: "inbound-rtp", trackIdentifier: "t", framesDecoded: 3, bytesReceived: 9 }],
    ["b", { type: "inbound-rtp", trackIdentifier: "s", totalAudioEnergy: 0.5, packetsLost: 1 }],
    ["c", { type: "outbound-rtp", framesEncoded: 5 }],
  ]);
  assert.deepEqual([...countersOf(report).keys()], ["t", "s"]);
  assert.deepEqual(countersOf(report).get("s"), {
    framesDecoded: 0,
    audioEnergy: 0.5,
    bytesReceived: 0,
    packetsLost: 1,
    concealedSamples: 0,
    totalSamplesReceived: 0,
  });
});

test("several sources add up, each stays countable alone", () => {
  const tally = new Tally();
  tally.record("a", 6, frames(10));
  tally.record("b", 7, frames(4));
  assert.equal(tally.of(6, 7).framesDecoded, 14);
  assert.equal(tally.of(7).framesDecoded, 4);
  assert.deepEqual(tally.of(), frames(0));
});

const report = (entries) => new Map(entries.map((entry) => [entry.id, entry]));
const VP8 = { id: "c", type: "codec", mimeType: "video/VP8" };

test("a shown picture has its smaller side, its rate and its codec", () => {
  const type = "inbound-rtp";
  const picture = { id: "p", type, kind: "video", trackIdentifier: "t", codecId: "c" };
  const portrait = { ...picture, frameWidth: 360, frameHeight: 640, framesPerSecond: 15 };
  assert.deepEqual(shownOf(report([VP8, portrait])).get("t"), {
    frameHeight: 360,
    framesPerSecond: 15,
    codec: "vp8",
  });
  assert.deepEqual(shownOf(report([picture])).get("t"), {
    frameHeight: null,
    framesPerSecond: null,
    codec: null,
  });
});

test("what is sent is told by source and encoding, its bit rate since the report before", () => {
  const sent = (timestamp, bytesSent) => ({
    id: "s",
    type: "outbound-rtp",
    mid: "1",
    rid: "q",
    codecId: "c",
    active: true,
    frameWidth: 320,
    frameHeight: 180,
    timestamp,
    bytesSent,
  });
  const [before, after] = [report([VP8, sent(1000, 500)]), report([VP8, sent(3000, 25_500)])];
  const [told] = sentOf(after, before, new Map([["1", "camera"]]));
  assert.deepEqual(told, {
    kind: "camera",
    rid: "q",
    active: true,
    codec: "vp8",
    frameHeight: 180,
    framesPerSecond: 0,
    bytesSent: 25_500,
    bitrate_bps: 100_000,
  });
  assert.equal(sentOf(before, null, new Map())[0].bitrate_bps, 0);
});
