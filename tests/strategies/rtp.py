"""RTP packets as hypothesis makes them."""

import struct

from hypothesis import strategies as st

KEYFRAME = b"\x10\x00"
"""A VP8 payload descriptor with S set, then a payload header with P clear."""
DELTA = b"\x10\x01"


def rtp(
    *,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload_type: int = 96,
    payload: bytes = b"x",
    marker: bool = False,
    extensions: tuple[tuple[int, bytes], ...] = (),
    two_byte: bool = False,
    csrcs: tuple[int, ...] = (),
    padding: int = 0,
) -> bytes:
    """RFC 3550 §5.1 and RFC 8285, by hand."""
    first = 0x80 | bool(padding) << 5 | bool(extensions) << 4 | len(csrcs)
    data = struct.pack(
        "!BBHII", first, marker << 7 | payload_type, sequence % 65536, timestamp % 2**32, ssrc
    )
    data += struct.pack(f"!{len(csrcs)}I", *csrcs)
    if extensions:
        body = b"".join(
            (bytes([number, len(value)]) if two_byte else bytes([number << 4 | len(value) - 1]))
            + value
            for number, value in extensions
        )
        body += bytes(-len(body) % 4)
        data += struct.pack("!HH", 0x1000 if two_byte else 0xBEDE, len(body) // 4) + body
    return data + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


@st.composite
def rtp_packets(draw: st.DrawFn, *, ssrc: int, sequence: int, payload_type: int = 96) -> bytes:
    """A well-formed packet with any extensions, CSRCs and padding."""
    two_byte = draw(st.booleans())
    element = (
        st.tuples(st.integers(1, 40), st.binary(max_size=30))
        if two_byte
        else st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16))
    )
    return rtp(
        sequence=sequence,
        timestamp=draw(st.integers(0, 2**32 - 1)),
        ssrc=ssrc,
        payload_type=payload_type,
        payload=draw(st.binary(max_size=60)),
        marker=draw(st.booleans()),
        extensions=tuple(draw(st.lists(element, max_size=12))),
        two_byte=two_byte,
        csrcs=tuple(draw(st.lists(st.integers(0, 2**32 - 1), max_size=15))),
        padding=draw(st.integers(0, 20)),
    )


def near_wrap(modulus: int) -> st.SearchStrategy[int]:
    """A number to begin with, half of the time so that it wraps soon."""
    return st.integers(0, modulus - 1) | st.integers(modulus - 20, modulus - 1)
