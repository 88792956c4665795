/**
 * The mesh page: fetches what the focus knows each second and shows it, also when it is old.
 *
 * @typedef {import("./mesh_figures.js").Mesh} Mesh
 * @typedef {import("./mesh_figures.js").Bridge} Bridge
 * @typedef {import("./mesh_figures.js").Link} Link
 * @typedef {import("./mesh_figures.js").Conference} Conference
 */

import { element, find } from "./dom.js";
import { drawMesh } from "./mesh_drawing.js";
import {
  bitrate,
  duration,
  heatOf,
  milliseconds,
  people,
  percent,
  seatsByBridge,
  UNMEASURED,
  whole,
} from "./mesh_figures.js";
import { keepKey, keptKey, keyHeaders } from "./mesh_key.js";
import { isSending, regionTitle } from "./roster.js";

const MESH_URL = new URL("../api/mesh", import.meta.url);
const REFRESH_MS = 1000;
const FETCH_BOUND_MS = 3000;
/** Older than this is said to be old. */
const STALE_MS = 3000;

const root = find(document, "#mesh", HTMLElement);
const key_form = find(root, "#key-form", HTMLFormElement);
const key_problem = find(root, "#key-problem", HTMLElement);
let shown_ms = -Infinity;

/** @param {Mesh} mesh */
function show(mesh) {
  drawMesh(find(root, "#drawing", SVGSVGElement), mesh);
  showMatrix(find(root, "#matrix", HTMLTableElement), mesh);
  fill(find(root, "#bridges", HTMLElement), mesh.bridges.map(bridgeRow), "No bridge is up.", 7);
  fill(find(root, "#links", HTMLElement), mesh.links.map(linkRow), "No trunk is up.", 12);
  const conferences = find(root, "#conferences", HTMLElement);
  conferences.replaceChildren(...mesh.conferences.map(conferenceCard));
  if (mesh.conferences.length === 0) {
    conferences.append(element("p", "empty", "Nobody is in a meeting now."));
  }
  key_form.hidden = mesh.names;
}

/**
 * @param {HTMLTableElement} table
 * @param {Mesh} mesh
 */
function showMatrix(table, { bridges, links }) {
  const head = element("thead");
  const heads = element("tr");
  heads.append(element("td"));
  heads.firstElementChild?.classList.add("self");
  for (const { bridge } of bridges) heads.append(header(bridge, "col"));
  head.append(heads);
  const body = element("tbody");
  for (const { bridge: from } of bridges) {
    const row = element("tr");
    row.append(header(from, "row"));
    for (const { bridge: to } of bridges) {
      if (from === to) {
        row.append(element("td", "self", "·"));
        continue;
      }
      const link = links.find((one) => one.from === from && one.to === to);
      const rtt_ms = link?.up ? link.rtt_ms : null;
      const cell = element("td", "", link?.up === false ? "down" : milliseconds(rtt_ms));
      const heat = heatOf(rtt_ms);
      if (heat !== null) cell.dataset.heat = String(heat);
      row.append(cell);
    }
    body.append(row);
  }
  table.replaceChildren(head, body);
}

/** @param {Bridge} bridge */
function bridgeRow(bridge) {
  const row = element("tr");
  row.dataset.bridge = bridge.bridge;
  row.dataset.region = bridge.region;
  row.dataset.participants = String(bridge.participants);
  row.append(
    header(bridge.bridge, "row"),
    element("td", "", regionTitle(bridge.region)),
    element("td", "number", whole(bridge.participants)),
    element("td", "number", percent(bridge.cpu)),
    element("td", "number", whole(bridge.packets_per_s)),
    element("td", "number", duration(bridge.up_s)),
    element("td", "addresses", bridge.media_addresses.join(", ") || UNMEASURED),
  );
  return row;
}

