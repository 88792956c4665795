"""A fuzzer's input to the kernel: a list of records, each an operation and its bytes.

One byte of operation (modulo their number), two of length (11 bits), then the bytes; any input
is a script.
"""

from collections.abc import Iterator
from enum import IntEnum

MAX_BODY_BYTES = 2_047


class Op(IntEnum):
    """What is done with the bytes."""

    MEDIA = 0
    """A packet of a known SSRC with the next sequence number."""
    FRAMES = 1
    """By TCP: frames, or anything in their place; and whose connection it is, and its end."""
    RESTORED = 2
    """As MEDIA, as a retransmission (RFC 4588) of a packet that is missing."""
    NACK = 3
    """A receiver asks for packets again."""
    EXACT = 4
    """A datagram that passes authentication, whatever is in it."""
    SEALED = 5
    """As MEDIA, encrypted."""
    RAW = 6
    """A datagram from an address that a transport has, whose keys do not fit it."""
    STRANGER = 7
    """A datagram from an address that nobody has."""
    RTCP = 8
    SOURCE = 9
    """An egress goes over to another stream."""
    STREAM = 10
    """A stream is removed and added again."""
    TRANSPORT = 11
    """A transport goes, with all that it has, and comes again."""
    MAPS = 12
    """Other payload types and extension ids."""
    ADDRESS = 13
    """An address changes hands."""
    DRAIN = 14
    """Python takes what is queued, and sends RTCP of its own."""
    LOOK = 15
    """Python reads all counters."""
    LAYER = 16
    """An egress passes other layers, or its transport is probed."""
    SEALED_RTCP = 17
    """As RTCP, encrypted, or as if it were."""


def record(op: Op, body: bytes) -> bytes:
    """One record."""
    return bytes([op]) + len(body).to_bytes(2, "big") + body


def records(script: bytes) -> Iterator[tuple[Op, bytes]]:
    """All records; the last may be cut short."""
    at = 0
    while at + 3 <= len(script):
        number = script[at] % len(Op)
        length = int.from_bytes(script[at + 1 : at + 3], "big") & MAX_BODY_BYTES
        at += 3
        yield Op(number), script[at : at + length]
        at += length
