/** The page: which view is shown, and what leads from one to the next. */

import { roomOf, wishesOf } from "./address.js";
import { bindDeviceButtons } from "./controls.js";
import { find } from "./dom.js";
import { showLanding, showReach } from "./landing.js";
import { Devices } from "./media.js";
import { Meeting } from "./meeting.js";
import { remember, remembered, rememberRoom } from "./memory.js";
import { Prejoin } from "./prejoin.js";
import { fetchRegions, measureRegions } from "./rtt.js";
import { Screen } from "./screen.js";
import { fetchSettings } from "./settings.js";
import { toast } from "./toasts.js";

/**
 * @typedef {import("./messages.js").Failure} Failure
 * @typedef {import("./rtt.js").Rtts} Rtts
 * @typedef {import("./rtt.js").RegionTargets} RegionTargets
 * @typedef {import("./session.js").Terms} Terms
 * @typedef {"landing" | "prejoin" | "meeting" | "left"} View
 */

// Relative to this file, so that the whole may live under a path of somebody's proxy.
const REGIONS_URL = new URL("../api/regions", import.meta.url);
const SETTINGS_URL = new URL("../api/settings", import.meta.url);
const SIGNAL_URL = new URL("../api/signal", import.meta.url);
SIGNAL_URL.protocol = SIGNAL_URL.protocol === "https:" ? "wss:" : "ws:";

const VIEWS = /** @type {View[]} */ (["landing", "prejoin", "meeting", "left"]);
const devices = new Devices();
const screen = new Screen();
/** @type {Meeting | null} */
let meeting = null;

/**
 * @param {View} view
 * @returns {HTMLElement}
 */
function show(view) {
  for (const other of VIEWS) find(document, `#${other}`, HTMLElement).hidden = other !== view;
  document.body.dataset.view = view;
  const root = find(document, `#${view}`, HTMLElement);
  find(root, "h1", HTMLElement).focus({ preventScroll: true });
  return root;
}

/**
 * Measures all regions, telling of progress.
 * @param {(regions: RegionTargets[], rtts_ms: Rtts, done: boolean) => void} progress
 * @returns {Promise<Rtts>}
 */
async function measure(progress) {
  const regions = await fetchRegions(REGIONS_URL);
  progress(regions, {}, false);
  const rtts_ms = await measureRegions(regions, (soFar) => progress(regions, soFar, false));
  progress(regions, rtts_ms, true);
  return rtts_ms;
}

/**
 * @param {string} room
 * @param {string} name
 * @param {string | null} region
 * @param {Rtts} rtts_ms
 * @param {Terms} terms
 */
function enter(room, name, region, rtts_ms, terms) {
  rememberRoom(room);
  document.title = `${room} · octomesh`;
  const ticket = { room, name, region, rtts_ms };
  const own = { devices, screen };
  meeting = new Meeting(show("meeting"), SIGNAL_URL, ticket, own, terms, (failure) => {
    meeting = null;
    devices.stop();
    leave(room, name, failure, () => {
      // A region that is no more would refuse again; the measurements choose then.
      const again = failure?.code === "unknown-region" ? null : region;
      enter(room, name, again, rtts_ms, terms);
      void devices.start();
    });
  });
}

/**
 * @param {string} room
 * @param {string} name
 * @param {Failure | null} failure
 * @param {() => void} rejoin
 */
function leave(room, name, failure, rejoin) {
  const root = show("left");
  find(root, "#left-title", HTMLElement).textContent =
    failure === null ? "You left the meeting" : "You are not in the meeting";
  find(root, "#left-words", HTMLElement).textContent =
    failure?.message ?? `See you again in ${room}, ${name}.`;
  find(root, "#rejoin", HTMLButtonElement).onclick = rejoin;
}

document.addEventListener("click", ({ target }) => {
  if (!(target instanceof Element) || target.closest("[data-action=copy]") === null) return;
  const link = location.origin + location.pathname;
  const toasts = find(document, "#toasts", HTMLElement);
  // Typed as always there; a page of an insecure origin has none.
  const clipboard = /** @type {Clipboard | undefined} */ (navigator.clipboard);
  (clipboard?.writeText(link) ?? Promise.reject()).then(
    () => toast(toasts, "Link copied"),
    () => toast(toasts, `The link: ${link}`),
  );
});

/** Read-only, for tests and for debugging at the console: see web/PROTOCOL.md. */
Object.defineProperty(window, "octomesh", {
  value: Object.freeze({
    stats: async () => (await meeting?.session.stats()) ?? [],
    sent: () => meeting?.session.sent ?? [],
    session: () =>
      meeting === null
        ? null
        : {
            you: meeting.session.roster.self,
            connection: meeting.session.connection,
            attempt: meeting.session.attempt,
            rtts_ms: { ...meeting.session.ticket.rtts_ms },
          },
  }),
});

async function start() {
  const wishes = wishesOf(new URL(location.href));
  const room = wishes.room === null ? null : roomOf(wishes.room);
  if (room === null) {
    const root = show("landing");
    showLanding(root, (chosen) => location.assign(`./${encodeURIComponent(chosen)}`));
    await measure((regions, rtts_ms, done) => showReach(root, regions, rtts_ms, done));
    return;
  }
  document.title = `${room} · octomesh`;
  bindDeviceButtons(find(document, "#meeting", HTMLElement), devices);
  const name = wishes.name ?? remembered("name") ?? "";
  const { slots, relay } = wishes;
  const asked = fetchSettings(SETTINGS_URL).then((settings) => ({ settings, slots, relay }));
  if (!wishes.prejoin) {
    void devices.start();
    // An explicit region needs no measurement.
    const rtts_ms = wishes.region === null ? await measure(() => undefined) : {};
    enter(room, name || "Guest", wishes.region, rtts_ms, await asked);
    return;
  }
  const root = show("prejoin");
  const join = async (/** @type {string} */ typed, /** @type {string | null} */ region) => {
    remember("name", typed);
    const rtts_ms = region === null ? await measuring : {};
    const terms = await asked;
    prejoin.close();
    enter(room, typed, region, rtts_ms, terms);
  };
  const prejoin = new Prejoin(root, devices, { room, name, region: wishes.region }, join);
  const measuring = measure((...found) => prejoin.showRegions(...found));
  await devices.start();
}

addEventListener("pagehide", () => meeting?.session.close());
addEventListener("pageshow", ({ persisted }) => {
  // Back from the browser's page cache: its connections are gone.
  if (persisted) location.reload();
});
void start();
