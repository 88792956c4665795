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
/** In a smaller tile a face is not a face. */
const SMALLEST = { width: 116, height: 76 };
/** The most tiles at once, whatever the window. */
const MOST_TILES = 49;
/**
 * The strip: what share of a wide window's width it takes in one column or two, how many tiles are
 * abreast in a narrow window, and the least and most height of a tile.
 */
const STRIP = { share: 0.17, shareOfTwo: 0.28, abreast: 4, least: 76, most: 148 };
/** The height of a stage above others, to its width. */
const LOWEST_STAGE = 0.62;

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
 * How many tiles such a box has room for, at least one.
 * @param {{width: number, height: number, gap: number}} box
 */
export function roomFor({ width, height, gap }) {
  for (let count = MOST_TILES; count > 1; count -= 1) {
    const [tile] = layoutTiles({ width, height, count, gap });
    if (tile === undefined) break;
    if (tile.width >= SMALLEST.width && tile.height >= SMALLEST.height) return count;
  }
  return 1;
}

/**
 * One tile on the stage and up to `count` others in a strip: a column or two beside it, or rows
 * below it in a window that is higher than wide; `room` is how many the strip has places for.
 * @param {{width: number, height: number, count: number, gap: number}} box
 * @returns {{stage: Rect, strip: Rect[], room: number}}
 */
export function layoutStage({ width, height, count, gap }) {
  const whole = { x: 0, y: 0, width: Math.max(0, width), height: Math.max(0, height) };
  if (count < 1) return { stage: whole, strip: [], room: 0 };
  const beside = width >= height;
  const one = beside ? column(width, height, gap, 1) : rowsBelow(width, height, gap);
  const { tile, columns, room } =
    beside && count > one.room ? column(width, height, gap, 2) : one;
  const shown = Math.min(count, room);
  const abreast = beside ? Math.min(columns, shown) : columns;
  const rows = Math.ceil(shown / abreast);
  const strip = {
    width: beside ? abreast * (tile.width + gap) - gap : width,
    height: beside ? height : rows * (tile.height + gap) - gap,
  };
  const corner = { x: width - strip.width, y: height - strip.height };
  return {
    stage: {
      ...whole,
      width: beside ? Math.max(0, corner.x - gap) : whole.width,
      height: beside ? whole.height : Math.max(0, corner.y - gap),
    },
    strip: placed({ columns: abreast, rows, ...tile }, strip.width, strip.height, shown, gap).map(
      (rect) => ({ ...rect, x: corner.x + rect.x, y: corner.y + rect.y }),
    ),
    room,
  };
}

/**
 * Places in so many columns beside a stage.
 * @param {number} width
 * @param {number} height
 * @param {number} gap
 * @param {1 | 2} columns
 */
function column(width, height, gap, columns) {
  const share = width * (columns === 1 ? STRIP.share : STRIP.shareOfTwo);
  const side = bounded((share - (columns - 1) * gap) / columns / WIDEST);
  const tile = { width: side * WIDEST, height: side };
  return { tile, columns, room: columns * fitting(height, side, gap) };
}

/**
 * Places in rows below a stage that is no lower than it should be.
 * @param {number} width
 * @param {number} height
 * @param {number} gap
 */
function rowsBelow(width, height, gap) {
  const side = bounded((width + gap) / STRIP.abreast - gap);
  const columns = fitting(width, side, gap);
  const room = columns * fitting(height - gap - width * LOWEST_STAGE, side, gap);
  return { tile: { width: side, height: side }, columns, room };
}

/** @param {number} side */
function bounded(side) {
  return Math.max(STRIP.least, Math.min(STRIP.most, side));
}

/**
 * How many of a length stand one after another, at least one.
 * @param {number} length
 * @param {number} each
 * @param {number} gap
 */
function fitting(length, each, gap) {
  return Math.max(1, Math.floor((length + gap + 0.01) / (each + gap)));
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
