"""A whole mesh on this machine: what `octomesh up` starts, waits for, tells and stops.

Part of the command line, beside `octomesh.py`; the processes are that file's other commands.
"""

import fcntl
import os
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import click
import httpx
import trio
from rich.console import Console

from focus.codecs import DEFAULT_CODECS
from focus.tokens import mint_token
from relay.errors import SettingsError
from relay.ids import Region, VideoCodec
from relay.ports import LOOPBACK, WantedPort, check_free
from relay.supervisor import Process, Supervisor
from web.certificate import CERTIFICATE_FILE

BRIDGE_PORT_STEP = 10
"""Each bridge has ten ports: media, relay, ops, and seven to spare."""
TOKEN_TTL_S = 600
"""A bridge enrols within seconds of its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings:
    """What an operator sets for `octomesh up`."""

    https_port: int
    http_port: int
    media_port: int
    """UDP port of the first bridge."""
    ops_port: int | None = None
    """Of the focus; None is the one below `media_port`."""
    regions: tuple[Region, ...]
    state_dir: Path
    """Absolute."""
    codecs: tuple[VideoCodec, ...] = DEFAULT_CODECS
    """This and the rest: as the focus has it."""
    last_n: int | None = 25
    turn_urls: tuple[str, ...] = ()
    turn_secret: str | None = field(default=None, repr=False)
    turn_ttl_s: int = 86_400

    @property
    def url(self) -> str:
        """Where browsers and bridges find the web room."""
        return f"https://localhost:{self.https_port}"

    @property
    def focus_ops_port(self) -> int:
        """Where the focus answers for its health."""
        return self.media_port - 1 if self.ops_port is None else self.ops_port

    @property
    def logs(self) -> Path:
        """The directory with one file a process."""
        return self.state_dir / "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bridge:
    name: str
    """Its region, numbered where a region has several."""
    region: Region
    first_port: int
    """UDP media; TCP relay and ops follow."""
    state_dir: Path


async def run(
    settings: UpSettings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the mesh until cancelled; starts when it is ready, leaves no process behind.

    SettingsError, one line, when a port is taken or a process fails at its start.
    """
    check_free(wanted_ports(settings))
    supervisor = Supervisor(say=click.echo)
    with _own_state_dir(settings):
        focus, *bridges = processes(settings)
        try:
            with _steps() as step:
                step("starting the focus")
                await supervisor.start([focus])
                step(f"starting {len(bridges)} bridge{'s' * (len(bridges) > 1)}")
                await supervisor.start(bridges)
                step("waiting for the trunks between them")
                await _meshed(settings, supervisor)
            _tell(settings)
            task_status.started()
            await supervisor.keep()
        finally:
            click.echo("stopping")
            await supervisor.stop()


async def _meshed(settings: UpSettings, supervisor: Supervisor) -> None:
    tls = ssl.create_default_context(cafile=str(settings.state_dir / CERTIFICATE_FILE))
    async with httpx.AsyncClient(verify=tls, trust_env=False, timeout=2.0) as client:

        async def ask() -> str | None:
            try:
                answer = await client.get(f"{settings.url}/api/mesh")
            except httpx.TransportError as error:
                return f"{settings.url} does not answer: {error}"
            if not answer.is_success:
                return f"{settings.url}/api/mesh answers {answer.status_code}"
            return mesh_gap(answer.json(), settings.regions)

        await supervisor.until(ask)


def mesh_gap(mesh: Mapping[str, Any], regions: tuple[Region, ...]) -> str | None:
    """What `/api/mesh` still lacks of a bridge for each region and a trunk for each pair."""
    missing = Counter(regions) - Counter(bridge["region"] for bridge in mesh["bridges"])
    for region in missing:
        return f"no bridge of {region} has joined the mesh"
    regions_by_bridge = {bridge["bridge"]: bridge["region"] for bridge in mesh["bridges"]}
    trunks = {(link["from"], link["to"]) for link in mesh["links"] if link["up"]}
    for here, there in permutations(regions_by_bridge, 2):
        if (here, there) not in trunks:
            return f"no trunk from {regions_by_bridge[here]} to {regions_by_bridge[there]} yet"
    return None


def wanted_ports(settings: UpSettings) -> list[WantedPort]:
    """Every port that the processes of `up` will bind."""
    tcp, udp, inside = socket.SOCK_STREAM, socket.SOCK_DGRAM, "127.0.0.1"
    below = ", one below --media-port" if settings.ops_port is None else ""
    ops = WantedPort(
        option="--ops-port",
        kind=tcp,
        port=settings.focus_ops_port,
        host=inside,
        use=f"the focus's ops{below}",
    )
    ports = [
        WantedPort(option="--https-port", kind=tcp, port=settings.https_port),
        WantedPort(option="--http-port", kind=tcp, port=settings.http_port, host=LOOPBACK),
        ops,
    ]
    for bridge in _bridges(settings):
        for offset, kind, host, use in (
            (0, udp, "::", "media"),
            (0, tcp, "::", "media"),
            (1, tcp, "::", "relay"),
            (2, tcp, inside, "ops"),
        ):
            ports.append(
                WantedPort(
                    option="--media-port",
                    kind=kind,
                    port=bridge.first_port + offset,
                    host=host,
                    use=f"{bridge.name}'s {use}",
                )
            )
    return ports


