"""What the oracle reads from payloads: VP8 descriptors, keyframes of each codec, RED.

Written from RFC 7741 (VP8), RFC 9628 (VP9), RFC 6184 (H.264), the AV1 RTP specification
and RFC 2198 (RED); all of it without a payload's padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from relay.errors import MalformedError
from relay.payload import PayloadType

_IDR, _SPS = 5, 7
_STAP_A, _FU_A = 24, 28
MAX_BLOCKS = 9
"""Of a RED payload: more of them is nonsense, as is a primary one with nothing in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """RFC 7741 §4.2: the descriptor before VP8's own bytes."""

    begins: bool
    """S set and PID 0: the first packet of a frame."""
    keyframe: bool
    """The first packet of a keyframe."""
    picture_id: int | None
    bits: int
    """7 or 15, of the picture id."""
    tl0picidx: int | None
    temporal: int | None
    sync: bool
    """Y: frames of this layer and above need nothing but the base layer from before it."""
    picture_at: int
    tl0_at: int
    """Where they are in the payload."""


def parse_picture_untrusted(payload: bytes) -> Picture:
    """The descriptor of a VP8 payload; MalformedError where it reaches past the end."""
    try:
        return _picture(payload)
    except IndexError:
        raise MalformedError("VP8 descriptor") from None


def _picture(payload: bytes) -> Picture:
    first, at = payload[0], 1
    flags = 0
    if first & 0x80:
        flags, at = payload[1], 2
    picture_id, bits, picture_at = None, 0, at
    if flags & 0x80:
        if payload[at] & 0x80:
            picture_id, bits = int.from_bytes(payload[at : at + 2]) & 0x7FFF, 15
        else:
            picture_id, bits = payload[at], 7
        at += (bits + 1) // 8
    tl0picidx, tl0_at = None, at
    if flags & 0x40:
        tl0picidx = payload[at]
        at += 1
    temporal, sync = None, False
    if flags & 0x30:
        if flags & 0x20:
            temporal, sync = payload[at] >> 6, bool(payload[at] & 0x20)
        at += 1
    begins = first & 0x17 == 0x10
    return Picture(
        begins=begins,
        keyframe=not payload[at] & 1 and begins,
        picture_id=picture_id,
        bits=bits,
        tl0picidx=tl0picidx,
        temporal=temporal,
        sync=sync,
        picture_at=picture_at,
        tl0_at=tl0_at,
    )


def with_numbers(
    payload: bytes, picture: Picture, *, picture_id: int | None, tl0picidx: int | None
) -> bytes:
    """The payload with other numbers, each cut to the width that the descriptor has for it."""
    changed = bytearray(payload)
    if picture_id is not None and picture.bits == 15:
        number = 0x8000 | picture_id & 0x7FFF
        changed[picture.picture_at : picture.picture_at + 2] = number.to_bytes(2)
    elif picture_id is not None and picture.bits == 7:
        changed[picture.picture_at] = picture_id & 0x7F
    if tl0picidx is not None and picture.tl0picidx is not None:
        changed[picture.tl0_at] = tl0picidx & 0xFF
    return bytes(changed)


def begins_keyframe(payload_type: int, payload: bytes) -> bool:
    """Whether a decoder can begin with this packet, as far as the payload tells."""
    if len(payload) < 2:
        return False  # nothing is behind the first byte
    try:
        match payload_type:
            case PayloadType.VP8:
                return _picture(payload).keyframe
            case PayloadType.VP9:
                return _begins_vp9_keyframe(payload)
            case PayloadType.H264:
                return _begins_h264_keyframe(payload)
            case PayloadType.AV1:
                # AV1 RTP specification §4.4: N, the first packet of a coded video sequence.
                return bool(payload[0] & 0x08)
            case _:
                return False
    except IndexError:
        return False


def _begins_vp9_keyframe(payload: bytes) -> bool:
    """RFC 9628 §4.2: B set, P clear, and of the lowest spatial layer."""
    first = payload[0]
    if first & 0x48 != 0x08:
        return False
    at = 1
    if first & 0x80:
        at += 2 if payload[at] & 0x80 else 1
    return not first & 0x20 or payload[at] >> 1 & 7 == 0


def _begins_h264_keyframe(payload: bytes) -> bool:
    """RFC 6184 §5.2: an IDR slice or what goes before it, alone, aggregated, or its first part."""
    kind = payload[0] & 31
    if kind == _FU_A:
        return bool(payload[1] & 0x80) and payload[1] & 31 in (_IDR, _SPS)
    if kind == _STAP_A:
        at = 1
        while at + 2 < len(payload):
            if payload[at + 2] & 31 in (_IDR, _SPS):
                return True
            at += 2 + int.from_bytes(payload[at : at + 2])
        return False
    return kind in (_IDR, _SPS)


def _red_headers_untrusted(payload: bytes) -> tuple[list[int], int]:
    """Where block headers stand, and where the primary block begins."""
    headers, at, redundant = [], 0, 0
    while True:
        if at >= len(payload):
            raise MalformedError("RED header")
        headers.append(at)
        if not payload[at] & 0x80:
            break
        if at + 4 > len(payload):
            raise MalformedError("RED header")
        redundant += int.from_bytes(payload[at + 2 : at + 4]) & 0x3FF
        at += 4
    if at + 1 + redundant >= len(payload) or len(headers) > MAX_BLOCKS:
        raise MalformedError("RED blocks")
    return headers, at + 1 + redundant


def red_renumbered_untrusted(payload: bytes, numbers: Mapping[int, int]) -> bytes:
    """RFC 2198 §3: the blocks' payload types in another numbering; MalformedError."""
    changed = bytearray(payload)
    headers, _ = _red_headers_untrusted(payload)
    for at in headers:
        number = numbers.get(payload[at] & 0x7F)
        if number is None:
            raise MalformedError("RED payload type")
        changed[at] = payload[at] & 0x80 | number
    return bytes(changed)


def red_primary_untrusted(payload: bytes) -> tuple[int, bytes]:
    """The primary block alone and its payload type; MalformedError."""
    headers, primary = _red_headers_untrusted(payload)
    return payload[headers[-1]] & 0x7F, payload[primary:]
