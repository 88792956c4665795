"""The pages around a meeting, and the meeting's own look in ordinary windows."""

import json
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.conftest import find_chromium
from tests.e2e.guest import MEETS_WITHIN_S, Guest, meet
from tests.e2e.mesh import FRANKFURT, PROGRAM, REGIONS, SINGAPORE, Mesh, eventually
from tests.patience import patient_ms

WINDOWS_PX = ((1440, 900), (1024, 768), (390, 844))
SCHEMES = ("light", "dark")


def test_the_way_from_the_start_page_by_name_and_preview_into_the_meeting(
    mesh: Mesh, invite: Callable[..., Guest]
) -> None:
    guest = invite("Ana")
    page = guest.page
    page.goto(mesh.url)
    expect(page.locator("body")).to_have_attribute("data-view", "landing")
    page.locator("#room").fill("Monday Standup")
    page.locator("#landing-form button[type=submit]").click()
    page.wait_for_url(f"{mesh.url}/monday-standup")

    expect(page.locator("#prejoin-room")).to_have_text("monday-standup")
    expect(page.locator("#preview")).to_have_attribute("data-video", "on")
    preview = page.locator("#preview video")
    eventually(lambda: preview.evaluate("it => !it.paused && it.videoWidth > 0"), within_s=5)
    page.locator("#prejoin-form button[type=submit]").click()
    expect(page.locator("#name-problem")).to_have_text("Please type a name first.")
    assert mesh.state()["conferences"] == []

    page.locator("#name").fill("Ana")
    # Each region with its measured round trip, and the nearest one first.
    expect(page.locator("#regions-note")).to_have_text("round trip from here")
    choices = page.locator("#regions .region-rtt").all_inner_texts()
    assert len(choices) == 1 + len(REGIONS)
    assert all(re.fullmatch(r"< 1 ms|\d+ ms", choice) for choice in choices), choices
    page.locator("#prejoin-form button[type=submit]").click()
    guest.until_connected()
    expect(guest.tile("Ana", self="true", video="on")).to_have_count(1)
    expect(page.locator("#alone")).to_be_visible()


def test_plain_http_on_localhost_serves_the_same_meeting(
    mesh: Mesh, invite: Callable[..., Guest], room: str
) -> None:
    ana, ben = invite("Ana"), invite("Ben")
    ana.enter(mesh, room, FRANKFURT)
    local = f"http://localhost:{mesh.settings.http_port}"
    ben.page.goto(f"{local}/{room}?name=Ben&region={SINGAPORE}&prejoin=false")
    meet([ana, ben], within_s=MEETS_WITHIN_S)


def test_an_unknown_region_is_refused_in_words(
    mesh: Mesh, invite: Callable[..., Guest], room: str
) -> None:
    guest = invite("Ana")
    guest.enter(mesh, room, "atlantis")
    expect(guest.page.locator("#left-title")).to_have_text("You are not in the meeting")
    expect(guest.page.locator("#left-words")).to_contain_text("atlantis")
    guest.page.locator("#rejoin").click()
    guest.until_connected()
    assert guest.region in REGIONS


def test_the_mesh_page_asks_for_the_operator_key_where_names_are_hidden(
    mesh: Mesh, invite: Callable[..., Guest]
) -> None:
    seat = {"region": FRANKFURT, "bridge": "frankfurt-1"}
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        names = route.request.headers.get("authorization") == "Bearer right"
        person = {**seat, "id": 7, "name": "Ana", "sources": []}
        conference: dict[str, Any] = {"conference": None, "participants": [seat]}
        if names:
            conference = {"conference": "standup", "participants": [person]}
        route.fulfill(json=mesh.state() | {"names": names, "conferences": [conference]})

    page = invite("Ana").page
    page.route("**/api/mesh", answer)
    page.goto(f"{mesh.url}/mesh")
    card = page.locator(".conference")
    expect(card).to_contain_text("A meeting1 person")
    expect(card).to_contain_text("frankfurt-1: 1 person")
    page.locator("#key").fill("wrong")
    page.locator("#key-form button").click()
    expect(page.locator("#key-problem")).to_have_text("That is not the operator key of this focus.")
    page.locator("#key").fill("right")
    page.locator("#key-form button").click()
    expect(page.locator("#key-form")).to_be_hidden()
    expect(card).to_contain_text("standup")
    expect(card.locator(".seat")).to_have_text("Ana")
    page.reload()
    expect(card.locator(".seat")).to_have_text("Ana")
    assert page.url == f"{mesh.url}/mesh"
    assert not any("right" in url for url in asked)