def processes(settings: UpSettings) -> list[Process]:
    """What `up` runs: the focus, then the bridges."""
    # By its path and not by -m: a folder `web` in the working directory shall not come first.
    program = str(Path(__file__).resolve().with_name("octomesh.py"))
    command = (sys.executable, program, f"--parent-pid={os.getpid()}")
    environment = {key: value for key, value in os.environ.items() if key[:9] != "OCTOMESH_"}
    # A proxy is not the way to this machine.
    environment["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), "localhost")))
    secret = {"OCTOMESH_FOCUS_TURN_SECRET": settings.turn_secret or ""}
    focus = Process(
        name="focus",
        command=(
            *command,
            "focus",
            f"--state-dir={settings.state_dir}",
            f"--https-port={settings.https_port}",
            f"--http-port={settings.http_port}",
            f"--ops-port={settings.focus_ops_port}",
            "--mesh-names=open",
            f"--codecs={','.join(settings.codecs)}",
            f"--last-n={settings.last_n or 0}",
            *(f"--turn-urls={url}" for url in settings.turn_urls),
            f"--turn-ttl={settings.turn_ttl_s}s",
        ),
        environment=lambda: {**environment, **secret},
        log=settings.logs / "focus.log",
        health_url=f"http://127.0.0.1:{settings.focus_ops_port}/healthz",
        essential=True,
    )
    return [
        focus,
        *(_process(settings, bridge, command, environment) for bridge in _bridges(settings)),
    ]


def _process(
    settings: UpSettings, bridge: _Bridge, command: tuple[str, ...], environment: Mapping[str, str]
) -> Process:
    def with_token() -> dict[str, str]:
        token = mint_token(settings.state_dir, bridge.region, TOKEN_TTL_S)
        return {**environment, "OCTOMESH_REGION_TOKEN": token}

    return Process(
        name=bridge.name,
        command=(
            *command,
            "region",
            f"--region={bridge.region}",
            f"--focus-url={settings.url}",
            f"--focus-ca={settings.state_dir / CERTIFICATE_FILE}",
            f"--state-dir={bridge.state_dir}",
            f"--media-port={bridge.first_port}",
            f"--relay-port={bridge.first_port + 1}",
            f"--ops-port={bridge.first_port + 2}",
            "--allow-loopback",
        ),
        environment=with_token,
        log=settings.logs / f"{bridge.name}.log",
        health_url=f"http://127.0.0.1:{bridge.first_port + 2}/healthz",
        essential=False,
    )


def _bridges(settings: UpSettings) -> list[_Bridge]:
    seen: Counter[Region] = Counter()
    bridges = []
    for index, region in enumerate(settings.regions):
        seen[region] += 1
        name = region if seen[region] == 1 else f"{region}-{seen[region]}"
        bridges.append(
            _Bridge(
                name=name,
                region=region,
                first_port=settings.media_port + index * BRIDGE_PORT_STEP,
                state_dir=settings.state_dir / "bridges" / name,
            )
        )
    return bridges


@contextmanager
def _own_state_dir(settings: UpSettings) -> Iterator[None]:
    """Make the state directory, and hold it: a second `up` on it would mix up their meshes."""
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (settings.state_dir / "up.lock").open("w")
    except OSError as error:
        raise SettingsError(f"--state-dir {settings.state_dir}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                f"another octomesh up runs on {settings.state_dir}; choose another by --state-dir"
            ) from None
        settings.logs.mkdir(exist_ok=True)
        for log in settings.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
        for bridge in _bridges(settings):
            bridge.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield


@contextmanager
def _steps() -> Iterator[Callable[[str], None]]:
    """Tell what happens now: one moving line in a terminal, plain lines elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield lambda text: click.echo(f"{text} …")
        return
    with console.status("") as status:
        yield lambda text: status.update(f"{text} …")


def _tell(settings: UpSettings) -> None:
    click.echo(
        f"octomesh is up\n"
        f"  meetings  {settings.url}/\n"
        f"  mesh      {settings.url}/mesh\n"
        f"  local     http://localhost:{settings.http_port}/  (plain HTTP, this machine only)\n"
        f"  logs      {settings.logs}\n"
        f"Ctrl-C stops it"
    )
