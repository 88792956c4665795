"""RTCP packets as values: parsed from, and built into, decrypted compound packets.

Knows no stream and no timing. RFC 3550 §6 (SR, RR, SDES, BYE, APP), RFC 4585 §6 (PLI),
RFC 5104 §4.3.1 (FIR), RFC 5506 (a compound may begin with any packet, as we negotiate rsize).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import assert_never

from relay.errors import LocalProtocolError, MalformedError
from relay.ids import Ssrc

MAX_RTCP_BYTES = 2_048
"""No datagram on a media path is longer."""

_VERSION = 2
# RFC 5761 §4: the packet types that cannot be mistaken for RTP.
_PACKET_TYPES = range(192, 224)
_MAX_COUNT = 31
_SDES_END = 0
_SDES_CNAME = 1


class _Type(IntEnum):
    SR = 200
    RR = 201
    SDES = 202
    BYE = 203
    APP = 204
    TRANSPORT_FEEDBACK = 205
    PAYLOAD_FEEDBACK = 206


class _TransportFeedback(IntEnum):
    NACK = 1


class _Feedback(IntEnum):
    PLI = 1
    FIR = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """RFC 3550 §6.4.1: how one stream arrives at whoever reports."""

    ssrc: Ssrc
    fraction_lost: int
    """Of the packets since the last report, in 1/256."""
    packets_lost: int
    """Since the beginning; negative when duplicates came."""
    highest_sequence: int
    """Extended by the count of wrap-arounds."""
    jitter_ticks: int
    last_sr: int
    """The middle 32 bits of the NTP time in the last sender report; 0 before any."""
    delay_since_last_sr: int
    """In 1/65536 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """RFC 3550 §6.4.1: where a stream stands, by wall clock and by its own."""

    ssrc: Ssrc
    ntp: int
    """Seconds since 1900 in 1/2^32."""
    timestamp_ticks: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """RFC 3550 §6.4.2."""

    ssrc: Ssrc
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SdesChunk:
    """RFC 3550 §6.5: a stream's canonical name, or None when it told other things alone."""

    ssrc: Ssrc
    cname: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdes:
    """RFC 3550 §6.5; items other than CNAME are dropped in parsing."""

    chunks: tuple[SdesChunk, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """RFC 3550 §6.6."""

    ssrcs: tuple[Ssrc, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """RFC 3550 §6.7; `name` is four ASCII characters, `data` we send in multiples of four bytes."""

    subtype: int
    ssrc: Ssrc
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pli:
    """RFC 4585 §6.3.1: the receiver needs a keyframe of `media_ssrc`."""

    sender_ssrc: Ssrc
    media_ssrc: Ssrc


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """RFC 4585 §6.2.1: these packets of `media_ssrc` are missing, in the order of asking."""

    sender_ssrc: Ssrc
    media_ssrc: Ssrc
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirEntry:
    """RFC 5104 §4.3.1.1: a keyframe wanted of `ssrc`; a repetition has the same sequence."""

    ssrc: Ssrc
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fir:
    """RFC 5104 §4.3.1."""

    sender_ssrc: Ssrc
    entries: tuple[FirEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Any packet that we do not read: `body` is all behind its first four bytes, unpadded."""

    packet_type: int
    count: int
    body: bytes


RtcpPacket = SenderReport | ReceiverReport | Sdes | Bye | App | Nack | Pli | Fir | Other


def parse_compound_untrusted(data: bytes) -> tuple[RtcpPacket, ...]:
    """All packets in `data`; MalformedError when any of them breaks RFC 3550 appendix A.2."""
    if not 4 <= len(data) <= MAX_RTCP_BYTES or len(data) % 4:
        raise MalformedError(f"RTCP of {len(data)} bytes")
    packets: list[RtcpPacket] = []
    position = 0
    while position < len(data):
        first, packet_type, words = struct.unpack_from("!BBH", data, position)
        end = position + 4 * (words + 1)
        if first >> 6 != _VERSION or packet_type not in _PACKET_TYPES or end > len(data):
            raise MalformedError("RTCP header")
        body = data[position + 4 : end]
        if first & 0x20:
            # RFC 3550 §6.4.1: only the last packet of a compound may be padded.
            if end != len(data):
                raise MalformedError("RTCP padding before the last packet")
            body = _without_padding_untrusted(body)
        packets.append(_parse_untrusted(packet_type, first & 0x1F, body))
        position = end
    return tuple(packets)


def _without_padding_untrusted(body: bytes) -> bytes:
    # RFC 3550 §6.4.1 wants a multiple of four, but libwebrtc pads feedback by one to three.
    padding = body[-1] if body else 0
    if not 1 <= padding <= len(body):
        raise MalformedError("RTCP padding")
    return body[:-padding]


def _parse_untrusted(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    try:
        match packet_type, count:
            case _Type.SR, _:
                ssrc, ntp, ticks, packets, octets = struct.unpack_from("!IQIII", body)
                return SenderReport(
                    ssrc=ssrc,
                    ntp=ntp,
                    timestamp_ticks=ticks,
                    packets=packets,
                    octets=octets,
                    reports=_reports_untrusted(body, 24, count),
                )
            case _Type.RR, _:
                (ssrc,) = struct.unpack_from("!I", body)
                return ReceiverReport(ssrc=ssrc, reports=_reports_untrusted(body, 4, count))
            case _Type.SDES, _:
                return _sdes_untrusted(count, body)
            case _Type.BYE, _:
                return _bye_untrusted(count, body)
            case _Type.APP, _:
                ssrc, name = struct.unpack_from("!I4s", body)
                return App(subtype=count, ssrc=ssrc, name=name.decode("ascii"), data=body[8:])
            case _Type.TRANSPORT_FEEDBACK, _TransportFeedback.NACK:
                sender, media = struct.unpack_from("!II", body)
                return Nack(
                    sender_ssrc=sender, media_ssrc=media, sequences=_nacked_untrusted(body[8:])
                )
            case _Type.PAYLOAD_FEEDBACK, _Feedback.PLI:
                sender, media = struct.unpack("!II", body)
                return Pli(sender_ssrc=sender, media_ssrc=media)
            case _Type.PAYLOAD_FEEDBACK, _Feedback.FIR:
                sender, _ = struct.unpack_from("!II", body)
                entries = [
                    FirEntry(ssrc=ssrc, sequence=sequence)
                    for ssrc, sequence in struct.iter_unpack("!IB3x", body[8:])
                ]
                return Fir(sender_ssrc=sender, entries=tuple(entries))
            case _:
                return Other(packet_type=packet_type, count=count, body=body)
    except (struct.error, UnicodeDecodeError):
        raise MalformedError(f"RTCP packet of type {packet_type}") from None


def _reports_untrusted(body: bytes, offset: int, count: int) -> tuple[ReportBlock, ...]:
    """`count` blocks from `offset` on; what follows is a profile's extension (RFC 3550 §6.4.3)."""
    reports = []
    for position in range(offset, offset + 24 * count, 24):
        ssrc, loss, highest, jitter, last_sr, delay = struct.unpack_from("!IIIIII", body, position)
        lost = loss & 0xFFFFFF
        reports.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=loss >> 24,
                packets_lost=lost - (1 << 24) if lost & 0x800000 else lost,
                highest_sequence=highest,
                jitter_ticks=jitter,
                last_sr=last_sr,
                delay_since_last_sr=delay,
            )
        )
    return tuple(reports)


def _nacked_untrusted(body: bytes) -> tuple[int, ...]:
    """A packet's number, and a bit for each of the 16 that follow it."""
    return tuple(
        (first + distance) & 0xFFFF
        for first, bits in struct.iter_unpack("!HH", body)
        for distance in range(17)
        if distance == 0 or bits >> (distance - 1) & 1
    )


def _sdes_untrusted(count: int, body: bytes) -> Sdes:
    chunks = []
    position = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, position)
        position += 4
        cname = None
        while _byte_untrusted(body, position) != _SDES_END:
            kind = body[position]
            start = position + 2
            position = start + _byte_untrusted(body, position + 1)
            if position > len(body):
                raise MalformedError("SDES item runs past the end")
            if kind == _SDES_CNAME and cname is None:
                cname = body[start:position].decode()
        # RFC 3550 §6.5: one to four zero octets up to the next 32-bit boundary.
        position += 4 - position % 4
        chunks.append(SdesChunk(ssrc=ssrc, cname=cname))
    if position != len(body):
        raise MalformedError("SDES longer than its chunks")
    return Sdes(chunks=tuple(chunks))


