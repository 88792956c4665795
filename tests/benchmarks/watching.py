"""Meetings on a bridge of any kind, and who receives whom in them."""

from collections.abc import Callable, Sequence
from random import Random

import trio

from benchmarks.load import media
from benchmarks.load.description import Wish
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Bridge, Member, Picture
from relay.ids import SourceKind

WAIT_S = 20.0
LOOK_S = 0.3


class Meeting:
    """A room on a bridge; who enters sends what it has."""

    def __init__(self, bridge: Bridge, traffic: Traffic, nursery: trio.Nursery) -> None:
        self.traffic = traffic
        self._bridge = bridge
        self._nursery = nursery

    async def enter(self, wish: Wish) -> tuple[Member, Callable[[], None]]:
        """A newcomer, and what makes it leave."""

        async def join(task_status: trio.TaskStatus[Member]) -> None:
            with scope:
                await self._bridge.join(
                    self.traffic, "room", "somebody", wish, task_status=task_status
                )

        scope = trio.CancelScope()
        member: Member = await self._nursery.start(join)
        for layer, sender in enumerate(member.senders.get(SourceKind.CAMERA, ())):
            self.traffic.play_from(sender, media.camera(layer, Random(layer)), 0)
        for sender in member.senders.get(SourceKind.MICROPHONE, ()):
            self.traffic.play_from(sender, media.microphone(Random(0), talking=1), 0)
        return member, scope.cancel

    async def receives(self, member: Member, senders: Sequence[int]) -> None:
        """Wait until it receives of these and no others; all of it in order and whole."""
        with trio.fail_after(WAIT_S):
            while await self._receiving(member) != set(senders):
                pass
        for client in member.clients:
            for stream in self.traffic.engine.streams(client):
                flaws = (stream.missing, stream.given_up, stream.duplicates, stream.undecryptable)
                assert (*flaws, stream.malformed, stream.unmarked, stream.base_jumps) == (0,) * 7

    async def _receiving(self, member: Member) -> set[int]:
        before = self._packets(member)
        await trio.sleep(LOOK_S)
        after = self._packets(member)
        return {sender for sender, packets in after.items() if packets > before.get(sender, 0)}

    def _packets(self, member: Member) -> dict[int, int]:
        """By whose they are now."""
        return {
            stream.sender: stream.packets
            for client in member.clients
            for stream in self.traffic.engine.streams(client)
            if stream.packets
        }


def camera(member: Member, layer: int) -> int:
    return member.senders[SourceKind.CAMERA][layer]


def voice(member: Member) -> int:
    return member.senders[SourceKind.MICROPHONE][0]


async def follow_what_is_watched(meeting: Meeting, wish: Wish) -> None:
    """A member gets the pictures that it watches, in the layers it asks for, and all voices."""
    (first, _), (second, _), (third, _) = [await meeting.enter(wish) for _ in range(3)]
    voices = [voice(second), voice(third)]
    await first.watch([Picture(member=second.id, layer=0), Picture(member=third.id, layer=2)])
    await meeting.receives(first, [*voices, camera(second, 0), camera(third, 2)])
    await first.watch([Picture(member=second.id, layer=1)])
    await meeting.receives(first, [*voices, camera(second, 1)])
    await first.watch([])
    await meeting.receives(first, voices)
    await first.watch([Picture(member=third.id, layer=0)])
    await meeting.receives(first, [*voices, camera(third, 0)])


async def do_not_miss_who_has_left(meeting: Meeting, wish: Wish) -> None:
    """Two members send, as they wish, and one leaves: nobody receives it, and all else goes on."""
    viewer, _ = await meeting.enter(Wish(audio_slots=1, video_slots=2))
    (leaver, leave), (stayer, _) = [await meeting.enter(wish) for _ in range(2)]
    await viewer.watch([Picture(member=each.id, layer=0) for each in (leaver, stayer)])
    received = [voice(leaver), voice(stayer), camera(leaver, 0), camera(stayer, 0)]
    await meeting.receives(viewer, received)
    leave()
    await meeting.receives(viewer, [voice(stayer), camera(stayer, 0)])
    await viewer.watch([Picture(member=each.id, layer=1) for each in (leaver, stayer)])
    await meeting.receives(viewer, [voice(stayer), camera(stayer, 1)])
