"""A focus with its web room and some bridges, all in this program, on loopback."""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from focus.tokens import mint_token
from region import bridge
from region.settings import RegionSettings
from relay.ids import Region
from tests.patience import patient_s
from web import server
from web.certificate import CERTIFICATE_FILE
from web.settings import WebSettings

T = TypeVar("T")

DEADLINE_S = patient_s(10.0)
POLL_S = 0.02
LOOPBACK = ("127.0.0.1", "::1")
FRANKFURT, SINGAPORE = Region("frankfurt"), Region("singapore")


async def until(look: Callable[[], Awaitable[T]], *, within_s: float = DEADLINE_S) -> T:
    """Looks again and again until what it sees is true, and gives that; fails at the deadline."""
    seen: T | None = None
    with trio.move_on_after(within_s):
        while True:
            seen = await look()
            if seen:
                return seen
            await trio.sleep(POLL_S)
    raise AssertionError(f"not within {within_s:.1f} s; last seen: {seen!r}")


async def until_true(holds: Callable[[], T], *, within_s: float = DEADLINE_S) -> T:
    """`until` for what needs no waiting."""

    async def look() -> T:
        return holds()

    return await until(look, within_s=within_s)


class Metrics:
    """What one process's `/metrics` says at one moment."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """A sample's value; what was never counted is 0."""
        return self._samples.get((f"octomesh_{name}", tuple(sorted(labels.items()))), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A running bridge, as others see it."""

    name: str
    region: Region
    media_port: int
    relay_port: int
    ops_port: int
    state_dir: Path


class Mesh:
    """Everything that runs; made by `running`."""

    def __init__(self, directory: Path, ports: server.Listening) -> None:
        self.directory = directory
        self.focus_dir = directory / "focus"
        self.ports = ports
        self.bridges: dict[Region, Bridge] = {}
        self.tls = ssl.create_default_context(cafile=str(self.certificate))
        self.http = httpx.AsyncClient(verify=self.tls, trust_env=False, timeout=DEADLINE_S)

    @property
    def certificate(self) -> Path:
        return self.focus_dir / CERTIFICATE_FILE

    @property
    def url(self) -> str:
        return f"https://localhost:{self.ports.https_port}"

    @property
    def plain_url(self) -> str:
        return f"http://localhost:{self.ports.http_port}"

    def websocket(self, path: str) -> Any:
        """An async context manager of a WebSocket to the focus's process."""
        return open_websocket_url(
            f"wss://localhost:{self.ports.https_port}{path}",
            ssl_context=self.tls,
            max_message_size=4 << 20,
            disconnect_timeout=1,
        )

    async def metrics(self, region: Region | None = None) -> Metrics:
        """Of that region's bridge, or of the focus."""
        port = self.ports.ops_port if region is None else self.bridges[region].ops_port
        response = await self.http.get(f"http://127.0.0.1:{port}/metrics")
        return Metrics(response.raise_for_status().text)

    async def until_crossing(self, count: int) -> None:
        """Until Frankfurt reports so many sources on their way to Singapore."""

        async def crossing() -> bool:
            return (await self.metrics(FRANKFURT))(
                "trunk_sources_out", peer=self.bridges[SINGAPORE].name
            ) == count

        await until(crossing)

    async def state(self) -> dict[str, Any]:
        """What `/api/mesh` says."""
        response = await self.http.get(f"{self.url}/api/mesh")
        state: dict[str, Any] = response.raise_for_status().json()
        return state

    def region_settings(self, region: Region, name: str, token: str | None) -> RegionSettings:
        """Of a bridge on free ports, with a directory of that name."""
        media_port, relay_port, ops_port = free_ports(3)
        return RegionSettings(
            region=region,
            focus_url=self.url,
            focus_ca=self.certificate,
            token=token,
            state_dir=self.directory / name,
            listen_host="::",
            media_port=media_port,
            relay_port=relay_port,
            ops_port=ops_port,
            advertise=LOOPBACK,
            advertise_interfaces=False,
        )

    def token(self, region: Region, ttl_s: float = 60.0) -> str:
        return mint_token(self.focus_dir, region, ttl_s)

    @asynccontextmanager
    async def seen_from_here(self) -> AsyncIterator["Mesh"]:
        """The same mesh for another trio than the one that it runs in."""
        mesh = Mesh(self.directory, self.ports)
        mesh.bridges = self.bridges
        async with mesh.http:
            yield mesh

    async def start_bridge(self, nursery: trio.Nursery, region: Region) -> None:
        settings = self.region_settings(region, region, self.token(region))
        await nursery.start(bridge.run, settings)
        self.bridges[region] = Bridge(
            name=f"{region}-1",
            region=region,
            media_port=settings.media_port,
            relay_port=settings.relay_port,
            ops_port=settings.ops_port,
            state_dir=settings.state_dir,
        )

    async def until_whole(self) -> None:
        """Until each bridge reports a trunk to each other one, and the focus knows."""
        links = len(self.bridges) * (len(self.bridges) - 1)

        async def whole() -> bool:
            state = await self.state()
            up = sum(link["up"] for link in state["links"])
            return len(state["bridges"]) == len(self.bridges) and up == links

        await until(whole)


@asynccontextmanager
async def running(directory: Path, *regions: Region) -> AsyncIterator[Mesh]:
    """A mesh with a bridge in each region, all trunks up."""
    settings = WebSettings(
        state_dir=directory / "focus", listen_host="::", https_port=0, http_port=0, ops_port=0
    )
    async with trio.open_nursery() as nursery:
        mesh = Mesh(directory, await nursery.start(server.run, settings))
        async with mesh.http:
            for region in regions:
                await mesh.start_bridge(nursery, region)
            await mesh.until_whole()
            yield mesh
        nursery.cancel_scope.cancel()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, neither for TCP nor for UDP."""
    held: list[socket.socket] = []
    ports: list[int] = []
    try:
        while len(ports) < count:
            tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            held += [tcp, udp]
            tcp.bind(("::", 0))
            try:
                udp.bind(("::", tcp.getsockname()[1]))
            except OSError:
                continue
            ports.append(tcp.getsockname()[1])
    finally:
        for each in held:
            each.close()
    return ports


class Signalling:
    """A browser's half of `/api/signal`."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> None:
        await self.socket.send_message(json.dumps(message))

    async def hear(self, wanted: str) -> dict[str, Any]:
        """The next message of that type; an error that was not asked for fails."""
        with trio.fail_after(DEADLINE_S):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.get_message())
                self.heard.append(message)
                if message["type"] == wanted:
                    return message
                assert message["type"] != "error", message

    async def keep_hearing(self) -> None:
        """Take whatever comes, until the socket closes; else its pings would not be answered."""
        with suppress(ConnectionClosed):
            while True:
                self.heard.append(json.loads(await self.socket.get_message()))
