"""A bridge that is told to stop stops, whoever is on it and whatever crosses its trunks."""

from pathlib import Path

import trio
from trio_websocket import ConnectionClosed

from benchmarks.client import Wish
from relay.ids import Region
from tests.interop.load import Load, load, until_shown
from tests.interop.mesh import FRANKFURT, SINGAPORE, Mesh, running
from tests.interop.standing import standing

STOP_S = 4.0


async def test_bridges_with_people_and_trunks_in_use_stop_in_time(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    regions = (FRANKFURT, SINGAPORE)
    # In a thread of its own, for what does not stop would keep the test from ending, too.
    with standing(lambda: running(tmp_path, *regions), stop_s=STOP_S) as mesh:
        sender = await nursery.start(stay, mesh, FRANKFURT, Wish(camera=1))
        viewers = [await nursery.start(stay, mesh, each, Wish(video_slots=1)) for each in regions]
        await until_shown(sender, *viewers)
    nursery.cancel_scope.cancel()


async def stay(
    mesh: Mesh, region: Region, wish: Wish, *, task_status: trio.TaskStatus[Load]
) -> None:
    """Be in the meeting until the meeting ends."""
    try:
        async with load(mesh, region, "garden", wish) as client:
            task_status.started(client)
            await trio.sleep_forever()
    except* ConnectionClosed:
        pass
