"""`octomesh load`: a deployment under the load of so many people, measured by what they get."""

import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.capacity import CAPACITY_FILE
from benchmarks.load.deployment import BridgeLoad, Deployment, means
from benchmarks.load.gathering import Gathering
from benchmarks.load.measuring import measure
from benchmarks.load.outcome import Outcome, line
from benchmarks.load.profiles import ProfileName
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.load.watch import Figures, Snapshot
from benchmarks.peers.octomesh import OctomeshBridge, OctomeshMember
from relay.errors import SettingsError

SUMMARY_FILE = "summary.json"
WARM_UP_S = 5
"""Bridges begin with low estimates of what a path carries."""
SAY_EACH = 5
"""Seconds between two lines where there is no terminal."""
LOOKED_INTO = 2_000
"""Streams: of more, a share of the packets is decrypted."""
STREAMS_EACH = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """What was asked for."""

    url: str
    room: str
    people: int
    profile: ProfileName
    seconds: int
    joins_per_s: float
    region: str | None
    out: Path | None
    tls: ssl.SSLContext

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise SettingsError(f"--url {self.url}: a URL like https://meet.example.org")
        if self.out is None:
            return
        if find_spec("matplotlib") is None:
            raise SettingsError("--out draws with matplotlib: pip install 'octomesh[load]'")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"--out {self.out}: {error.strerror}") from None


def run(settings: LoadSettings) -> None:
    """Load the deployment, say how it went, and write it down.

    SettingsError, one line, when nobody gets in.
    """
    console = Console(highlight=False)
    with _telling(console) as tell:
        outcome = trio.run(_run, settings, tell)
    console.print(outcome.table())
    if settings.out is not None:
        for path in _write(outcome, settings.out, console):
            console.print(f"wrote {path}", soft_wrap=True)


async def _run(settings: LoadSettings, tell: "Tell") -> Outcome:
    deployment = Deployment(settings.url, settings.tls)
    has_ipv4 = await deployment.check(settings.region)
    one_in = -(-settings.people * STREAMS_EACH // LOOKED_INTO)
    traffic = Traffic(Manners(decrypt_one_in=one_in))
    bridge = OctomeshBridge(
        settings.url,
        host="0.0.0.0" if has_ipv4 else "::",
        region=settings.region,
        tls=settings.tls if settings.url.startswith("https") else None,
    )
    gathering = Gathering(
        bridge,
        traffic,
        settings.profile.of(settings.people),
        room=settings.room,
        joins_per_s=settings.joins_per_s,
    )
    loads: dict[str, BridgeLoad] = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(traffic.run)
        await _gather(nursery, gathering, traffic, settings, tell)
        tell.begin("measuring", settings.seconds)
        async with trio.open_nursery() as watching:
            watching.start_soon(deployment.watch, loads)
            measured = await measure(
                traffic,
                [gathering],
                settings.seconds,
                tell=lambda figures: tell.step(line(figures, len(gathering.present))),
            )
            watching.cancel_scope.cancel()
        ours = {
            person.member.bridge
            for person in gathering.present
            if isinstance(person.member, OctomeshMember)
        }
        outcome = Outcome(
            url=settings.url,
            room=settings.room,
            profile=settings.profile.value,
            seconds=settings.seconds,
            people=gathering.people,
            measured=measured,
            bridge_cpu={name: cpu for name, cpu in means(loads).items() if name in ours},
            decrypted_one_in=one_in,
        )
        nursery.cancel_scope.cancel()
    return outcome


async def _gather(
    nursery: trio.Nursery,
    gathering: Gathering,
    traffic: Traffic,
    settings: LoadSettings,
    tell: "Tell",
) -> None:
    """Everybody comes, and bridges learn what the paths carry."""
    tell.begin("joining", settings.people)
    async with trio.open_nursery() as joining:
        joining.start_soon(_tell_of_joins, gathering, tell)
        await nursery.start(gathering.run)
        joining.cancel_scope.cancel()
    if not gathering.present:
        raise SettingsError(f"nobody could join: {gathering.failed[0].failure}")
    tell.begin("warming up", WARM_UP_S)
    before = Snapshot.take(traffic.engine)
    for _ in range(WARM_UP_S):
        await trio.sleep(1)
        now = Snapshot.take(traffic.engine)
        tell.step(line(Figures.between(before, now), len(gathering.present)))
        before = now


async def _tell_of_joins(gathering: Gathering, tell: "Tell") -> None:
    told = 0
    while True:
        await trio.sleep(0.2)
        done = len(gathering.present) + len(gathering.failed)
        failed = f", {len(gathering.failed)} failed" if gathering.failed else ""
        tell.step(f"{len(gathering.present)} people{failed}", done - told)
        told = done


class Tell:
    """Where it stands: a bar in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console, self._progress = console, progress
        self._task: TaskID | None = None
        self._what, self._steps = "", 0

    def begin(self, what: str, steps: int) -> None:
        """Something else begins, of so many steps."""
        self._what, self._steps = what, 0
        if self._progress is None:
            self._console.print(what)
            return
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=steps, figures="")

    def step(self, figures: str, steps: int = 1) -> None:
        """So much further, and these are the figures."""
        before = self._steps
        self._steps += steps
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=steps, figures=figures)
        elif self._steps // SAY_EACH > before // SAY_EACH:
            self._console.print(f"  {self._what}, {self._steps}: {figures}", soft_wrap=True)


@contextmanager
def _telling(console: Console) -> Iterator[Tell]:
    if not sys.stdout.isatty():
        yield Tell(console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Tell(console, progress)


def _write(outcome: Outcome, directory: Path, console: Console) -> Iterator[Path]:
    from benchmarks.load.plots import plot

    summary = directory / SUMMARY_FILE
    summary.write_text(json.dumps(outcome.as_json(), indent=2) + "\n", encoding="utf-8")
    yield summary
    capacity = outcome.capacity()
    if isinstance(capacity, str):
        console.print(f"no {CAPACITY_FILE}: {capacity}", soft_wrap=True)
    else:
        capacity.write(directory / CAPACITY_FILE)
        yield directory / CAPACITY_FILE
    yield from plot(outcome.measured, directory)
