"""A person in a meeting: one browser page, and what it shows and receives."""

import json
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, WebSocket

from tests.e2e.mesh import Mesh, eventually
from tests.patience import patient_ms

MEETS_WITHIN_S = 10.0
FRAMES_SEEN = 50

# What the page itself keeps to itself: its signalling, and its peer connections, which it makes in
# a window of their own.
SPY = """
window.spy = {sockets: [], connections: [], answered: answer => answer};
window.WebSocket = class extends WebSocket {
  constructor(...all) { super(...all); spy.sockets.push(this); }
};
spy.on = inner => {
  inner.RTCPeerConnection = class extends inner.RTCPeerConnection {
    constructor(...all) { super(...all); spy.connections.push(this); }
    setRemoteDescription(answer) { return super.setRemoteDescription(spy.answered(answer)); }
  };
};
spy.on(window);
{
  const {get} = Object.getOwnPropertyDescriptor(HTMLIFrameElement.prototype, "contentWindow");
  const known = new WeakSet();
  Object.defineProperty(HTMLIFrameElement.prototype, "contentWindow", {get() {
    const inner = get.call(this);
    if (inner !== null && !known.has(inner)) { known.add(inner); spy.on(inner); }
    return inner;
  }});
}
"""

# What comes in now, by the browser's own statistics: whose it is says the media itself, by CSRC.
FIGURES = """
spy.figures = async () => {
  const names = new Map();
  for (const {dataset} of document.querySelectorAll(".tile[data-participant]")) {
    if (dataset.source === undefined) names.set(Number(dataset.participant), dataset.name);
  }
  const figures = [];
  for (const connection of spy.connections) {
    if (["closed", "failed"].includes(connection.connectionState)) continue;
    const report = await connection.getStats();
    const tracks = new Map();
    for (const [, entry] of report) {
      if (entry.type === "inbound-rtp") tracks.set(entry.trackIdentifier, entry);
    }
    for (const receiver of connection.getReceivers()) {
      const entry = tracks.get(receiver.track.id);
      const heard = receiver.getContributingSources();
      if (entry === undefined || heard.length === 0) continue;
      const {source} = heard.reduce((last, it) => it.timestamp > last.timestamp ? it : last);
      const name = names.get(source >>> 2);
      if (name === undefined) continue;
      const codec = report.get(entry.codecId)?.mimeType.split("/")[1] ?? "";
      figures.push({
        name, codec, kind: ["", "microphone", "camera", "screen"][source & 3],
        bytes: entry.bytesReceived ?? 0,
        frames: entry.framesDecoded ?? 0,
        height_px: entry.frameHeight ?? 0,
        width_px: entry.frameWidth ?? 0,
        freezes: entry.freezeCount ?? 0,
        frozen_s: entry.totalFreezesDuration ?? 0,
        samples: entry.totalSamplesReceived ?? 0,
        concealed: entry.concealedSamples ?? 0,
      });
    }
  }
  return figures;
};
spy.keep = (selector) => {
  spy.kept ??= new Map();
  const seen = {looks: 0, misses: 0};
  spy.kept.set(selector, seen);
  setInterval(() => {
    seen.looks += 1;
    if (document.querySelector(selector) === null) seen.misses += 1;
  }, 100);
};
spy.watch = () => {
  if (spy.watched !== undefined) return;
  spy.watched = new Map();
  const look = async () => {
    const figures = await spy.figures().catch(() => []);
    const now = performance.now();
    for (const {name, kind, frames, samples, concealed} of figures) {
      const progress = kind === "microphone" ? samples - concealed : frames;
      const seen = spy.watched.get(`${name}/${kind}`);
      if (seen === undefined) {
        spy.watched.set(`${name}/${kind}`, {progress, at: now, longest: 0});
      } else if (seen.progress !== progress) {
        seen.longest = Math.max(seen.longest, now - seen.at);
        Object.assign(seen, {progress, at: now});
      }
    }
    setTimeout(look, 50);
  };
  void look();
};
spy.gap = (what) => {
  const seen = spy.watched.get(what);
  if (seen === undefined) return Infinity;
  const gap = Math.max(seen.longest, performance.now() - seen.at);
  seen.longest = 0;
  return gap;
};
"""


