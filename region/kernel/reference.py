"""What the kernel does to a packet, in plain Python: the oracle of its tests, and nothing else.

Written from the RFCs and not from the kernel, so that both can be wrong only in different ways:
here RFC 3550 §5.1 (header) and RFC 8285 §4 (extensions). What payloads say stands in
`reference_codecs.py`, what dependency descriptors do in `reference_descriptor.py`, and what an
egress makes of it all in `reference_egress.py`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from relay.errors import MalformedError

MAX_EXTENSIONS = 16
MAX_EXTENSION_BYTES = 508


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


def build(
    packet: Packet,
    *,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    csrc: int | None,
    extension_ids: Mapping[int, int],
    transport_sequence: tuple[int, int] | None = None,
) -> bytes:
    """The packet as a receiver gets it; `extension_ids` maps the sender's ids to the receiver's.

    `transport_sequence`: the receiver's id for transport-wide sequence numbers, and the number.
    """
    known = [
        (extension_ids[number], data)
        for number, data in packet.extensions
        if number in extension_ids
    ][:MAX_EXTENSIONS]
    kept: list[tuple[int, bytes]] = []
    if transport_sequence is not None:
        kept.append((transport_sequence[0], struct.pack("!H", transport_sequence[1])))
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
