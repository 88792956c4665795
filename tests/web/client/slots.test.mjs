import assert from "node:assert/strict";
import { test } from "node:test";
import { Occupancy, slotsFor, STALE_MS } from "../../../web/static/slots.js";

const heard = (source, timestamp) => ({ source, timestamp });

test("a slot that never played anything shows nobody", () => {
  assert.equal(new Occupancy().observe([], 0), null);
});

test("the latest source is who is in the slot, whatever the order", () => {
  const slot = new Occupancy();
  assert.equal(slot.observe([heard(6, 300), heard(10, 100)], 0), 6);
  assert.equal(slot.observe([heard(10, 400), heard(6, 300)], 200), 10);
});

test("a source that plays on stays", () => {
  const slot = new Occupancy();
  for (let now_ms = 0; now_ms < 3 * STALE_MS; now_ms += 200) {
    assert.equal(slot.observe([heard(6, 1000 + now_ms)], now_ms), 6);
  }
});

test("a source that stopped is gone after two seconds though it is still reported", () => {
  const slot = new Occupancy();
  slot.observe([heard(6, 1000)], 0);
  assert.equal(slot.observe([heard(6, 1000)], STALE_MS - 1), 6);
  assert.equal(slot.observe([heard(6, 1000)], STALE_MS), null);
});

test("a source that comes back is there at once", () => {
  const slot = new Occupancy();
  slot.observe([heard(6, 1000)], 0);
  slot.observe([heard(6, 1000)], 5 * STALE_MS);
  assert.equal(slot.observe([heard(6, 9000)], 5 * STALE_MS + 200), 6);
});

test("the clock of the reports does not matter", () => {
  const slot = new Occupancy();
  assert.equal(slot.observe([heard(6, 1.7e12)], 5), 6);
  assert.equal(slot.observe([heard(6, 1.7e12 + 200)], 205), 6);
});

test("a screen on which nothing moves is still there", () => {
  const slot = new Occupancy();
  slot.observe([heard(7, 1000)], 0);
  assert.equal(slot.observe([], 60_000), 7);
  assert.equal(slot.observe([heard(6, 2000)], 61_000), 6);
});

test("slots grow in few steps, and not beyond what is allowed", () => {
  assert.deepEqual([0, 9, 10, 25, 26, 49, 200].map((count) => slotsFor(count, 49)), [
    9, 9, 25, 25, 49, 49, 49,
  ]);
  assert.deepEqual([0, 12, 49].map((count) => slotsFor(count, 12)), [9, 12, 12]);
});
