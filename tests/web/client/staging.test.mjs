import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsAfter, pageOf, Seats, stageOf } from "../../../web/static/staging.js";

const [SELF, BEN, CHI, DAN, EVE, FAY] = [6, 10, 14, 18, 22, 26];
const [BENS_SCREEN, CHIS_SCREEN] = [11, 15];
const stage = (room) =>
  stageOf({ claims: [], speaker: null, others: [BEN, CHI], self: SELF, ...room });
const claims = (before, screens, known, ...there) =>
  claimsAfter(before, screens, new Set(known), new Set([...screens, ...there]));

test("whoever speaks is on the stage, somebody else before anybody has spoken", () => {
  assert.equal(stage({ speaker: CHI }), CHI);
  assert.equal(stage({}), BEN);
  assert.equal(stage({ others: [] }), SELF);
});

test("a pin holds the stage against speakers", () => {
  assert.equal(stage({ claims: [BEN], speaker: CHI }), BEN);
});

test("a screen that begins takes the stage, also from a pin; the newest of two has it", () => {
  const first = claims([DAN], [BENS_SCREEN], [], DAN);
  assert.equal(stage({ claims: first }), BENS_SCREEN);
  const second = claims(first, [BENS_SCREEN, CHIS_SCREEN], [BENS_SCREEN], DAN);
  assert.equal(stage({ claims: second }), CHIS_SCREEN);
});

test("what was on the stage before comes back when the screen ends", () => {
  const before = claims([DAN], [BENS_SCREEN], [], DAN);
  const after = claims(before, [], [BENS_SCREEN], DAN);
  assert.deepEqual(after, [DAN]);
});

test("a screen that goes on claims the stage once, so a pin set later keeps it", () => {
  const pinned = [BENS_SCREEN, DAN];
  assert.deepEqual(claims(pinned, [BENS_SCREEN], [BENS_SCREEN], DAN), pinned);
});

test("whoever leaves loses their claim", () => {
  assert.deepEqual(claims([DAN, EVE], [], [], EVE), [EVE]);
});

test("seats keep their order while everybody is in view", () => {
  const seats = new Seats();
  assert.deepEqual(seats.arranged([BEN, CHI, DAN], 3, null), [BEN, CHI, DAN]);
  assert.deepEqual(seats.arranged([BEN, CHI, DAN], 3, DAN), [BEN, CHI, DAN]);
  assert.deepEqual(seats.arranged([EVE, BEN, DAN], 3, BEN), [BEN, DAN, EVE]);
});

test("a speaker out of view changes places with who has been silent longest", () => {
  const seats = new Seats();
  const all = [BEN, CHI, DAN, EVE, FAY];
  seats.arranged(all, 3, DAN);
  seats.arranged(all, 3, BEN);
  assert.deepEqual(seats.arranged(all, 3, FAY), [BEN, FAY, DAN, EVE, CHI]);
  assert.deepEqual(seats.arranged(all, 3, EVE).slice(0, 3), [BEN, FAY, EVE]);
});

test("arranging loses nobody and shows nobody twice", () => {
  const seats = new Seats();
  const all = [BEN, CHI, DAN, EVE, FAY];
  for (const speaker of [FAY, null, EVE, SELF, CHI, FAY, BEN]) {
    for (const front of [0, 1, 2, 5, 9]) {
      assert.deepEqual([...seats.arranged(all, front, speaker)].sort(), [...all].sort());
      if (front > 0 && all.includes(speaker)) {
        assert.ok(seats.arranged(all, front, speaker).slice(0, front).includes(speaker));
      }
    }
  }
});

test("what fits is one page", () => {
  const whole = { shown: [BEN, CHI, SELF], page: 0, pages: 1 };
  assert.deepEqual(pageOf([BEN, CHI], [SELF], 3, 5), whole);
});

test("pages show everybody once and oneself on each", () => {
  const others = [BEN, CHI, DAN, EVE, FAY];
  const pages = [0, 1, 2].map((page) => pageOf(others, [SELF], 3, page));
  assert.deepEqual(pages.map(({ shown }) => shown), [
    [BEN, CHI, SELF],
    [DAN, EVE, SELF],
    [FAY, SELF],
  ]);
  assert.ok(pages.every(({ pages: count }) => count === 3));
});

test("a page that is no more becomes the last there is", () => {
  assert.equal(pageOf([BEN, CHI, DAN], [SELF], 3, 7).page, 1);
  assert.equal(pageOf([BEN, CHI, DAN], [SELF], 3, -2).page, 0);
});

test("never are more shown than there is room for", () => {
  for (let room = 1; room < 7; room += 1) {
    for (let page = 0; page < 6; page += 1) {
      const { shown } = pageOf([BEN, CHI, DAN, EVE], [SELF], room, page);
      assert.ok(shown.length >= 1 && shown.length <= room);
    }
  }
});
