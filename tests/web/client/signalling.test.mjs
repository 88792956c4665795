import assert from "node:assert/strict";
import { test } from "node:test";
import { reconnectDelay } from "../../../web/static/signalling.js";

test("reconnecting is tried soon, then less and less often, never never", () => {
  const delays = [1, 2, 3, 4, 5, 6, 20].map((failures) => reconnectDelay(failures, 0.5));
  for (const [index, delay] of delays.entries()) {
    assert.ok(delay > 0 && delay <= 5000);
    assert.ok(index === 0 || delay >= delays[index - 1]);
  }
  assert.ok(delays[0] < 500);
});

test("a crowd that lost its server does not come back in one moment", () => {
  assert.notEqual(reconnectDelay(4, 0.1), reconnectDelay(4, 0.9));
});
