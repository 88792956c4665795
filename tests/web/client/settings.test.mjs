import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULTS, settingsOf } from "../../../web/static/settings.js";

test("settings are taken as they are told", () => {
  const told = { turn: true, last_n: 20, codecs: ["vp8"] };
  assert.deepEqual(settingsOf(told), told);
});

test("what a server leaves out, or gets wrong, is as by default", () => {
  for (const told of [null, {}, [], "x", { turn: 1, last_n: -1, codecs: [] }, { last_n: 2.5 }]) {
    assert.deepEqual(settingsOf(told), DEFAULTS);
  }
});
