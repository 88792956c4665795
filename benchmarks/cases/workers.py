"""Two bridges on two cores against one: packets for each second of a bridge's own CPU.

On a machine of two cores none is left for the load, so packets per second of clock would say how
three share two cores. So each process's CPU is counted by itself, and the load's is nobody's. One
bridge makes C packets in a second of its CPU. Two bridges at work at the same time, each pinned to
a core of its own, make D in a second of theirs, which is what stands in each one's way: the other's
use of caches and of the system's network stack, and the trunk between them. Both together are
worth 2 × D of such seconds, so the ratio is 2 × D ÷ C, and 2 would be perfect.

The focus spreads the people of a room over a region's bridges, so that each stream crosses the
trunk once. Each bridge has the same to do in both forms: two streams to 50 receivers. The forms
alternate, and with them one floor and two that know nothing of each other: what those lose is the
machine's.
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
from benchmarks.peers.floor import Floor
from benchmarks.peers.octomesh import Octomesh, OctomeshMember

TARGET = 1.8
WORKERS = 2
ROOMS, RECEIVERS_EACH, PER_S = 2, 50, 300
DECRYPT_ONE_IN = 16
LEAST_SHARE = 0.4
"""Of the CPU, for the bridge that has less to do: otherwise they have not shared the work."""


@dataclass(slots=True, kw_only=True)
class _Form:
    """So many processes at once, bridges or floors."""

    name: str
    pids: Sequence[int]
    rooms: Sequence[Audience]
    turns: list[Dose] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.pids)

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
                if isinstance(member, OctomeshMember):
                    found[member.bridge] = found.get(member.bridge, 0) + 1
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "form": self.name,
            "receivers": self.seats(),
            "packets_per_cpu_second": self.per_cpu_second(),
            "turns": [turn.as_json() for turn in self.turns],
        }


async def run(setting: Setting, say: Say) -> Outcome:
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN, feedback=False, nacks=False)
    each = setting.at_most(RECEIVERS_EACH, small=4)
    peers = [Octomesh(), Octomesh(workers=WORKERS), *(Floor() for _ in range(1 + WORKERS))]
    cores = sorted(os.sched_getaffinity(0))[:WORKERS]  # before the load has its own
    async with contextlib.AsyncExitStack() as until_the_end:
        bridge, workers, floor, *floors = until_the_end.enter_context(started(peers))
        forms: list[_Form] = []
        for name, processes, sizes, script in (
            ("1 bridge", [bridge], [each] * ROOMS, plain(PER_S, PAYLOAD_BYTES)),
            ("2 bridges", [workers], [each * WORKERS] * ROOMS, plain(PER_S, PAYLOAD_BYTES)),
            ("1 floor", [floor], [each], plain(ROOMS * PER_S, PAYLOAD_BYTES)),
            ("2 floors", floors, [each], plain(ROOMS * PER_S, PAYLOAD_BYTES)),
        ):
            pids = [pid for process in processes for pid in process.pids]
            for pid, core in zip(pids, cores, strict=False):
                pin([pid], [core])
            traffic, nursery = await until_the_end.enter_async_context(loaded(manners))
            rooms = [
                room
                for process in processes
                for room in await seated(process, traffic, nursery, sizes)
            ]
            for number, room in enumerate(rooms):
                room.play(script, Random(number))
                room.pause()
            forms.append(_Form(name=name, pids=pids, rooms=rooms))
        say(f"2 bridges: receivers sit as {forms[1].seats()}")
        for number in range(setting.rounds):
            for form in forms:
                dose = await dosed(form.rooms, form.pids, setting.seconds)
                form.turns.append(dose)
                say(
                    f"{form.name}, round {number + 1} of {setting.rounds}: "
                    f"{form.per_cpu_second()[-1]:,.0f} packets for a second of CPU, "
                    f"{dose.lost:.2%} lost"
                )
    target = Target(bound=TARGET, at_least=True, of_ratio=True)
    lines = [_line(*forms[:2], target), _line(*forms[2:], None)]
    return Outcome(lines=lines, raw=[form.as_json() for form in forms])


def _line(one: _Form, several: _Form, target: Target | None) -> Line:
    pairs = zip(several.per_cpu_second(), one.per_cpu_second(), strict=True)
    ratios = [several.count * many / max(1.0, single) for many, single in pairs]
    ours = several.count * statistics.median(several.per_cpu_second())
    lost = max(turn.lost for form in (one, several) for turn in form.turns)
    return Line(
        measure=f"{several.name} against 1",
        work=f"each {ROOMS * PER_S} packets/s → {RECEIVERS_EACH} receivers",
        ours=ours,
        unit="packets/CPU s",
        against=one.name,
        theirs=statistics.median(one.per_cpu_second()),
        ratio=statistics.median(ratios),
        target=target,
        valid=lost < LOSSLESS and several.least_share >= LEAST_SHARE,
        note=f"the lesser one did {several.least_share:.0%} of the work"
        + (f"; {lost:.2%} lost" if lost >= LOSSLESS else ""),
    )


CASE = Case(key="workers", title="two bridges on two cores against one", run=run)
