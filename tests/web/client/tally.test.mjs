import assert from "node:assert/strict";
import { test } from "node:test";
import { countersOf, Tally } from "../../../web/static/tally.js";

const frames = (framesDecoded) => ({
  framesDecoded,
  audioEnergy: 0,
  bytesReceived: framesDecoded * 1000,
  packetsLost: 0,
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
  });
});
