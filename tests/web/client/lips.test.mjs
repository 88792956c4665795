import assert from "node:assert/strict";
import { test } from "node:test";
import { Lips, skewOf } from "../../../web/static/lips.js";

const ANA = 7;
const NTP_MS = 4e12;
const BEARABLE_MS = 80;
const played = (timestamp, latency_ms) => ({
  timestamp,
  captureTimestamp: NTP_MS + timestamp - latency_ms,
});

/** Seconds of a person whose voice and picture would, left alone, be played that late. */
function play(seconds, { voice_ms, picture_ms, noise = () => 0 }) {
  const lips = new Lips();
  let targets = { microphone_ms: null, camera_ms: null };
  const skews_ms = [];
  for (let second = 0; second < seconds; second += 1) {
    // A target is the least that a jitter buffer holds; it holds more if the network asks for it.
    const voice = Math.max(voice_ms(second), targets.microphone_ms ?? 0);
    const picture = Math.max(picture_ms(second), targets.camera_ms ?? 0);
    const skew_ms = picture - voice + noise(second);
    skews_ms.push(picture - voice);
    targets = lips.update(new Map([[ANA, skew_ms]])).get(ANA);
  }
  return { skews_ms, targets };
}

test("the skew is how much later the picture is played than the voice", () => {
  assert.equal(skewOf(played(1000, 50), played(1010, 170)), 120);
  assert.equal(skewOf(played(1000, 200), played(990, 60)), -140);
});

test("no clock of the sender, or nothing played lately, is no skew", () => {
  assert.equal(skewOf({ timestamp: 1000 }, played(1000, 10)), null);
  assert.equal(skewOf(played(1000, 10), undefined), null);
  assert.equal(skewOf(played(1000, 10), played(9000, 10)), null);
});

test("a late picture is waited for until lips match, and so is a late voice", () => {
  for (const [voice, picture] of [
    [40, 400],
    [400, 40],
    [0, 250],
    [60, 200],
  ]) {
    const { skews_ms } = play(40, { voice_ms: () => voice, picture_ms: () => picture });
    const settled = skews_ms.slice(25);
    assert.ok(settled.every((skew_ms) => Math.abs(skew_ms) <= BEARABLE_MS), settled.join(" "));
  }
});

test("measurements that stray by a frame do not keep it from settling", () => {
  const noise = (second) => (second % 2 === 0 ? 33 : -33);
  const { skews_ms } = play(60, { voice_ms: () => 50, picture_ms: () => 300, noise });
  assert.ok(skews_ms.slice(30).every((skew_ms) => Math.abs(skew_ms) <= BEARABLE_MS));
});

test("a network that becomes quick again is followed back", () => {
  const picture_ms = (second) => (second < 30 ? 400 : 60);
  const { skews_ms, targets } = play(80, { voice_ms: () => 40, picture_ms });
  assert.ok(skews_ms.slice(70).every((skew_ms) => Math.abs(skew_ms) <= BEARABLE_MS));
  assert.ok((targets.microphone_ms ?? 0) <= 60 + BEARABLE_MS);
});

test("what matches is left alone", () => {
  const { targets } = play(30, { voice_ms: () => 60, picture_ms: () => 72 });
  assert.deepEqual(targets, { microphone_ms: null, camera_ms: null });
});

test("a voice is never delayed in a leap, nor without end", () => {
  const lips = new Lips();
  let before_ms = 0;
  for (let second = 0; second < 100; second += 1) {
    const { microphone_ms, camera_ms } = lips.update(new Map([[ANA, 5000]])).get(ANA);
    assert.equal(camera_ms, null);
    assert.ok(microphone_ms - before_ms <= 50 && microphone_ms <= 1000);
    before_ms = microphone_ms;
  }
});

test("while nothing is known of the skew the delays stay", () => {
  const lips = new Lips();
  const told = lips.update(new Map([[ANA, 300]])).get(ANA);
  assert.deepEqual(lips.update(new Map([[ANA, null]])).get(ANA), told);
});

test("somebody who is no longer heard and seen together begins anew", () => {
  const lips = new Lips();
  for (let second = 0; second < 5; second += 1) lips.update(new Map([[ANA, 300]]));
  lips.update(new Map());
  assert.equal(lips.update(new Map([[ANA, 0]])).get(ANA).microphone_ms, null);
});
