"""Whether a packet costs more where there is more: receivers, conferences, streams.

Everything that is compared has joined before the first turn, and turns alternate. What the people
themselves cost, who are there whether or not a stream flows (consent checks, timers), is measured
before each round and taken off: it is the packets that must not become dearer. What it was stands
in the results beside them.

Receivers: a sender at 100 packets/s to 10; two and twenty rooms of a sender and 50 receivers:
octomesh lets 500 people into a room, and joining one that is large takes long; a bridge for each.
Conferences: 1, 100 and 500 of one sender and one receiver, each the same; and, which is harder,
100 and 500 at the same rate of packets in all, so that there are not more packets a wake-up and
all that a packet needs is met as much more rarely. What the same does to the floor is beside it.
Streams known: bridges with idle people who have announced a camera in three encodings and a
microphone, while one stream flows to 50 receivers; a bridge for each number.
"""

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, dosed, seated
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import Span, calmed, join_all, loaded, measured, started
from benchmarks.load.description import Wish
from benchmarks.load.media import Script, plain
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.peers import Bridge, Peer
from benchmarks.peers.floor import Floor
from benchmarks.peers.octomesh import Octomesh

TARGET = Target(bound=1.15, of_ratio=True)
MANNERS = Manners(feedback=False, nacks=False, decrypt_one_in=4)
PER_S = 100
CONFERENCES = (1, 100, 500)
CONFERENCE_PER_S = 50
KNOWN = (10, 1_000, 5_000)
KNOWN_PER_S, KNOWN_RECEIVERS = 300, 50
STREAMS_EACH = 4
IDLE = Wish(microphone=True, camera=3)
IDLE_ROOM = 10
MAX_ROUNDS = 5
REST_S = 2.0
LEAST = 0.2
"""Of what the people cost at rest, what packets have to cost beside it to be told from it."""


