/**
 * Which of a browser's codecs are offered, and in which order; pure.
 *
 * @typedef {import("./messages.js").VideoCodec} VideoCodec
 */

/** All that a conference may speak, the best first. */
export const VIDEO_CODECS = /** @type {readonly VideoCodec[]} */ (["av1", "vp9", "vp8", "h264"]);
/** What is spoken until a conference says otherwise: everything that shows video decodes it. */
export const FIRST_CODEC = /** @type {VideoCodec} */ ("vp8");
const AUDIO = ["audio/opus", "audio/red"];
/** The profile of each that every browser has; other profiles would only lengthen the offer. */
const PROFILES = {
  av1: /(^|;)profile=0(;|$)/,
  vp9: /(^|;)profile-id=0(;|$)/,
  vp8: /^/,
  h264: /^(?=.*packetization-mode=1)(?=.*profile-level-id=42e0)/i,
};
/** A profile that need not be named, as it is the default one. */
const UNNAMED = new Set(["av1", "vp9", "vp8"]);

/**
 * The capabilities to offer for a section: of audio Opus before RED, of video the `allowed` codecs,
 * `first` before the others, and retransmissions.
 * @template {{mimeType: string, sdpFmtpLine?: string}} C
 * @param {readonly C[]} capabilities
 * @param {{media: string, allowed: readonly string[], first: VideoCodec | null}} wish
 * @returns {C[]}
 */
export function codecsToOffer(capabilities, { media, allowed, first }) {
  const named = (/** @type {string} */ type) =>
    capabilities.filter(({ mimeType }) => mimeType.toLowerCase() === type);
  if (media === "audio") return AUDIO.flatMap(named);
  const known = VIDEO_CODECS.filter((codec) => allowed.includes(codec));
  const ordered = [...known].sort((a, b) => Number(b === first) - Number(a === first));
  const offered = ordered.flatMap((codec) =>
    named(`video/${codec}`).filter(({ sdpFmtpLine = "" }) =>
      sdpFmtpLine === "" ? UNNAMED.has(codec) : PROFILES[codec].test(sdpFmtpLine),
    ),
  );
  return offered.length === 0 ? [] : [...offered, ...named("video/rtx")];
}

/**
 * @param {string | undefined} mime_type
 * @returns {VideoCodec | null}
 */
export function codecNamed(mime_type) {
  const name = mime_type?.toLowerCase().replace(/^video\//, "");
  return VIDEO_CODECS.find((codec) => codec === name) ?? null;
}
