"""An independent WebRTC stack on each of two bridges: media crosses the trunk between them."""

from tests.interop.mesh import FRANKFURT, SINGAPORE, Mesh
from tests.interop.stack import BLUE, GREEN, RED, Loop, participant


async def test_two_people_on_two_bridges_see_and_hear_each_other(
    mesh: Mesh, loop: Loop, room: str
) -> None:
    async with (
        participant(loop, mesh, FRANKFURT, RED, room=room) as anna,
        participant(loop, mesh, SINGAPORE, BLUE, room=room) as bruno,
    ):
        await anna.until_meets(BLUE)
        await bruno.until_meets(RED)
        assert set(anna.stack.sees) == set(anna.stack.hears) == {BLUE}
        assert set(bruno.stack.sees) == set(bruno.stack.hears) == {RED}
        assert {csrc for each in anna.tap.received_rtp() for csrc in each.csrcs} == {
            bruno.id << 2 | 1,
            bruno.id << 2 | 2,
        }
        await mesh.until_crossing(2)


async def test_people_with_different_ciphers_and_ip_versions_meet(
    mesh: Mesh, loop: Loop, room: str
) -> None:
    # The last one to come waits for keyframes, which only the senders' encoders can make.
    async with (
        participant(
            loop, mesh, FRANKFURT, RED, room=room, srtp_profile="SRTP_AEAD_AES_256_GCM", host="::1"
        ) as anna,
        participant(
            loop, mesh, SINGAPORE, BLUE, room=room, srtp_profile="SRTP_AES128_CM_SHA1_80"
        ) as bruno,
        participant(loop, mesh, SINGAPORE, GREEN, room=room, host="::1") as carol,
    ):
        await carol.until_meets(RED, BLUE)
        await bruno.until_meets(RED, GREEN)
        await anna.until_meets(BLUE, GREEN)


async def test_a_muted_picture_leaves_and_comes_back(mesh: Mesh, loop: Loop, room: str) -> None:
    async with (
        participant(loop, mesh, FRANKFURT, RED, room=room) as anna,
        participant(loop, mesh, SINGAPORE, BLUE, room=room) as bruno,
    ):
        await bruno.until_meets(RED)
        await mesh.until_crossing(2)
        await anna.signalling.say(type="mute", kind="camera", muted=True)
        await mesh.until_crossing(1)
        seen = bruno.stack.sees[RED]
        await bruno.until_hears(RED, frames=20)
        assert bruno.stack.sees[RED] <= seen + 2  # what its decoder still had
        await anna.signalling.say(type="mute", kind="camera", muted=False)
        await bruno.until_meets(RED)
