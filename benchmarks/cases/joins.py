"""A hundred people join in five seconds while a stream runs to 50 receivers on the same bridge.

They come to rooms of ten, as to meetings that begin at the full hour, and want what browsers want:
a microphone, a camera in three encodings, room for five voices and nine pictures. They look at the
first of the room, so that there is media to wait for and not much of it. From the join's beginning
to the first packet of media; who is first in a room finds nobody and has none. Each turn has a
new bridge.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from benchmarks.cases.audience import PAYLOAD_BYTES, seated
from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target
from benchmarks.cases.stage import SETTLE_S, loaded, started
from benchmarks.load.counts import StreamStats
from benchmarks.load.gathering import Gathering
from benchmarks.load.media import plain
from benchmarks.load.outcome import quantile
from benchmarks.load.profiles import STRIP_LAYER, Meeting, Watched
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.peers import Member
from benchmarks.peers.octomesh import Octomesh

JOINS, ROOM, WITHIN_S = 100, 10, 5.0
RECEIVERS, PER_S = 50, 300
P95_S = 1.0
DECRYPT_ONE_IN = 4
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival(Meeting):
    """All can send and watch, and see the first of them: it is joining that is measured."""

    def watched(self, place: int) -> Sequence[Watched]:
        """See `Profile.watched`."""
        return [Watched(0, STRIP_LAYER)] if place else []


@dataclass(frozen=True, slots=True)
class _Running:
    """The stream that runs, as its receivers have got it so far."""

    packets: int
    lost: int

    @classmethod
    def now(cls, traffic: Traffic, receivers: Sequence[Member]) -> "_Running":
        streams: list[StreamStats] = [
            stream
            for member in receivers
            for client in member.clients
            for stream in traffic.engine.streams(client)
        ]
        return cls(
            sum(stream.packets for stream in streams),
            sum(stream.missing + stream.given_up for stream in streams),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A hundred joins at one bridge, and what became of the stream beside them."""

    joins: int
    connected_s: Sequence[float]
    """Of those who were, ascending."""
    waited: int
    """People who had somebody to wait for."""
    first_packet_s: Sequence[float]
    """Of those among them who got one, ascending."""
    failures: Sequence[str]
    expected: int
    got: int
    lost: int
    """By the stream's receivers."""

    @property
    def p95_s(self) -> float | None:
        """From join to first packet; None when somebody got none."""
        whole = len(self.first_packet_s) == self.waited
        return quantile(self.first_packet_s, 0.95) if whole else None

    def as_json(self) -> dict[str, Any]:
        return {
            "joins": self.joins,
            "connected_s": self.connected_s,
            "first_packet_s": self.first_packet_s,
            "failures": self.failures,
            "stream": {"expected": self.expected, "got": self.got, "lost": self.lost},
        }


async def run(setting: Setting, say: Say) -> Outcome:
    receivers = setting.at_most(RECEIVERS, small=4)
    turns = []
    for number in range(setting.rounds):
        turn = await _turn(receivers, setting)
        turns.append(turn)
        say(
            f"round {number + 1} of {setting.rounds}: {len(turn.connected_s)} of {turn.joins} "
            f"connected, p95 {quantile(turn.connected_s, 0.95) or 0:.2f} s; first packet p95 "
            f"{quantile(turn.first_packet_s, 0.95) or 0:.2f} s; the stream lost {turn.lost} packets"
        )
    return Outcome(lines=lines(turns, receivers), raw=[turn.as_json() for turn in turns])


async def _turn(receivers: int, setting: Setting) -> Turn:
    joins = setting.at_most(JOINS, small=4)
    in_room = setting.at_most(ROOM, small=2)
    with started([Octomesh()]) as (bridge,):
        async with loaded(Manners(decrypt_one_in=DECRYPT_ONE_IN)) as (traffic, nursery):
            (audience,) = await seated(bridge, traffic, nursery, [receivers])
            audience.play(plain(PER_S, PAYLOAD_BYTES), Random(1))
            await trio.sleep(SETTLE_S)
            before = _Running.now(traffic, audience.receivers)
            sent = audience.sent
            rooms = [
                Gathering(
                    bridge,
                    traffic,
                    _Arrival(people=in_room),
                    room=f"meeting-{number}",
                    joins_per_s=in_room / WITHIN_S,
                    seed=number,
                )
                for number in range(joins // in_room)
            ]
            with trio.move_on_after(TIMEOUT_S):
                async with trio.open_nursery() as coming:
                    for number, room in enumerate(rooms):
                        coming.start_soon(_come, nursery, room, WITHIN_S / joins * number)
            await trio.sleep(SETTLE_S)
            audience.pause()
            await trio.sleep(SETTLE_S)
            after = _Running.now(traffic, audience.receivers)
            expected = (audience.sent - sent) * len(audience.receivers)
    people = [person for room in rooms for person in room.people]
    return Turn(
        joins=joins,
        connected_s=sorted(each.connected_s for each in people if each.connected_s is not None),
        waited=sum(1 for each in people if each.place),
        first_packet_s=sorted(
            each.first_packet_s for each in people if each.place and each.first_packet_s is not None
        ),
        failures=sorted({each.failure for each in people if each.failure}),
        expected=expected,
        got=after.packets - before.packets,
        lost=after.lost - before.lost,
    )


def lines(turns: Sequence[Turn], receivers: int) -> list[Line]:
    """The fewest that were connected, the median of the waits, all losses together."""
    joins = turns[0].joins
    work = f"{joins} in {WITHIN_S:g} s beside a stream to {receivers}"
    waits_s = [turn.p95_s for turn in turns]
    without = sum(turn.waited - len(turn.first_packet_s) for turn in turns)
    return [
        Line(
            measure="joins, connected",
            work=work,
            ours=min(len(turn.connected_s) for turn in turns),
            unit="people",
            target=Target(bound=joins, at_least=True),
            note="; ".join(sorted({failure for turn in turns for failure in turn.failures})),
        ),
        Line(
            measure="join → first packet, p95",
            work=work,
            ours=statistics.median(TIMEOUT_S if wait is None else wait for wait in waits_s),
            unit="s",
            target=Target(bound=P95_S),
            valid=None not in waits_s,
            note=f"{without} got none" if without else "",
        ),
        Line(
            measure="lost by the running stream",
            work=work,
            ours=sum(turn.lost for turn in turns),
            unit="packets",
            target=Target(bound=0),
            note=f"of {sum(turn.expected for turn in turns):,}",
        ),
    ]


async def _come(nursery: trio.Nursery, room: Gathering, later_s: float) -> None:
    await trio.sleep(later_s)
    await nursery.start(room.run)


CASE = Case(key="joins", title="many joins at once", run=run)
