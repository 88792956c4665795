"""CPU for each packet forwarded: one sender to many receivers, against the floor and Janus."""

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import trio

from benchmarks.cases.stage import SETTLE_S, Say, Span, join_all, loaded, measured, started
from benchmarks.load.description import Wish
from benchmarks.load.media import Script, bursts, plain
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.peers import Bridge, Member, Peer, Picture
from relay.ids import SourceKind

PAYLOAD_BYTES = 1_150


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one sender sends to how many."""

    key: str
    title: str
    receivers: int
    script: Script
    as_browsers: bool = False
    """With header extensions, transport-wide feedback both ways, retransmissions."""


PLAIN = tuple(
    Work(
        key=f"plain-{receivers}",
        title=f"300 packets/s to {receivers}",
        receivers=receivers,
        script=plain(300, PAYLOAD_BYTES),
    )
    for receivers in (10, 30, 50, 200)
)
FULL = Work(
    key="full-30",
    title="all extensions, feedback, NACK cache, to 30",
    receivers=30,
    script=plain(300, PAYLOAD_BYTES),
    as_browsers=True,
)
BURSTS = Work(
    key="bursts-50",
    title="frames of 8 packets, 30/s, to 50",
    receivers=50,
    script=bursts(30, 8, PAYLOAD_BYTES, differing=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One peer's turns."""

    peer: str
    spans: tuple[Span, ...]

    @property
    def us_per_packet(self) -> float:
        """The median turn's."""
        return statistics.median(span.us_per_packet for span in self.spans)


async def compare(
    work: Work, peers: Sequence[Peer], *, rounds: int, seconds: float, say: Say
) -> list[Cost]:
    """All peers in turns, each on its own; everybody has joined before the first."""
    spans: dict[str, list[Span]] = {peer.name: [] for peer in peers}
    manners = Manners(feedback=work.as_browsers, nacks=work.as_browsers)
    async with contextlib.AsyncExitStack() as until_the_end:
        stages = []
        bridges = until_the_end.enter_context(started(peers))
        for peer, bridge in zip(peers, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(loaded(manners))
            sender = await _audience(work, bridge, traffic, nursery)
            stages.append((peer, bridge, traffic, sender))
        for number in range(rounds):
            for peer, bridge, traffic, sender in stages:
                span = await _turn(bridge, traffic, sender, seconds)
                spans[peer.name].append(span)
                say(
                    f"{work.title}, round {number + 1} of {rounds}: {peer.name} "
                    f"{span.us_per_packet:.2f} µs a packet"
                    + (f", {span.lost:.2%} LOST" if span.lost else "")
                )
    return [Cost(peer=name, spans=tuple(each)) for name, each in spans.items()]


async def _audience(work: Work, bridge: Bridge, traffic: Traffic, nursery: trio.Nursery) -> Member:
    publishes = Wish(camera=1, as_browsers=work.as_browsers)
    receives = Wish(video_slots=1, as_browsers=work.as_browsers)
    (sender,) = await join_all(bridge, traffic, nursery, [("cost", publishes)])
    for handle in sender.senders[SourceKind.CAMERA]:
        traffic.play(handle, work.script, Random(1))
    await trio.sleep(SETTLE_S)
    receivers = await join_all(
        bridge, traffic, nursery, [("cost", receives) for _ in range(work.receivers)]
    )
    async with trio.open_nursery() as watching:
        for member in receivers:
            watching.start_soon(member.watch, [Picture(member=sender.id, layer=0)])
    _set_active(traffic, sender, False)
    return sender


async def _turn(bridge: Bridge, traffic: Traffic, sender: Member, seconds: float) -> Span:
    _set_active(traffic, sender, True)
    await trio.sleep(SETTLE_S)
    span = await measured(traffic, bridge.pids, seconds)
    _set_active(traffic, sender, False)
    return span


def _set_active(traffic: Traffic, sender: Member, active: bool) -> None:
    for handle in sender.senders[SourceKind.CAMERA]:
        traffic.engine.set_active(handle, active)
