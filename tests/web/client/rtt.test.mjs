import assert from "node:assert/strict";
import { test } from "node:test";
import { bestRtts, nearest, pingAnswer, rttText } from "../../../web/static/rtt.js";

const OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\nm=application 9 UDP/DTLS/SCTP x\r\na=mid:data7\r\n";
const TARGET = {
  bridge: "frankfurt-1",
  ping_password: "abcdefghijklmnopqrstuvwx",
  addresses: [
    { host: "192.0.2.1", port: 10000 },
    { host: "2001:db8::1", port: 10010 },
  ],
};
const lines = pingAnswer(OFFER, TARGET).split("\r\n");

test("the answer takes up the offer's only section", () => {
  assert.ok(lines.includes("a=mid:data7"));
  assert.ok(lines.includes("a=group:BUNDLE data7"));
});

test("the answer is a lite agent's that never begins anything", () => {
  assert.ok(lines.includes("a=ice-lite"));
  assert.ok(lines.includes("a=setup:passive"));
});

test("checks are authenticated by the bridge's ping password", () => {
  assert.ok(lines.includes("a=ice-ufrag:ping"));
  assert.ok(lines.includes(`a=ice-pwd:${TARGET.ping_password}`));
});

test("every address is a candidate, the first preferred", () => {
  const candidates = lines.filter((line) => line.startsWith("a=candidate:"));
  assert.equal(candidates.length, 2);
  assert.match(candidates[0], / udp \d+ 192\.0\.2\.1 10000 typ host$/);
  assert.match(candidates[1], / udp \d+ 2001:db8::1 10010 typ host$/);
  const [first, second] = candidates.map((line) => Number(line.split(" ")[3]));
  assert.ok(first > second && first < 2 ** 31);
});

test("the answer ends as every line of SDP does", () => {
  assert.ok(pingAnswer(OFFER, TARGET).endsWith("\r\n"));
});

test("of several bridges the best counts, and silence counts for nothing", () => {
  assert.deepEqual(
    bestRtts([
      { region: "a", rtt_ms: 30 },
      { region: "a", rtt_ms: 20 },
      { region: "b", rtt_ms: null },
      { region: "a", rtt_ms: null },
      { region: "c", rtt_ms: 0 },
    ]),
    { a: 20, c: 0 },
  );
});

test("the nearest region is the one of the shortest round trip", () => {
  assert.equal(nearest({ a: 20, b: 5, c: 90 }), "b");
  assert.equal(nearest({ b: 5, a: 5 }), "a");
  assert.equal(nearest({}), null);
});

test("a round trip that was not measured is not shown as a number", () => {
  assert.equal(rttText(undefined), "–");
  assert.equal(rttText(0), "< 1 ms");
  assert.equal(rttText(99.4), "99 ms");
});
