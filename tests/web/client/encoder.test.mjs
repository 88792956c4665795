import assert from "node:assert/strict";
import { test } from "node:test";
import { Encoder } from "../../../web/static/encoder.js";

const TYPES = ["video/VP8", "video/rtx", "video/VP9", "video/H264"];
const CODECS = TYPES.map((mimeType) => ({ mimeType }));

/** A sender that, as browsers do, refuses parameters that were not read just before. */
class Sender {
  track = { getSettings: () => ({ width: 1280, height: 720 }) };
  accepted = [];
  #given = null;

  constructor({ codecs = CODECS, can = () => true } = {}) {
    this.codecs = codecs;
    this.can = can;
    this.encodings = ["q", "h", "f"].map((rid) => ({ rid, active: true }));
  }

  getParameters() {
    this.#given = { codecs: this.codecs, encodings: structuredClone(this.encodings) };
    return this.#given;
  }

  async setParameters(parameters) {
    const stale = parameters !== this.#given;
    this.#given = null;
    await null;
    if (stale) throw new DOMException("stale", "InvalidStateError");
    if (!this.can(parameters)) throw new DOMException("cannot", "OperationError");
    this.encodings = parameters.encodings;
    this.accepted.push(parameters.encodings);
  }

  get active() {
    return this.encodings.filter(({ active }) => active).map(({ rid }) => rid);
  }
}

const wants = (codec, ...spatials) => ({
  codec,
  layers: spatials.map((spatial) => ({ spatial, temporal: 2 })),
});

test("what is wanted last is what is sent, however fast wishes follow each other", async () => {
  const sender = new Sender();
  const encoder = new Encoder(sender, "camera");
  await Promise.all([
    encoder.want(wants("vp8", 0, 1, 2)),
    encoder.want(wants("vp9", 2)),
    encoder.want(wants("vp8")),
    encoder.want(wants("h264", 1)),
  ]);
  assert.deepEqual(sender.active, ["h"]);
  assert.equal(encoder.codec, "h264");
});

test("all encodings change their codec together", async () => {
  const sender = new Sender();
  await new Encoder(sender, "camera").want(wants("vp9", 2));
  for (const encodings of sender.accepted) {
    assert.equal(new Set(encodings.map(({ codec }) => codec?.mimeType)).size, 1);
  }
  assert.equal(sender.encodings[0].codec.mimeType, "video/VP9");
});

test("nothing is set that is so already", async () => {
  const sender = new Sender();
  const encoder = new Encoder(sender, "camera");
  await encoder.want(wants("vp8", 0));
  const { length } = sender.accepted;
  await encoder.want(wants("vp8", 0));
  await encoder.refresh();
  assert.equal(sender.accepted.length, length);
});

test("a browser without temporal layers of a codec sends it without them", async () => {
  const can = ({ encodings }) => encodings.every((each) => each.scalabilityMode === "L1T1");
  const sender = new Sender({ can });
  await new Encoder(sender, "camera").want(wants("h264", 0, 2));
  assert.deepEqual(sender.active, ["q", "f"]);
});

test("a codec that was not agreed on leaves the first that was, and says so", async () => {
  const sender = new Sender({ codecs: [{ mimeType: "video/VP8" }] });
  const encoder = new Encoder(sender, "camera");
  await encoder.want(wants("av1", 2));
  assert.equal(encoder.codec, "vp8");
});

test("before an answer no codec is known", () => {
  assert.equal(new Encoder(new Sender({ codecs: [] }), "camera").codec, null);
});
