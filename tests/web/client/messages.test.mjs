import assert from "node:assert/strict";
import { test } from "node:test";
import { kindOf, parseServerMessage, participantOf } from "../../../web/static/messages.js";

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
