import assert from "node:assert/strict";
import { test } from "node:test";
import { roomOf, wishesOf } from "../../../web/static/address.js";

const wishes = (path) => wishesOf(new URL(path, "https://meet.example"));

test("the URL says room, name, region and whether to be asked", () => {
  const asked = wishes("/standup?name=Guest&region=frankfurt&prejoin=false");
  const { room, name, region, prejoin } = asked;
  assert.deepEqual({ room, name, region, prejoin }, {
    room: "standup",
    name: "Guest",
    region: "frankfurt",
    prejoin: false,
  });
  assert.deepEqual(wishes("/standup"), {
    room: "standup",
    name: null,
    region: null,
    prejoin: true,
    slots: 49,
    relay: false,
  });
});

test("the URL may ask for fewer pictures, never for more than there are", () => {
  const slots = (text) => wishes(`/standup?slots=${text}`).slots;
  assert.deepEqual(["4", "0", "49", "99"].map(slots), [4, 0, 49, 49]);
  assert.deepEqual(["", "-1", "4.5", "many", "1e1"].map(slots), [49, 49, 49, 49, 49]);
});

test("media goes by relay servers alone only where the URL says just that", () => {
  assert.equal(wishes("/standup?ice=relay").relay, true);
  assert.equal(wishes("/standup?ice=all").relay, false);
});

test("no path is no room, and a proxy's prefix is none either", () => {
  assert.equal(wishes("/").room, null);
  assert.equal(wishes("/meetings/").room, null);
  assert.equal(wishes("/meetings/standup").room, "standup");
});

test("names in the URL may be in any script, and broken escapes do no harm", () => {
  assert.equal(wishes("/reuni%C3%A3o").room, "reunião");
  assert.equal(wishes("/x?name=%20%20").name, null);
  assert.equal(wishes("/%E0%A4%A").room, "%E0%A4%A");
});

test("a typed room name becomes one that the server takes", () => {
  assert.equal(roomOf("  Monday Standup "), "monday-standup");
  assert.equal(roomOf("Reunião 7"), "reunião-7");
  assert.equal(roomOf("a/b"), null);
  assert.equal(roomOf("-x"), null);
  assert.equal(roomOf(""), null);
  assert.equal(roomOf("x".repeat(129)), null);
});

test("the web room's own pages are no meetings", () => {
  for (const taken of ["mesh", "Mesh", "api", "static", "healthz"]) assert.equal(roomOf(taken), null);
});
