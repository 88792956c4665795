"""Three people on three regions in one room, those who come to them, and those who go."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, expect

from focus.service import LINGER_S
from tests.e2e.guest import FRAMES_SEEN, MEETS_WITHIN_S, Guest, meet, open_guest, strangers
from tests.e2e.mesh import FRANKFURT, REGIONS, SAO_PAULO, SINGAPORE, Mesh, eventually
from tests.patience import patient_ms, patient_s

ROOM = "three-continents"
GONE_WITHIN_S = 5.0
SOON_S = 5.0
"""Enough for what takes one heartbeat and its way to `/api/mesh`."""
STILL_S = 1.0
"""Of a picture: nobody has noticed."""
A_FEW = 10
"""Frames, where it does not matter how many."""
BEEP = 0.1
"""Audio energy of one beep of Chromium's fake microphone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Three:
    ana: Guest
    ben: Guest
    chi: Guest
    met_after_s: float
    """From the last one's opening the page to everybody's seeing and hearing everybody."""

    @property
    def all(self) -> tuple[Guest, Guest, Guest]:
        return self.ana, self.ben, self.chi


@pytest.fixture(scope="module")
def three(mesh: Mesh, browser: Browser) -> Iterator[Three]:
    """In a meeting for the whole module: each test leaves it as it was."""
    guests = [open_guest(browser, name) for name in ("Ana", "Ben", "Chi")]
    for guest, region in zip(guests, REGIONS, strict=True):
        last_join_s = guest.enter(mesh, ROOM, region)
    ana, ben, chi = guests
    yield Three(ana=ana, ben=ben, chi=chi, met_after_s=meet(guests) - last_join_s)
    errors = {guest.name: guest.errors for guest in guests if guest.errors}
    for guest in guests:
        guest.close()
    assert errors == {}


def test_three_on_three_regions_see_and_hear_each_other_within_10_s_of_the_last_join(
    three: Three,
) -> None:
    print(f"met after {three.met_after_s:.1f} s")
    assert three.met_after_s < patient_s(MEETS_WITHIN_S)
    assert [guest.region for guest in three.all] == list(REGIONS)
    for guest in three.all:
        assert guest.tiles() == {"Ana", "Ben", "Chi"}
        for other, region in zip(three.all, REGIONS, strict=True):
            own = str(other is guest).lower()
            tile = guest.tile(other.name, region=region, self=own, video="on", microphone="on")
            expect(tile).to_have_count(1)
        pictures = guest.page.locator(".tile video").evaluate_all(
            "all => all.map(it => it.videoWidth)"
        )
        assert min(pictures) > 0


def test_every_picture_moves_by_the_browsers_own_count_too(three: Three) -> None:
    for guest in three.all:
        before = guest.decoded()
        eventually(guest.decoded, lambda now, before=before: now >= before + 30, within_s=SOON_S)


def test_browsers_learn_from_the_bridges_feedback_how_much_they_may_send(three: Three) -> None:
    for guest in (three.ana, three.ben, three.chi):
        # It starts at 300 kbit/s, and falls where feedback calls probes lost that arrived.
        eventually(guest.uplink_bps, lambda bps: bps > 310_000, within_s=10.0)


def test_mesh_page_shows_the_bridges_the_trunks_in_use_and_who_sits_where(
    mesh: Mesh, three: Three, invite: Callable[..., Guest]
) -> None:
    page = invite("operator").page
    page.goto(f"{mesh.url}/mesh")
    for region in REGIONS:
        row = page.locator(f"[data-bridge][data-region={region}]")
        expect(row).to_have_attribute("data-participants", "1")
    links = page.locator("[data-link-from][data-up=true]")
    expect(links).to_have_count(6)

    def figures() -> list[dict[str, str]]:
        return links.evaluate_all("all => all.map(it => ({...it.dataset}))")

    def in_use(ends: list[dict[str, str]]) -> bool:
        return all(end["sourcesOut"] == "2" and float(end["rttMs"] or 0) > 0 for end in ends)

    ends = eventually(figures, in_use, within_s=SOON_S)
    assert len({(end["linkFrom"], end["linkTo"]) for end in ends}) == 6
    seats = page.locator(f"[data-conference={ROOM}] [data-participant]")
    assert sorted(seats.all_inner_texts()) == ["Ana", "Ben", "Chi"]
    bridges = seats.evaluate_all("all => all.map(it => it.dataset.seatBridge)")
    assert len(set(bridges)) == 3

    first = figures()
    eventually(figures, lambda now: now != first, within_s=3)
    expect(page.locator("#fresh")).to_have_text("Live, each second")


