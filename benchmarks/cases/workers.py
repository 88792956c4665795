"""Two bridges on two cores against one: packets for each second of a bridge's own CPU.

On a machine of two cores none is left for the load, so packets per second of clock would say how
three share two cores. So each process's CPU is counted by itself, and the load's is nobody's. One
bridge makes C packets in a second of its CPU. Two bridges at work at the same time, each pinned to
a core of its own, make D in a second of theirs, which is what stands in each one's way: the other's
use of caches and of the system's network stack, and the trunk between them. Both together are
worth 2 × D of such seconds, so the ratio is 2 × D ÷ C, and 2 would be perfect.

The focus spreads the people of a room over a region's bridges, so that each stream crosses the
trunk once. Each bridge has the same to do in both forms: two streams to 50 receivers. The core
that one shares with the load is awake more often, and packets may be cheaper there: so the one
bridge of the first form is measured on both cores, one after the other. (It finds no more packets
at a time there: about one each time that it wakes, in all forms.) The forms alternate, and with
them one floor and two that know nothing of each other, and so lose nothing: what their ratio is off
2 is the machine's, and ours is set beside it, too.
"""

import contextlib
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, Dose, dosed, seated
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import loaded, started
from benchmarks.cpu import pin
from benchmarks.load.media import plain
from benchmarks.load.traffic import Manners
from benchmarks.peers import Peer
from benchmarks.peers.floor import Floor
from benchmarks.peers.octomesh import Octomesh, OctomeshMember

TARGET = 1.8
WORKERS = 2
ROOMS, RECEIVERS_EACH, PER_S = 2, 50, 300
DECRYPT_ONE_IN = 16
LEAST_SHARE = 0.4
"""Of the CPU, for the bridge that has less to do: otherwise they have not shared the work."""
_WORK = f"each {ROOMS * PER_S} packets/s → {RECEIVERS_EACH} receivers"


@dataclass(slots=True, kw_only=True)
class Form:
    """So many processes at once, bridges or floors."""

    name: str
    pids: Sequence[int]
    rooms: Sequence[Audience]
    turns: list[list[Dose]] = field(default_factory=list)
    """By round: as many as there are places for its processes."""

    @property
    def count(self) -> int:
        return len(self.pids)

    @property
    def doses(self) -> list[Dose]:
        return [dose for turn in self.turns for dose in turn]

    async def take_turn(self, cores: Sequence[int], seconds: float) -> None:
        """Of so long in each place."""
        turn = []
        for places in seatings(self.count, cores):
            _seat(self.pids, places)
            turn.append(await dosed(self.rooms, self.pids, seconds))
        self.turns.append(turn)

    def per_cpu_second(self) -> list[float]:
        """Packets, by round."""
        return [
            1e9
            * sum(dose.span.packets for dose in turn)
            / max(1, sum(dose.span.cpu_ns for dose in turn))
            for turn in self.turns
        ]

    @property
    def least_share(self) -> float:
        """Of the bridge that has least to do, the turn in which it had least."""
        return min(min(dose.span.by_process_ns) / dose.span.cpu_ns for dose in self.doses)

    @property
    def lost(self) -> float:
        """In the worst turn."""
        return max(dose.lost for dose in self.doses)

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
            "turns": [[dose.as_json() for dose in turn] for turn in self.turns],
        }


async def run(setting: Setting, say: Say) -> Outcome:
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN, feedback=False, nacks=False)
    each = setting.at_most(RECEIVERS_EACH, small=4)
    peers: list[Peer] = [
        Octomesh(),
        Octomesh(workers=WORKERS),
        *(Floor() for _ in range(1 + WORKERS)),
    ]
    cores = sorted(os.sched_getaffinity(0))[:WORKERS]  # before the load has its own
    async with contextlib.AsyncExitStack() as until_the_end:
        bridge, workers, floor, *floors = until_the_end.enter_context(started(peers))
        forms: list[Form] = []
        for name, processes, sizes, script in (
            ("1 bridge", [bridge], [each] * ROOMS, plain(PER_S, PAYLOAD_BYTES)),
            ("2 bridges", [workers], [each * WORKERS] * ROOMS, plain(PER_S, PAYLOAD_BYTES)),
            ("1 floor", [floor], [each], plain(ROOMS * PER_S, PAYLOAD_BYTES)),
            ("2 floors", floors, [each], plain(ROOMS * PER_S, PAYLOAD_BYTES)),
        ):
            pids = [pid for process in processes for pid in process.pids]
            _seat(pids, cores[: len(pids)])
            traffic, nursery = await until_the_end.enter_async_context(loaded(manners))
            rooms = [
                room
                for process in processes
                for room in await seated(process, traffic, nursery, sizes)
            ]
            for number, room in enumerate(rooms):
                room.play(script, Random(number))
                room.pause()
            forms.append(Form(name=name, pids=pids, rooms=rooms))
        say(f"2 bridges: receivers sit as {forms[1].seats()}")
        for number in range(setting.rounds):
            for form in forms:
                await form.take_turn(cores, setting.seconds)
                say(
                    f"{form.name}, round {number + 1} of {setting.rounds}: "
                    f"{form.per_cpu_second()[-1]:,.0f} packets for a second of CPU, "
                    f"{max(dose.lost for dose in form.turns[-1]):.2%} lost"
                )
    return Outcome(lines=lines(*forms), raw=[form.as_json() for form in forms])


def _seat(pids: Sequence[int], cores: Sequence[int]) -> None:
    """Each process on a core of its own."""
    for pid, core in zip(pids, cores, strict=True):
        pin([pid], [core])


def seatings(processes: int, cores: Sequence[int]) -> list[Sequence[int]]:
    """On which cores so many processes have to be, so that each core is had as often."""
    return [cores[at : at + processes] for at in range(0, len(cores), processes)]


def lines(bridge: Form, bridges: Form, floor: Form, floors: Form) -> list[Line]:
    """Several against one: of ours, of floors, and the one set beside the other."""
    ours, theirs = (_ratios(one, several) for one, several in ((bridge, bridges), (floor, floors)))
    target = Target(bound=TARGET, at_least=True, of_ratio=True)
    had = f"{floors.name} had {statistics.median(theirs):.2f} × ({min(theirs):.2f} to "
    return [
        _line(bridge, bridges, target, f"; {had}{max(theirs):.2f})"),
        _line(floor, floors, None, ""),
        versus(
            f"{bridges.name} against 1, beside floors",
            _WORK,
            "×",
            ours,
            floors.name,
            theirs,
            None,
            valid=max(form.lost for form in (bridge, bridges, floor, floors)) < LOSSLESS,
        ),
    ]


def _ratios(one: Form, several: Form) -> list[float]:
    """By round."""
    pairs = zip(several.per_cpu_second(), one.per_cpu_second(), strict=True)
    return [several.count * many / max(1.0, single) for many, single in pairs]


def _line(one: Form, several: Form, target: Target | None, note: str) -> Line:
    lost = max(one.lost, several.lost)
    return Line(
        measure=f"{several.name} against 1",
        work=_WORK,
        ours=several.count * statistics.median(several.per_cpu_second()),
        unit="packets/CPU s",
        against=one.name,
        theirs=statistics.median(one.per_cpu_second()),
        ratio=statistics.median(_ratios(one, several)),
        target=target,
        valid=lost < LOSSLESS and several.least_share >= LEAST_SHARE,
        note=f"the lesser one did {several.least_share:.0%} of the work"
        + (f"; {lost:.2%} lost" if lost >= LOSSLESS else "")
        + note,
    )


CASE = Case(key="workers", title="two bridges on two cores against one", run=run)
