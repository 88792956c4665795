"""What crosses a trunk, by the kernel's own count of media packets: nothing twice or in vain."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.guest import Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, SAO_PAULO, SINGAPORE, Mesh, eventually

ROOM = "one-talks-two-watch"
SOON_S = 5.0
A_FEW = 10
"""Frames: the picture moves."""
ENOUGH_PACKETS = 200
"""Two seconds of a picture and a voice."""
ENOUGH_DATAGRAMS = 60
"""Two trunks' probes and their echoes in a second or two."""
FEW_PACKETS = 20
"""In that time; a camera has many more, and a voice a hundred."""
STOPS_WITHIN_S = 20.0
"""Senders are told after 3 s that nobody wants a layer; browsers take their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lecture:
    """One speaks on sao-paulo and looks at nobody; two behind frankfurt are mute and watch."""

    mesh: Mesh
    speaker: Guest
    watchers: tuple[Guest, Guest]

    def packets(self) -> tuple[float, float]:
        """Media packets into and out of the speaker's bridge, ever."""
        metrics = self.mesh.metrics(SAO_PAULO)
        return metrics["octomesh_packets_in_total"], metrics["octomesh_packets_out_total"]

    def flow(self) -> tuple[float, float]:
        """Packets into and out of it while so many come in as are enough."""
        before = self.packets()
        after = eventually(
            self.packets, lambda now: now[0] >= before[0] + ENOUGH_PACKETS, within_s=15
        )
        return after[0] - before[0], after[1] - before[1]

    def moment(self) -> tuple[float, float]:
        """Packets into and out of it while so many datagrams come as probes bring in seconds."""
        before = self.packets()
        probed = self.datagrams() + ENOUGH_DATAGRAMS
        eventually(self.datagrams, lambda now: now >= probed, within_s=15)
        after = self.packets()
        return after[0] - before[0], after[1] - before[1]

    def datagrams(self) -> float:
        """Whatever reached the speaker's bridge, ever."""
        return float(self.mesh.metrics(SAO_PAULO)["octomesh_datagrams_in_total"])

    def crossing(self) -> dict[tuple[str, str], Any]:
        """Sources that cross from the speaker's bridge, by the trunk."""
        links = self.mesh.links("sources_out")
        return {way: links[way] for way in ((SAO_PAULO, FRANKFURT), (SAO_PAULO, SINGAPORE))}


def crosses_once(flow: tuple[float, float]) -> bool:
    """Whether as many packets went out as came in."""
    return bool(flow[1] / flow[0] == pytest.approx(1, abs=0.05))


@pytest.fixture(scope="module")
def lecture(mesh: Mesh, browser: Browser) -> Iterator[Lecture]:
    speaker, *watchers = guests = [open_guest(browser, name) for name in ("Ana", "Ben", "Dan")]
    for guest, region in zip(guests, (SAO_PAULO, FRANKFURT, FRANKFURT), strict=True):
        guest.enter(mesh, ROOM, region)
    meet(guests)
    (conference,) = mesh.state()["conferences"]
    assert len(conference["participants"]) == 3
    speaker.say({"type": "view", "pictures": []})
    for guest in watchers:
        guest.press("microphone")
        expect(speaker.tile(guest.name, microphone="off")).to_have_count(1)
    yield Lecture(mesh=mesh, speaker=speaker, watchers=(watchers[0], watchers[1]))
    for guest in guests:
        guest.close()


def test_a_source_with_two_receivers_behind_one_trunk_crosses_it_once(lecture: Lecture) -> None:
    expected = {(SAO_PAULO, FRANKFURT): 2, (SAO_PAULO, SINGAPORE): 0}
    eventually(lecture.crossing, lambda now: now == expected, within_s=SOON_S)
    before = [guest.received()["Ana"]["framesDecoded"] for guest in lecture.watchers]
    # Layers that nobody wants are sent for a moment yet, to her own bridge.
    eventually(lecture.flow, crosses_once, within_s=STOPS_WITHIN_S)
    for guest, frames in zip(lecture.watchers, before, strict=True):
        assert guest.received()["Ana"]["framesDecoded"] >= frames + A_FEW
    assert lecture.mesh.links("sources_in")[FRANKFURT, SAO_PAULO] == 2


def test_what_only_one_of_them_wants_still_crosses(lecture: Lecture) -> None:
    ben, dan = lecture.watchers
    ben.say({"type": "view", "pictures": []})
    expect(ben.tile("Ana", video="off")).to_have_count(1)
    frames = dan.received()["Ana"]["framesDecoded"]
    eventually(lecture.flow, crosses_once, within_s=STOPS_WITHIN_S)
    assert dan.received()["Ana"]["framesDecoded"] >= frames + A_FEW
    ben.say({"type": "view", "pictures": None})
    expect(ben.tile("Ana", video="on")).to_have_count(1)


def test_a_source_that_nobody_there_receives_sends_no_packet(lecture: Lecture) -> None:
    for guest in lecture.watchers:
        guest.say({"type": "view", "pictures": []})
    only_voice = {(SAO_PAULO, FRANKFURT): 1, (SAO_PAULO, SINGAPORE): 0}
    eventually(lecture.crossing, lambda now: now == only_voice, within_s=SOON_S)
    eventually(lecture.flow, crosses_once, within_s=STOPS_WITHIN_S)

    lecture.speaker.press("microphone")
    nothing = dict.fromkeys(only_voice, 0)
    eventually(lecture.crossing, lambda now: now == nothing, within_s=SOON_S)
    # A silent microphone says so each 400 ms (Opus's DTX), to her own bridge and no farther.
    eventually(
        lecture.moment,
        lambda packets: packets[0] <= FEW_PACKETS and packets[1] == 0,
        within_s=STOPS_WITHIN_S,
    )
