"""An engine with one client, and the far end of its socket in the hands of a test."""

import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import trio
from pylibsrtp import Policy, Session

from benchmarks.load.counts import StreamStats
from benchmarks.load.engine import Engine
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO, PAYLOAD_VIDEO_RTX
from relay.payload import HeaderExtension

OPUS, VP8, RTX = 111, 96, 97
SSRC, RTX_SSRC = 0x1000, 0x1001
DEADLINE_S = 5.0
MARK = struct.Struct("<IIBBBBIq")
MAGIC = 0x6D746F6F
NACK = b"\x81\xcd"
"""RFC 4585 §6.1; the load has it behind an empty receiver report."""
UDP_SEGMENT = 103
"""<linux/udp.h>; Python has no name for it."""

_POLL_S = 0.002


class Line:
    """What the client's bridge would have."""

    def __init__(self, engine: Engine, far: socket.socket, keys: tuple[bytes, bytes]) -> None:
        self.engine = engine
        self.socket = far
        self._outbound = Session(_policy(keys[0], Policy.SSRC_ANY_OUTBOUND))
        self._inbound = Session(_policy(keys[1], Policy.SSRC_ANY_INBOUND))
        self.client = 0
        self.begin: Callable[[], None] = lambda: None
        self._left = False

    def leave(self) -> None:
        """Take the client from the engine, which is done in the end anyway."""
        if not self._left:
            self._left = True
            self.engine.remove_client(self.client)

    def send(self, packet: bytes) -> None:
        """An RTP packet, encrypted."""
        self.socket.send(self._outbound.protect(packet))

    def send_as_one(self, packets: Sequence[bytes]) -> None:
        """RTP packets of one size, but for the last which may be shorter, by UDP GSO."""
        data = [self._outbound.protect(packet) for packet in packets]
        segment = struct.pack("=H", len(data[0]))
        self.socket.sendmsg([b"".join(data)], [(socket.IPPROTO_UDP, UDP_SEGMENT, segment)])

    def send_rtcp(self, packet: bytes) -> None:
        self.socket.send(self._outbound.protect_rtcp(packet))

    async def next(self, wanted: Callable[[bytes], bool]) -> bytes:
        """The next packet like that from the client, decrypted; others are passed over."""
        with trio.fail_after(DEADLINE_S):
            while True:
                await trio.lowlevel.wait_readable(self.socket)
                data = self.socket.recv(2_048)
                if data[0] < 128:
                    continue
                rtcp = 192 <= data[1] < 224
                packet = (self._inbound.unprotect_rtcp if rtcp else self._inbound.unprotect)(data)
                if wanted(packet):
                    return packet

    def hear_out(self) -> list[bytes]:
        """All that the client has sent and nobody has read, as it came."""
        heard: list[bytes] = []
        while True:
            try:
                heard.append(self.socket.recv(2_048))
            except BlockingIOError:
                return heard

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 -- the engine rings no bell for counters
                await trio.sleep(_POLL_S)

    def stream(self, ssrc: int = SSRC) -> StreamStats | None:
        """What the client has counted of it."""
        streams = self.engine.streams(self.client)
        return next((each for each in streams if each.ssrc == ssrc), None)

    async def counted(self, condition: Callable[[StreamStats], bool]) -> StreamStats:
        """The stream's counts, once they are so."""
        found: list[StreamStats] = []

        def is_so() -> bool:
            stream = self.stream()
            if stream is not None and condition(stream):
                found.append(stream)
            return bool(found)

        await self.until(is_so)
        return found[0]


@asynccontextmanager
async def line(*, asleep: bool = False, **manners: int) -> AsyncIterator[Line]:
    """The client has agreed on everything that there is; the engine runs, or waits for `begin`."""
    engine = Engine(sweep_ms=2)
    async with trio.open_nursery() as nursery:
        with _pair() as (near, far):
            keys = secrets.token_bytes(28), secrets.token_bytes(28)
            made = Line(engine, far, keys)
            made.client = engine.add_client(
                near.fileno(),
                Session(_policy(keys[1], Policy.SSRC_ANY_OUTBOUND)),
                Session(_policy(keys[0], Policy.SSRC_ANY_INBOUND)),
                payload_types={OPUS: PAYLOAD_AUDIO, VP8: PAYLOAD_VIDEO, RTX: PAYLOAD_VIDEO_RTX},
                extensions={int(each): int(each) for each in EXTENSIONS},
                repairs={RTX_SSRC: SSRC},
                **manners,
            )
            made.begin = partial(nursery.start_soon, trio.to_thread.run_sync, engine.run)
            if not asleep:
                made.begin()
            try:
                yield made
            finally:
                engine.stop()
                made.leave()


EXTENSIONS = (
    HeaderExtension.AUDIO_LEVEL,
    HeaderExtension.TRANSPORT_SEQUENCE,
    HeaderExtension.MID,
    HeaderExtension.RID,
    HeaderExtension.REPAIRED_RID,
)


@contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for each in (near, far):
            each.bind(("127.0.0.1", 0))
            each.setblocking(False)
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        yield near, far


def _policy(key: bytes, ssrc_type: int) -> Policy:
    return Policy(key=key, ssrc_type=ssrc_type, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)


def rtp(
    sequence: int,
    payload: bytes,
    *,
    ssrc: int = SSRC,
    payload_type: int = VP8,
    number: int | None = None,
    marker: bool = True,
    padding: int = 0,
) -> bytes:
    """With a transport-wide number where one is given."""
    first = 0x80 | (0x10 if number is not None else 0) | (0x20 if padding else 0)
    head = struct.pack(
        *("!BBHII", first, payload_type | marker << 7, sequence & 0xFFFF, sequence * 3_000, ssrc)
    )
    if number is not None:
        wire_id = int(HeaderExtension.TRANSPORT_SEQUENCE)
        head += struct.pack("!HHBHx", 0xBEDE, 1, wire_id << 4 | 1, number)
    return head + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def picture(
    number: int,
    base: int,
    *,
    keyframe: bool = False,
    begins: bool = True,
    temporal: int = 0,
    layer: int = 1,
    age_s: float = 0.0,
) -> bytes:
    """One packet of a VP8 picture, with a mark of sender 7."""
    descriptor = struct.pack(
        "!BBHBB", 0x90 if begins else 0x80, 0xE0, 0x8000 | number, base, temporal << 6 | 0x20
    )
    start = bytes([0x10 if keyframe else 0x11]) + bytes(9)
    sent_ns = time.time_ns() - round(age_s * 1e9)
    return descriptor + start + MARK.pack(MAGIC, 7, layer, temporal, keyframe, 0, 1, sent_ns)
