import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AVATAR_COLOURS,
  colourOf,
  comings,
  initials,
  isSending,
  NOBODY,
  regionTitle,
  rosterAfter,
} from "../../../web/static/roster.js";

const person = (id, name = `P${id}`, sources = []) => ({
  id,
  name,
  region: "frankfurt",
  bridge: "frankfurt-1",
  sources,
});
const joined = (you, ...people) => ({ type: "joined", room: "r", you, people });
const names = (roster) => [...roster.people.values()].map(({ name }) => name);

test("joining gives oneself and everybody else", () => {
  const roster = rosterAfter(NOBODY, joined(person(1), person(2), person(3)));
  assert.equal(roster.self.id, 1);
  assert.deepEqual(names(roster), ["P2", "P3"]);
});

test("oneself is not among the others, even when the server lists everybody", () => {
  const roster = rosterAfter(NOBODY, joined(person(1), person(1), person(2)));
  assert.deepEqual([...roster.people.keys()], [2]);
});

test("a changed person keeps their place", () => {
  const before = rosterAfter(NOBODY, joined(person(1), person(2), person(3)));
  const after = rosterAfter(before, { type: "person", person: person(2, "Renamed") });
  assert.deepEqual(names(after), ["Renamed", "P3"]);
  assert.deepEqual(names(before), ["P2", "P3"]);
});

test("a change of oneself does not make another participant", () => {
  const before = rosterAfter(NOBODY, joined(person(1)));
  const after = rosterAfter(before, { type: "person", person: person(1, "Me") });
  assert.equal(after.self.name, "Me");
  assert.equal(after.people.size, 0);
});

test("leaving removes exactly that person, and a stranger's leaving nobody", () => {
  const before = rosterAfter(NOBODY, joined(person(1), person(2), person(3)));
  assert.deepEqual(names(rosterAfter(before, { type: "left", id: 2 })), ["P3"]);
  assert.equal(rosterAfter(before, { type: "left", id: 99 }), before);
});

test("being moved changes one's own region and bridge", () => {
  const before = rosterAfter(NOBODY, joined(person(1)));
  const after = rosterAfter(before, { type: "moved", region: "singapore", bridge: "singapore-2" });
  assert.deepEqual([after.self.region, after.self.bridge], ["singapore", "singapore-2"]);
});

test("joining again keeps the order of those who stayed", () => {
  const before = rosterAfter(NOBODY, joined(person(1), person(5), person(3)));
  const after = rosterAfter(before, joined(person(9), person(7), person(3), person(5)));
  assert.deepEqual(names(after), ["P5", "P3", "P7"]);
});

test("an answer or an error leaves the roster as it is", () => {
  const roster = rosterAfter(NOBODY, joined(person(1)));
  assert.equal(rosterAfter(roster, { type: "answer", attempt: 0, sdp: "" }), roster);
});

test("comings and goings name those who differ", () => {
  const before = rosterAfter(NOBODY, joined(person(1), person(2)));
  const after = rosterAfter(before, joined(person(1), person(3)));
  const { arrived, departed } = comings(before, after);
  assert.deepEqual(
    [arrived.map(({ id }) => id), departed.map(({ id }) => id)],
    [[3], [2]],
  );
});

test("a person without the source sends it as little as one who muted it", () => {
  const camera = { id: 6, kind: "camera", muted: false };
  assert.equal(isSending(person(1), "camera"), false);
  assert.equal(isSending(person(1, "A", [{ ...camera, muted: true }]), "camera"), false);
  assert.equal(isSending(person(1, "A", [camera]), "camera"), true);
});

test("initials are of the first and the last word, in any script", () => {
  assert.equal(initials("Ana Silva"), "AS");
  assert.equal(initials("maria da silva costa"), "MC");
  assert.equal(initials("Lars"), "L");
  assert.equal(initials("😀 party"), "😀P");
  assert.equal(initials("  "), "?");
});

test("a name has the same colour everywhere, one of those there are", () => {
  for (const name of ["Ana", "Ångström", "李", ""]) {
    assert.equal(colourOf(name), colourOf(name));
    assert.ok(colourOf(name) >= 0 && colourOf(name) < AVATAR_COLOURS);
  }
  assert.notEqual(colourOf("Ana"), colourOf("Bea"));
});

test("a region's name reads as words", () => {
  assert.equal(regionTitle("sao-paulo"), "Sao Paulo");
  assert.equal(regionTitle(""), "");
});
