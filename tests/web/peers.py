"""A running web room, and the browsers and bridges that tests put to it."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from focus.tokens import mint_token
from relay.control import (
    CONTROL_VERSION,
    FROM_BRIDGE,
    FROM_FOCUS,
    Allocate,
    Allocated,
    Challenge,
    Denied,
    FromFocus,
    Heartbeat,
    Hello,
    Welcome,
)
from relay.identity import make_request, sign_challenge
from relay.ids import Address, Region, VideoCodec
from web.server import Listening, run
from web.settings import WebSettings

M = TypeVar("M")
BOUND_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A web room on loopback."""

    state_dir: Path
    ports: Listening

    @property
    def https(self) -> str:
        return f"https://localhost:{self.ports.https_port}"

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.state_dir / "web-certificate.pem"))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.https, verify=self.tls, trust_env=False)

    def socket(self, path: str) -> Any:
        url = f"wss://localhost:{self.ports.https_port}{path}"
        return open_websocket_url(url, ssl_context=self.tls)

    @property
    def mesh_key(self) -> str:
        return (self.state_dir / "mesh-key").read_text().strip()

    async def enrol(self, token: str, csr: bytes, region: str = "frankfurt") -> httpx.Response:
        async with self.client() as client:
            body = {"token": token, "csr": csr.decode(), "region": region}
            return await client.post("/api/bridges/enrol", json=body)


def settings_in(state_dir: Path) -> WebSettings:
    return WebSettings(
        state_dir=state_dir,
        listen_host="::",
        https_port=0,
        http_port=0,
        ops_host="127.0.0.1",
        ops_port=0,
    )


@asynccontextmanager
async def running(state_dir: Path, **options: Any) -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery:
        ports = await nursery.start(run, replace(settings_in(state_dir), **options))
        yield Server(state_dir=state_dir, ports=ports)
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What a bridge has after its enrolment."""

    bridge: str
    certificate_pem: bytes
    key_pem: bytes


async def papers(server: Server, region: str) -> Papers:
    key, csr = make_request()
    token = mint_token(server.state_dir, Region(region), 60.0)
    response = await server.enrol(token, csr, region)
    assert response.status_code == 200, response.text
    granted = response.json()
    assert granted["region"] == region
    return Papers(
        bridge=granted["bridge"], certificate_pem=granted["certificate"].encode(), key_pem=key
    )


class FakeBridge:
    """A bridge's control connection, as a bridge would hold it."""

    def __init__(self, socket: WebSocketConnection, paper: Papers) -> None:
        self.socket = socket
        self.papers = paper
        self.heard: list[FromFocus] = []

    @property
    def bridge(self) -> str:
        return self.papers.bridge

    async def hello(self, key_pem: bytes | None = None) -> FromFocus:
        """Answers the challenge; what the focus says to that."""
        challenge = await self.expect(Challenge)
        signature = sign_challenge(key_pem or self.papers.key_pem, challenge.nonce)
        await self.say(
            Hello(
                version=CONTROL_VERSION,
                software="fake",
                certificate_pem=self.papers.certificate_pem,
                signature=signature,
                media_addresses=(Address(host="192.0.2.1", port=10_000),),
                relay_addresses=(Address(host="192.0.2.1", port=10_001),),
                ping_password="p" * 22,
            )
        )
        return await self.next()

    async def say(self, message: Any) -> None:
        await self.socket.send_message(FROM_BRIDGE.encode(message))

    async def beat(self) -> None:
        await self.say(Heartbeat(participants=0, cpu=0.25, packets_per_s=300.0, trunks=()))

    async def next(self) -> FromFocus:
        with trio.fail_after(BOUND_S):
            data = await self.socket.get_message()
        assert isinstance(data, bytes)
        message = FROM_FOCUS.decode_untrusted(data)
        self.heard.append(message)
        return message

    async def expect(self, kind: type[M]) -> M:
        """The next message of that kind."""
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message

    async def answer(self, *decodes: VideoCodec) -> Allocate:
        """Answers the next offer, of somebody who sees pictures of these codecs."""
        asked = await self.expect(Allocate)
        await self.say(
            Allocated(
                request=asked.request,
                answer=f"answer to {asked.offer}",
                decodes=decodes or None,
            )
        )
        return asked


@asynccontextmanager
async def bridge_in(server: Server, region: str) -> AsyncIterator[FakeBridge]:
    paper = await papers(server, region)
    async with connected(server, paper) as bridge:
        yield bridge


@asynccontextmanager
async def connected(server: Server, paper: Papers) -> AsyncIterator[FakeBridge]:
    async with server.socket("/api/bridges/control") as socket:
        bridge = FakeBridge(socket, paper)
        welcome = await bridge.hello()
        assert isinstance(welcome, Welcome), welcome
        async with trio.open_nursery() as nursery:

            async def beats() -> None:
                with suppress(ConnectionClosed):
                    while True:
                        await bridge.beat()
                        await trio.sleep(1.0)

            nursery.start_soon(beats)
            yield bridge
            nursery.cancel_scope.cancel()


async def cut_off(bridge: FakeBridge) -> None:
    """Waits until the focus closes the connection."""
    with suppress(ConnectionClosed), trio.fail_after(BOUND_S):
        while True:
            await bridge.next()


async def denied(bridge: FakeBridge) -> str:
    """The reason for which the focus sends it away; the connection ends with it."""
    reason = (await bridge.expect(Denied)).reason
    try:
        await bridge.next()
    except ConnectionClosed:
        return reason
    raise AssertionError("the connection went on")


class Browser:
    """A browser's signalling connection."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send_message(json.dumps(message))

    async def hear(self, type_: str) -> dict[str, Any]:
        """The next message, which has to be of that type."""
        with trio.fail_after(BOUND_S):
            message: dict[str, Any] = json.loads(await self.socket.get_message())
        assert message["type"] == type_, message
        return message

    async def closed(self) -> int:
        """The code with which the server closes, and nothing before."""
        with trio.fail_after(BOUND_S), pytest.raises(ConnectionClosed) as caught:
            await self.socket.get_message()
        assert caught.value.reason is not None
        code: int = caught.value.reason.code
        return code

    async def join(self, room: str, name: str, **wish: Any) -> dict[str, Any]:
        await self.say(type="join", room=room, name=name, **wish)
        return await self.hear("joined")


@asynccontextmanager
async def browser_at(server: Server) -> AsyncIterator[Browser]:
    async with server.socket("/api/signal") as socket:
        yield Browser(socket)
