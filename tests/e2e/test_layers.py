"""Pictures in layers, VP8's, as large as they are wanted: by a browser, and by another stack."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.camera import busy_camera
from tests.e2e.conftest import Launch
from tests.e2e.crowd import gathering
from tests.e2e.guest import Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, SAO_PAULO, Mesh, eventually
from tests.interop.stack import RED
from tests.patience import patient_s

ROOM = "three-sizes"
LARGE = {"width": 1_680, "height": 1_050}
SMALL = {"width": 500, "height": 400}
TOP, LOWER = range(720, 721), range(1, 361)
HEIGHTS_PX = (720, 180, 360, 180, 720)
CHANGES_WITHIN_S = 15.0
FROZEN_S = 2.0
A_FEW = 10


@pytest.fixture(scope="module")
def pair(
    mesh: Mesh, browser: Browser, launch: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, Guest]]:
    """Ana with a busy camera, and Ben behind another bridge, who has her on his stage."""
    filming = launch(flags=[busy_camera(tmp_path_factory.mktemp("film") / "busy.y4m")])
    ana, ben = pair = open_guest(filming, "Ana"), open_guest(browser, "Ben", viewport=LARGE)
    ana.enter(mesh, ROOM, SAO_PAULO)
    ben.enter(mesh, ROOM, FRANKFURT)
    meet(pair, frames=A_FEW)
    ben.tile("Ana").click()
    ben.watch()
    yield pair
    errors = {guest.name: guest.errors for guest in pair if guest.errors}
    ben.close()
    filming.close()
    assert errors == {}


@pytest.mark.demanding
def test_a_picture_is_as_large_as_it_is_shown(pair: tuple[Guest, Guest]) -> None:
    ben = pair[1]
    for size, wanted in (
        (LARGE, range(720, 721)),
        (SMALL, range(1, 361)),
        (LARGE, range(720, 721)),
    ):
        ben.page.set_viewport_size(size)
        eventually(
            lambda: ben.pictures()["Ana"]["height_px"],
            lambda px, wanted=wanted: px in wanted,
            within_s=CHANGES_WITHIN_S,
        )
        before = ben.pictures()["Ana"]["frames"]
        eventually(
            lambda: ben.pictures()["Ana"]["frames"],
            lambda now, before=before: now >= before + A_FEW,
            within_s=CHANGES_WITHIN_S,
        )
        gap_s = ben.longest_gap_s("Ana")
        print(f"{ben.pictures()['Ana']['height_px']} lines, still for {gap_s:.2f} s")
        assert gap_s < patient_s(FROZEN_S)


def test_another_stack_decodes_one_picture_while_its_layers_switch(
    mesh: Mesh, pair: tuple[Guest, Guest]
) -> None:
    camera = pair[0].session()["you"]["id"] << 2 | 2
    with gathering(mesh) as crowd:
        red = crowd.join("Red", RED, room=ROOM, region=FRANKFURT, slots=(1, 1))
        heights = red.stack.heights
        eventually(heights.total, lambda frames: frames > A_FEW, within_s=CHANGES_WITHIN_S)
        red.stack.longest_gap_s = 0.0
        for height_px in HEIGHTS_PX:
            wish = {"source": camera, "height_px": height_px, "stage": True}
            crowd.say(red, type="view", pictures=[wish])
            before = heights[height_px]
            eventually(
                lambda height_px=height_px: heights[height_px],
                lambda now, before=before: now >= before + A_FEW,
                within_s=CHANGES_WITHIN_S,
            )
        print(f"aiortc decoded {dict(heights)}, still for {red.stack.longest_gap_s:.2f} s")
        assert set(heights) <= {180, 360, 720}
        assert red.stack.longest_gap_s < patient_s(FROZEN_S)