def _bye_untrusted(count: int, body: bytes) -> Bye:
    ssrcs = struct.unpack_from(f"!{count}I", body)
    rest = body[4 * count :]
    if not rest:
        return Bye(ssrcs=ssrcs)
    if 1 + rest[0] > len(rest):
        raise MalformedError("BYE reason runs past the end")
    return Bye(ssrcs=ssrcs, reason=rest[1 : 1 + rest[0]].decode())


def _byte_untrusted(data: bytes, position: int) -> int:
    if position >= len(data):
        raise MalformedError("RTCP packet ends early")
    return data[position]


def build_compound(*packets: RtcpPacket) -> bytes:
    """The packets as one compound; LocalProtocolError when a field does not fit its place."""
    try:
        return b"".join(_build(packet) for packet in packets)
    except (struct.error, UnicodeEncodeError) as error:
        raise LocalProtocolError(f"RTCP field out of range: {error}") from None


def _build(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            info = struct.pack(
                "!IQIII",
                packet.ssrc,
                packet.ntp,
                packet.timestamp_ticks,
                packet.packets,
                packet.octets,
            )
            return _framed(_Type.SR, len(packet.reports), info + _blocks(packet.reports))
        case ReceiverReport():
            body = struct.pack("!I", packet.ssrc) + _blocks(packet.reports)
            return _framed(_Type.RR, len(packet.reports), body)
        case Sdes():
            body = b"".join(_chunk(chunk) for chunk in packet.chunks)
            return _framed(_Type.SDES, len(packet.chunks), body)
        case Bye():
            body = struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs)
            if packet.reason is not None:
                text = packet.reason.encode()
                body += _padded(struct.pack("!B", len(text)) + text)
            return _framed(_Type.BYE, len(packet.ssrcs), body)
        case App():
            name = packet.name.encode("ascii")
            if len(name) != 4:
                raise LocalProtocolError("the name of an APP packet has four characters")
            body = struct.pack("!I4s", packet.ssrc, name) + packet.data
            return _framed(_Type.APP, packet.subtype, body)
        case Nack():
            body = struct.pack("!II", packet.sender_ssrc, packet.media_ssrc)
            # One number an entry: a bridge's own requests are the kernel's work.
            body += b"".join(struct.pack("!HH", sequence, 0) for sequence in packet.sequences)
            return _framed(_Type.TRANSPORT_FEEDBACK, _TransportFeedback.NACK, body)
        case Pli():
            body = struct.pack("!II", packet.sender_ssrc, packet.media_ssrc)
            return _framed(_Type.PAYLOAD_FEEDBACK, _Feedback.PLI, body)
        case Fir():
            # RFC 5104 §4.3.1.2: the media source of the common header is 0.
            body = struct.pack("!II", packet.sender_ssrc, 0)
            for entry in packet.entries:
                body += struct.pack("!IB3x", entry.ssrc, entry.sequence)
            return _framed(_Type.PAYLOAD_FEEDBACK, _Feedback.FIR, body)
        case Other():
            return _framed(packet.packet_type, packet.count, packet.body)
        case _:
            assert_never(packet)


def _framed(packet_type: int, count: int, body: bytes) -> bytes:
    if count > _MAX_COUNT or len(body) % 4:
        raise LocalProtocolError(f"RTCP type {packet_type}: {count} items in {len(body)} bytes")
    return struct.pack("!BBH", _VERSION << 6 | count, packet_type, len(body) // 4) + body


def _blocks(reports: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(
        struct.pack(
            "!IB3sIIII",
            report.ssrc,
            report.fraction_lost,
            _signed_24(report.packets_lost),
            report.highest_sequence,
            report.jitter_ticks,
            report.last_sr,
            report.delay_since_last_sr,
        )
        for report in reports
    )


def _signed_24(value: int) -> bytes:
    # RFC 3550 appendix A.3: clamped, not wrapped.
    clamped = max(-0x800000, min(0x7FFFFF, value))
    return clamped.to_bytes(3, "big", signed=True)


def _chunk(chunk: SdesChunk) -> bytes:
    item = b""
    if chunk.cname is not None:
        text = chunk.cname.encode()
        item = struct.pack("!BB", _SDES_CNAME, len(text)) + text
    return struct.pack("!I", chunk.ssrc) + _padded(item + bytes([_SDES_END]))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