def test_a_late_fourth_sees_everybody_and_is_seen_and_their_tile_goes_when_they_leave(
    mesh: Mesh, three: Three, invite: Callable[..., Guest]
) -> None:
    dan = invite("Dan")
    joined_at_s = dan.enter(mesh, ROOM, FRANKFURT)
    met_after_s = meet([*three.all, dan]) - joined_at_s
    print(f"a fourth met all after {met_after_s:.1f} s")
    assert met_after_s < patient_s(MEETS_WITHIN_S)
    assert dan.tiles() == {"Ana", "Ben", "Chi", "Dan"}

    dan.page.locator("#meeting [data-action=leave]").click()
    left_at_s = time.monotonic()
    for guest in three.all:
        expect(guest.tile("Dan")).to_have_count(0, timeout=patient_ms(GONE_WITHIN_S))
    print(f"left after {time.monotonic() - left_at_s:.2f} s")
    assert time.monotonic() - left_at_s < patient_s(GONE_WITHIN_S)
    expect(dan.page.locator("#left-title")).to_have_text("You left the meeting")
    dan.page.locator("#rejoin").click()
    meet([*three.all, dan], frames=A_FEW, within_s=MEETS_WITHIN_S)
    dan.close()
    for guest in three.all:
        expect(guest.tile("Dan")).to_have_count(0, timeout=patient_ms(GONE_WITHIN_S))


def test_the_tile_of_a_killed_browser_goes_within_5_s(
    mesh: Mesh,
    three: Three,
    launch: Callable[[], Browser],
    invite: Callable[..., Guest],
) -> None:
    other = launch()
    eve = invite("Eve", browser=other)
    eve.enter(mesh, ROOM, SINGAPORE)
    expect(three.ana.tile("Eve", video="on")).to_have_count(1, timeout=patient_ms(MEETS_WITHIN_S))
    processes = other.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    (pid,) = (each["id"] for each in processes if each["type"] == "browser")
    psutil.Process(pid).kill()
    killed_at_s = time.monotonic()
    for guest in three.all:
        expect(guest.tile("Eve")).to_have_count(0, timeout=patient_ms(GONE_WITHIN_S))
    gone_after_s = time.monotonic() - killed_at_s
    print(f"gone after {gone_after_s:.2f} s")
    assert gone_after_s < patient_s(GONE_WITHIN_S)
    assert three.ana.tiles() == {"Ana", "Ben", "Chi"}


def test_a_tab_that_is_closed_leaves_at_once(
    mesh: Mesh, three: Three, invite: Callable[..., Guest]
) -> None:
    fay = invite("Fay")
    fay.enter(mesh, ROOM, SINGAPORE)
    expect(three.ana.tile("Fay")).to_have_count(1, timeout=patient_ms(MEETS_WITHIN_S))
    fay.page.close(run_before_unload=True)
    expect(three.ana.tile("Fay")).to_have_count(0, timeout=patient_ms(LINGER_S / 2))


