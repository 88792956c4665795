"""Ten people in one room: two look, in tiles and at a stage, and eight are seen and heard."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.crowd import Crowd, Person, gathering
from tests.e2e.guest import Guest, open_guest
from tests.e2e.mesh import REGIONS, SAO_PAULO, SINGAPORE, Mesh, eventually
from tests.interop.stack import Looks

ROOM = "ten-of-us"
WINDOW = {"width": 1_280, "height": 800}
NAMES = ("Chi", "Dan", "Eve", "Fay", "Gus", "Hal", "Ivy", "Jon")
ALL_SEEN_WITHIN_S = 30.0
TURNS_WITHIN_S = 8.0
STRIP = 4
"""Tiles beside the stage, at least."""
SETTLES_WITHIN_S = 3.0
"""Tiles move to their places."""
A_FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ten:
    viewers: tuple[Guest, Guest]
    """Without microphones."""
    crowd: Crowd
    others: dict[str, Person]
    """All silent."""


@pytest.fixture(scope="module")
def ten(mesh: Mesh, browser: Browser) -> Iterator[Ten]:
    with gathering(mesh) as crowd:
        eight = {}
        for number, name in enumerate(NAMES):
            looks = Looks(u=60 + 20 * number, v=220 - 20 * number, tone_hz=400 + 100 * number)
            eight[name] = looks, REGIONS[number % len(REGIONS)]
        others = {each.name: each for each in crowd.join_all(eight, room=ROOM)}
        for each in others.values():
            each.stack.silent = True
        ana, ben = (open_guest(browser, name, viewport=WINDOW) for name in ("Ana", "Ben"))
        for guest, region in ((ana, SAO_PAULO), (ben, SINGAPORE)):
            guest.enter(mesh, ROOM, region)
            guest.until_connected()
            guest.press("microphone")
        yield Ten(viewers=(ana, ben), crowd=crowd, others=others)
        errors = {guest.name: guest.errors for guest in (ana, ben) if guest.errors}
        for guest in (ana, ben):
            guest.close()
        assert errors == {}


def frames(guest: Guest) -> dict[str, int]:
    """Of everybody else, ever."""
    return {name: person["framesDecoded"] for name, person in guest.received().items()}


def until_all_move(ten: Ten, *, within_s: float) -> None:
    """Each viewer sees nine pictures, which all get new frames from now on."""
    for guest in ten.viewers:
        before = frames(guest)
        eventually(
            lambda guest=guest: frames(guest),
            lambda now, before=before: (
                len(now) == 9
                and all(count >= before.get(name, 0) + A_FEW for name, count in now.items())
            ),
            within_s=within_s,
        )


def on_stage(guest: Guest) -> str | None:
    names = guest.page.locator(".tile[data-stage]:not([hidden])").evaluate_all(
        "all => all.map(it => it.dataset.name)"
    )
    assert len(names) <= 1
    return names[0] if names else None


def heights(guest: Guest) -> list[float]:
    """Of all tiles that are shown, the largest first."""
    tiles = guest.page.locator(".tile:not([hidden])")
    found = tiles.evaluate_all("all => all.map(it => it.getBoundingClientRect().height)")
    return sorted(found, reverse=True)


def test_all_ten_have_a_tile_with_a_picture_that_moves(ten: Ten) -> None:
    until_all_move(ten, within_s=ALL_SEEN_WITHIN_S)
    for guest in ten.viewers:
        assert guest.tiles() == {"Ana", "Ben", *NAMES}
        expect(guest.page.locator('.tile[data-video="on"]')).to_have_count(10)
        assert on_stage(guest) is None


def test_whoever_speaks_comes_on_the_stage_and_goes_when_another_does(ten: Ten) -> None:
    for guest in ten.viewers:
        guest.page.get_by_role("button", name="Stage").click()
        eventually(lambda guest=guest: on_stage(guest), within_s=TURNS_WITHIN_S)
    for name in ("Gus", "Dan", "Jon"):
        ten.others[name].stack.silent = False
        for guest in ten.viewers:
            eventually(
                lambda guest=guest: on_stage(guest),
                lambda now, name=name: now == name,
                within_s=TURNS_WITHIN_S,
            )
            expect(guest.tile(name, video="on")).to_have_count(1)
            eventually(
                lambda guest=guest: heights(guest),
                lambda now: len(now) > STRIP and now[0] > 2 * now[1],
                within_s=SETTLES_WITHIN_S,
            )
        ten.others[name].stack.silent = True
    # In a silent room whoever spoke last stays there, until somebody wants tiles.
    for guest in ten.viewers:
        assert on_stage(guest) == "Jon"
        guest.page.get_by_role("button", name="Tiles").click()
        eventually(
            lambda guest=guest: on_stage(guest),
            lambda now: now is None,
            within_s=TURNS_WITHIN_S,
        )
    until_all_move(ten, within_s=ALL_SEEN_WITHIN_S)
