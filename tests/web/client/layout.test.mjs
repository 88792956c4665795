import assert from "node:assert/strict";
import { test } from "node:test";
import { layoutStage, layoutTiles, roomFor } from "../../../web/static/layout.js";

const WINDOWS = [
  [1440, 810],
  [1024, 690],
  [1920, 1000],
  [390, 740],
  [348, 620],
  [740, 280],
];
const GAP = 10;

const everyCase = WINDOWS.flatMap(([width, height]) =>
  Array.from({ length: 12 }, (_, index) => ({ width, height, count: index + 1, gap: GAP })),
);

test("tiles stay inside the stage", () => {
  for (const box of everyCase) {
    for (const { x, y, width, height } of layoutTiles(box)) {
      assert.ok(x >= -1e-6 && y >= -1e-6, JSON.stringify(box));
      assert.ok(x + width <= box.width + 1e-6 && y + height <= box.height + 1e-6, JSON.stringify(box));
    }
  }
});

test("tiles never overlap and keep the gap", () => {
  for (const box of everyCase) {
    const rects = layoutTiles(box);
    for (const [index, a] of rects.entries()) {
      for (const b of rects.slice(index + 1)) {
        const apart_x = Math.max(a.x, b.x) - Math.min(a.x + a.width, b.x + b.width);
        const apart_y = Math.max(a.y, b.y) - Math.min(a.y + a.height, b.y + b.height);
        assert.ok(Math.max(apart_x, apart_y) >= GAP - 1e-6, JSON.stringify(box));
      }
    }
  }
});

test("there is one tile a person, all of one size", () => {
  for (const box of everyCase) {
    const rects = layoutTiles(box);
    assert.equal(rects.length, box.count);
    for (const { width, height } of rects) {
      assert.ok(Math.abs(width - rects[0].width) < 1e-6 && Math.abs(height - rects[0].height) < 1e-6);
    }
  }
});

test("one to nine tiles fill most of a desktop window and of a phone's", () => {
  for (const [width, height] of WINDOWS.slice(0, 5)) {
    for (let count = 1; count <= 9; count += 1) {
      const covered = layoutTiles({ width, height, count, gap: GAP }).reduce(
        (sum, rect) => sum + rect.width * rect.height,
        0,
      );
      const share = covered / (width * height);
      assert.ok(share > 0.6, `${count} in ${width}x${height}: ${share.toFixed(2)}`);
    }
  }
});

test("a tile is never a sliver", () => {
  for (const box of everyCase) {
    for (const { width, height } of layoutTiles(box)) {
      assert.ok(width / height <= 16 / 9 + 1e-6 && width / height >= 3 / 4 - 1e-6);
    }
  }
});

test("two people sit side by side on a desk and one above the other on a phone", () => {
  const [left, right] = layoutTiles({ width: 1440, height: 810, count: 2, gap: GAP });
  assert.equal(left.y, right.y);
  const [above, below] = layoutTiles({ width: 360, height: 640, count: 2, gap: GAP });
  assert.equal(above.x, below.x);
});

test("the last row is centred", () => {
  const rects = layoutTiles({ width: 1440, height: 810, count: 5, gap: GAP });
  const last = rects.filter(({ y }) => y === rects[4].y);
  assert.equal(last.length, 2);
  assert.ok(Math.abs(last[0].x + last[1].x + last[1].width - 1440) < 1e-6);
});

test("no people or no room give no tiles", () => {
  assert.deepEqual(layoutTiles({ width: 100, height: 100, count: 0, gap: GAP }), []);
  assert.deepEqual(layoutTiles({ width: 0, height: 100, count: 3, gap: GAP }), []);
});

const overlap = (a, b) =>
  Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x) > 1e-6 &&
  Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) > 1e-6;

const everyStage = WINDOWS.flatMap(([width, height]) =>
  [0, 1, 2, 5, 9, 15, 48].map((count) => ({ width, height, count, gap: GAP })),
);

test("stage and strip stay inside the window and apart", () => {
  for (const box of everyStage) {
    const { stage, strip } = layoutStage(box);
    const all = [stage, ...strip];
    for (const [index, a] of all.entries()) {
      const where = JSON.stringify({ box, a });
      assert.ok(a.width > 0 && a.height > 0 && a.x >= -1e-6 && a.y >= -1e-6, where);
      assert.ok(a.x + a.width <= box.width + 1e-6 && a.y + a.height <= box.height + 1e-6, where);
      for (const b of all.slice(index + 1)) assert.ok(!overlap(a, b), where);
    }
  }
});

test("the stage is the largest tile by far", () => {
  for (const box of everyStage) {
    const { stage, strip } = layoutStage(box);
    for (const tile of strip) assert.ok(stage.width * stage.height > 3 * tile.width * tile.height);
  }
});

test("a strip shows as many as it has room for, and all while there is room", () => {
  for (const box of everyStage) {
    const { strip, room } = layoutStage(box);
    assert.equal(strip.length, Math.min(box.count, room));
  }
});

test("ten people fit beside the stage of a desktop window", () => {
  assert.equal(layoutStage({ width: 1260, height: 720, count: 9, gap: GAP }).strip.length, 9);
});

test("nobody else leaves the whole window to the stage", () => {
  const { stage, strip } = layoutStage({ width: 800, height: 600, count: 0, gap: GAP });
  assert.deepEqual([stage, strip], [{ x: 0, y: 0, width: 800, height: 600 }, []]);
});

test("a desktop window has room for 49 tiles, a phone's for fewer, any for one", () => {
  assert.equal(roomFor({ width: 1440, height: 810, gap: GAP }), 49);
  const phone = roomFor({ width: 378, height: 700, gap: 6 });
  assert.ok(phone > 8 && phone < 49, String(phone));
  assert.equal(roomFor({ width: 40, height: 30, gap: GAP }), 1);
});

test("what there is room for is large enough to be seen", () => {
  for (const [width, height] of WINDOWS) {
    const count = roomFor({ width, height, gap: GAP });
    const [tile] = layoutTiles({ width, height, count, gap: GAP });
    assert.ok(tile.width >= 100 && tile.height >= 70);
  }
});
