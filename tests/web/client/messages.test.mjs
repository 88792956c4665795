import assert from "node:assert/strict";
import { test } from "node:test";
import {
  kindOf,
  parseServerMessage,
  participantOf,
  sourceOf,
} from "../../../web/static/messages.js";

test("frames that are no known message are ignored", () => {
  for (const text of ["", "{", "null", "[]", "7", '{"type":"new-thing"}', '{"type":7}', "{}"]) {
    assert.equal(parseServerMessage(text), null, text);
  }
  assert.deepEqual(parseServerMessage('{"type":"left","id":5}'), { type: "left", id: 5 });
});

test("a CSRC names participant and kind, also with its top bit set", () => {
  const participant = 0x3fffffff;
  const csrc = ((participant << 2) | 2) >>> 0;
  assert.equal(csrc, 0xfffffffe);
  assert.equal(participantOf(csrc), participant);
  assert.equal(kindOf(csrc), "camera");
  assert.equal(kindOf(5), "microphone");
  assert.equal(kindOf(7), "screen");
  assert.equal(kindOf(4), null);
});

test("a source's id is that of its CSRC, and no negative number", () => {
  for (const participant of [1, 7, 0x20000000, 0x3fffffff]) {
    for (const kind of ["microphone", "camera", "screen"]) {
      const source = sourceOf(participant, kind);
      assert.ok(source > 0);
      assert.deepEqual([participantOf(source), kindOf(source)], [participant, kind]);
    }
  }
});

test("what a server says of codec, layers and speaker is understood", () => {
  for (const message of [
    { type: "codec", codec: "vp9" },
    { type: "layers", kind: "camera", layers: [{ spatial: 1, temporal: 2 }] },
    { type: "speaker", id: null },
  ]) {
    assert.deepEqual(parseServerMessage(JSON.stringify(message)), message);
  }
});