/** @param {Link} link */
function linkRow(link) {
  const row = element("tr");
  row.dataset.linkFrom = link.from;
  row.dataset.linkTo = link.to;
  row.dataset.up = String(link.up);
  row.dataset.rttMs = link.rtt_ms === null ? "" : String(link.rtt_ms);
  row.dataset.sourcesOut = link.sources_out === null ? "" : String(link.sources_out);
  const state = element("td");
  state.append(element("span", "state", link.up ? "up" : "down"));
  row.append(
    header(link.from, "row"),
    element("td", "", link.to),
    state,
    ...[link.rtt_ms, link.rtt_min_ms, link.rtt_p50_ms, link.rtt_p95_ms, link.jitter_ms].map(
      (figure_ms) => element("td", "number", milliseconds(figure_ms)),
    ),
    element("td", "number", percent(link.loss)),
    element("td", "number", `${whole(link.sources_out)} / ${whole(link.sources_in)}`),
    element("td", "number", bitrate(link.sent_bps)),
    element("td", "number", bitrate(link.received_bps)),
  );
  return row;
}

/** @param {Conference} conference */
function conferenceCard(conference) {
  const card = element("article", "conference");
  card.dataset.conference = conference.conference ?? "";
  const title = element("h3", "", conference.conference ?? "A meeting");
  title.append(element("span", "muted", people(conference.participants.length)));
  card.append(title);
  if (conference.conference === null) {
    for (const [bridge, seats] of seatsByBridge(conference.participants)) {
      card.append(element("p", "seat-bridge", `${bridge}: ${people(seats.length)}`));
    }
    return card;
  }
  for (const [bridge, seats] of seatsByBridge(conference.participants)) {
    card.append(element("p", "seat-bridge", bridge));
    const list = element("ul", "seats");
    for (const seat of seats) {
      const item = element("li", "seat", seat.name);
      item.dataset.participant = String(seat.id);
      item.dataset.seatBridge = seat.bridge ?? "";
      const off = ["microphone", "camera"].filter(
        (kind) => !isSending({ ...seat, region: "", bridge: "" }, /** @type {any} */ (kind)),
      );
      if (off.length > 0) item.title = `${off.join(" and ")} off`;
      list.append(item);
    }
    card.append(list);
  }
  return card;
}

/**
 * @param {string} text
 * @param {"row" | "col"} scope
 */
function header(text, scope) {
  const made = element("th", "", text);
  made.scope = scope;
  return made;
}

/**
 * @param {HTMLElement} body
 * @param {HTMLElement[]} rows
 * @param {string} none
 * @param {number} columns
 */
function fill(body, rows, none, columns) {
  if (rows.length === 0) {
    const row = element("tr");
    const cell = element("td", "empty", none);
    cell.colSpan = columns;
    row.append(cell);
    rows = [row];
  }
  body.replaceChildren(...rows);
}

/** @param {string} words */
function showFreshness(words) {
  const fresh = performance.now() - shown_ms < STALE_MS;
  root.dataset.fresh = String(fresh);
  const line = find(root, "#fresh", HTMLElement);
  const text = fresh
    ? "Live, each second"
    : Number.isFinite(shown_ms)
      ? `${words} These figures are ${duration((performance.now() - shown_ms) / 1000)} old.`
      : words;
  // A live region is read aloud when it changes: only then.
  if (line.textContent !== text) line.textContent = text;
}

const NO_KEY = "That is not the operator key of this focus.";

async function refresh() {
  const shown_key = keptKey();
  try {
    const response = await fetch(MESH_URL, {
      cache: "no-store",
      headers: keyHeaders(),
      signal: AbortSignal.timeout(FETCH_BOUND_MS),
    });
    if (!response.ok) throw new Error(`status ${response.status}`);
    /** @type {Mesh} */
    const mesh = await response.json();
    show(mesh);
    shown_ms = performance.now();
    if (mesh.names) key_problem.textContent = "";
    else if (shown_key !== "" && shown_key === keptKey()) {
      keepKey("");
      key_problem.textContent = NO_KEY;
    }
  } catch {
    // Said on the page below; the next second tries again.
  }
  showFreshness("The focus does not answer.");
  setTimeout(refresh, REFRESH_MS);
}

key_form.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find(key_form, "#key", HTMLInputElement);
  // The next refresh, within a second, tells whether it is the right one.
  key_problem.textContent = keepKey(field.value) ? "" : NO_KEY;
  field.value = "";
});
void refresh();
