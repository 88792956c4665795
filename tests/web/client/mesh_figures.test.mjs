import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bitrate,
  duration,
  heatOf,
  milliseconds,
  people,
  percent,
  ringOf,
  seatsByBridge,
  trunksOf,
} from "../../../web/static/mesh_figures.js";

test("what nobody measured is a dash", () => {
  assert.equal(milliseconds(null), "–");
  assert.equal(percent(undefined), "–");
  assert.equal(bitrate(null), "–");
  assert.equal(duration(null), "–");
  assert.equal(heatOf(null), null);
});

test("figures keep the digits that matter", () => {
  assert.equal(milliseconds(0.4321), "0.43");
  assert.equal(milliseconds(203.44), "203.4");
  assert.equal(percent(0.004), "0.4 %");
  assert.equal(percent(0), "0 %");
  assert.equal(bitrate(1_840_000), "1.84 Mbit/s");
  assert.equal(bitrate(920_400), "920 kbit/s");
  assert.equal(duration(59.9), "59 s");
  assert.equal(duration(3_780), "1 h 3 min");
});

test("heat rises with the round trip and ends at what spoils a conversation", () => {
  assert.deepEqual([1, 60, 120, 200, 300, 320].map(heatOf), [0, 1, 2, 3, 4, 5]);
});

test("both ends' reports belong to one trunk", () => {
  const link = (from, to) => ({ from, to });
  const trunks = trunksOf([link("b", "a"), link("a", "b"), link("c", "a")]);
  assert.deepEqual(
    trunks.map(({ a, b, ends }) => [a, b, ends.length]),
    [
      ["a", "b", 2],
      ["a", "c", 1],
    ],
  );
});

test("bridges stand apart on the drawing, inside it", () => {
  for (const count of [1, 2, 3, 8]) {
    const points = ringOf(count, { width: 640, height: 420, margin_x: 100, margin_y: 60 });
    assert.equal(new Set(points.map(({ x, y }) => `${x.toFixed()},${y.toFixed()}`)).size, count);
    for (const { x, y } of points) assert.ok(x >= 99 && x <= 541 && y >= 59 && y <= 361);
  }
});

test("seats stand under their bridges, in order, and who waits for one is told apart", () => {
  const seats = ["b", null, "a", "b"].map((bridge) => ({ region: null, bridge }));
  assert.deepEqual(
    seatsByBridge(seats).map(([bridge, { length }]) => `${bridge}: ${people(length)}`),
    ["a: 1 person", "b: 2 people", "waiting for a bridge: 1 person"],
  );
});