@dataclass(slots=True, kw_only=True)
class Point:
    """One size of something that grows."""

    size: int
    rooms: Sequence[Audience]
    bridge: Bridge
    traffic: Traffic
    script: Script
    rests: list[Span] = field(default_factory=list)
    turns: list[Span] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)

    def costs_us(self) -> list[float]:
        """Of a packet, by round, without what the people themselves cost."""
        return [
            max(0.0, turn.cores - rest.cores) * 1e6 / max(1.0, turn.packets_per_s)
            for turn, rest in zip(self.turns, self.rests, strict=True)
        ]

    @property
    def stands_out(self) -> bool:
        """Whether what its packets cost can be told from what its people do."""
        pairs = zip(self.turns, self.rests, strict=True)
        return all(turn.cores - rest.cores >= LEAST * rest.cores for turn, rest in pairs)

    def as_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "us_per_packet": statistics.median(self.costs_us()),
            "us_per_packet_with_people": statistics.median(
                turn.us_per_packet for turn in self.turns
            ),
            "cores_at_rest": statistics.median(rest.cores for rest in self.rests),
            "lost": max(self.lost),
            "turns": [turn.as_json() for turn in self.turns],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Something that grows, and what it may cost."""

    of: str
    points: Sequence[Point]
    """The smallest first; the largest is compared with all others."""
    target: Target | None = TARGET


async def run(setting: Setting, say: Say) -> Outcome:
    lines: list[Line] = []
    raw: dict[str, Any] = {}
    for what in (_receivers, _conferences, _crowded_conferences, _streams):
        for growth in await what(setting, say):
            raw[growth.of] = [point.as_json() for point in growth.points]
            *others, largest = growth.points
            lines += [_line(growth.of, each, largest, growth.target) for each in others]
    return Outcome(lines=lines, raw=raw)


def _line(title: str, smaller: Point, largest: Point, target: Target | None) -> Line:
    rests = [statistics.median(rest.cores for rest in each.rests) for each in (smaller, largest)]
    lost = max(*smaller.lost, *largest.lost)
    pairs = zip(largest.turns, smaller.turns, strict=True)
    with_people = statistics.median(many.us_per_packet / few.us_per_packet for many, few in pairs)
    return versus(
        "growth of a packet's cost",
        f"{title} {smaller.size:,} → {largest.size:,}",
        "µs",
        largest.costs_us(),
        f"at {smaller.size:,}",
        smaller.costs_us(),
        target,
        valid=lost < LOSSLESS and smaller.stands_out and largest.stands_out,
        note="".join(
            f"at {each.size:,} too little to be told from the people; "
            for each in (smaller, largest)
            if not each.stands_out
        )
        + f"people at rest {rests[0]:.1%} → {rests[1]:.1%} of the core, taken off; "
        + f"with them {with_people:.2f} ×"
        + (f"; {lost:.2%} lost" if lost >= LOSSLESS else ""),
    )


async def _receivers(setting: Setting, say: Say) -> list[Growth]:
    each = ([2], [2] * 2, [2] * 4) if setting.small else ([10], [50] * 2, [50] * 20)
    points = []
    async with contextlib.AsyncExitStack() as until_the_end:
        bridges = until_the_end.enter_context(started([Octomesh() for _ in each]))
        for sizes, bridge in zip(each, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(loaded(MANNERS))
            rooms = await seated(bridge, traffic, nursery, sizes)
            say(f"receivers: {sum(sizes)} have joined")
            points.append(
                Point(
                    size=sum(sizes),
                    rooms=rooms,
                    bridge=bridge,
                    traffic=traffic,
                    script=plain(PER_S, PAYLOAD_BYTES),
                )
            )
        await _rounds("receivers", points, setting, say)
    return [Growth(of="receivers", points=points)]


async def _conferences(setting: Setting, say: Say) -> list[Growth]:
    counts = (1, 3) if setting.small else CONFERENCES
    points = []
    async with contextlib.AsyncExitStack() as until_the_end:
        bridges = until_the_end.enter_context(started([Octomesh() for _ in counts]))
        for count, bridge in zip(counts, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(loaded(MANNERS))
            points.append(
                Point(
                    size=count,
                    rooms=await seated(bridge, traffic, nursery, [1] * count),
                    bridge=bridge,
                    traffic=traffic,
                    script=plain(CONFERENCE_PER_S, PAYLOAD_BYTES),
                )
            )
            say(f"conferences: {count} are there")
        await _rounds("conferences", points, setting, say)
    return [Growth(of="conferences", points=points)]


async def _crowded_conferences(setting: Setting, say: Say) -> list[Growth]:
    counts = (1, 3) if setting.small else CONFERENCES[1:]
    growths = []
    async with contextlib.AsyncExitStack() as until_the_end:
        peers: list[Peer] = [Octomesh(), Floor()]
        bridges = until_the_end.enter_context(started(peers))
        for peer, bridge in zip(peers, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(loaded(MANNERS))
            rooms = await seated(bridge, traffic, nursery, [1] * counts[-1])
            say(f"conferences of {peer.name}: {counts[-1]} are there")
            ours = isinstance(peer, Octomesh)
            growths.append(
                Growth(
                    of=f"conferences, as many packets in all{'' if ours else ': the floor'}",
                    points=[
                        Point(
                            size=count,
                            rooms=rooms[:count],
                            bridge=bridge,
                            traffic=traffic,
                            script=plain(CONFERENCE_PER_S * counts[-1] // count, PAYLOAD_BYTES),
                        )
                        for count in counts
                    ],
                    target=TARGET if ours else None,
                )
            )
        points = [point for growth in growths for point in growth.points]
        await _rounds("as many packets in all", points, setting, say)
    return growths


async def _streams(setting: Setting, say: Say) -> list[Growth]:
    counts = (4, 12) if setting.small else KNOWN
    script = plain(KNOWN_PER_S, PAYLOAD_BYTES)
    points = []
    async with contextlib.AsyncExitStack() as until_the_end:
        bridges = until_the_end.enter_context(started([Octomesh() for _ in counts]))
        for count, bridge in zip(counts, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(loaded(MANNERS))
            idle = max(1, count // STREAMS_EACH)
            await join_all(
                bridge,
                traffic,
                nursery,
                [(f"idle-{number // IDLE_ROOM}", IDLE) for number in range(idle)],
            )
            receivers = setting.at_most(KNOWN_RECEIVERS, small=4)
            rooms = await seated(bridge, traffic, nursery, [receivers])
            say(f"streams: {idle} idle people have announced {idle * STREAMS_EACH}")
            points.append(
                Point(size=count, rooms=rooms, bridge=bridge, traffic=traffic, script=script)
            )
        await _rounds("streams known", points, setting, say)
    return [Growth(of="streams known", points=points)]


async def _rounds(title: str, points: Sequence[Point], setting: Setting, say: Say) -> None:
    rounds = min(setting.rounds, MAX_ROUNDS)
    for bridge, traffic in {
        id(point.bridge): (point.bridge, point.traffic) for point in points
    }.values():
        span = await calmed(traffic, bridge.pids)
        say(f"{title}: a bridge at rest takes {span.cores:.1%} of the core")
    for number in range(rounds):
        for point in points:
            pids = point.bridge.pids
            point.rests.append(await measured(point.traffic, pids, min(REST_S, setting.seconds)))
            for place, room in enumerate(point.rooms):
                room.play(point.script, Random(place))
                room.pause()
            dose = await dosed(point.rooms, pids, setting.seconds)
            point.turns.append(dose.span)
            point.lost.append(dose.lost)
            say(
                f"{title} {point.size:,}, round {number + 1} of {rounds}: "
                f"{point.costs_us()[-1]:.2f} µs a packet, {dose.lost:.2%} lost"
                + (f", {dose.load_lost:,} packets by the load" if dose.load_lost else "")
                + (f", {dose.bridge_lost:,} on their way in" if dose.bridge_lost else "")
            )


CASE = Case(key="growth", title="what a packet costs where there is more", run=run)
