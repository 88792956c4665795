"""Rooms of one sender each and those who watch it, whose stream is played and paused."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from benchmarks.cases.stage import DRAIN_S, SETTLE_S, Span, drops, join_all, measured
from benchmarks.load.description import Wish
from benchmarks.load.media import Script, plain
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Bridge, Member, Picture
from relay.ids import SourceKind

PAYLOAD_BYTES = 1_150
_FIRST = plain(50, PAYLOAD_BYTES)
"""Until something else is played: so that receivers get a stream to watch."""


@dataclass(slots=True)
class Audience:
    """One room."""

    traffic: Traffic
    sender: Member
    receivers: Sequence[Member]

    @property
    def camera(self) -> int:
        """What is sent: the sender's handle in the engine."""
        (handle,) = self.sender.senders[SourceKind.CAMERA]
        return handle

    @property
    def sent(self) -> int:
        """Packets, so far."""
        return self.traffic.engine.sender_stats(self.camera).packets

    def play(self, script: Script, chance: Random) -> None:
        """This from now on."""
        self.traffic.play(self.camera, script, chance)

    def pause(self) -> None:
        """Nothing from now on."""
        self.traffic.engine.set_active(self.camera, False)

    def resume(self) -> None:
        """What was played last."""
        self.traffic.engine.set_active(self.camera, True)


async def seated(
    bridge: Bridge,
    traffic: Traffic,
    nursery: trio.Nursery,
    sizes: Sequence[int],
    *,
    room: str = "room",
    as_browsers: bool = False,
) -> list[Audience]:
    """A room for each size, with so many receivers who watch its sender; all paused."""
    publishes = Wish(camera=1, as_browsers=as_browsers)
    receives = Wish(video_slots=1, as_browsers=as_browsers)
    rooms = [f"{room}-{number}" for number in range(len(sizes))]
    senders = await join_all(bridge, traffic, nursery, [(name, publishes) for name in rooms])
    for sender in senders:
        for handle in sender.senders[SourceKind.CAMERA]:
            traffic.play(handle, _FIRST, Random(1))
    await trio.sleep(SETTLE_S)
    seats = [number for number, size in enumerate(sizes) for _ in range(size)]
    members = await join_all(
        bridge, traffic, nursery, [(rooms[number], receives) for number in seats]
    )
    async with trio.open_nursery() as watching:
        for number, member in zip(seats, members, strict=True):
            watching.start_soon(member.watch, [Picture(member=senders[number].id, layer=0)])
    audiences = [
        Audience(
            traffic,
            sender,
            [member for seat, member in zip(seats, members, strict=True) if seat == number],
        )
        for number, sender in enumerate(senders)
    ]
    await trio.sleep(SETTLE_S)
    for audience in audiences:
        audience.pause()
    return audiences


@dataclass(frozen=True, slots=True, kw_only=True)
class Dose:
    """A stretch of streams, from their first packet to the last, and a span in the middle of it."""

    span: Span
    expected: int
    """What was sent, times those who should get it."""
    got: int
    load_lost: int
    """By the load's own sockets."""
    bridge_lost: int
    """By bridges' sockets, of what was sent to them."""
    load_late: int
    """Frames that the load left out, and packets that it could not send."""

    @property
    def lost(self) -> float:
        """Share of what was expected, repaired or not."""
        return max(0, self.expected - self.got) / max(1, self.expected)

    @property
    def load_limited(self) -> bool:
        """Whether the load was what did not keep up."""
        return bool(self.load_lost or self.load_late)

    def as_json(self) -> dict[str, Any]:
        return {
            **self.span.as_json(),
            "packets_per_s": self.span.packets_per_s,
            "cores": self.span.cores,
            "expected": self.expected,
            "got": self.got,
            "lost": self.lost,
            "load_lost": self.load_lost,
            "bridge_lost": self.bridge_lost,
            "load_late": self.load_late,
        }


async def dosed(audiences: Sequence[Audience], pids: Sequence[int], seconds: float) -> Dose:
    """Have these rooms' streams flow for a while, and count when all is through."""
    (traffic,) = {audience.traffic for audience in audiences}
    before, sent = traffic.engine.totals(), [each.sent for each in audiences]
    lost = drops()
    for each in audiences:
        each.resume()
    await trio.sleep(SETTLE_S)
    span = await measured(traffic, pids, seconds)
    for each in audiences:
        each.pause()
    await trio.sleep(DRAIN_S)
    after, now = traffic.engine.totals(), drops()
    return Dose(
        span=span,
        expected=sum(
            (each.sent - first) * len(each.receivers)
            for each, first in zip(audiences, sent, strict=True)
        ),
        got=after.packets - before.packets,
        load_lost=now.load - lost.load,
        bridge_lost=now.others - lost.others,
        load_late=after.skipped + after.unsent - before.skipped - before.unsent,
    )
