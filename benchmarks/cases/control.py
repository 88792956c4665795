"""What a bridge's control work costs: everything that it does besides moving packets.

People join as clients do, talk in turns, show three encodings of themselves, look at nine others
and report what arrives at the rates that browsers have; most of it is small, for control work is
by the event and not by the byte. Measured is the CPU of all threads of the bridge but the packet
pump's. A process with a fixed amount of Python work runs beside it (`benchmarks/metronome.py`): by
how much dearer that becomes, the machine is to blame.
"""

import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target
from benchmarks.client import Client, LoadCertificate, Wish
from benchmarks.cpu import cpu_ns, threads
from benchmarks.crowd import Conference, Person, carry_on
from benchmarks.metronome import metronome
from benchmarks.peers.octomesh import mesh_process

TARGET_PERCENT = 15
AUDIO_SLOTS, VIDEO_SLOTS = 5, 9
PICTURES_PER_S = 15.0
"""Of each encoding."""
REST_S, WARM_UP_S, SECONDS = 5, 10, 20
JOIN_AT_A_TIME = 4
MAX_SKIPPED = 0.01
"""Of what people do, what may be left out for lack of CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """So many conferences of so many people each."""

    conferences: int
    people: int

    def __str__(self) -> str:
        return f"{self.conferences} × {self.people} people"


SHAPES = (Shape(conferences=1, people=100), Shape(conferences=10, people=10))
SMALL = (Shape(conferences=1, people=3),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """CPU by the scheduler's account, as shares of a core."""

    control: float
    pump: float
    metronome: float
    wakeups: float
    """Of trio's thread, in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A shape's figures."""

    rest: Sequence[Used]
    seconds: Sequence[Used]
    events: dict[str, float]
    """In a second."""
    moved: int
    """People whose bridge the focus gave up for lost."""

    @property
    def skipped(self) -> float:
        """The share of what people do that the machine kept them from."""
        skipped = self.events.get("skipped", 0.0)
        return skipped / max(1.0, skipped + self.events["done"])


async def run(setting: Setting, say: Say) -> Outcome:
    lines: list[Line] = []
    raw: dict[str, Any] = {}
    for shape in SMALL if setting.small else SHAPES:
        with tempfile.TemporaryDirectory(prefix="octomesh-bench-") as directory:
            found = await measure(shape, Path(directory), setting, say)
        lines += _lines(shape, found)
        raw[str(shape)] = {
            "events_per_s": found.events,
            "moved": found.moved,
            "control": [each.control for each in found.seconds],
            "pump": [each.pump for each in found.seconds],
            "wakeups_per_s": [each.wakeups for each in found.seconds],
        }
    return Outcome(lines=lines, raw=raw)


class Meter:
    """CPU of the bridge's threads and of the metronome between two looks."""

    def __init__(self, bridge_pid: int, metronome_pid: int) -> None:
        self._bridge_pid, self._metronome_pid = bridge_pid, metronome_pid
        self._at_ns = time.monotonic_ns()
        self._last = self._now_ns()
        self._slept = self._sleeps()

    def used(self) -> Used:
        """Since the last time."""
        at_ns, now_ns = time.monotonic_ns(), self._now_ns()
        control, pump, metronome = (
            (now - before) / (at_ns - self._at_ns)
            for now, before in zip(now_ns, self._last, strict=True)
        )
        slept = self._sleeps()
        wakeups = (slept - self._slept) * 1e9 / (at_ns - self._at_ns)
        self._at_ns, self._last, self._slept = at_ns, now_ns, slept
        return Used(control=control, pump=pump, metronome=metronome, wakeups=wakeups)

    def _sleeps(self) -> int:
        """How often trio's thread has gone to sleep so far."""
        status = Path(f"/proc/{self._bridge_pid}/status").read_text()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    def _now_ns(self) -> tuple[int, int, int]:
        all_of_them = list(threads(self._bridge_pid))
        pump = sum(each.used_ns for each in all_of_them if each.is_pump)
        if not pump:
            raise LookupError("the bridge has no thread that is its pump")
        control = sum(each.used_ns for each in all_of_them if not each.is_pump)
        return control, pump, cpu_ns(self._metronome_pid)


