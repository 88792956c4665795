"""An independent WebRTC stack on each of two bridges: media crosses the trunk between them."""

from tests.interop.mesh import FRANKFURT, SINGAPORE, Mesh, until
from tests.interop.stack import BLUE, RED, Loop, participant


async def test_two_people_on_two_bridges_see_and_hear_each_other(mesh: Mesh, loop: Loop) -> None:
    async with (
        participant(loop, mesh, FRANKFURT, RED) as anna,
        participant(loop, mesh, SINGAPORE, BLUE) as bruno,
    ):
        await anna.until_meets(BLUE)
        await bruno.until_meets(RED)
        assert set(anna.stack.sees) == set(anna.stack.hears) == {BLUE}
        assert set(bruno.stack.sees) == set(bruno.stack.hears) == {RED}
        assert {csrc for each in anna.tap.received_rtp() for csrc in each.csrcs} == {
            bruno.id << 2 | 1,
            bruno.id << 2 | 2,
        }

        async def both_ways() -> bool:
            metrics = await mesh.metrics(FRANKFURT)
            counts = [metrics(f"trunk_sources_{way}", peer="singapore-1") for way in ("out", "in")]
            return counts == [2, 2]

        await until(both_ways)
