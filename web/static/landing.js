/** The start page: a room to go to, and how far each region is from here. */

import { roomOf } from "./address.js";
import { element, find } from "./dom.js";
import { recentRooms } from "./memory.js";
import { regionTitle } from "./roster.js";
import { nearest, rttText } from "./rtt.js";

/**
 * @typedef {import("./rtt.js").Rtts} Rtts
 * @typedef {import("./rtt.js").RegionTargets} RegionTargets
 */

/**
 * @param {HTMLElement} root
 * @param {(room: string) => void} go
 */
export function showLanding(root, go) {
  const form = find(root, "#landing-form", HTMLFormElement);
  const input = find(root, "#room", HTMLInputElement);
  const problem = find(root, "#room-problem", HTMLElement);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const room = roomOf(input.value);
    if (room !== null) {
      go(room);
      return;
    }
    problem.textContent =
      input.value.trim() === ""
        ? "Type a name for the room: whoever types the same meets you there."
        : "Please take letters, digits, spaces or . _ ~ @ + - and begin with a letter or digit.";
    input.setAttribute("aria-invalid", "true");
    input.focus();
  });
  input.addEventListener("input", () => {
    problem.textContent = "";
    input.removeAttribute("aria-invalid");
  });
  const recent = find(root, "#recent", HTMLElement);
  for (const room of recentRooms()) {
    const link = element("a", "chip", room);
    link.href = `./${encodeURIComponent(room)}`;
    recent.append(link);
    recent.hidden = false;
  }
  if (matchMedia("(hover: hover)").matches) input.focus();
}

/**
 * @param {HTMLElement} root
 * @param {readonly RegionTargets[]} regions
 * @param {Rtts} rtts_ms so far
 * @param {boolean} done
 */
export function showReach(root, regions, rtts_ms, done) {
  const list = find(root, "#reach", HTMLElement);
  const near = nearest(rtts_ms);
  const far = (/** @type {RegionTargets} */ { region }) => rtts_ms[region] ?? Infinity;
  list.replaceChildren(
    ...[...regions].sort((a, b) => Math.sign(far(a) - far(b)) || 0).map(({ region }) => {
      const item = element("li");
      item.append(
        element("span", "reach-region", regionTitle(region)),
        element("span", "reach-rtt", rttText(rtts_ms[region])),
      );
      item.dataset.near = String(done && region === near);
      return item;
    }),
  );
  const note = find(root, "#reach-note", HTMLElement);
  if (!done) note.textContent = "Measuring…";
  else if (regions.length === 0) note.textContent = "No region is online now.";
  else if (near === null) note.textContent = "No region answered: UDP may be blocked here.";
  else note.textContent = "Measured just now, on the path that media takes.";
}
