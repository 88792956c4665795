"""A person in a meeting: one browser page, and what it shows and receives."""

import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page

from tests.e2e.mesh import Mesh, eventually

MEETS_WITHIN_S = 10.0
FRAMES_SEEN = 50

# What the page itself keeps to itself: its signalling, its answers and its peer connections.
SPY = """
window.spy = {sockets: [], connections: []};
window.WebSocket = class extends WebSocket {
  constructor(...all) { super(...all); spy.sockets.push(this); }
};
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...all) { super(...all); spy.connections.push(this); }
};
"""


class Guest:
    """Whoever opens one closes it."""

    def __init__(self, context: BrowserContext, name: str) -> None:
        self.name = name
        self.context = context
        context.add_init_script(SPY)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(MEETS_WITHIN_S * 1000)
        self.said: list[str] = []
        self.errors: list[str] = []
        self.page.on("websocket", lambda socket: socket.on("framesent", self._hear))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _hear(self, frame: str | bytes) -> None:
        self.said.append(str(frame))

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

    def bridge_address(self) -> str:
        """Where this browser's media goes, by its own selected candidate pair."""
        return self.page.evaluate(
            """async () => {
              const report = await spy.connections.at(-1).getStats();
              for (const [, entry] of report) {
                if (entry.type !== "transport") continue;
                const pair = report.get(entry.selectedCandidatePairId);
                return report.get(pair.remoteCandidateId).address;
              }
            }"""
        )


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