class Guest:
    """Whoever opens one closes it."""

    def __init__(self, context: BrowserContext, name: str) -> None:
        self.name = name
        self.context = context
        context.add_init_script(SPY + FIGURES)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(patient_ms(MEETS_WITHIN_S))
        self.said: list[str] = []
        self.heard: list[str] = []
        self.errors: list[str] = []
        self.page.on("websocket", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: self.said.append(str(frame)))
        socket.on("framereceived", lambda frame: self.heard.append(str(frame)))

    def close(self) -> None:
        self.context.close()

    def enter(self, mesh: Mesh, room: str, region: str | None = None) -> float:
        """Opens the meeting's page, which joins by itself; when it began to."""
        wishes = {"name": self.name, "prejoin": "false"} | ({"region": region} if region else {})
        started_at_s = time.monotonic()
        self.page.goto(f"{mesh.url}/{room}?{urlencode(wishes)}", wait_until="commit")
        return started_at_s

    def until_connected(self) -> None:
        self.page.wait_for_selector("#meeting[data-connection=connected]")

    def session(self) -> dict[str, Any]:
        """Empty before the meeting."""
        return self.page.evaluate("window.octomesh?.session() ?? {}")

    @property
    def region(self) -> str:
        you = self.session().get("you")
        return you["region"] if you else ""

    def received(self) -> dict[str, dict[str, Any]]:
        """What has been received of each other, by name."""
        stats = self.page.evaluate("window.octomesh?.stats() ?? []")
        return {person["name"]: person for person in stats}

    def tiles(self) -> set[str]:
        """Names of those who have one."""
        names = self.page.locator(".tile").evaluate_all("all => all.map(it => it.dataset.name)")
        return set(names)

    def tile(self, name: str, /, **shows: str) -> Locator:
        """That person's tile, and only if it shows this: `video="on"`, `region="…"`."""
        wanted = "".join(f'[data-{key}="{value}"]' for key, value in shows.items())
        return self.page.locator(f'.tile[data-name="{name}"]{wanted}')

    def press(self, device: str) -> None:
        self.page.locator(f"#meeting button[data-device={device}]").click()

    def say(self, message: dict[str, Any]) -> None:
        """A signalling message that the page has no button for."""
        self.page.evaluate("message => spy.sockets.at(-1).send(JSON.stringify(message))", message)

    def pictures(self, kind: str = "camera") -> dict[str, dict[str, Any]]:
        """What the browser says now of each camera, or screen, that it receives, by its owner."""
        return self._figures(kind)

    def sounds(self) -> dict[str, dict[str, Any]]:
        """The same of voices."""
        return self._figures("microphone")

    def _figures(self, kind: str) -> dict[str, dict[str, Any]]:
        figures = self.page.evaluate("spy.figures()")
        return {each["name"]: each for each in figures if each["kind"] == kind}

    def watch(self) -> None:
        """From now on each picture and voice is looked at twenty times a second."""
        self.page.evaluate("spy.watch()")

    def longest_gap_s(self, name: str, kind: str = "camera") -> float:
        """The longest time without a new frame, or sound, since the last time it was asked."""
        gap_ms: float = self.page.evaluate("what => spy.gap(what)", f"{name}/{kind}")
        return gap_ms / 1000

    def keep_looking_for(self, selector: str) -> None:
        """From now on it is looked ten times a second whether such an element is there."""
        self.page.evaluate("selector => spy.keep(selector)", selector)

    def looked_and_missed(self, selector: str) -> tuple[int, int]:
        """How often it was looked for, and was not there."""
        seen = self.page.evaluate("selector => spy.kept.get(selector)", selector)
        return seen["looks"], seen["misses"]

    def decoded(self) -> int:
        """Frames of all pictures together, as the browser itself counts them."""
        return self.page.evaluate(
            """async () => {
              let frames = 0;
              for (const connection of spy.connections) {
                for (const [, entry] of await connection.getStats()) {
                  if (entry.type === "inbound-rtp") frames += entry.framesDecoded ?? 0;
                }
              }
              return frames;
            }"""
        )

    def encoded(self) -> dict[str, dict[str, int]]:
        """Of each encoding of one's own camera, by its rid: frames ever, and lines now."""
        return self.page.evaluate(
            """async () => {
              const report = await spy.connections.at(-1).getStats();
              const encoded = {};
              for (const [, entry] of report) {
                const source = report.get(entry.mediaSourceId);
                if (entry.type !== "outbound-rtp" || source?.kind !== "video") continue;
                const {rid = "", framesEncoded: frames = 0, frameHeight: height_px = 0} = entry;
                encoded[rid] = {frames, height_px};
              }
              return encoded;
            }"""
        )

    def asked_for(self) -> list[dict[int, int]]:
        """What was wanted of one's own camera: each time the best temporal of spatial layers."""
        asked = (json.loads(text) for text in self.heard)
        return [
            {layer["spatial"]: layer["temporal"] for layer in message["layers"]}
            for message in asked
            if message["type"] == "layers" and message["kind"] == "camera"
        ]

    def transports(self) -> int:
        """How many peer connections the page has ever made; by a region's name it measures none."""
        return self.page.evaluate("spy.connections.length")

    def uplink_bps(self) -> float:
        """What the browser believes that its way to the bridge carries (its own estimate)."""
        return self.page.evaluate(
            """async () => {
              const report = await spy.connections.at(-1).getStats();
              for (const [, entry] of report) {
                if (entry.type !== "transport") continue;
                return report.get(entry.selectedCandidatePairId).availableOutgoingBitrate ?? 0;
              }
              return 0;
            }"""
        )

    def path(self) -> dict[str, dict[str, Any]]:
        """This browser's selected candidate `pair`, its `local` and its `remote` candidate."""
        return self.page.evaluate(
            """async () => {
              const report = await spy.connections.at(-1).getStats();
              for (const [, entry] of report) {
                if (entry.type !== "transport") continue;
                const pair = report.get(entry.selectedCandidatePairId);
                return {
                  pair,
                  local: report.get(pair.localCandidateId),
                  remote: report.get(pair.remoteCandidateId),
                };
              }
            }"""
        )

    def bridge_address(self) -> str:
        """Where this browser's media goes."""
        return str(self.path()["remote"]["address"])


