"""This project's own bridge as one that the load generator drives: a focus, and a region of it."""

import contextlib
import os
import re
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import httpx
import trio
from trio_websocket import ConnectionClosed

from benchmarks.client import Client
from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Wish
from benchmarks.load.traffic import Traffic
from benchmarks.peers import LOOPBACK, Member, Picture, Place
from benchmarks.peers.child import child
from relay.errors import RemoteProtocolError
from relay.ids import ParticipantId, Region, SourceKind, source_id

READY_TIMEOUT_S = 30.0
OPS_TIMEOUT_S = 10.0
_COUNTER = re.compile(r'^octomesh_(\w+?)_total(?:\{reason="(\w+)"\})? (\S+)$', re.MULTILINE)
REGION = Region("here")

_HEIGHT_PX = (180, 360, 720)
"""Of the place where a picture of each layer is watched."""


class Octomesh:
    """One region; with several workers they are so many bridges, of which people get one each."""

    def __init__(self, *, workers: int = 1) -> None:
        self._workers = workers

    @property
    def name(self) -> str:
        """See `Peer.name`."""
        return "octomesh" if self._workers == 1 else f"octomesh, {self._workers} workers"

    @contextlib.contextmanager
    def start(self, directory: Path, place: Place = LOOPBACK) -> Iterator["OctomeshBridge"]:
        """See `Peer.start`; the focus is beside the bridges and not counted among them."""
        with mesh_process(directory, place, self._workers) as mesh:
            yield OctomeshBridge(
                mesh.url, mesh.pids, host=place.local_address, ops_ports=mesh.ops_ports
            )


