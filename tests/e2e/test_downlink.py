"""One receiver's link becomes slow, step by step, and quick again; queues and drops are real."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.camera import busy_camera
from tests.e2e.conftest import Launch
from tests.e2e.guest import Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, POLL_S, Mesh, eventually
from tests.network.namespaces import Host, Internet
from tests.patience import patient_s

ROOM = "thin-pipe"
LARGE = {"width": 1_680, "height": 1_050}
"""Whoever is on its stage is wanted at 720 lines."""
SMALL = {"width": 600, "height": 400}
"""What others see does not become less by it, but the work of drawing it."""
TOP_PX, LOWEST_PX = 720, 180
A_FEW = 10
FOLLOWS_WITHIN_S = 5.0
STARTS_WITHIN_S = 20.0
MOVES = 0.2
"""Of the frames that were encoded meanwhile: the lowest temporal layer has a fourth of them."""
WHOLE = 0.9
"""The same for whoever has the bandwidth for all of them: some are still on their way."""
HOLDS_S = 2.0
RIDS = ("q", "h", "f")
TOP_TEMPORAL = 2
FROZEN_S = 2.0
"""Of a picture; encoders that share two cores with all of this pause for one by themselves."""
MUTE_S = 1.0
"""Of a voice."""
CONCEALED = 0.03
"""Of all samples. A link that becomes slow drops voices with pictures until the bridge knows, for
a second perhaps; Opus's decoder conceals single losses so that at 3% most people call speech
good (ITU-T G.113 gives Opus-like codecs with concealment an Ie,eff of about 10 there)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Ana looks at Ben on her stage and at Chi beside him; nobody looks at Ana."""

    link: Host
    """Ana's."""
    ana: Guest
    ben: Guest
    chi: Guest


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the browser had counted of a picture."""

    at_s: float
    frames: int
    height_px: int
    bytes: int


@pytest.fixture(scope="module")
def mesh(far_mesh: Mesh) -> Mesh:
    return far_mesh


@pytest.fixture(scope="module")
def meeting(
    mesh: Mesh, net: Internet, launch: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Meeting]:
    film = busy_camera(tmp_path_factory.mktemp("film") / "busy.y4m")
    with ExitStack() as until_the_end:
        guests = []
        hosts = [net.host(name) for name in ("ana", "ben", "chi")]
        for name, host in zip(("Ana", "Ben", "Chi"), hosts, strict=True):
            # One large picture is enough for a link, and for a machine.
            browser = launch(host=host, flags=[film] if name == "Ben" else [])
            until_the_end.callback(browser.close)
            size = LARGE if name == "Ana" else SMALL
            guests.append(open_guest(browser, name, viewport=size))
            guests[-1].enter(mesh, ROOM, FRANKFURT)
        meet(guests, frames=A_FEW)
        ana, ben, chi = guests
        ana.press("camera")
        ana.tile("Ben").click()
        eventually(lambda: height(ana, "Ben"), lambda px: px == TOP_PX, within_s=STARTS_WITHIN_S)
        for guest in guests:
            guest.watch()
        yield Meeting(link=hosts[0], ana=ana, ben=ben, chi=chi)
        assert {guest.name: guest.errors for guest in guests if guest.errors} == {}


def height(guest: Guest, name: str) -> int:
    return int(guest.pictures().get(name, {"height_px": 0})["height_px"])


def sample(guest: Guest, name: str) -> Sample:
    seen = guest.pictures().get(name, {"frames": 0, "height_px": 0, "bytes": 0})
    return Sample(
        at_s=time.monotonic(),
        frames=seen["frames"],
        height_px=seen["height_px"],
        bytes=seen["bytes"],
    )


def watched(guest: Guest, name: str, for_s: float) -> list[Sample]:
    """What that picture was like meanwhile."""
    samples = [sample(guest, name)]
    while samples[-1].at_s < samples[0].at_s + for_s:
        time.sleep(POLL_S)
        samples.append(sample(guest, name))
    return samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of the picture on Ana's stage when her link had become so quick."""

    link_bps: int | None
    frozen_s: float
    """At most, while it may follow."""
    heights_px: tuple[int, int]
    """The least and the most, from then on for some seconds."""
    frozen_then_s: float
    bps: float
    share: float
    """Of the frames that Ben encoded."""
    made: dict[str, dict[str, int]]
    """Of each of Ben's encodings, the frames meanwhile and its lines."""
    asked: dict[int, int]
    """What was wanted of Ben in the end."""


