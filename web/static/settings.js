/**
 * What the mesh's operator has settled for every meeting.
 *
 * @typedef {{turn: boolean, last_n: number | null, codecs: readonly string[]}} Settings
 */

import { VIDEO_CODECS } from "./codecs.js";

/** A server that says nothing of it: no relay servers, no limit, every codec. */
export const DEFAULTS = /** @type {Settings} */ (
  Object.freeze({ turn: false, last_n: null, codecs: VIDEO_CODECS })
);
const BOUND_MS = 3000;

/**
 * @param {URL} url
 * @returns {Promise<Settings>}
 */
export async function fetchSettings(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(BOUND_MS) });
    return response.ok ? settingsOf(await response.json()) : DEFAULTS;
  } catch {
    return DEFAULTS; // joining will say what is wrong with the server
  }
}

/**
 * The settings in what a server says; what it leaves out is as by default.
 * @param {any} told
 * @returns {Settings}
 */
export function settingsOf(told) {
  return {
    turn: told?.turn === true,
    last_n: Number.isInteger(told?.last_n) && told.last_n >= 0 ? told.last_n : null,
    codecs: Array.isArray(told?.codecs) && told.codecs.length > 0 ? told.codecs : VIDEO_CODECS,
  };
}
