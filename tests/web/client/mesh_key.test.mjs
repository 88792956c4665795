import assert from "node:assert/strict";
import { test } from "node:test";
import { keepKey, keptKey, keyHeaders } from "../../../web/static/mesh_key.js";

test("a key is shown in a header from when it is kept until it is not", () => {
  assert.deepEqual(keyHeaders(), {});
  assert.equal(keepKey(" s3cret\n"), true);
  assert.equal(keptKey(), "s3cret");
  assert.deepEqual(keyHeaders(), { Authorization: "Bearer s3cret" });
  keepKey("");
  assert.deepEqual(keyHeaders(), {});
});

test("what no header can carry is no key", () => {
  for (const typed of ["", "   ", "schlüssel", "a b", "a\nb"]) {
    assert.equal(keepKey(typed), false);
    assert.deepEqual(keyHeaders(), {});
  }
});
