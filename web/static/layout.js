/**
 * Where tiles go: pure geometry in CSS pixels.
 *
 * @typedef {{x: number, y: number, width: number, height: number}} Rect
 */

const WIDEST = 16 / 9;
/** The narrowest tile in a wide window: a square still shows head and shoulders. */
const NARROWEST_LANDSCAPE = 1;
/** The narrowest tile in a window that is higher than wide. */
const NARROWEST_PORTRAIT = 3 / 4;

/**
 * `count` equal tiles in a box, as large as they get between the narrowest and the widest shape,
 * in rows that are filled from the left, the last one centred, the whole centred.
 * @param {{width: number, height: number, count: number, gap: number}} box
 * @returns {Rect[]}
 */
export function layoutTiles({ width, height, count, gap }) {
  if (count < 1 || width <= 0 || height <= 0) return [];
  const narrowest = width >= height ? NARROWEST_LANDSCAPE : NARROWEST_PORTRAIT;
  let best = grid(width, height, count, 1, gap, narrowest);
  for (let columns = 2; columns <= count; columns += 1) {
    const next = grid(width, height, count, columns, gap, narrowest);
    if (next.width * next.height > best.width * best.height) best = next;
  }
  return placed(best, width, height, count, gap);
}

/**
 * The largest tile that fits `columns` abreast.
 * @param {number} boxWidth
 * @param {number} boxHeight
 * @param {number} count
 * @param {number} columns
 * @param {number} gap
 * @param {number} narrowest
 */
function grid(boxWidth, boxHeight, count, columns, gap, narrowest) {
  const rows = Math.ceil(count / columns);
  const cellWidth = Math.max(0, (boxWidth - gap * (columns - 1)) / columns);
  const cellHeight = Math.max(0, (boxHeight - gap * (rows - 1)) / rows);
  const width = Math.min(cellWidth, cellHeight * WIDEST);
  const height = Math.min(cellHeight, cellWidth / narrowest);
  return { columns, rows, width, height };
}

/**
 * @param {{columns: number, rows: number, width: number, height: number}} chosen
 * @param {number} boxWidth
 * @param {number} boxHeight
 * @param {number} count
 * @param {number} gap
 * @returns {Rect[]}
 */
function placed({ columns, rows, width, height }, boxWidth, boxHeight, count, gap) {
  const top = (boxHeight - rows * height - (rows - 1) * gap) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const abreast = row === rows - 1 ? count - row * columns : columns;
    const left = (boxWidth - abreast * width - (abreast - 1) * gap) / 2;
    const column = index - row * columns;
    return { x: left + column * (width + gap), y: top + row * (height + gap), width, height };
  });
}

/**
 * The picture worth sending to a room of this many: with more than two people no tile of an
 * ordinary window is 720 px high. Every receiver gets the same picture (one layer).
 * @param {number} people with oneself
 * @returns {{height_px: number, max_bitrate_bps: number}}
 */
export function pictureFor(people) {
  return people <= 2
    ? { height_px: 720, max_bitrate_bps: 1_500_000 }
    : { height_px: 360, max_bitrate_bps: 600_000 };
}
