/** Short words about what just happened; read aloud politely. */

import { element } from "./dom.js";

const SHOWN_MS = 4500;
const MOST = 3;

/**
 * @param {HTMLElement} home an aria-live region
 * @param {string} words
 */
export function toast(home, words) {
  for (const old of home.children) if (old.textContent === words) old.remove();
  while (home.children.length >= MOST) home.firstElementChild?.remove();
  const made = element("p", "toast", words);
  home.append(made);
  setTimeout(() => made.remove(), SHOWN_MS);
}
