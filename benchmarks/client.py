"""A meeting client without a browser: this project's signalling, and a connection of the load's.

It is this project's own and proves no interoperability (the tests do, with Chromium and
aiortc); it makes load, and can be many in one process. Works on trio.
"""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from pylibsrtp import Session
from trio_websocket import WebSocketConnection, open_websocket_url

from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import OPUS, VP8, VP8_RTX, Wish
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind
from relay.payload import HeaderExtension

__all__ = [
    "AUDIO_LEVEL",
    "OPUS",
    "TRANSPORT_SEQUENCE",
    "VP8",
    "VP8_RTX",
    "Client",
    "Connection",
    "LoadCertificate",
    "Wish",
]

ANSWER_TIMEOUT_S = 20.0
CONSENT_INTERVAL_S = 4.0
MAX_MESSAGE_BYTES = 4 << 20
"""An answer to 49 slots is a hundredth of it."""

AUDIO_LEVEL = int(HeaderExtension.AUDIO_LEVEL)
TRANSPORT_SEQUENCE = int(HeaderExtension.TRANSPORT_SEQUENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a client has once it is connected."""

    socket: socket.socket
    bridge: tuple[str, int]
    outbound: Session
    inbound: Session
    source_ssrcs: Mapping[str, int]
    """By `microphone`, `camera` or `screen`; of a camera that of its lowest encoding."""
    camera_ssrcs: Sequence[int]
    """Its encodings, the lowest first."""
    slot_ssrcs: Sequence[int]


class Client:
    """One participant; its socket's address is its own, as a browser's would be."""

    def __init__(
        self,
        certificate: LoadCertificate,
        wish: Wish,
        *,
        host: str = "127.0.0.1",
        hear: Callable[[dict[str, Any]], None] = lambda message: None,
    ):
        """`hear` gets each signalling message that is not of the joining itself."""
        self._certificate = certificate
        self._host = host
        self.wish = wish
        self.hear = hear
        self._signalling: WebSocketConnection | None = None
        self.participant: int | None = None
        self.bridge = ""
        """Where it sits, once it has joined."""
        self.moved = False
        """Whether the focus has given up the bridge; this client does not follow."""
        self.connection: Connection | None = None

    async def run(
        self,
        url: str,
        room: str,
        name: str,
        *,
        region: str | None = None,
        tls: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Join, connect, and stay until cancelled; started when media can flow."""
        async with self.joined(url, room, name, region=region, tls=tls) as peer:
            self.connection = _connection(peer)
            task_status.started(self.connection)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_consent, peer)
                await self.listen()

    @asynccontextmanager
    async def joined(
        self,
        url: str,
        room: str,
        name: str,
        *,
        region: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[PeerConnection]:
        """In the room for as long as the context is open; whoever has entered it listens.

        RemoteProtocolError, in words for a person, when it is not let in.
        """
        peer = PeerConnection(self._certificate, host=self._host)
        try:
            signal_url = f"ws{url.removeprefix('http').rstrip('/')}/api/signal"
            async with open_websocket_url(
                signal_url, ssl_context=tls, max_message_size=MAX_MESSAGE_BYTES
            ) as self._signalling:
                answer: str | None = None
                with trio.move_on_after(ANSWER_TIMEOUT_S):
                    answer = await self._join(self._signalling, peer, room, name, region)
                if answer is None:
                    raise RemoteProtocolError(
                        f"The focus did not answer within {ANSWER_TIMEOUT_S:g} s."
                    )
                await peer.accept(answer)
                yield peer
        finally:
            peer.close()

    async def listen(self) -> None:
        """Hear what the focus says, until cancelled."""
        assert self._signalling is not None
        while True:
            message = json.loads(await self._signalling.get_message())
            self.moved |= message["type"] == "moved"
            self.hear(message)

    async def say(self, message: dict[str, Any]) -> None:
        """Send a signalling message, once it is connected."""
        assert self._signalling is not None
        await self._signalling.send_message(json.dumps(message))

    async def hang_up(self) -> None:
        """Close the signalling without a goodbye, as a page does that is closed."""
        assert self._signalling is not None
        await self._signalling.aclose()

    async def _join(
        self,
        signalling: WebSocketConnection,
        peer: PeerConnection,
        room: str,
        name: str,
        region: str | None,
    ) -> str:
        join: dict[str, Any] = {"type": "join", "room": room, "name": name}
        join |= {"region": region, "rtts_ms": {}}
        offer: dict[str, Any] = {"type": "offer", "attempt": 0, "sdp": peer.offer(self.wish)}
        offer["sources"] = {source.mid: source.kind.name.lower() for source in peer.sources}
        await signalling.send_message(json.dumps(join))
        await signalling.send_message(json.dumps(offer))
        if self.wish.screen:  # until it says so its screen is muted
            unmute = {"type": "mute", "kind": "screen", "muted": False}
            await signalling.send_message(json.dumps(unmute))
        while True:
            message = json.loads(await signalling.get_message())
            match message["type"]:
                case "joined":
                    self.participant = message["you"]["id"]
                    self.bridge = message["you"]["bridge"]
                case "answer":
                    return str(message["sdp"])
                case "error":
                    raise RemoteProtocolError(message["message"])
                case _:
                    self.hear(message)


def _connection(peer: PeerConnection) -> Connection:
    assert peer.bridge is not None
    assert peer.remote is not None
    by_kind = {source.kind: source.encodings for source in peer.sources}
    return Connection(
        socket=peer.socket,
        bridge=peer.bridge,
        outbound=peer.outbound,
        inbound=peer.inbound,
        source_ssrcs={kind.name.lower(): encodings[0].ssrc for kind, encodings in by_kind.items()},
        camera_ssrcs=[each.ssrc for each in by_kind.get(SourceKind.CAMERA, ())],
        slot_ssrcs=sorted(ssrc for slot in peer.remote.slots for ssrc in slot.ssrcs),
    )


async def _keep_consent(peer: PeerConnection) -> None:
    while True:
        await trio.sleep(CONSENT_INTERVAL_S)
        peer.renew_consent()