def step(meeting: Meeting, link_bps: int | None) -> Step:
    meeting.ana.longest_gap_s("Ben")
    meeting.link.limit_downlink(link_bps)
    watched(meeting.ana, "Ben", FOLLOWS_WITHIN_S)
    frozen_s = meeting.ana.longest_gap_s("Ben")
    before = meeting.ben.encoded()
    samples = watched(meeting.ana, "Ben", HOLDS_S)
    # All encodings that are wanted have the same frames.
    made = {
        rid: each | {"frames": each["frames"] - before[rid]["frames"]}
        for rid, each in meeting.ben.encoded().items()
    }
    first, *_, last = samples
    heights = [each.height_px for each in samples]
    return Step(
        link_bps=link_bps,
        frozen_s=frozen_s,
        heights_px=(min(heights), max(heights)),
        frozen_then_s=meeting.ana.longest_gap_s("Ben"),
        bps=(last.bytes - first.bytes) * 8 / (last.at_s - first.at_s),
        share=(last.frames - first.frames) / max(each["frames"] for each in made.values()),
        made=made,
        asked=meeting.ben.asked_for()[-1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What somebody with a quick link sees of another, and what that one does for it."""

    viewer: Guest
    sender: Guest
    height_px: int
    rid: str
    """Of the encoding that is so high."""
    began: Sample
    encoded: int
    asked: int
    """How often the sender had been told what is wanted."""

    @classmethod
    def of(cls, viewer: Guest, sender: Guest) -> "Watched":
        viewer.longest_gap_s(sender.name)
        seen = sample(viewer, sender.name)
        encoded = sender.encoded()
        (rid,) = (rid for rid, each in encoded.items() if each["height_px"] == seen.height_px)
        return cls(
            viewer=viewer,
            sender=sender,
            height_px=seen.height_px,
            rid=rid,
            began=seen,
            encoded=encoded[rid]["frames"],
            asked=len(sender.asked_for()),
        )

    def until_now(self) -> None:
        """It is as large as it was, was asked for whole all the time, and arrived whole."""
        frozen_s = self.viewer.longest_gap_s(self.sender.name)
        encoded = self.sender.encoded()[self.rid]["frames"] - self.encoded
        now = sample(self.viewer, self.sender.name)
        share = (now.frames - self.began.frames) / encoded
        print(
            f"{self.viewer.name} sees {self.sender.name}: still for {frozen_s:.2f} s, "
            f"{share:.1%} of {encoded} frames, {now}"
        )
        assert now.height_px == self.height_px
        spatial = RIDS.index(self.rid)
        for layers in self.sender.asked_for()[self.asked :]:
            assert layers.get(spatial) == TOP_TEMPORAL, layers
        assert share > WHOLE
        assert frozen_s < patient_s(FROZEN_S)


def concealed(guest: Guest, since: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The share of each voice that the decoder had to make up."""
    return {
        name: (now["concealed"] - since[name]["concealed"])
        / (now["samples"] - since[name]["samples"])
        for name, now in guest.sounds().items()
        if name in since
    }


@pytest.mark.demanding
def test_a_picture_follows_its_receivers_link_within_5_s_and_nobody_else_notices(
    meeting: Meeting,
) -> None:
    ana = meeting.ana
    voices = ana.sounds()
    assert set(voices) == {"Ben", "Chi"}
    others = [Watched.of(meeting.ben, meeting.chi), Watched.of(meeting.chi, meeting.ben)]
    for name in ("Ben", "Chi"):
        ana.longest_gap_s(name)
        ana.longest_gap_s(name, "microphone")
    attempts = ana.session()["attempt"]

    # At 500 kbit/s two voices and half a megabit of a picture, VP8's 360 lines, do not fit whole.
    wanted = {2_000_000: (360, TOP_PX), 500_000: (LOWEST_PX, 360), 250_000: (LOWEST_PX, 360)}
    steps = []
    for link_bps in (2_000_000, 500_000, 250_000, 2_000_000, None):
        steps.append(step(meeting, link_bps))
        print(steps[-1], f"concealed so far: {concealed(ana, voices)}")
    for each in steps:
        least_px, most_px = (TOP_PX, TOP_PX) if each.link_bps is None else wanted[each.link_bps]
        assert least_px <= each.heights_px[0] <= each.heights_px[1] <= most_px, each
        assert each.frozen_then_s < patient_s(FROZEN_S), each
        assert each.share >= MOVES, each
        assert each.frozen_s < patient_s(FOLLOWS_WITHIN_S), each

    shares = concealed(ana, voices)
    assert set(shares) == {"Ben", "Chi"}
    assert max(shares.values()) < CONCEALED
    for name in ("Ben", "Chi"):
        assert ana.longest_gap_s(name, "microphone") < patient_s(MUTE_S)

    # A link that is merely thin is not taken for one that is gone.
    assert ana.session()["attempt"] == attempts
    for each in others:
        each.until_now()
