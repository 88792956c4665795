"""A client with made-up media, for counting every packet on its way."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from benchmarks.client import VP8, Client, Connection, LoadCertificate, Wish
from region.rtcp import Pli, parse_compound_untrusted
from relay.ids import Region
from tests.interop.mesh import DEADLINE_S, POLL_S, Mesh
from tests.interop.tap import Protocol, protocol_of
from tests.strategies.rtp import DELTA, KEYFRAME, rtp

_CERTIFICATE = LoadCertificate()


class Load:
    """A connected client: sends numbered pictures, and says which numbers came."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent = 0
        self.keyframe_requests = 0
        """Among what has arrived."""

    def send(self, *, keyframe: bool = False) -> int:
        """One packet with its number in it."""
        self._sent += 1
        packet = rtp(
            sequence=self._sent,
            timestamp=self._sent * 3_000,
            ssrc=self._connection.source_ssrcs["camera"],
            payload_type=VP8,
            payload=(KEYFRAME if keyframe else DELTA) + struct.pack("!I", self._sent),
        )
        data = self._connection.outbound.protect(packet)
        self._connection.socket.sendto(data, self._connection.bridge)
        return self._sent

    def arrived(self) -> list[int]:
        """The numbers in all packets that wait."""
        numbers = []
        while True:
            try:
                data = self._connection.socket.recv(4_096)
            except BlockingIOError:
                return numbers
            if protocol_of(data) is Protocol.RTP:
                packet = self._connection.inbound.unprotect(data)
                numbers.append(int(struct.unpack("!I", packet[-4:])[0]))
            elif protocol_of(data) is Protocol.RTCP:
                packets = parse_compound_untrusted(self._connection.inbound.unprotect_rtcp(data))
                self.keyframe_requests += sum(isinstance(each, Pli) for each in packets)

    async def next(self, count: int) -> list[int]:
        """The numbers in so many packets."""
        numbers: list[int] = []
        with trio.fail_after(DEADLINE_S):
            while len(numbers) < count:
                await trio.lowlevel.wait_readable(self._connection.socket)
                numbers += self.arrived()
        return numbers


@asynccontextmanager
async def load(mesh: Mesh, region: Region, room: str, wish: Wish) -> AsyncIterator[Load]:
    """Joins, and leaves in the end."""
    async with trio.open_nursery() as nursery:
        client = Client(_CERTIFICATE, wish)
        connection = await nursery.start(
            lambda task_status: client.run(
                mesh.plain_url, room, "Load", region=region, task_status=task_status
            )
        )
        yield Load(connection)
        nursery.cancel_scope.cancel()


async def until_shown(sender: Load, *receivers: Load) -> None:
    """Send keyframes until each of them has the picture, and leave nothing on its way."""
    waiting = list(receivers)
    last = 0
    with trio.fail_after(DEADLINE_S):
        while waiting:
            last = sender.send(keyframe=True)
            await trio.sleep(0.02)
            waiting = [each for each in waiting if not each.arrived()]
        last = sender.send(keyframe=True)
        for receiver in receivers:
            while last not in await receiver.next(1):
                pass


async def until_asked_for_keyframe(sender: Load, *, within_s: float = DEADLINE_S) -> bool:
    """Whether somebody asks for one in that time; what asked before does not count."""
    sender.arrived()
    before = sender.keyframe_requests
    with trio.move_on_after(within_s):
        while sender.keyframe_requests == before:
            await trio.sleep(POLL_S)
            sender.arrived()
    return sender.keyframe_requests > before
