"""What a bridge's control work costs: everything that it does besides moving packets.

    make bench-control, or python -m benchmarks.control --help

A real focus and a real bridge run in processes of their own. People join as clients do, talk
in turns, show three encodings of themselves, look at nine others and report what arrives at
the rates that browsers have; most of it is small, for control work is by the event and not by
the byte. Measured is the CPU of all threads of the bridge but the packet pump's. A process
with a fixed amount of Python work runs beside it: by how much dearer that becomes, the
machine is to blame.
"""

import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import trio
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.client import Client, LoadCertificate, Wish
from benchmarks.crowd import Conference, Person, carry_on
from benchmarks.fanout import bridge_process

TARGET = 0.15
AUDIO_SLOTS, VIDEO_SLOTS = 5, 9
PUMP_NAME = "run from region"
"""As trio names the thread that `Pump.run` has, as far as the system keeps names."""
REST_S = 5.0
METRONOME_HZ, METRONOME_ROUNDS = 50, 2_000
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What each of them does, and for how long it is measured."""

    pictures_per_s: float
    warm_up_s: float
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """CPU by the scheduler's account, as shares of a core."""

    control: float
    main: float
    """Of control: the thread of trio."""
    pump: float
    metronome: float
    wakeups: float
    """Of trio's thread, in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A shape's figures."""

    rest: list[Used]
    seconds: list[Used]
    events: dict[str, float]
    """In a second."""
    crowd: float
    """What the people themselves took, of a core."""
    moved: int
    """People whose bridge the focus gave up for lost."""


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
        control, main, pump, metronome = (
            (now - before) / (at_ns - self._at_ns)
            for now, before in zip(now_ns, self._last, strict=True)
        )
        slept = self._sleeps()
        wakeups = (slept - self._slept) * 1e9 / (at_ns - self._at_ns)
        self._at_ns, self._last, self._slept = at_ns, now_ns, slept
        return Used(control=control, main=main, pump=pump, metronome=metronome, wakeups=wakeups)

    def _sleeps(self) -> int:
        """How often trio's thread has gone to sleep so far."""
        status = Path(f"/proc/{self._bridge_pid}/status").read_text()
        return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    def _now_ns(self) -> tuple[int, int, int, int]:
        control = main = pump = 0
        for task in Path(f"/proc/{self._bridge_pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread that ended just now
                used = int((task / "schedstat").read_text().split()[0])
                if (task / "comm").read_text().startswith(PUMP_NAME):
                    pump += used
                else:
                    control += used
                if int(task.name) == self._bridge_pid:
                    main = used
        if not pump:
            raise click.ClickException(f"the bridge has no thread of the name {PUMP_NAME!r}")
        stat = Path(f"/proc/{self._metronome_pid}/schedstat").read_text()
        return control, main, pump, int(stat.split()[0])


@contextlib.contextmanager
def metronome() -> Iterator[int]:
    """A process that does the same piece of Python work again and again; its id."""
    command = [sys.executable, "-m", "benchmarks.control", "--as-metronome"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it ticks
    try:
        yield process.pid
    finally:
        assert process.stdin is not None
        process.stdin.close()  # which ends it
        process.wait()


def _as_metronome() -> None:
    import select

    poll = select.poll()
    poll.register(sys.stdin, select.POLLHUP)
    print(flush=True)
    while not poll.poll(1000 / METRONOME_HZ):
        table: dict[int, int] = {}
        for number in range(METRONOME_ROUNDS):
            table[number % 100] = table.get(number % 100, 0) + number


async def measure(shape: Shape, work: Work, directory: Path, say: "Say") -> Outcome:
    with bridge_process(directory) as (url, bridge), metronome() as metronome_pid:
        say(f"{shape}: at rest", REST_S)
        await trio.sleep(1)
        meter = Meter(bridge.pid, metronome_pid)
        rest = await _each_second(meter, int(REST_S))
        counted = Counter[str]()
        async with trio.open_nursery() as nursery:
            say(f"{shape}: joining", shape.conferences * shape.people / 10)
            chance = random.Random(1)
            conferences = [
                await _conference(shape, number, url, nursery, counted, chance)
                for number in range(shape.conferences)
            ]
            nursery.start_soon(carry_on, conferences, work.pictures_per_s, counted)
            say(f"{shape}: warming up", work.warm_up_s)
            await trio.sleep(work.warm_up_s)
            say(f"{shape}: measuring", work.seconds)
            before = Counter(counted)
            crowd_s = time.process_time()
            meter.used()
            seconds = await _each_second(meter, work.seconds)
            events = {name: (counted[name] - before[name]) / work.seconds for name in counted}
            crowd = (time.process_time() - crowd_s) / work.seconds
            moved = sum(
                person.client.moved for conference in conferences for person in conference.people
            )
            nursery.cancel_scope.cancel()
    return Outcome(rest=rest, seconds=seconds, events=events, crowd=crowd, moved=moved)


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
        camera=True,
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


class Say:
    """Where it stands: a bar in a terminal, lines elsewhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = None if progress.disable else progress.add_task("", total=None)

    def __call__(self, what: str, seconds: float) -> None:
        if self._task is None:
            print(f"{what} (about {seconds:.0f} s)", flush=True)
        else:
            self._progress.update(self._task, description=what)


async def _compare(shapes: list[Shape], work: Work) -> bool:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    outcomes = []
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        say = Say(progress)
        for shape in shapes:
            with tempfile.TemporaryDirectory(prefix="octomesh-bench-") as directory:
                try:
                    outcomes.append(await measure(shape, work, Path(directory), say))
                except BaseException:
                    _complain(Path(directory))
                    raise
    print(
        f"control work of one bridge; each person with a microphone, a camera in three encodings "
        f"of {work.pictures_per_s:g} small pictures/s,\n{AUDIO_SLOTS} + {VIDEO_SLOTS} slots, "
        f"feedback and reports; means of {work.seconds} s, in shares of one core"
    )
    reached = True
    for shape, outcome in zip(shapes, outcomes, strict=True):
        reached &= _report(shape, outcome)
    return reached


def _complain(directory: Path) -> None:
    """What the processes had to say beyond the usual."""
    with contextlib.suppress(FileNotFoundError):
        lines = (directory / "log").read_text().splitlines()
        print(*[each for each in lines if '"info"' not in each][-50:], sep="\n", file=sys.stderr)


def _report(shape: Shape, outcome: Outcome) -> bool:
    def mean(name: str, seconds: list[Used]) -> float:
        return float(statistics.mean(getattr(each, name) for each in seconds))

    control = mean("control", outcome.seconds)
    worst = max(each.control for each in outcome.seconds)
    aside = control - mean("main", outcome.seconds)
    reached = control <= TARGET
    print(f"{shape}")
    print(
        f"  control   {control:7.2%}   target ≤ {TARGET:.0%}: {'reached' if reached else 'MISSED'}"
        f" (worst second {worst:.2%}; beside trio's thread {aside:.2%}; "
        f"{mean('wakeups', outcome.seconds):.0f} wake-ups a second)"
    )
    print(f"  pump      {mean('pump', outcome.seconds):7.2%}")
    print(
        f"  at rest   {mean('control', outcome.rest):7.2%}   "
        f"(pump {mean('pump', outcome.rest):.2%}; nobody there)"
    )
    print(
        f"  machine   {mean('metronome', outcome.seconds):7.2%}   for what took "
        f"{mean('metronome', outcome.rest):.2%} at rest: the same Python work"
    )
    print(f"  people    {outcome.crowd:7.2%}   of another core, for what they do")
    events = dict(outcome.events)
    done, skipped = events.pop("done"), events.pop("skipped", 0.0)
    print("  a second  " + ", ".join(f"{name} {rate:.0f}" for name, rate in sorted(events.items())))
    if outcome.moved:
        print(
            f"  NOT VALID: the bridge was too busy for its heartbeats; {outcome.moved} people moved"
        )
        return False
    if skipped > MAX_SKIPPED * (done + skipped):
        share = skipped / (done + skipped)
        print(f"  NOT VALID: the machine kept people from {share:.1%} of what they do")
        return False
    return reached


@click.command(help=__doc__)
@click.option("--shape", "shapes", multiple=True, default=["1x100", "10x10"], show_default=True)
@click.option("--pictures-per-s", default=7.5, show_default=True, help="of each encoding")
@click.option("--warm-up", default=10.0, show_default=True, help="seconds")
@click.option("--seconds", default=20, show_default=True, help="of each measurement")
@click.option("--as-metronome", hidden=True, is_flag=True)
def main(
    shapes: tuple[str, ...],
    pictures_per_s: float,
    warm_up: float,
    seconds: int,
    as_metronome: bool,
) -> None:
    if as_metronome:
        _as_metronome()
        return
    work = Work(pictures_per_s=pictures_per_s, warm_up_s=warm_up, seconds=seconds)
    parsed = []
    for text in shapes:
        conferences, _, people = text.partition("x")
        parsed.append(Shape(conferences=int(conferences), people=int(people)))
    trio.run(partial(_compare, parsed, work))


if __name__ == "__main__":
    main()
