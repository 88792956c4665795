/**
 * Bridges on a ring and the trunks between them, as SVG.
 *
 * @typedef {import("./mesh_figures.js").Mesh} Mesh
 * @typedef {import("./mesh_figures.js").Link} Link
 */

import { milliseconds, ringOf, trunksOf } from "./mesh_figures.js";

const BOX = { width: 640, height: 420, margin_x: 165, margin_y: 62 };
/** A trunk's label stands off its middle, so that labels of crossing trunks part. */
const LABEL_AT = 0.34;

/**
 * @param {SVGSVGElement} svg
 * @param {Mesh} mesh
 */
export function drawMesh(svg, { bridges, links }) {
  const points = ringOf(bridges.length, BOX);
  const places = new Map(bridges.map(({ bridge }, index) => [bridge, points[index]]));
  const trunks = [];
  const labels = [];
  for (const { a, b, ends } of trunksOf(links)) {
    const from = places.get(a);
    const to = places.get(b);
    if (from === undefined || to === undefined) continue;
    const up = ends.every((end) => end.up);
    const used = up && ends.some((end) => (end.sources_out ?? 0) > 0);
    const line = node("line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
    const state = used ? "trunk-up trunk-used" : up ? "trunk-up" : "trunk-down";
    line.setAttribute("class", `trunk ${state}`);
    trunks.push(line);
    const x = from.x + (to.x - from.x) * LABEL_AT;
    const y = from.y + (to.y - from.y) * LABEL_AT;
    labels.push(label(x, y, up ? rttOf(ends) : "down"));
  }
  const nodes = bridges.flatMap(({ bridge, participants }, index) => {
    const point = points[index];
    return point === undefined ? [] : [bridgeNode(point.x, point.y, bridge, participants)];
  });
  svg.replaceChildren(...trunks, ...labels, ...nodes);
}

/**
 * The smaller of both ends' figures: each measures the same path.
 * @param {readonly Link[]} ends
 */
function rttOf(ends) {
  const measured = ends.flatMap(({ rtt_ms }) => (rtt_ms === null ? [] : [rtt_ms]));
  return measured.length === 0 ? "–" : `${milliseconds(Math.min(...measured))} ms`;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} words
 */
function label(x, y, words) {
  const text = node("text", { x, y });
  text.setAttribute("class", "trunk-label");
  text.textContent = words;
  return text;
}

/**
 * A bridge with its number of people, its name on the outer side.
 * @param {number} x
 * @param {number} y
 * @param {string} bridge
 * @param {number} participants
 */
function bridgeNode(x, y, bridge, participants) {
  const group = node("g", {});
  group.setAttribute("class", "node");
  const count = node("text", { x, y });
  count.setAttribute("class", "node-count");
  count.textContent = String(participants);
  const aside = Math.abs(y - BOX.height / 2) < 40 && Math.abs(x - BOX.width / 2) > 40;
  const outward = Math.sign((aside ? x - BOX.width / 2 : y - BOX.height / 2) || -1);
  const name = node(
    "text",
    aside ? { x: x + outward * 36, y } : { x, y: y + outward * 42 },
  );
  const anchor = aside ? (outward < 0 ? " node-name-left" : " node-name-right") : "";
  name.setAttribute("class", `node-name${anchor}`);
  name.textContent = bridge;
  const title = node("title", {});
  title.textContent = `${bridge}: ${participants} participants`;
  group.append(title, node("circle", { cx: x, cy: y, r: 24 }), count, name);
  return group;
}

/**
 * @param {"line" | "g" | "text" | "circle" | "title"} name
 * @param {Record<string, number>} attributes
 */
function node(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value.toFixed(1));
  return made;
}
