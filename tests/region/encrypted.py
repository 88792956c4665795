"""Two sounds from one client to another, whose media is encrypted in one of WAYS."""

import itertools
import struct

from region.kernel import reference
from relay.payload import HeaderExtension
from tests.region.rig import Rig
from tests.strategies.rtp import rtp

SSRC, OTHER_SSRC, SLOT, OTHER_SLOT, SOURCE = 0x1111, 0x1112, 0x2222, 0x2223, 0x3333
OPUS = 111
OURS = {each.value for each in HeaderExtension}
IDS = {number: number for number in range(1, 40) if number not in OURS}
"""Of header extensions that mean nothing to the kernel."""
CYCLE = 1 << 16
"""Sequence numbers, until they begin anew."""


class Call:
    """A sender of two sounds, and who hears both."""

    def __init__(self, rig: Rig, way: str) -> None:
        self.rig, self.pump = rig, rig.pump
        self.sender = rig.peer(way=way, extensions=IDS)
        self.receiver = rig.peer(way=way, extensions=IDS)
        self.streams = [
            rig.pump.add_stream(
                self.sender.transport, ssrc, video=False, clock_rate=48_000, csrc=SOURCE
            )
            for ssrc in (SSRC, OTHER_SSRC)
        ]
        self.slots = [self.add_slot(SLOT, 0), self.add_slot(OTHER_SLOT, 1)]
        self._other = itertools.count(1)

    def add_slot(self, ssrc: int, stream: int) -> int:
        slot = self.pump.add_egress(self.receiver.transport, ssrc, video=False, trunk=False)
        self.pump.set_source(slot, self.streams[stream])
        return slot

    def received(self) -> reference.Packet:
        return reference.parse_untrusted(self.receiver.receive())

    def passes(self, sequence: int) -> bool:
        """Whether a packet of this number, and the next of the other sound, come out whole."""
        packets = [packet(sequence), packet(next(self._other), ssrc=OTHER_SSRC)]
        for each in packets:
            self.sender.send(each)
        got = {each.ssrc: each.payload for each in (self.received() for _ in packets)}
        return got == {
            slot: reference.parse_untrusted(each).payload
            for slot, each in zip((SLOT, OTHER_SLOT), packets, strict=True)
        }

    def close(self) -> None:
        for peer in (self.sender, self.receiver):
            self.pump.remove_transport(peer.transport)
            peer.socket.close()


def packet(sequence: int, *, ssrc: int = SSRC, payload: bytes | None = None) -> bytes:
    """By its number without wrap-around, which it carries."""
    return rtp(
        sequence=sequence,
        timestamp=sequence * 960,
        ssrc=ssrc,
        payload_type=OPUS,
        payload=sequence.to_bytes(8) if payload is None else payload,
    )


def forged(wire: bytes, sequence: int) -> bytes:
    """With another number and a tag that is wrong whatever the number."""
    return wire[:2] + struct.pack("!H", sequence) + wire[4:-1] + bytes([wire[-1] ^ 1])
