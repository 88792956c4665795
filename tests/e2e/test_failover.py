"""What people notice when a process of the mesh is killed: nearly nothing, and no click."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from playwright.sync_api import Browser

from tests.e2e.guest import MEETS_WITHIN_S, Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, REGIONS, Mesh, eventually
from tests.patience import PATIENCE, patient_s

ROOM = "come-what-may"
BACK_WITHIN_S = 5.0
FRAMES = 10
TITLES = {"sao-paulo": "Sao Paulo", "frankfurt": "Frankfurt", "singapore": "Singapore"}


@pytest.fixture(scope="module")
def guests(mesh: Mesh, browser: Browser) -> Iterator[list[Guest]]:
    """Ana, Ben and Chi, one a region."""
    guests = [open_guest(browser, name) for name in ("Ana", "Ben", "Chi")]
    for guest, region in zip(guests, REGIONS, strict=True):
        guest.enter(mesh, ROOM, region)
    meet(guests, frames=FRAMES)
    yield guests
    errors = {guest.name: guest.errors for guest in guests if guest.errors}
    for guest in guests:
        guest.close()
    assert errors == {}


def frames_between(guests: Sequence[Guest]) -> dict[tuple[str, str], int]:
    """Frames that the first decoded of the second, ever."""
    return {
        (guest.name, name): person["framesDecoded"]
        for guest in guests
        for name, person in guest.received().items()
    }


def until_pictures_move(guests: Sequence[Guest], *, within_s: float) -> None:
    """Every picture between them, from now on."""
    before = frames_between(guests)
    count = len(guests) * (len(guests) - 1)

    def moves(now: dict[tuple[str, str], int]) -> bool:
        moved = [pair for pair in now if now[pair] >= before.get(pair, 0) + FRAMES]
        return len(moved) == count

    eventually(lambda: frames_between(guests), moves, within_s=within_s)


def test_whoever_sat_on_a_killed_bridge_is_back_by_themselves_on_another_within_5_s(
    mesh: Mesh, guests: list[Guest]
) -> None:
    ana, ben, chi = guests
    before = frames_between(guests)
    killed_at_s = mesh.kill(FRANKFURT)

    session = eventually(
        ben.session,
        lambda now: now["you"]["region"] != FRANKFURT and now["connection"] == "connected",
        within_s=BACK_WITHIN_S,
    )
    print(f"connected again after {time.monotonic() - killed_at_s:.1f} s")
    until_pictures_move(guests, within_s=BACK_WITHIN_S)
    print(f"media both ways again after {time.monotonic() - killed_at_s:.1f} s")
    assert time.monotonic() - killed_at_s < patient_s(BACK_WITHIN_S)

    region = session["you"]["region"]
    assert region in REGIONS
    for guest in guests:
        assert guest.tiles() == {"Ana", "Ben", "Chi"}
        assert guest.tile("Ben", region=region, video="on").count() == 1
    assert ben.page.locator("#bar-region").inner_text() == TITLES[region]
    # The others have gone on as if nothing had been.
    after = frames_between(guests)
    for pair in (("Ana", "Chi"), ("Chi", "Ana")):
        assert after[pair] > before[pair] + FRAMES
    assert [guest.session()["attempt"] for guest in (ana, chi)] == [0, 0]
    # Where news of it is slow the browser has restarted ICE by itself before that.
    assert 1 <= session["attempt"] <= min(PATIENCE, 2)


def test_the_killed_bridge_comes_back_and_seats_newcomers_while_those_who_fled_stay(
    mesh: Mesh, guests: list[Guest], invite: Callable[..., Guest]
) -> None:
    mesh.until_whole()
    seats = [(guest.region, guest.session()["attempt"]) for guest in guests]
    dan = invite("Dan")
    joined_at_s = dan.enter(mesh, ROOM, FRANKFURT)
    meet([*guests, dan])
    assert time.monotonic() - joined_at_s < patient_s(MEETS_WITHIN_S)
    assert dan.region == FRANKFURT
    assert [(guest.region, guest.session()["attempt"]) for guest in guests] == seats


def test_a_killed_focus_stops_no_picture_and_the_room_is_whole_again_before_all_bridges_are_back(
    mesh: Mesh, guests: list[Guest]
) -> None:
    # Without a focus nobody would hear that somebody has just left.
    eventually(
        lambda: [guest.tiles() for guest in guests],
        lambda now: now == [{"Ana", "Ben", "Chi"}] * 3,
        within_s=5,
    )
    killed_at_s = mesh.kill("focus")
    eventually(
        lambda: {guest.session()["connection"] for guest in guests},
        lambda now: now == {"reconnecting"},
        within_s=3,
    )
    for guest in guests:
        before = guest.decoded()
        eventually(guest.decoded, lambda now, before=before: now >= before + FRAMES, within_s=2)
        assert guest.tiles() == {"Ana", "Ben", "Chi"}
    assert mesh.gap() is not None  # all this was without it

    with mesh.frozen(FRANKFURT):
        eventually(
            lambda: [(guest.session().get("connection"), guest.tiles()) for guest in guests],
            lambda now: now == [("connected", {"Ana", "Ben", "Chi"})] * 3,
            within_s=30,
        )
        until_pictures_move(guests, within_s=5)
        print(f"everybody together again after {time.monotonic() - killed_at_s:.1f} s")
        assert FRANKFURT not in {guest.region for guest in guests}
    mesh.until_whole()
