import assert from "node:assert/strict";
import { test } from "node:test";
import { picturesOf } from "../../../web/static/view.js";

const BEN = 42;
const CHI = 46;
const DAN = 50;
const SCREEN = 47;
const seen = (source, width, height, how = {}) => ({
  source,
  width,
  height,
  stage: false,
  pinned: false,
  ...how,
});
const height = (place, ratio = 1) => picturesOf([place], ratio)[0].height_px;

test("a picture is wanted as high as its tile's smaller side, in device pixels", () => {
  assert.equal(height(seen(BEN, 320, 180)), 180);
  assert.equal(height(seen(BEN, 320, 180), 2), 360);
  assert.equal(height(seen(BEN, 180, 320)), 180);
});

test("heights are told in steps, rounded up", () => {
  assert.equal(height(seen(BEN, 321, 181)), 270);
  assert.equal(height(seen(BEN, 400, 265)), height(seen(BEN, 400, 268)));
  assert.equal(height(seen(BEN, 3, 2)), 90);
});

test("a pixel's hundredth does not ask for the next step", () => {
  assert.equal(height(seen(BEN, 320, 180.004)), 180);
});

test("what is shown whole on a narrow stage is no higher than it fits", () => {
  assert.equal(height(seen(BEN, 320, 700, { stage: true })), 180);
  assert.equal(height(seen(SCREEN, 320, 700)), 180);
  assert.equal(height(seen(BEN, 1280, 720, { stage: true })), 720);
});

test("pins are wanted before the stage, and that before the others in their order", () => {
  const pictures = picturesOf(
    [
      seen(DAN, 320, 180),
      seen(BEN, 320, 180),
      seen(SCREEN, 1280, 720, { stage: true }),
      seen(CHI, 320, 180, { pinned: true }),
    ],
    1,
  );
  assert.deepEqual(
    pictures.map(({ source, stage }) => [source, stage]),
    [
      [CHI, false],
      [SCREEN, true],
      [DAN, false],
      [BEN, false],
    ],
  );
});

test("nothing in sight is nothing wanted", () => {
  assert.deepEqual(picturesOf([], 1), []);
});
