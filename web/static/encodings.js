/**
 * What one's own camera and screen are encoded into, from the conference's codec, the layers that
 * anybody wants and the height of the picture; pure. An encoding is one RTP stream (W3C's word).
 *
 * @typedef {import("./messages.js").VideoCodec} VideoCodec
 * @typedef {import("./messages.js").Layer} Layer
 * @typedef {"camera" | "screen"} PictureKind
 * @typedef {{codec: VideoCodec, layers: readonly Layer[] | null, height_px: number | null}} Demand
 *   layers null: not told yet, so all of them; `height_px` is the smaller side, null if unknown
 * @typedef {{rid: string, active: boolean, scaleResolutionDownBy: number, maxBitrate: number,
 *   maxFramerate?: number, scalabilityMode: string}} Encoding
 */

/** Of the spatial layers, lowest first. */
const LAYER_HEIGHTS_PX = [180, 360, 720];
const LAYER_KBPS = {
  vp8: [200, 500, 1500],
  vp9: [100, 300, 1200],
  av1: [100, 300, 1000],
  h264: [400, 800, 2000],
};
const CAMERA_RIDS = ["q", "h", "f"];
/** A layer has to be this much higher than the one beneath to be worth its bits. */
const WORTH = 1.25;

const SCREEN_RIDS = ["q", "f"];
const SCREEN_SCALES = [2, 1];
const SCREEN_KBPS = [500, 2500];
export const SCREEN_FPS = 5;

/**
 * With SVC the first encoding carries all layers: Chromium reads the scalability mode of no other
 * and would send one layer.
 */
const SCALABLE_AT = 0;
const SCALABLE = new Set(["vp9", "av1"]);
/** One spatial layer with three temporal ones. */
export const FLAT = "L1T3";

/**
 * The encodings, lowest first; always as many, only some are active.
 * @param {PictureKind} kind
 * @param {Demand} demand
 * @returns {Encoding[]}
 */
export function encodingsOf(kind, demand) {
  return kind === "camera" ? cameraEncodings(demand) : screenEncodings(demand);
}

/**
 * @param {Demand} demand
 * @returns {Encoding[]}
 */
function cameraEncodings({ codec, layers, height_px }) {
  const rates = LAYER_KBPS[codec];
  const wanted = wantedOf(layers, layerCount(height_px));
  const simulcast = CAMERA_RIDS.map((rid, layer) => ({
    rid,
    active: wanted.has(layer),
    scaleResolutionDownBy: cameraScale(height_px, layer),
    maxBitrate: 1000 * (rates[layer] ?? 0),
    scalabilityMode: FLAT,
  }));
  if (!SCALABLE.has(codec)) return simulcast;
  const top = Math.max(0, ...wanted);
  return simulcast.map((encoding, index) =>
    index === SCALABLE_AT
      ? {
          ...encoding,
          active: wanted.size > 0,
          scaleResolutionDownBy: cameraScale(height_px, top),
          maxBitrate: 1000 * rates.slice(0, top + 1).reduce((sum, rate) => sum + rate, 0),
          scalabilityMode: top === 0 ? FLAT : `L${top + 1}T3_KEY`,
        }
      : { ...encoding, active: false },
  );
}

/**
 * A screen with SVC has one spatial layer: Chromium's VP9 has no others for text.
 * @param {Demand} demand
 * @returns {Encoding[]}
 */
function screenEncodings({ codec, layers }) {
  const wanted = wantedOf(layers, SCREEN_RIDS.length);
  const scalable = SCALABLE.has(codec);
  return SCREEN_RIDS.map((rid, layer) => {
    const at = scalable && layer === SCALABLE_AT ? SCREEN_RIDS.length - 1 : layer;
    return {
      rid,
      active: scalable ? layer === SCALABLE_AT && wanted.size > 0 : wanted.has(layer),
      scaleResolutionDownBy: SCREEN_SCALES[at] ?? 1,
      maxBitrate: 1000 * (SCREEN_KBPS[at] ?? 0),
      maxFramerate: SCREEN_FPS,
      scalabilityMode: FLAT,
    };
  });
}

/**
 * The spatial layers to send: those that are wanted; the highest there is for all above it.
 * @param {readonly Layer[] | null} layers
 * @param {number} count
 */
function wantedOf(layers, count) {
  if (layers === null) return new Set(Array.from({ length: count }, (_, layer) => layer));
  return new Set(layers.map(({ spatial }) => Math.min(spatial, count - 1)));
}

/**
 * How many layers a picture of this height is worth.
 * @param {number | null} height_px
 */
function layerCount(height_px) {
  if (height_px === null) return LAYER_HEIGHTS_PX.length;
  return 1 + LAYER_HEIGHTS_PX.slice(0, -1).filter((below) => height_px >= WORTH * below).length;
}

/**
 * @param {number | null} height_px
 * @param {number} layer
 */
function cameraScale(height_px, layer) {
  const assumed = height_px ?? LAYER_HEIGHTS_PX.at(-1) ?? 720;
  return Math.max(1, assumed / (LAYER_HEIGHTS_PX[layer] ?? 720));
}
