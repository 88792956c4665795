"""Two bridges on two cores against one: packets for each second of a bridge's own CPU.

On a machine of two cores none is left for the load, so packets per second of clock would say how
three share two cores. So each process's CPU is counted by itself, and the load's is nobody's. One
bridge makes C packets in a second of its CPU. Two bridges at work at the same time, each pinned to
a core of its own, make D in a second of theirs, which is what stands in each one's way: the other's
use of caches and of the system's network stack, and the trunk between them. Both together are
worth 2 × D of such seconds, so the ratio is 2 × D ÷ C, and 2 would be perfect.

The focus spreads the people of a room over a region's bridges, so that each stream crosses the
trunk once. Each bridge has the same to do in both forms: two streams to 50 receivers. The forms
alternate.
"""

import contextlib
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, Dose, dosed, seated
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target
from benchmarks.cases.stage import loaded, started
from benchmarks.cpu import pin
from benchmarks.load.media import plain
from benchmarks.load.traffic import Manners
from benchmarks.peers import Bridge
from benchmarks.peers.octomesh import Octomesh, OctomeshMember

TARGET = 1.8
WORKERS = 2
ROOMS, RECEIVERS_EACH, PER_S = 2, 50, 300
DECRYPT_ONE_IN = 16
LEAST_SHARE = 0.4
"""Of the CPU, for the bridge that has less to do: otherwise they have not shared the work."""


@dataclass(slots=True, kw_only=True)
class _Form:
    """So many bridges at once."""

    bridges: int
    bridge: Bridge
    rooms: Sequence[Audience]
    turns: list[Dose] = field(default_factory=list)

    def per_cpu_second(self) -> list[float]:
        """Packets, by turn."""
        return [1e9 * turn.span.packets / max(1, turn.span.cpu_ns) for turn in self.turns]

    @property
    def least_share(self) -> float:
        """Of the bridge that has least to do, the turn in which it had least."""
        return min(min(turn.span.by_process_ns) / turn.span.cpu_ns for turn in self.turns)

    def seats(self) -> dict[str, int]:
        """Receivers, by bridge."""
        found: dict[str, int] = {}
        for room in self.rooms:
            for member in room.receivers:
                assert isinstance(member, OctomeshMember)
                found[member.bridge] = found.get(member.bridge, 0) + 1
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "bridges": self.bridges,
            "receivers": self.seats(),
            "packets_per_cpu_second": self.per_cpu_second(),
            "turns": [turn.as_json() for turn in self.turns],
        }


async def run(setting: Setting, say: Say) -> Outcome:
    peers = [Octomesh(), Octomesh(workers=WORKERS)]
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN, feedback=False, nacks=False)
    each = setting.at_most(RECEIVERS_EACH, small=4)
    cores = sorted(os.sched_getaffinity(0))[:WORKERS]
    forms: list[_Form] = []
    async with contextlib.AsyncExitStack() as until_the_end:
        bridges = until_the_end.enter_context(started(peers))
        for count, bridge in zip((1, WORKERS), bridges, strict=True):
            for pid, core in zip(bridge.pids, cores, strict=False):
                pin([pid], [core])
            traffic, nursery = await until_the_end.enter_async_context(loaded(manners))
            rooms = await seated(bridge, traffic, nursery, [each * count] * ROOMS)
            for number, room in enumerate(rooms):
                room.play(plain(PER_S, PAYLOAD_BYTES), Random(number))
                room.pause()
            forms.append(_Form(bridges=count, bridge=bridge, rooms=rooms))
            say(f"{count} bridges: receivers sit as {forms[-1].seats()}")
        for number in range(setting.rounds):
            for form in forms:
                dose = await dosed(form.rooms, form.bridge.pids, setting.seconds)
                form.turns.append(dose)
                say(
                    f"{form.bridges} bridges, round {number + 1} of {setting.rounds}: "
                    f"{form.per_cpu_second()[-1]:,.0f} packets for a second of CPU, "
                    f"{dose.lost:.2%} lost"
                )
    return Outcome(lines=[_line(*forms)], raw=[form.as_json() for form in forms])


def _line(one: _Form, several: _Form) -> Line:
    pairs = zip(several.per_cpu_second(), one.per_cpu_second(), strict=True)
    ratios = [several.bridges * many / max(1.0, single) for many, single in pairs]
    ours = several.bridges * statistics.median(several.per_cpu_second())
    lost = max(turn.lost for form in (one, several) for turn in form.turns)
    return Line(
        measure="2 bridges against 1",
        work=f"each {ROOMS} streams of {PER_S} packets/s → {RECEIVERS_EACH} receivers",
        ours=ours,
        unit="packets/CPU s",
        against="1 bridge",
        theirs=statistics.median(one.per_cpu_second()),
        ratio=statistics.median(ratios),
        target=Target(bound=TARGET, at_least=True, of_ratio=True),
        valid=lost < LOSSLESS and several.least_share >= LEAST_SHARE,
        note=f"the lesser one did {several.least_share:.0%} of the work"
        + (f"; {lost:.2%} lost" if lost >= LOSSLESS else ""),
    )


CASE = Case(key="workers", title="two bridges on two cores against one", run=run)
