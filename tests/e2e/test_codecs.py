"""Rooms with VP9 and AV1, whose layers are in one stream, and one who has neither of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from relay.ids import VideoCodec
from tests.e2e.camera import busy_camera
from tests.e2e.conftest import Launch
from tests.e2e.crowd import gathering
from tests.e2e.guest import Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, Mesh, eventually, running
from tests.interop.stack import RED

pytestmark = pytest.mark.demanding

LARGE = {"width": 1_680, "height": 1_050}
SMALL = {"width": 500, "height": 400}
TOP_PX, MIDDLE_PX = 720, 360
CHANGES_WITHIN_S = 15.0
FROZEN_S = 2.0
RECODED_S = 3.0
"""Another codec is another encoder: the old picture stands until the new one's first keyframe."""
A_FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Ana is looked at by Ben, whose window changes."""

    mesh: Mesh
    codec: VideoCodec
    name: str
    ana: Guest
    ben: Guest


@pytest.fixture(scope="module", params=[VideoCodec.VP9, VideoCodec.AV1])
def codec(request: pytest.FixtureRequest) -> VideoCodec:
    """What the mesh prefers to VP8."""
    return VideoCodec(request.param)


@pytest.fixture(scope="module")
def mesh(codec: VideoCodec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    directory = tmp_path_factory.mktemp("mesh")
    with running(directory, regions=(FRANKFURT,), options=[f"--codecs={codec},vp8"]) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def room(
    codec: VideoCodec, mesh: Mesh, launch: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Room]:
    film = busy_camera(tmp_path_factory.mktemp("film") / "busy.y4m")
    browser = launch(flags=[film])
    ana, ben = guests = [open_guest(browser, "Ana"), open_guest(browser, "Ben", viewport=LARGE)]
    for guest in guests:
        guest.enter(mesh, f"{codec}-room", FRANKFURT)
    meet(guests, frames=A_FEW)
    for guest in guests:
        guest.watch()
    ben.tile("Ana").click()
    yield Room(mesh=mesh, codec=codec, name=f"{codec}-room", ana=ana, ben=ben)
    errors = {guest.name: guest.errors for guest in guests if guest.errors}
    browser.close()
    assert errors == {}


def until(guest: Guest, name: str, *, codec: str, least_px: int, most_px: int) -> None:
    """Until that picture has such a codec and height, and moves."""

    def fits() -> bool:
        picture = guest.pictures().get(name)
        return (
            picture is not None
            and picture["codec"].lower() == codec
            and least_px <= picture["height_px"] <= most_px
        )

    eventually(lambda: (fits(), guest.pictures()), lambda seen: seen[0], within_s=CHANGES_WITHIN_S)
    before = guest.pictures()[name]["frames"]
    eventually(
        lambda: guest.pictures()[name]["frames"],
        lambda now: now >= before + A_FEW,
        within_s=CHANGES_WITHIN_S,
    )


def test_a_picture_in_a_room_of_scalable_video_is_as_large_as_it_is_shown(room: Room) -> None:
    codec, ben = str(room.codec), room.ben
    until(ben, "Ana", codec=codec, least_px=TOP_PX, most_px=TOP_PX)
    until(room.ana, "Ben", codec=codec, least_px=1, most_px=TOP_PX)
    ben.longest_gap_s("Ana")
    for size, least_px, most_px in (
        (SMALL, 1, MIDDLE_PX),
        (LARGE, TOP_PX, TOP_PX),
    ):
        ben.page.set_viewport_size(size)
        until(ben, "Ana", codec=codec, least_px=least_px, most_px=most_px)
        gap_s = ben.longest_gap_s("Ana")
        print(f"{codec}: {ben.pictures()['Ana']['height_px']} lines, still for {gap_s:.2f} s")
        assert gap_s < FROZEN_S


@pytest.mark.parametrize("codec", [VideoCodec.VP9], indirect=True)
def test_the_room_speaks_vp8_while_somebody_is_there_who_has_nothing_better(room: Room) -> None:
    codec = str(room.codec)
    pair = ((room.ana, "Ben"), (room.ben, "Ana"))

    def until_all_have(codec: str) -> None:
        for guest, name in pair:
            until(guest, name, codec=codec, least_px=1, most_px=TOP_PX)
        gaps_s = {guest.name: guest.longest_gap_s(name) for guest, name in pair}
        print(f"{codec} now; pictures were still for so many seconds: {gaps_s}")
        assert max(gaps_s.values()) < RECODED_S

    until_all_have(codec)
    with gathering(room.mesh) as crowd:
        red = crowd.join("Red", RED, room=room.name, region=FRANKFURT, slots=(2, 2))
        until_all_have("vp8")
        frames = red.stack.heights.total
        before = frames()
        eventually(frames, lambda now: now >= before + 2 * A_FEW, within_s=10)
        assert all("Red" in guest.received() for guest, _ in pair)
    until_all_have(codec)