async def measure(shape: Shape, directory: Path, setting: Setting, say: Say) -> Found:
    """The bridge at rest, then with these people in it."""
    rest_s, warm_up_s, seconds = (1, 1, 1) if setting.small else (REST_S, WARM_UP_S, SECONDS)
    with mesh_process(directory) as mesh, metronome() as metronome_pid:
        say(f"{shape}: at rest, {rest_s} s")
        await trio.sleep(1)
        (bridge_pid,) = mesh.pids
        meter = Meter(bridge_pid, metronome_pid)
        rest = await _each_second(meter, rest_s)
        counted = Counter[str]()
        async with trio.open_nursery() as nursery:
            say(f"{shape}: joining")
            chance = random.Random(1)
            conferences = [
                await _conference(shape, number, mesh.url, nursery, counted, chance)
                for number in range(shape.conferences)
            ]
            nursery.start_soon(carry_on, conferences, PICTURES_PER_S, counted)
            say(f"{shape}: warming up and measuring, {warm_up_s + seconds} s")
            await trio.sleep(warm_up_s)
            before = Counter(counted)
            meter.used()
            used = await _each_second(meter, seconds)
            events = {name: (counted[name] - before[name]) / seconds for name in counted}
            moved = sum(
                person.client.moved for conference in conferences for person in conference.people
            )
            nursery.cancel_scope.cancel()
    found = Found(rest=rest, seconds=used, events=events, moved=moved)
    say(f"{shape}: control work takes {_percent(used, 'control'):.1f} % of a core")
    return found


async def _conference(
    shape: Shape,
    number: int,
    url: str,
    nursery: trio.Nursery,
    counted: Counter[str],
    chance: random.Random,
) -> Conference:
    certificate = LoadCertificate()
    wish = Wish(
        microphone=True,
        camera=3,
        audio_slots=AUDIO_SLOTS,
        video_slots=VIDEO_SLOTS,
        as_browsers=True,
    )
    clients = [Client(certificate, wish) for _ in range(shape.people)]
    joining = trio.CapacityLimiter(JOIN_AT_A_TIME)

    async def join(place: int) -> None:
        async with joining:
            await nursery.start(clients[place].run, url, f"control-{number}", f"person {place}")

    async with trio.open_nursery() as joiners:
        for place in range(shape.people):
            joiners.start_soon(join, place)
    conference = Conference(max(1, shape.people // 25), chance, nursery)
    for client in clients:
        person = Person(client, conference, random.Random(chance.random()), counted)
        client.hear = person.hear
        conference.people.append(person)
    return conference


async def _each_second(meter: Meter, seconds: int) -> list[Used]:
    used = []
    for _ in range(seconds):
        await trio.sleep(1)
        used.append(meter.used())
    return used


def _percent(seconds: Sequence[Used], name: str) -> float:
    return 100 * statistics.mean(float(getattr(each, name)) for each in seconds)


def _lines(shape: Shape, found: Found) -> list[Line]:
    wrong = []
    if found.moved:
        wrong.append(f"too busy for its heartbeats: {found.moved} people moved")
    if found.skipped > MAX_SKIPPED:
        wrong.append(f"the machine kept people from {found.skipped:.1%} of what they do")
    worst = max(each.control for each in found.seconds)
    dearer = _percent(found.seconds, "metronome") / max(1e-9, _percent(found.rest, "metronome"))
    note = (
        f"worst second {worst:.1%}; {statistics.mean(each.wakeups for each in found.seconds):.0f} "
        f"wake-ups a second; other Python work beside it {dearer:.2f} × as dear as at rest"
    )
    events = ("feedback", "receiver reports", "sender reports", "NACKs", "PLIs", "views")
    told = ", ".join(f"{found.events.get(name, 0):,.0f} {name}" for name in events)
    return [
        Line(
            measure="control work",
            work=f"{shape}; in a second {told}",
            ours=_percent(found.seconds, "control"),
            unit="%",
            target=Target(bound=TARGET_PERCENT, of="of a core"),
            valid=not wrong,
            note="; ".join([*wrong, note]),
        ),
        Line(
            measure="the pump meanwhile",
            work=str(shape),
            ours=_percent(found.seconds, "pump"),
            unit="%",
        ),
        Line(
            measure="control work at rest",
            work="nobody there",
            ours=_percent(found.rest, "control"),
            unit="%",
        ),
    ]


CASE = Case(
    key="control",
    title="what all else costs that a bridge does for 100 people",
    run=run,
    repeats=False,
)
