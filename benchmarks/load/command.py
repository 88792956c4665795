"""`octomesh load`: a deployment under the load of so many people, measured by what they get."""

import json
import signal
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import click
import trio
from rich.console import Console

from benchmarks.capacity import CAPACITY_FILE
from benchmarks.load.deployment import Deployment, Heartbeats, means
from benchmarks.load.gathering import Gathering
from benchmarks.load.measuring import measure
from benchmarks.load.outcome import Outcome, line
from benchmarks.load.profiles import ProfileName
from benchmarks.load.telling import Tell, telling
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.load.watch import Figures, Snapshot
from benchmarks.peers.octomesh import OctomeshBridge, OctomeshMember
from relay.errors import SettingsError

SUMMARY_FILE = "summary.json"
WARM_UP_S = 5
"""Bridges begin with low estimates of what a path carries."""
LOOKED_INTO = 2_000
"""Streams: of more, a share of the packets is decrypted."""
STREAMS_EACH = 14
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


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

    SettingsError, one line, when nobody gets in; click.Abort when somebody interrupts it.
    """
    console, heartbeats = Console(highlight=False), Heartbeats()
    with telling(console) as tell:
        outcome = trio.run(_unless_interrupted, settings, heartbeats, tell)
    if outcome is None:
        raise click.Abort
    console.print(outcome.table())
    if heartbeats.gaps:
        console.print(heartbeats.gaps)
    if settings.out is not None:
        for path in _write(outcome, settings.out, console):
            console.print(f"wrote {path}", soft_wrap=True)


async def _unless_interrupted(
    settings: LoadSettings, heartbeats: Heartbeats, tell: Tell
) -> Outcome | None:
    """None when it was; everybody has left then.

    KeyboardInterrupt may be raised where nothing hands it on, in a finalizer say.
    """
    outcome = None
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with trio.open_nursery() as nursery:

            async def cancel_when_interrupted() -> None:
                await anext(interrupts)
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel_when_interrupted)
            outcome = await _run(settings, heartbeats, tell)
            nursery.cancel_scope.cancel()
    return outcome


async def _run(settings: LoadSettings, heartbeats: Heartbeats, tell: Tell) -> Outcome:
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
    async with trio.open_nursery() as nursery:
        await nursery.start(traffic.run)
        await _gather(nursery, gathering, traffic, settings, tell)
        tell.begin("measuring", settings.seconds)
        async with trio.open_nursery() as watching:
            watching.start_soon(deployment.watch, heartbeats)
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
            bridge_cpu={name: cpu for name, cpu in means(heartbeats.loads).items() if name in ours},
            decrypted_one_in=one_in,
        )
        nursery.cancel_scope.cancel()
    return outcome


async def _gather(
    nursery: trio.Nursery,
    gathering: Gathering,
    traffic: Traffic,
    settings: LoadSettings,
    tell: Tell,
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


async def _tell_of_joins(gathering: Gathering, tell: Tell) -> None:
    told = 0
    while True:
        await trio.sleep(0.2)
        done = len(gathering.present) + len(gathering.failed)
        failed = f", {len(gathering.failed)} failed" if gathering.failed else ""
        tell.step(f"{len(gathering.present)} people{failed}", done - told)
        told = done


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
        if urlsplit(outcome.url).hostname not in THIS_MACHINE:
            console.print("  it names this machine; mend it where the bridges run on another")
    yield from plot(outcome.measured, directory)