class OctomeshBridge:
    """A mesh that runs, here or anywhere: `url` is its focus's."""

    def __init__(
        self,
        url: str,
        pids: Sequence[int] = (),
        *,
        host: str = "127.0.0.1",
        region: str | None = None,
        tls: ssl.SSLContext | None = None,
        ops_ports: Sequence[int] = (),
    ) -> None:
        self.pids = tuple(pids)
        self._ops_ports = tuple(ops_ports)
        self._url, self._host, self._region, self._tls = url, host, region, tls
        self._certificate = LoadCertificate()

    async def counters(self) -> Counter[str]:
        """What its bridges' `/metrics` say, all together; drops as `dropped_` and their reason."""
        counted: Counter[str] = Counter()
        async with httpx.AsyncClient(trust_env=False, timeout=OPS_TIMEOUT_S) as ops:
            for port in self._ops_ports:
                text = (await ops.get(f"http://127.0.0.1:{port}/metrics")).text
                for name, reason, value in _COUNTER.findall(text):
                    counted[f"{name}_{reason}" if reason else name] += int(float(value))
        return counted

    async def join(
        self,
        traffic: Traffic,
        room: str,
        name: str,
        wish: Wish,
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Bridge.join`."""
        client = Client(self._certificate, wish, host=self._host)
        member = OctomeshMember(client, traffic)
        async with client.joined(
            self._url, room, name, region=self._region, tls=self._tls
        ) as connection:
            member.connected(connection)
            try:
                task_status.started(member)
                await client.listen()
            except ConnectionClosed:
                raise RemoteProtocolError("The focus has closed its connection.") from None
            finally:
                member.left()


class OctomeshMember:
    """Somebody in one of its rooms."""

    def __init__(self, client: Client, traffic: Traffic) -> None:
        self.clients: tuple[int, ...] = ()
        self.senders: Mapping[SourceKind, Sequence[int]] = {}
        self._client = client
        self._traffic = traffic
        self._wanted: dict[SourceKind, set[int]] = {}
        """Spatial layers, as last told."""
        client.hear = self._hear

    @property
    def id(self) -> int:
        """See `Member.id`: the number that the focus gave."""
        assert self._client.participant is not None
        return self._client.participant

    @property
    def bridge(self) -> str:
        """The name of the bridge on which it sits."""
        return self._client.bridge

    def connected(self, connection: PeerConnection) -> None:
        """Its media is the engine's from now on."""
        carried = self._traffic.add(connection)
        self.clients = (carried.client,)
        self.senders = carried.senders
        for kind in self._wanted:
            self._switch(kind)

    def left(self) -> None:
        """Take it from the engine again."""
        for client in self.clients:
            self._traffic.remove(client)
        self.clients = ()

    async def watch(self, pictures: Sequence[Picture]) -> None:
        """See `Member.watch`."""
        wanted = [
            {
                "source": source_id(ParticipantId(each.member), SourceKind.CAMERA),
                "height_px": _HEIGHT_PX[each.layer],
                "stage": False,
            }
            for each in pictures
        ]
        await self._client.say({"type": "view", "pictures": wanted, "last_n": None})

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "layers":
                kind = SourceKind[message["kind"].upper()]
                self._wanted[kind] = {layer["spatial"] for layer in message["layers"]}
                self._switch(kind)
            case "moved":
                raise RemoteProtocolError("The focus has given up its bridge.")

    def _switch(self, kind: SourceKind) -> None:
        """What nobody wants of a source is not sent, as browsers do not encode it."""
        wanted = self._wanted[kind]
        senders = self.senders.get(kind, ())
        for layer, sender in enumerate(senders):
            self._traffic.engine.set_wanted(
                sender, layer in wanted if len(senders) > 1 else bool(wanted)
            )


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, UDP and TCP."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET6))
            tcp.bind(("::", 0))
            ports.append(int(tcp.getsockname()[1]))
        return ports


class Mesh(NamedTuple):
    """A focus and one region that run."""

    url: str
    """The focus's."""
    pids: list[int]
    """Of the region's bridges."""
    ops_ports: list[int]
    """Theirs, on loopback."""


@contextlib.contextmanager
def mesh_process(directory: Path, place: Place = LOOPBACK, workers: int = 1) -> Iterator[Mesh]:
    """A focus and one region, until the context ends, or this process."""
    from focus.tokens import mint_token
    from web.certificate import CERTIFICATE_FILE

    https, http, focus_ops = free_ports(3)
    media, relay, ops = _runs_of_free_ports(workers)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(directory / "log", "wb"))

        def start(*arguments: str, environment: Mapping[str, str] | None = None) -> int:
            command = [sys.executable, "-m", "octomesh", *arguments]
            env = {**os.environ, **(environment or {})}
            process = child(place, command, stdout=log, cwd=Path.cwd(), env=env)
            return stack.enter_context(process).pid

        start(
            *("focus", "--state-dir", str(directory / "focus")),
            *("--https-port", str(https), "--http-port", str(http)),
            *("--ops-port", str(focus_ops)),
        )
        _wait_for_health([focus_ops], directory)
        region = start(
            *("region", "--region", REGION, "--state-dir", str(directory / "bridge")),
            *("--focus-url", f"https://localhost:{https}"),
            *("--focus-ca", str(directory / "focus" / CERTIFICATE_FILE)),
            *("--media-port", str(media), "--relay-port", str(relay)),
            *("--ops-port", str(ops), "--allow-loopback"),
            # Clients have this address too, and what is sent to them comes from it.
            *("--no-advertise-interfaces", "--advertise", place.address),
            *(("--workers", str(workers)) if workers > 1 else ()),
            environment={
                "OCTOMESH_REGION_TOKEN": mint_token(
                    directory / "focus", REGION, 60, bridges=workers
                )
            },
        )
        _wait_for_health(range(ops, ops + workers), directory)
        yield Mesh(
            f"http://127.0.0.1:{http}",
            [region] if workers == 1 else _children(region),
            list(range(ops, ops + workers)),
        )


def _runs_of_free_ports(length: int) -> list[int]:
    """The first of so many ports in a row, three times."""
    firsts: list[int] = []
    while len(firsts) < 3:
        (first,) = free_ports(1)
        run = range(first, first + length)
        if run[-1] > 65_535 or any(first <= each < first + length for each in firsts):
            continue
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in run:
                stack.enter_context(socket.socket(socket.AF_INET6)).bind(("::", port))
            firsts.append(first)
    return firsts


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_health(ports: Sequence[int], directory: Path) -> None:
    waiting = list(ports)
    end = time.monotonic() + READY_TIMEOUT_S
    while waiting and time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{waiting[0]}/healthz").status_code == 200:
                waiting.pop(0)
                continue
        time.sleep(0.05)
    if waiting:
        raise click.ClickException(
            "a process did not become ready:\n" + (directory / "log").read_text()[-2_000:]
        )