def open_guest(browser: Browser, name: str, **options: Any) -> Guest:
    """A person with a browser profile of their own."""
    options = {"viewport": {"width": 900, "height": 600}} | options
    return Guest(browser.new_context(ignore_https_errors=True, **options), name)


def strangers(guests: Iterable[Guest], frames: int) -> dict[str, Any]:
    """Who does not yet see and hear whom, as `who: {whom: (frames, energy)}`."""
    guests = list(guests)
    missing: dict[str, Any] = {}
    for guest in guests:
        received = guest.received()
        for other in guests:
            if other is guest:
                continue
            got = received.get(other.name, {"framesDecoded": 0, "audioEnergy": 0})
            if got["framesDecoded"] < frames or not got["audioEnergy"] > 0:
                missing.setdefault(guest.name, {})[other.name] = (
                    got["framesDecoded"],
                    got["audioEnergy"],
                )
    return missing


def meet(guests: Iterable[Guest], *, frames: int = FRAMES_SEEN, within_s: float = 30.0) -> float:
    """Until everybody sees and hears everybody else; when that was."""
    eventually(lambda: strangers(guests, frames), lambda missing: not missing, within_s=within_s)
    return time.monotonic()


def closed(guest: Guest) -> None:
    """Closes even a guest whose browser is no more."""
    try:
        guest.close()
    except Error:
        return
