import assert from "node:assert/strict";
import { test } from "node:test";
import { encodingsOf } from "../../../web/static/encodings.js";

const ALL = null;
const layers = (...spatials) => spatials.map((spatial) => ({ spatial, temporal: 2 }));
const camera = (demand) =>
  encodingsOf("camera", { codec: "vp8", layers: ALL, height_px: 720, ...demand });
const screen = (demand) =>
  encodingsOf("screen", { codec: "vp8", layers: ALL, height_px: 1080, ...demand });
const active = (encodings) => encodings.filter((each) => each.active).map(({ rid }) => rid);
const heights = (encodings, height_px) =>
  encodings.map((each) => Math.round(height_px / each.scaleResolutionDownBy));
const CODECS = ["vp8", "vp9", "av1", "h264"];
const SCALABLE = ["vp9", "av1"];

test("until anybody says what is wanted everything is sent", () => {
  assert.deepEqual(active(camera({})), ["q", "h", "f"]);
  assert.deepEqual(active(screen({})), ["q", "f"]);
});

test("a camera's layers are 180, 360 and 720 lines, however many it captures", () => {
  for (const height_px of [720, 1080, 2160]) {
    assert.deepEqual(heights(camera({ height_px }), height_px), [180, 360, 720]);
  }
});

test("a small camera sends no layer that is hardly larger than the one below", () => {
  const sent = (height_px) => active(camera({ height_px }));
  assert.deepEqual([180, 360].map(sent), [["q"], ["q", "h"]]);
  assert.deepEqual([480, 720].map(sent), [
    ["q", "h", "f"],
    ["q", "h", "f"],
  ]);
});

test("no picture is enlarged", () => {
  for (const codec of CODECS) {
    for (let height_px = 90; height_px < 1200; height_px += 30) {
      for (const each of camera({ codec, height_px })) assert.ok(each.scaleResolutionDownBy >= 1);
    }
  }
});

test("with simulcast only wanted layers are sent", () => {
  for (const codec of ["vp8", "h264"]) {
    assert.deepEqual(active(camera({ codec, layers: layers(0, 2) })), ["q", "f"]);
    assert.deepEqual(active(camera({ codec, layers: layers(1) })), ["h"]);
    assert.deepEqual(active(screen({ codec, layers: layers(1) })), ["f"]);
  }
});

test("what nobody wants is not encoded at all", () => {
  for (const codec of CODECS) {
    assert.deepEqual(active(camera({ codec, layers: [] })), []);
    assert.deepEqual(active(screen({ codec, layers: [] })), []);
  }
});

test("a wanted layer that a source has not is stood in for by its highest", () => {
  assert.deepEqual(active(camera({ height_px: 360, layers: layers(2) })), ["h"]);
  assert.deepEqual(active(camera({ height_px: 180, layers: layers(1, 2) })), ["q"]);
  assert.deepEqual(active(screen({ layers: layers(2) })), ["f"]);
});

test("with SVC one encoding, the first, carries all layers", () => {
  for (const codec of SCALABLE) {
    const encodings = camera({ codec });
    assert.deepEqual(active(encodings), ["q"]);
    assert.equal(encodings[0].scalabilityMode, "L3T3_KEY");
    assert.equal(encodings[0].scaleResolutionDownBy, 1);
  }
});

test("with SVC layers above the highest wanted are left off, the lower ones stay in place", () => {
  const first = (spatial) => camera({ codec: "vp9", layers: layers(spatial) })[0];
  assert.deepEqual([0, 1, 2].map((spatial) => first(spatial).scalabilityMode), [
    "L1T3",
    "L2T3_KEY",
    "L3T3_KEY",
  ]);
  assert.deepEqual([0, 1, 2].map((spatial) => first(spatial).scaleResolutionDownBy), [4, 2, 1]);
  const rates = [0, 1, 2].map((spatial) => first(spatial).maxBitrate);
  assert.ok(rates[0] < rates[1] && rates[1] < rates[2]);
});

test("a shared screen is never smaller than captured in its best encoding, with any codec", () => {
  for (const codec of CODECS) {
    const best = screen({ codec }).filter((each) => each.active).at(-1);
    assert.equal(best.scaleResolutionDownBy, 1);
    assert.equal(best.maxBitrate, 2_500_000);
    assert.equal(best.scalabilityMode, "L1T3");
  }
});

test("the same encodings are there whatever is wanted, so that none has to be negotiated", () => {
  for (const codec of CODECS) {
    for (const wanted of [ALL, [], layers(0), layers(1, 2)]) {
      assert.deepEqual(camera({ codec, layers: wanted }).map(({ rid }) => rid), ["q", "h", "f"]);
      assert.deepEqual(screen({ codec, layers: wanted }).map(({ rid }) => rid), ["q", "f"]);
    }
  }
});

test("each layer may cost more than the one below", () => {
  for (const codec of ["vp8", "h264"]) {
    const [low, middle, high] = camera({ codec }).map(({ maxBitrate }) => maxBitrate);
    assert.ok(low < middle && middle < high);
  }
});