def test_a_broken_signalling_connection_comes_back_and_nobody_notices(three: Three) -> None:
    ben, others = three.ben, (three.ana, three.chi)

    def stay() -> dict[str, Any]:
        now = ben.session()
        return {"id": now["you"]["id"], "attempt": now["attempt"], "connection": now["connection"]}

    before = stay()
    for guest in others:
        guest.keep_looking_for(".tile[data-name=Ben]")
        guest.watch()
    eventually(
        lambda: max(it.longest_gap_s("Ben") for it in others), lambda s: s < STILL_S, within_s=5
    )
    ben.page.evaluate("spy.sockets.at(-1).close()")
    eventually(
        lambda: (ben.page.evaluate("spy.sockets.length"), stay()),
        lambda now: now == (2, before),
        within_s=SOON_S,
    )
    ben.press("microphone")
    for guest in others:
        expect(guest.tile("Ben", microphone="off")).to_have_count(1)
        assert guest.looked_and_missed(".tile[data-name=Ben]")[1] == 0
        assert guest.longest_gap_s("Ben") < patient_s(STILL_S)
    ben.press("microphone")


def test_a_camera_that_is_off_shows_as_an_avatar_and_crosses_no_trunk_until_it_is_on_again(
    mesh: Mesh, three: Three
) -> None:
    ana, others = three.ana, (three.ben, three.chi)
    ways = [(SAO_PAULO, FRANKFURT), (SAO_PAULO, SINGAPORE)]

    def crossing() -> list[tuple[int, float]]:
        sources, bits = mesh.links("sources_out"), mesh.links("sent_bps")
        return [(sources[way], bits[way]) for way in ways]

    both = eventually(
        crossing, lambda now: all(s == 2 and b > 140_000 for s, b in now), within_s=SOON_S
    )
    ana.press("camera")
    for guest in others:
        expect(guest.tile("Ana", video="off")).to_have_count(1)
        expect(guest.tile("Ana").locator(".avatar")).to_be_visible()
    less = eventually(
        crossing, lambda now: all(s == 1 and b < 80_000 for s, b in now), within_s=SOON_S
    )
    print(f"bits/s with and without the picture: {both}, {less}")
    frozen = [guest.received()["Ana"]["framesDecoded"] for guest in others]

    ana.press("camera")
    for guest, before in zip(others, frozen, strict=True):
        expect(guest.tile("Ana", video="on")).to_have_count(1)
        eventually(
            lambda guest=guest: guest.received()["Ana"]["framesDecoded"],
            lambda now, before=before: now >= before + 30,
            within_s=SOON_S,
        )
    eventually(crossing, lambda now: all(s == 2 for s, _ in now), within_s=SOON_S)


def test_a_microphone_that_is_off_shows_and_is_not_heard_until_it_is_on_again(
    mesh: Mesh, three: Three
) -> None:
    chi, others = three.chi, (three.ana, three.ben)
    chi.press("microphone")
    for guest in others:
        expect(guest.tile("Chi", microphone="off")).to_have_count(1)
    way = (SINGAPORE, SAO_PAULO)
    eventually(lambda: mesh.links("sources_out")[way], lambda now: now == 1, within_s=SOON_S)

    def heard() -> list[float]:
        return [guest.received()["Chi"]["audioEnergy"] for guest in others]

    def heard_while_the_picture_goes_on() -> float:
        before, frames = heard(), three.ana.received()["Chi"]["framesDecoded"]
        eventually(
            lambda: three.ana.received()["Chi"]["framesDecoded"],
            lambda now: now >= frames + 40,
            within_s=SOON_S,
        )
        return max(now - then for now, then in zip(heard(), before, strict=True))

    # What is in the jitter buffers is still played; the fake microphone beeps twice a second.
    eventually(heard_while_the_picture_goes_on, lambda energy: energy < BEEP / 10, within_s=SOON_S)

    chi.press("microphone")
    for guest in others:
        expect(guest.tile("Chi", microphone="on")).to_have_count(1)
    silent = heard()
    eventually(
        heard,
        lambda now: all(it > before + BEEP for it, before in zip(now, silent, strict=True)),
        within_s=SOON_S,
    )


def test_the_three_still_see_and_hear_each_other_after_all_this(three: Three) -> None:
    assert strangers(three.all, FRAMES_SEEN) == {}
    assert [guest.transports() for guest in three.all] == [1, 1, 1]
