"""Rooms with VP9 and AV1, whose layers are in one stream, and one who has neither of them.

One mesh prefers AV1 to VP9, and VP9 to VP8; browsers that do not know AV1 meet in VP9.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from relay.ids import VideoCodec
from tests.e2e.camera import busy_camera
from tests.e2e.conftest import Launch
from tests.e2e.crowd import gathering
from tests.e2e.guest import Guest, meet, open_guest
from tests.e2e.mesh import FRANKFURT, Mesh, eventually, running
from tests.interop.stack import RED
from tests.patience import patient_s

LARGE = {"width": 1_680, "height": 1_050}
MEDIUM = {"width": 900, "height": 600}
SMALL = {"width": 400, "height": 320}
TOP_PX, MIDDLE_PX = 720, 360
CHANGES_WITHIN_S = 15.0
FROZEN_S = 2.0
NO_AV1 = """{
  const known = RTCRtpReceiver.getCapabilities.bind(RTCRtpReceiver);
  const kept = ({mimeType}) => mimeType !== "video/AV1";
  RTCRtpReceiver.getCapabilities = kind => ({codecs: known(kind).codecs.filter(kept)});
}"""
RECODED_S = 3.0
"""Another codec is another encoder: the old picture stands until the new one's first keyframe."""
A_FEW = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Ana is looked at by Ben, whose window changes."""

    mesh: Mesh
    codec: VideoCodec
    window: dict[str, int]
    """Ben's, at its largest."""
    lines: int
    """What it has room for."""
    name: str
    ana: Guest
    ben: Guest


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    directory = tmp_path_factory.mktemp("mesh")
    with running(directory, regions=(FRANKFURT,), options=["--codecs=av1,vp9,vp8"]) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def filming(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = launch(flags=[busy_camera(tmp_path_factory.mktemp("film") / "busy.y4m")])
    yield browser
    browser.close()


IN_VP9 = VideoCodec.VP9, LARGE, TOP_PX
IN_AV1 = VideoCodec.AV1, MEDIUM, MIDDLE_PX
LARGE_IN_AV1 = VideoCodec.AV1, LARGE, TOP_PX


@pytest.fixture(
    scope="module",
    params=[IN_VP9, IN_AV1, pytest.param(LARGE_IN_AV1, marks=pytest.mark.demanding)],
    ids=["vp9", "av1", "large-av1"],
)
def room(request: pytest.FixtureRequest, mesh: Mesh, filming: Browser) -> Iterator[Room]:
    codec, window, lines = request.param
    ana, ben = guests = [open_guest(filming, "Ana"), open_guest(filming, "Ben", viewport=window)]
    name = f"{lines}-lines-of-{codec}"
    for guest in guests:
        if codec is VideoCodec.VP9:
            guest.context.add_init_script(NO_AV1)
        guest.enter(mesh, name, FRANKFURT)
    meet(guests, frames=A_FEW)
    for guest in guests:
        guest.watch()
    ben.tile("Ana").click()
    yield Room(mesh=mesh, codec=codec, window=window, lines=lines, name=name, ana=ana, ben=ben)
    errors = {guest.name: guest.errors for guest in guests if guest.errors}
    for guest in guests:
        guest.close()
    assert errors == {}


def until(guest: Guest, name: str, *, codec: str, lines: range) -> None:
    """Until that picture has such a codec and height, and moves."""

    def fits() -> bool:
        picture = guest.pictures().get(name)
        return (
            picture is not None
            and picture["codec"].lower() == codec
            and picture["height_px"] in lines
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
    until(ben, "Ana", codec=codec, lines=range(room.lines, room.lines + 1))
    until(room.ana, "Ben", codec=codec, lines=range(1, TOP_PX + 1))
    ben.longest_gap_s("Ana")
    for window, lines in (
        (SMALL, range(1, room.lines)),
        (room.window, range(room.lines, room.lines + 1)),
    ):
        ben.page.set_viewport_size(window)
        until(ben, "Ana", codec=codec, lines=lines)
        gap_s = ben.longest_gap_s("Ana")
        print(f"{codec}: {ben.pictures()['Ana']['height_px']} lines, still for {gap_s:.2f} s")
        assert gap_s < patient_s(FROZEN_S)


@pytest.mark.parametrize("room", [IN_VP9], ids=["vp9"], indirect=True)
def test_the_room_speaks_vp8_while_somebody_is_there_who_has_nothing_better(room: Room) -> None:
    codec = str(room.codec)
    pair = ((room.ana, "Ben"), (room.ben, "Ana"))

    def until_all_have(codec: str) -> None:
        for guest, name in pair:
            until(guest, name, codec=codec, lines=range(1, TOP_PX + 1))
        gaps_s = {guest.name: guest.longest_gap_s(name) for guest, name in pair}
        print(f"{codec} now; pictures were still for so many seconds: {gaps_s}")
        assert max(gaps_s.values()) < patient_s(RECODED_S)

    until_all_have(codec)
    with gathering(room.mesh) as crowd:
        red = crowd.join("Red", RED, room=room.name, region=FRANKFURT, slots=(2, 2))
        until_all_have("vp8")
        frames = red.stack.heights.total
        before = frames()
        eventually(frames, lambda now: now >= before + 2 * A_FEW, within_s=10)
        assert all("Red" in guest.received() for guest, _ in pair)
    until_all_have(codec)
