"""Meetings on a bridge of any kind, and who receives whom in them."""

from collections.abc import Callable, Sequence
from random import Random

import trio

from benchmarks.load import media
from benchmarks.load.description import Wish
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Bridge, Member
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
