/**
 * The operator key, as long as this tab lives: with it the focus tells names on the mesh page.
 * It goes to the focus in a header and nowhere else, never into a URL.
 */

const ENTRY = "octomesh.mesh-key";
const MEMORY = { key: "" };

/** @returns {Record<string, string>} the headers of a request that shows the key, if there is one */
export function keyHeaders() {
  const key = keptKey();
  return key === "" ? {} : { Authorization: `Bearer ${key}` };
}

/** @returns {string} "" where there is none */
export function keptKey() {
  try {
    return sessionStorage.getItem(ENTRY) ?? MEMORY.key;
  } catch {
    return MEMORY.key; // Storage is forbidden: it lives as long as the page.
  }
}

/**
 * @param {string} typed
 * @returns {boolean} whether it may be a key at all; what may not is not kept
 */
export function keepKey(typed) {
  const key = typed.trim();
  const plausible = /^[!-~]+$/.test(key);
  MEMORY.key = plausible ? key : "";
  try {
    if (plausible) sessionStorage.setItem(ENTRY, key);
    else sessionStorage.removeItem(ENTRY);
  } catch {
    // As above.
  }
  return plausible;
}