def matrix(mesh: Mesh, *flags: str) -> str:
    command = [PROGRAM, "matrix", f"--url={mesh.url}", f"--ca={mesh.certificate}", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_matrix_prints_a_measured_round_trip_between_each_two_regions(mesh: Mesh) -> None:
    figures = json.loads(matrix(mesh, "--json"))
    assert {row: set(cells) for row, cells in figures.items()} == {
        str(region): set(REGIONS) - {region} for region in REGIONS
    }
    assert all(0 < rtt_ms < 1000 for cells in figures.values() for rtt_ms in cells.values())

    table = matrix(mesh)
    assert "RTT in ms" in table
    for region in REGIONS:
        (row,) = (line for line in table.splitlines() if re.match(rf"\W*{region}\W", line))
        assert len(re.findall(r"\d+\.\d", row)) == len(REGIONS) - 1


def test_meeting_fills_its_window_at_any_width_dark_and_light_with_one_to_four_people(
    mesh: Mesh, invite: Callable[..., Guest], room: str
) -> None:
    watcher, *others = [invite(name) for name in ("Ana", "Ben", "Chi", "Dan")]
    watcher.enter(mesh, room, FRANKFURT)
    watcher.until_connected()
    for count, guest in enumerate([None, *others], start=1):
        if guest is not None:
            guest.enter(mesh, room, REGIONS[count % len(REGIONS)])
            expect(watcher.tile(guest.name, video="on")).to_have_count(1, timeout=patient_ms(10))
        for width, height in WINDOWS_PX:
            watcher.page.set_viewport_size({"width": width, "height": height})
            shades = [_shade(watcher.page, scheme, count) for scheme in SCHEMES]
            assert shades[0] > 0.7
            assert shades[1] < 0.3


def _shade(page: Page, scheme: Any, count: int) -> float:
    """How light the page is, 0 to 1, once it has been seen to be laid out well."""
    page.emulate_media(color_scheme=scheme)
    eventually(lambda: _faults(page, count), lambda faults: faults == [], within_s=3)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / (3 * 255)


def _faults(page: Page, count: int) -> list[str]:
    seen = page.evaluate(
        """() => {
          const box = it => {
            const {left, top, right, bottom} = it.getBoundingClientRect();
            return [left, top, right, bottom];
          };
          const all = query => [...document.querySelectorAll(query)].map(box);
          const {scrollWidth, scrollHeight} = document.documentElement;
          return {
            window: [innerWidth, innerHeight], content: [scrollWidth, scrollHeight],
            tiles: all(".tile"), buttons: all("#meeting .bar-main button"),
          };
        }"""
    )
    width, height = seen["window"]
    tiles, buttons = seen["tiles"], seen["buttons"]
    faults = []
    if seen["content"][0] > width or seen["content"][1] > height:
        faults.append(f"scrolls: {seen['content']} in {seen['window']}")
    if len(tiles) != count:
        faults.append(f"{len(tiles)} tiles for {count}")
    if len(buttons) != 3:
        faults.append(f"{len(buttons)} controls")
    faults += [
        f"sticks out: {box} of {seen['window']}"
        for box in (*tiles, *buttons)
        if box[0] < 0 or box[1] < 0 or box[2] > width + 0.5 or box[3] > height + 0.5
    ]
    boxes = [*tiles, *buttons]
    faults += [
        f"{one} over {other}"
        for at, one in enumerate(boxes)
        for other in boxes[at + 1 :]
        if one[0] < other[2] - 0.5
        and other[0] < one[2] - 0.5
        and one[1] < other[3] - 0.5
        and other[1] < one[3] - 0.5
    ]
    covered = sum((box[2] - box[0]) * (box[3] - box[1]) for box in tiles)
    if covered < 0.35 * width * height:
        faults.append(f"tiles fill only {covered / (width * height):.0%} of the window")
    return faults


def test_without_chromium_the_tests_fail_and_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        find_chromium()
