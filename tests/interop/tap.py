"""A man in the middle of one client's media path: passes on, remembers, and can misuse."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto

import trio


class Protocol(Enum):
    """RFC 7983 §7 and RFC 5761 §4: what a datagram is, by its first two bytes."""

    STUN = auto()
    DTLS = auto()
    RTP = auto()
    RTCP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rtp:
    """The part of an SRTP packet that is in the clear (RFC 3550 §5.1)."""

    ssrc: int
    sequence: int
    payload_type: int
    csrcs: tuple[int, ...]


def protocol_of(data: bytes) -> Protocol:
    if data[0] < 4:
        return Protocol.STUN
    if data[0] < 64:
        return Protocol.DTLS
    return Protocol.RTCP if 192 <= data[1] < 224 else Protocol.RTP


def rtp_of(data: bytes) -> Rtp:
    first, second, sequence, _, ssrc = struct.unpack_from("!BBHII", data)
    return Rtp(
        ssrc=ssrc,
        sequence=sequence,
        payload_type=second & 0x7F,
        csrcs=struct.unpack_from(f"!{first & 15}I", data, 12),
    )


class Tap:
    """`address` stands for the bridge; all goes on to the real one from an address of the tap's."""

    def __init__(self, family: socket.AddressFamily, bridge: tuple[str, int]) -> None:
        self._front = trio.socket.socket(family, socket.SOCK_DGRAM)
        self._back = trio.socket.socket(family, socket.SOCK_DGRAM)
        self._stranger = trio.socket.socket(family, socket.SOCK_DGRAM)
        self._bridge = bridge
        self._client: tuple[str, int] | None = None
        self.sent: list[bytes] = []
        """By the client."""
        self.received: list[bytes] = []
        """By the client."""

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._front.getsockname()[:2]
        return host, port

    def sent_of(self, protocol: Protocol) -> list[bytes]:
        return [data for data in self.sent if protocol_of(data) is protocol]

    def received_rtp(self, since: int = 0) -> list[Rtp]:
        """Those after so many datagrams of all kinds."""
        received = self.received[since:]
        return [rtp_of(data) for data in received if protocol_of(data) is Protocol.RTP]

    async def inject(self, data: bytes) -> None:
        """To the bridge, as if the client had sent it."""
        await self._back.send(data)

    async def inject_as_stranger(self, data: bytes) -> None:
        """To the bridge, from an address that it does not know."""
        await self._stranger.sendto(data, self._bridge)

    async def hear_as_stranger(self) -> bytes:
        """What the bridge answers to a stranger."""
        return await self._stranger.recv(4_096)

    async def run(self) -> None:
        """Pass on until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_to_bridge)
            nursery.start_soon(self._pass_to_client)

    async def bind(self) -> None:
        host = self._bridge[0]
        await self._front.bind((host, 0))
        await self._stranger.bind((host, 0))
        await self._back.connect(self._bridge)

    def close(self) -> None:
        for each in (self._front, self._back, self._stranger):
            each.close()

    async def _pass_to_bridge(self) -> None:
        while True:
            data, address = await self._front.recvfrom(4_096)
            self._client = address
            self.sent.append(data)
            await self._back.send(data)

    async def _pass_to_client(self) -> None:
        while True:
            data = await self._back.recv(4_096)
            self.received.append(data)
            if self._client is not None:
                await self._front.sendto(data, self._client)


@asynccontextmanager
async def tapping(bridge: tuple[str, int]) -> AsyncIterator[Tap]:
    family = socket.AF_INET6 if ":" in bridge[0] else socket.AF_INET
    tap = Tap(family, bridge)
    try:
        await tap.bind()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tap.run)
            yield tap
            nursery.cancel_scope.cancel()
    finally:
        tap.close()
