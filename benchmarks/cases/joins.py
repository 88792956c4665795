"""A hundred people join in five seconds while a stream runs to 50 receivers on the same bridge.

They come to rooms of ten, as to meetings that begin at the full hour, and want what browsers want:
a microphone, a camera in three encodings, room for five voices and nine pictures. They look at the
first of the room, so that there is media to wait for and not much of it. From the join's beginning
to the first packet of media; who is first in a room finds nobody and has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

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


async def run(setting: Setting, say: Say) -> Outcome:
    joins = setting.at_most(JOINS, small=4)
    in_room = setting.at_most(ROOM, small=2)
    with started([Octomesh()]) as (bridge,):
        async with loaded(Manners(decrypt_one_in=DECRYPT_ONE_IN)) as (traffic, nursery):
            (audience,) = await seated(
                bridge, traffic, nursery, [setting.at_most(RECEIVERS, small=4)]
            )
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
    connected = sorted(each.connected_s for each in people if each.connected_s is not None)
    firsts = sorted(
        each.first_packet_s for each in people if each.place and each.first_packet_s is not None
    )
    failures = sorted({each.failure for each in people if each.failure})
    waited = [each for each in people if each.place]
    lost = after.lost - before.lost
    p95 = quantile(firsts, 0.95) if len(firsts) == len(waited) else None
    say(
        f"{len(connected)} of {joins} connected, p95 {quantile(connected, 0.95) or 0:.2f} s; first "
        f"packet p95 {quantile(firsts, 0.95) or 0:.2f} s; the stream lost {lost} packets"
    )
    work = f"{joins} in {WITHIN_S:g} s beside a stream to {len(audience.receivers)}"
    return Outcome(
        lines=[
            Line(
                measure="joins, connected",
                work=work,
                ours=len(connected),
                unit="people",
                target=Target(bound=joins, at_least=True),
                note="; ".join(failures),
            ),
            Line(
                measure="join → first packet, p95",
                work=work,
                ours=p95 if p95 is not None else TIMEOUT_S,
                unit="s",
                target=Target(bound=P95_S),
                valid=p95 is not None,
                note="" if p95 is not None else f"{len(waited) - len(firsts)} got none",
            ),
            Line(
                measure="lost by the running stream",
                work=work,
                ours=lost,
                unit="packets",
                target=Target(bound=0),
                note=f"of {expected:,}",
            ),
        ],
        raw={
            "joins": joins,
            "connected_s": connected,
            "first_packet_s": firsts,
            "failures": failures,
            "stream": {
                "expected": expected,
                "got": after.packets - before.packets,
                "lost": lost,
            },
        },
    )


async def _come(nursery: trio.Nursery, room: Gathering, later_s: float) -> None:
    await trio.sleep(later_s)
    await nursery.start(room.run)


CASE = Case(key="joins", title="many joins at once", run=run)
