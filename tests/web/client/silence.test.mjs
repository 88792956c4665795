import assert from "node:assert/strict";
import { test } from "node:test";
import { Silence } from "../../../web/static/silence.js";

const LONG_AGO = -60_000;

/**
 * Looks ten times a second at a path on which nothing more comes after 0 ms, but for what `heard`
 * says; when another one was sought.
 */
function sought(silence, { moving = true, until_ms, heard = () => 0, looked_ms = LONG_AGO }) {
  const found = [];
  for (let now_ms = 0; now_ms <= until_ms; now_ms += 100) {
    if (!silence.suspicious(now_ms, { played_ms: 0, looked_ms })) continue;
    if (silence.ends(now_ms, moving, now_ms - heard(now_ms))) found.push(now_ms);
  }
  return found;
}

test("a path on which cameras stand still for half a second is given up, once", () => {
  assert.deepEqual(sought(new Silence(), { until_ms: 60_000 }), [500]);
});

test("voices alone may pause for longer", () => {
  assert.deepEqual(sought(new Silence(), { moving: false, until_ms: 5000 }), [1200]);
});

test("whatever arrives keeps the path, though nothing can be played", () => {
  const heard = (now_ms) => now_ms - 400; // feedback, or the checks of ICE
  assert.deepEqual(sought(new Silence(), { until_ms: 60_000, heard }), []);
});

test("what arrives is not asked for as long as something is played", () => {
  const silence = new Silence();
  assert.ok(!silence.suspicious(1000, { played_ms: 800, looked_ms: LONG_AGO }));
  assert.ok(silence.suspicious(1100, { played_ms: 800, looked_ms: LONG_AGO }));
});

test("silence right after one looks at something else says nothing", () => {
  assert.deepEqual(sought(new Silence(), { until_ms: 1000, looked_ms: 300 }), []);
  assert.deepEqual(sought(new Silence(), { until_ms: 2000, looked_ms: 300 }), [1300]);
});

test("a path that stutters is given up less and less often", () => {
  const silence = new Silence();
  const found = [];
  // Every two seconds something is played, and then nothing for a second and a half.
  for (let now_ms = 0; now_ms < 600_000; now_ms += 100) {
    const played_ms = Math.max(now_ms - (now_ms % 2000), now_ms - (now_ms % 2000 < 500 ? 0 : 1500));
    const silent_ms = now_ms - Math.min(now_ms, now_ms - (now_ms % 2000) + 400);
    if (!silence.suspicious(now_ms, { played_ms, looked_ms: LONG_AGO })) continue;
    if (silence.ends(now_ms, true, silent_ms)) found.push(now_ms);
  }
  const pauses = found.slice(1).map((at, index) => at - found[index]);
  assert.ok(pauses[0] >= 5000 && pauses[0] < 8000, `${pauses}`);
  assert.deepEqual(pauses, [...pauses].sort((a, b) => a - b));
  assert.ok(pauses.at(-1) >= 80_000, `${pauses}`);
});

test("a path that was fine for long is given up as soon as the first one", () => {
  const silence = new Silence();
  assert.ok(silence.ends(1000, true, 500));
  assert.ok(silence.ends(7000, true, 500));
  assert.ok(!silence.suspicious(15_000, { played_ms: 14_000, looked_ms: LONG_AGO }));
  assert.ok(silence.ends(100_000, true, 500));
  assert.ok(silence.suspicious(106_000, { played_ms: 105_000, looked_ms: LONG_AGO }));
});
