"""As much of a focus as a bridge's enrolment and control connection meet, on loopback."""

import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio
from trio_websocket import WebSocketConnection, WebSocketRequest, serve_websocket

from region.settings import RegionSettings
from relay.control import (
    CONTROL_VERSION,
    FROM_BRIDGE,
    FROM_FOCUS,
    Challenge,
    FromBridge,
    FromFocus,
    Hello,
    Welcome,
)
from relay.identity import MeshAuthority, verify_challenge
from relay.ids import BridgeId, Region
from web.certificate import load_web_certificate

M = TypeVar("M")

DEADLINE_S = 5.0
FRANKFURT = Region("frankfurt")
BRIDGE = BridgeId("frankfurt-1")
NONCE = b"n" * 32
WEEK_S = 7 * 86_400
HOST = "127.0.0.1"

MESH = MeshAuthority.create(time.time())


def tls_of(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A web server's half of TLS, and the certificate by which others know it."""
    certificate = load_web_certificate(directory)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context, certificate.certificate


def settings_for(
    port: int,
    state_dir: Path,
    *,
    focus_ca: Path | None,
    token: str | None = None,
    region: Region = FRANKFURT,
) -> RegionSettings:
    return RegionSettings(
        region=region,
        focus_url=f"https://{HOST}:{port}/",
        focus_ca=focus_ca,
        token=token,
        state_dir=state_dir,
        media_port=0,
        relay_port=0,
        ops_port=0,
    )


# Enrolment


class EnrolDoor:
    """Answers one POST a connection with what `reply` makes of it."""

    def __init__(self, reply: Callable[[dict[str, str]], tuple[int, bytes]]) -> None:
        self.reply = reply
        self.requests: list[dict[str, str]] = []
        self.heads: list[str] = []

    async def serve(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more:
                    return  # The bridge hung up.
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            while len(body) < length:
                body += await stream.receive_some()
            self.heads.append(head.decode())
            self.requests.append(json.loads(body))
            status, answer = self.reply(self.requests[-1])
            await stream.send_all(
                b"HTTP/1.1 %d Whatever\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (status, len(answer), answer)
            )
        except trio.BrokenResourceError:
            pass  # The bridge did not like our certificate.


@asynccontextmanager
async def enrol_door(
    directory: Path, reply: Callable[[dict[str, str]], tuple[int, bytes]]
) -> AsyncIterator[tuple[EnrolDoor, int, Path]]:
    """The door, its port, and the certificate that vouches for it."""
    context, certificate = tls_of(directory)
    door = EnrolDoor(reply)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, host=HOST, https_compatible=True)
        (listener,) = await nursery.start(serve, door.serve, 0, context)
        port = listener.transport_listener.socket.getsockname()[1]
        yield door, port, certificate
        nursery.cancel_scope.cancel()


def issue(csr_pem: bytes, bridge: BridgeId = BRIDGE, region: Region = FRANKFURT) -> bytes:
    return MESH.issue(csr_pem, bridge, region, time.time(), WEEK_S)


def granted(
    request: dict[str, str], *, bridge: BridgeId = BRIDGE, region: Region = FRANKFURT
) -> tuple[int, bytes]:
    """What a focus says to a good token."""
    certificate = issue(request["csr"].encode(), bridge, region)
    body = {
        "certificate": certificate.decode(),
        "mesh_ca": MESH.certificate_pem.decode(),
        "bridge": bridge,
        "region": region,
    }
    return 200, json.dumps(body).encode()


# Control


class Connection:
    """One connection of a bridge, as the focus has it."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket

    async def say(self, message: FromFocus) -> None:
        await self.socket.send_message(FROM_FOCUS.encode(message))

    async def expect(self, kind: type[M]) -> M:
        """The next message of that kind."""
        with trio.fail_after(DEADLINE_S):
            while True:
                data = await self.socket.get_message()
                assert isinstance(data, bytes)
                message: FromBridge = FROM_BRIDGE.decode_untrusted(data)
                if isinstance(message, kind):
                    return message

    async def welcome(self) -> Hello:
        """Let the bridge in, if it is who it says it is."""
        await self.say(Challenge(versions=(CONTROL_VERSION,), nonce=NONCE))
        hello = await self.expect(Hello)
        verify_challenge(hello.certificate_pem, NONCE, hello.signature)
        await self.say(Welcome(version=CONTROL_VERSION, bridge=BRIDGE, region=FRANKFURT))
        return hello


class ControlDoor:
    """Takes the bridge's connections, and closes none."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Connection](16)
        self.paths: list[str] = []

    async def serve(self, request: WebSocketRequest) -> None:
        self.paths.append(request.path)
        await self._send.send(Connection(await request.accept()))
        await trio.sleep_forever()

    async def next(self) -> Connection:
        """The bridge's next connection."""
        with trio.fail_after(DEADLINE_S):
            return await self._receive.receive()


@asynccontextmanager
async def control_door(directory: Path) -> AsyncIterator[tuple[ControlDoor, int, Path]]:
    context, certificate = tls_of(directory)
    door = ControlDoor()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, door.serve, HOST, 0, context)
        yield door, server.port, certificate
        nursery.cancel_scope.cancel()


async def until(holds: Callable[[], Any]) -> None:
    with trio.fail_after(DEADLINE_S):
        while not holds():
            await trio.lowlevel.checkpoint()
