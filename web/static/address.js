/**
 * What the page's URL asks for, and which room names there are; pure.
 *
 * @typedef {{room: string | null, name: string | null, region: string | null,
 *   prejoin: boolean, slots: number, relay: boolean}} Wishes
 */

import { MOST_PICTURES } from "./slots.js";

/** Paths of the web room itself: no meeting can have these names. */
const TAKEN = new Set(["mesh", "api", "static", "healthz", "metrics", "favicon.ico", "robots.txt"]);
const ROOM = /^[\p{L}\p{N}_][\p{L}\p{N}_.~@+-]{0,127}$/u;

/**
 * The room that a typed name means, as it stands in the URL, or null when none does: spaces read
 * as dashes, case does not matter (relay/ids.py says the same).
 * @param {string} typed
 * @returns {string | null}
 */
export function roomOf(typed) {
  const room = typed.trim().replace(/\s+/gu, "-").toLowerCase();
  return ROOM.test(room) && !TAKEN.has(room) ? room : null;
}

/**
 * @param {URL} url
 * @returns {Wishes}
 */
export function wishesOf(url) {
  const { searchParams } = url;
  return {
    room: decoded(url.pathname.split("/").at(-1) ?? "") || null,
    name: searchParams.get("name")?.trim().slice(0, 80) || null,
    region: searchParams.get("region")?.trim().toLowerCase() || null,
    prejoin: searchParams.get("prejoin") !== "false",
    slots: slotsIn(searchParams.get("slots")),
    relay: searchParams.get("ice") === "relay",
  };
}

/**
 * The most pictures at once; all there may be, unless it is a number.
 * @param {string | null} text
 */
function slotsIn(text) {
  return text !== null && /^\d{1,2}$/.test(text)
    ? Math.min(Number(text), MOST_PICTURES)
    : MOST_PICTURES;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text).trim();
  } catch {
    return text;
  }
}
