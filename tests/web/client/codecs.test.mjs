import assert from "node:assert/strict";
import { test } from "node:test";
import { codecNamed, codecsToOffer } from "../../../web/static/codecs.js";

const capability = (mimeType, sdpFmtpLine) => ({ mimeType, clockRate: 90000, sdpFmtpLine });
const h264 = (mode, profile) =>
  `level-asymmetry-allowed=1;packetization-mode=${mode};profile-level-id=${profile}`;
const VIDEO = [
  capability("video/VP8"),
  capability("video/rtx"),
  capability("video/VP9", "profile-id=0"),
  capability("video/VP9", "profile-id=2"),
  capability("video/H264", h264(1, "42001f")),
  capability("video/H264", h264(0, "42e01f")),
  capability("video/H264", h264(1, "42E01F")),
  capability("video/AV1", "level-idx=5;profile=0;tier=0"),
  capability("video/AV1", "level-idx=5;profile=1;tier=0"),
  capability("video/red"),
  capability("video/ulpfec"),
];
const AUDIO = ["audio/red", "audio/opus", "audio/PCMU", "audio/CN"].map((type) => capability(type));
const ALL = ["av1", "vp9", "vp8", "h264"];
const names = (offered) => offered.map(({ mimeType }) => mimeType.split("/")[1].toLowerCase());

test("of each codec the one profile that all have is offered, and retransmissions", () => {
  const offered = codecsToOffer(VIDEO, { media: "video", allowed: ALL, first: null });
  assert.deepEqual(names(offered), ["av1", "vp9", "vp8", "h264", "rtx"]);
  assert.deepEqual(
    offered.map(({ sdpFmtpLine }) => sdpFmtpLine),
    [
      "level-idx=5;profile=0;tier=0",
      "profile-id=0",
      undefined,
      h264(1, "42E01F"),
      undefined,
    ],
  );
});

test("the conference's codec is the first, the others follow as they were", () => {
  const offered = codecsToOffer(VIDEO, { media: "video", allowed: ALL, first: "vp8" });
  assert.deepEqual(names(offered), ["vp8", "av1", "vp9", "h264", "rtx"]);
});

test("a codec that the mesh does not allow is not offered", () => {
  const offered = codecsToOffer(VIDEO, { media: "video", allowed: ["vp8", "vp7"], first: "av1" });
  assert.deepEqual(names(offered), ["vp8", "rtx"]);
});

test("where nothing is in common the browser is left to offer what it likes", () => {
  assert.deepEqual(codecsToOffer(VIDEO, { media: "video", allowed: [], first: null }), []);
});

test("a browser that does not name its default profiles is understood", () => {
  const types = ["video/AV1", "video/VP9", "video/VP8", "video/H264"];
  const plain = types.map((type) => capability(type));
  const offered = codecsToOffer(plain, { media: "video", allowed: ALL, first: null });
  assert.deepEqual(names(offered), ["av1", "vp9", "vp8"]);
});

test("Opus is preferred to RED, and nothing else is offered for voices", () => {
  const offered = codecsToOffer(AUDIO, { media: "audio", allowed: ALL, first: "vp8" });
  assert.deepEqual(names(offered), ["opus", "red"]);
});

test("a codec is known by its media type", () => {
  assert.equal(codecNamed("video/VP9"), "vp9");
  assert.equal(codecNamed("video/H265"), null);
  assert.equal(codecNamed(undefined), null);
});
