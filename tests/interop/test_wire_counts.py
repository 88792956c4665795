"""What crosses a trunk, counted in the kernels at its two ends."""

from benchmarks.client import Wish
from tests.interop.load import load, until_asked_for_keyframe, until_shown
from tests.interop.mesh import FRANKFURT, SINGAPORE, Mesh, until

COUNT = 50
QUIET_S = 0.5
"""More than the interval at which a bridge asks again."""
SENDER = Wish(camera=1)
VIEWER = Wish(video_slots=1)
LISTENER = Wish(audio_slots=1)


async def packets(mesh: Mesh) -> list[int]:
    """In and out at Frankfurt, in and out at Singapore."""
    return [
        int((await mesh.metrics(region))(f"packets_{way}_total"))
        for region in (FRANKFURT, SINGAPORE)
        for way in ("in", "out")
    ]


async def until_packets(mesh: Mesh, before: list[int], wanted: list[int]) -> None:
    """Until exactly so many more were counted; too many would never become fewer."""

    async def counted() -> bool:
        added = [each - at for each, at in zip(await packets(mesh), before, strict=True)]
        assert all(each <= most for each, most in zip(added, wanted, strict=True)), added
        return added == wanted

    await until(counted)


async def test_a_source_crosses_once_for_two_who_see_it(mesh: Mesh, room: str) -> None:
    async with (
        load(mesh, FRANKFURT, room, SENDER) as sender,
        load(mesh, SINGAPORE, room, VIEWER) as anna,
        load(mesh, SINGAPORE, room, VIEWER) as bruno,
    ):
        await until_shown(sender, anna, bruno)
        before = await packets(mesh)
        numbers = [sender.send() for _ in range(COUNT)]
        assert await anna.next(COUNT) == numbers
        assert await bruno.next(COUNT) == numbers
        await until_packets(mesh, before, [COUNT, COUNT, COUNT, 2 * COUNT])


async def test_a_picture_that_nobody_there_has_a_slot_for_does_not_cross(
    mesh: Mesh, room: str
) -> None:
    async with (
        load(mesh, FRANKFURT, room, SENDER) as sender,
        load(mesh, SINGAPORE, room, LISTENER) as listener,
    ):
        before = await packets(mesh)
        for _ in range(COUNT):
            sender.send(keyframe=True)
        await until_packets(mesh, before, [COUNT, 0, 0, 0])
        async with load(mesh, SINGAPORE, room, VIEWER) as viewer:
            await until_shown(sender, viewer)
        assert listener.arrived() == []


async def test_a_picture_crosses_no_more_when_the_last_who_saw_it_has_left(
    mesh: Mesh, room: str
) -> None:
    async with load(mesh, FRANKFURT, room, SENDER) as sender:
        async with load(mesh, SINGAPORE, room, VIEWER) as viewer:
            await until_shown(sender, viewer)
            await mesh.until_crossing(1)
        await mesh.until_crossing(0)
        before = await packets(mesh)
        for _ in range(COUNT):
            sender.send(keyframe=True)
        await until_packets(mesh, before, [COUNT, 0, 0, 0])


async def test_who_comes_late_gets_a_keyframe_from_a_sender_on_another_bridge(
    mesh: Mesh, room: str
) -> None:
    async with (
        load(mesh, FRANKFURT, room, SENDER) as sender,
        load(mesh, SINGAPORE, room, VIEWER) as viewer,
    ):
        await until_shown(sender, viewer)
        # Once everybody is content nobody asks: the next question is the newcomer's.
        while await until_asked_for_keyframe(sender, within_s=QUIET_S):
            sender.send(keyframe=True)
        async with load(mesh, SINGAPORE, room, VIEWER) as late:
            assert await until_asked_for_keyframe(sender)
            await until_shown(sender, late)
