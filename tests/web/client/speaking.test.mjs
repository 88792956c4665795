import assert from "node:assert/strict";
import { test } from "node:test";
import { Speaking } from "../../../web/static/speaking.js";

test("the ring of a speaker outlasts the gaps between words", () => {
  const speaking = new Speaking();
  assert.equal(speaking.at(0), false);
  speaking.heard(0.2, 1000);
  speaking.heard(0.0001, 1200);
  assert.equal(speaking.at(1400), true);
  assert.equal(speaking.at(2500), false);
});

test("a quiet room does not light the ring", () => {
  const speaking = new Speaking();
  speaking.heard(0.003, 1000);
  assert.equal(speaking.at(1000), false);
});
