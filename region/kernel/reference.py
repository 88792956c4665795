"""What the kernel does to a packet, in plain Python: the oracle of its tests, and nothing else.

Written from the RFCs and not from the kernel: RFC 3550 §5.1 (header), RFC 8285 §4
(extensions), RFC 7741 §4.2 (VP8), so that both can be wrong only in different ways.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from relay.errors import MalformedError

MAX_EXTENSIONS = 16
MAX_EXTENSION_BYTES = 508
SWITCH_MEMORY = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """An RTP packet without what only its transport means by it."""

    padding: bool
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    extensions: tuple[tuple[int, bytes], ...]
    """Ids as on the wire, in the order of the wire."""
    payload: bytes
    """With its padding."""


def parse_untrusted(data: bytes) -> Packet:
    """The packet in `data`; MalformedError where anything reaches past its end."""
    if len(data) < 12 or data[0] >> 6 != 2:
        raise MalformedError("RTP header")
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    rest = data[12 + 4 * (first & 15) :]
    if len(data) < 12 + 4 * (first & 15):
        raise MalformedError("CSRC list")
    extensions: tuple[tuple[int, bytes], ...] = ()
    if first & 0x10:
        if len(rest) < 4:
            raise MalformedError("extension header")
        profile, words = struct.unpack_from("!HH", rest)
        if len(rest) < 4 + 4 * words:
            raise MalformedError("extension length")
        body, rest = rest[4 : 4 + 4 * words], rest[4 + 4 * words :]
        if profile == 0xBEDE:
            extensions = tuple(_elements_untrusted(body, one_byte=True))
        elif profile >> 4 == 0x100:
            extensions = tuple(_elements_untrusted(body, one_byte=False))
    padding = bool(first & 0x20)
    if padding and (not rest or not 1 <= rest[-1] <= len(rest)):
        raise MalformedError("padding")
    return Packet(
        padding=padding,
        marker=bool(second & 0x80),
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        extensions=extensions,
        payload=rest,
    )


def _elements_untrusted(body: bytes, *, one_byte: bool) -> list[tuple[int, bytes]]:
    elements = []
    while body:
        if body[0] == 0:
            body = body[1:]
            continue
        if one_byte:
            if body[0] >> 4 == 15:
                break
            element_id, size, body = body[0] >> 4, (body[0] & 15) + 1, body[1:]
        else:
            if len(body) < 2:
                raise MalformedError("extension element")
            element_id, size, body = body[0], body[1], body[2:]
        if len(body) < size:
            raise MalformedError("extension element")
        elements.append((element_id, body[:size]))
        body = body[size:]
    return elements


def begins_keyframe(payload: bytes) -> bool:
    """Whether a VP8 payload is the first packet of a keyframe."""
    if not payload or not payload[0] & 0x10 or payload[0] & 7:
        return False
    at = 1
    if payload[0] & 0x80:
        if len(payload) < 2:
            return False
        flags, at = payload[1], 2
        if flags & 0x80:
            if len(payload) < 3:
                return False
            at += 2 if payload[2] & 0x80 else 1
        at += bool(flags & 0x40) + bool(flags & 0x30)
    return len(payload) > at and not payload[at] & 1


def build(
    packet: Packet,
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    csrc: int | None,
    extension_ids: Mapping[int, int],
) -> bytes:
    """The packet as a receiver gets it; `extension_ids` maps the sender's ids to the receiver's."""
    known = [
        (extension_ids[number], data)
        for number, data in packet.extensions
        if number in extension_ids
    ][:MAX_EXTENSIONS]
    kept: list[tuple[int, bytes]] = []
    for number, data in known:
        if sum(2 + len(each) for _, each in kept) + 2 + len(data) <= MAX_EXTENSION_BYTES:
            kept.append((number, data))
    header = struct.pack(
        "!BBHII",
        0x80 | packet.padding << 5 | bool(kept) << 4 | (csrc is not None),
        packet.marker << 7 | payload_type,
        sequence,
        timestamp,
        ssrc,
    )
    if csrc is not None:
        header += struct.pack("!I", csrc)
    if kept:
        small = all(number <= 14 and 1 <= len(data) <= 16 for number, data in kept)
        body = b"".join(
            (bytes([number << 4 | len(data) - 1]) if small else bytes([number, len(data)])) + data
            for number, data in kept
        )
        body += bytes(-len(body) % 4)
        header += struct.pack("!HH", 0xBEDE if small else 0x1000, len(body) // 4) + body
    return header + packet.payload


def _ahead(a: int, b: int) -> int:
    """How far sequence number `a` is ahead of `b`, from −32768 to 32767."""
    return (a - b + 0x8000) % 0x10000 - 0x8000


class Egress:
    """One outgoing stream: which packets of which streams pass, with what numbers.

    A stream is any hashable name. Where a switch joins two streams the timestamp depends
    on the clock, so the caller gives `elapsed_ticks`.
    """

    def __init__(self, *, video: bool, trunk: bool) -> None:
        self._video = video
        self._trunk = trunk
        self.stream: object = None
        self.wanted: object = None
        self._last: tuple[int, int] | None = None
        self._offsets = (0, 0)
        self._switch_sequence: int | None = None

    def set_source(self, stream: object) -> None:
        """As `Pump.set_source`, None for none."""
        self.wanted = stream
        if stream is None:
            self.stream = None

    def switches(self, stream: object, packet: Packet) -> bool:
        """Whether this packet would make the egress go over to `stream`."""
        return (
            stream is not None
            and self.wanted == stream != self.stream
            and (not self._video or begins_keyframe(packet.payload))
        )

    def forward(
        self, stream: object, packet: Packet, *, elapsed_ticks: int = 0
    ) -> tuple[int, int] | None:
        """Sequence number and timestamp with which the packet leaves, or None where it does not."""
        if self.switches(stream, packet):
            self.stream = stream
            if self._last is not None and not self._trunk:
                sequence, timestamp = self._last
                self._offsets = (
                    sequence + 1 - packet.sequence,
                    timestamp + elapsed_ticks - packet.timestamp,
                )
            self._switch_sequence = packet.sequence
        elif self.stream != stream:
            return None
        elif self._switch_sequence is not None:
            if _ahead(packet.sequence, self._switch_sequence) < 0:
                return None
            if _ahead(packet.sequence, self._switch_sequence) > SWITCH_MEMORY:
                self._switch_sequence = None
        sequence = (packet.sequence + self._offsets[0]) % 0x10000
        timestamp = (packet.timestamp + self._offsets[1]) % 0x100000000
        if self._last is None or _ahead(sequence, self._last[0]) > 0:
            self._last = (sequence, timestamp)
        return sequence, timestamp
