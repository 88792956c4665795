"""Somebody shares a tab in which nothing moves, and shows themselves; another comes late."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.e2e.conftest import Launch
from tests.e2e.guest import MEETS_WITHIN_S, Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, POLL_S, SAO_PAULO, SINGAPORE, Mesh, eventually
from tests.e2e.slides import TITLE, WINDOW, is_sharp, look, open_slides
from tests.patience import patient_ms

ROOM = "still-slides"
SCREEN = "Ana's screen"
SHARP_WITHIN_S = 10.0
STILL_S = 20.0
"""A screen in which nothing moves sends next to nothing: in so long all timeouts pass."""
A_MINUTE_S = 60.0
STAGED = f'.tile[data-name="{SCREEN}"][data-stage][data-video="on"]'
A_FEW = 10
LOOKS = 30
PLAYED_S = 6.0
SKEWS = 5
SKEW_MS = 80
"""ITU-R BT.1359: nobody notices less, whichever way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Ana shares her slides and shows her face; Ben looks on."""

    ana: Guest
    ben: Guest
    shared_at_s: float


def screen(guest: Guest) -> Locator:
    return guest.tile(SCREEN).locator("video")


def until_sharp(guest: Guest) -> None:
    expect(guest.page.locator(STAGED)).to_have_count(1, timeout=patient_ms(MEETS_WITHIN_S))
    eventually(lambda: look(screen(guest)), is_sharp, within_s=SHARP_WITHIN_S)


@pytest.fixture(scope="module")
def talk(mesh: Mesh, browser: Browser, launch: Launch) -> Iterator[Talk]:
    presenting = launch(shares=TITLE)
    ana = open_guest(presenting, "Ana", viewport=WINDOW, permissions=["camera", "microphone"])
    ben = open_guest(browser, "Ben")
    ana.enter(mesh, ROOM, SAO_PAULO)
    ben.enter(mesh, ROOM, FRANKFURT)
    meet([ana, ben], frames=A_FEW)
    open_slides(ana.context)
    ana.page.get_by_role("button", name="Share screen").click()
    shared_at_s = time.monotonic()
    until_sharp(ben)
    ben.keep_looking_for(STAGED)
    yield Talk(ana=ana, ben=ben, shared_at_s=shared_at_s)
    errors = {guest.name: guest.errors for guest in (ana, ben) if guest.errors}
    ben.close()
    presenting.close()
    assert errors == {}


def test_a_shared_tab_is_on_the_stage_sharp_and_its_owner_beside_it(talk: Talk) -> None:
    assert is_sharp(look(screen(talk.ben)))
    expect(talk.ben.tile("Ana", video="on")).to_have_count(1)
    expect(talk.ben.tile("Ana", stage="true")).to_have_count(0)
    before = talk.ben.received()["Ana"]["framesDecoded"]
    eventually(
        lambda: talk.ben.received()["Ana"]["framesDecoded"],
        lambda now: now >= before + 30,
        within_s=5,
    )


def test_lips_match_what_is_heard(talk: Talk) -> None:
    # From one bridge to another, with the clocks that Chromium gives voice and picture.
    began_s = time.monotonic()
    while time.monotonic() < began_s + PLAYED_S:
        time.sleep(POLL_S)
    for guest, other in ((talk.ben, "Ana"), (talk.ana, "Ben")):
        skews_ms: list[float] = []
        for _ in range(SKEWS):
            skews_ms.append(guest.received()[other]["skew_ms"])
            time.sleep(0.5)
        print(f"{guest.name}: {other}'s picture is later than the voice by {skews_ms} ms")
        # Single ones stray by as much as a frame or two take: what is told of is the last played.
        assert abs(median(skews_ms)) <= SKEW_MS


@pytest.mark.parametrize(
    "still_s", [STILL_S, pytest.param(A_MINUTE_S, marks=pytest.mark.demanding)]
)
def test_who_joins_when_nothing_has_moved_for_long_sees_it_sharp_and_it_never_yields(
    mesh: Mesh, talk: Talk, invite: Callable[..., Guest], still_s: float
) -> None:
    while time.monotonic() < talk.shared_at_s + still_s:
        time.sleep(POLL_S)
    assert is_sharp(look(screen(talk.ben)))
    chi = invite("Chi")
    chi.enter(mesh, ROOM, SINGAPORE)
    until_sharp(chi)
    chi.keep_looking_for(STAGED)
    meet([talk.ana, talk.ben, chi], frames=A_FEW)
    expect(chi.tile("Ana", video="on")).to_have_count(1)
    for guest in (talk.ben, chi):
        eventually(lambda guest=guest: look(screen(guest)), is_sharp, within_s=SHARP_WITHIN_S)
        _, missed = eventually(
            lambda guest=guest: guest.looked_and_missed(STAGED),
            lambda seen: seen[0] > LOOKS,
            within_s=10,
        )
        assert missed == 0
