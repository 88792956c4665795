"""Several bridges of one region on one host: what `octomesh region --workers` starts and keeps.

Part of the command line, beside `octomesh.py`. A worker is that file's `region` command with
ports and a directory of its own, and to the focus a bridge like any other.
"""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path

import click
import httpx
import trio

from region.advertised import parse_advertised
from region.enrolment import has_identity, load_or_enrol
from region.settings import RegionSettings
from relay.errors import SettingsError
from relay.ids import BridgeId
from relay.ports import MAX_PORT, WantedPort, check_free
from relay.supervisor import Process, Supervisor

READY_POLL_S = 0.25


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersSettings:
    """So many bridges; raises SettingsError where their ports cannot work."""

    count: int
    region: RegionSettings
    """As for one bridge: the ports are the first worker's, the directory is around all theirs."""

    def __post_init__(self) -> None:
        ports = {
            "--media-port": self.region.media_port,
            "--relay-port": self.region.relay_port,
            "--ops-port": self.region.ops_port,
        }
        last = {option: first + self.count - 1 for option, first in ports.items()}
        for option, first in ports.items():
            if last[option] > MAX_PORT:
                raise SettingsError(
                    f"{option} {first} to {last[option]}, for {self.count} workers, "
                    f"goes beyond {MAX_PORT}"
                )
        for (one, first), (other, others_first) in combinations(ports.items(), 2):
            if abs(first - others_first) < self.count:
                raise SettingsError(
                    f"{self.count} workers need as many ports of each kind: {one} {first} to "
                    f"{last[one]} and {other} {others_first} to {last[other]} overlap"
                )
        self._worker(self.count - 1)  # The highest ports of what is advertised check themselves.

    @property
    def workers(self) -> dict[str, RegionSettings]:
        """Each worker's own settings, by its name, which is its directory's."""
        return {f"worker-{index}": self._worker(index) for index in range(self.count)}

    def _worker(self, index: int) -> RegionSettings:
        return replace(
            self.region,
            state_dir=self.region.state_dir / f"worker-{index}",
            media_port=self.region.media_port + index,
            relay_port=self.region.relay_port + index,
            ops_port=self.region.ops_port + index,
            advertise=tuple(
                str(parse_advertised(each).counted_up(index)) for each in self.region.advertise
            ),
        )


async def run(
    settings: WorkersSettings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the workers until cancelled; starts when all run, leaves no process behind.

    SettingsError, one line, when a port is taken, a worker cannot enrol or dies at its start,
    and when all have been given up.
    """
    check_free(wanted_ports(settings))
    bridges = await _enrolled(settings)
    supervisor = Supervisor(say=click.echo)
    try:
        click.echo(f"starting {_workers_of(settings)} …")
        await supervisor.launch(processes(settings))
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.keep)
            nursery.start_soon(_tell_when_ready, settings, bridges)
    finally:
        click.echo("stopping")
        await supervisor.stop()


async def _enrolled(settings: WorkersSettings) -> dict[str, BridgeId]:
    """Who each worker is to the focus, by its name.

    Here and not in each worker: a token that does not suffice is one line, and no worker gets it.
    """
    workers = settings.workers
    missing = sum(not has_identity(worker.state_dir) for worker in workers.values())
    if missing and settings.region.token is None:
        raise SettingsError(
            f"{missing} of {settings.count} workers are not enrolled yet: make a token with "
            f"`octomesh token --region {settings.region.region} --bridges {missing}` on the "
            "focus's host and give it by --token-file or OCTOMESH_REGION_TOKEN"
        )
    bridges = {}
    for name, worker in workers.items():
        missing = sum(not has_identity(each.state_dir) for each in workers.values())
        try:
            bridges[name] = (await load_or_enrol(worker)).bridge
        except SettingsError as error:
            lack = f" ({missing} of {settings.count} workers lack a certificate)"
            raise SettingsError(f"{name}: {error}{lack if missing else ''}") from None
    return bridges


async def _tell_when_ready(settings: WorkersSettings, bridges: dict[str, BridgeId]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:

        async def tell(name: str, worker: RegionSettings) -> None:
            while not await _is_ready(client, worker):  # noqa: ASYNC110
                await trio.sleep(READY_POLL_S)
            click.echo(f"{name} is ready: {bridges[name]}, media port {worker.media_port}")

        async with trio.open_nursery() as nursery:
            for name, worker in settings.workers.items():
                nursery.start_soon(tell, name, worker)
    first = settings.region.media_port
    ports = f"{first} to {first + settings.count - 1}" if settings.count > 1 else f"{first}"
    click.echo(f"ready: {_workers_of(settings)}, media ports {ports}")


async def _is_ready(client: httpx.AsyncClient, worker: RegionSettings) -> bool:
    try:
        return (await client.get(_health_url(worker))).is_success
    except httpx.TransportError:
        return False


def _workers_of(settings: WorkersSettings) -> str:
    return f"{settings.count} worker{'s' * (settings.count > 1)} of {settings.region.region}"


def wanted_ports(settings: WorkersSettings) -> list[WantedPort]:
    """Every port that the workers will bind."""
    return [
        WantedPort(option=option, kind=kind, port=port, host=host, use=f"{name}'s {use}")
        for name, worker in settings.workers.items()
        for option, kind, port, host, use in (
            ("--media-port", socket.SOCK_DGRAM, worker.media_port, worker.listen_host, "media"),
            ("--media-port", socket.SOCK_STREAM, worker.media_port, worker.listen_host, "media"),
            ("--relay-port", socket.SOCK_STREAM, worker.relay_port, worker.listen_host, "relay"),
            ("--ops-port", socket.SOCK_STREAM, worker.ops_port, worker.ops_host, "ops"),
        )
    ]


def processes(settings: WorkersSettings) -> list[Process]:
    """The workers, as processes that log where we do."""
    # By its path and not by -m: a folder `region` in the working directory shall not come first.
    program = str(Path(__file__).resolve().with_name("octomesh.py"))
    command = (sys.executable, program, f"--parent-pid={os.getpid()}", "region")
    # All that we were told is in the flags.
    environment = {key: value for key, value in os.environ.items() if key[:9] != "OCTOMESH_"}
    return [
        Process(
            name=name,
            command=(*command, *flags(worker)),
            environment=lambda: environment,
            log=None,
            health_url=_health_url(worker),
            essential=False,
        )
        for name, worker in settings.workers.items()
    ]


def flags(settings: RegionSettings) -> Iterator[str]:
    """The flags of `octomesh region` that mean these settings, all but the secret token."""
    told = replace(settings, token=None)
    for field in fields(told):
        name = field.name.replace("_", "-")
        match getattr(told, field.name):
            case None:
                continue
            case bool(switched_on):
                yield f"--{name}" if switched_on else f"--no-{name}"
            case tuple(values):
                yield from (f"--{name}={value}" for value in values)
            case value:
                yield f"--{name}={value}"


def _health_url(worker: RegionSettings) -> str:
    """Where the worker answers to us, who are on its host."""
    host = worker.ops_host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass  # a name
    else:
        if address.is_unspecified:
            host = "127.0.0.1"
        elif address.version == 6:
            host = f"[{host}]"
    return f"http://{host}:{worker.ops_port}/healthz"
