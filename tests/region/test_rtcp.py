import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.rtcp import (
    MAX_RTCP_BYTES,
    App,
    Bye,
    Fir,
    FirEntry,
    Other,
    Pli,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    Sdes,
    SdesChunk,
    SenderReport,
    build_compound,
    parse_compound_untrusted,
)
from relay.errors import LocalProtocolError, MalformedError
from relay.ids import Ssrc

U8, U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
SSRCS = U32.map(Ssrc)
COUNTS = st.integers(0, 31)
WORDS = st.integers(0, 16).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
TEXTS = st.text(max_size=60).filter(lambda text: len(text.encode()) < 256)

BLOCKS = st.builds(
    ReportBlock,
    ssrc=SSRCS,
    fraction_lost=U8,
    packets_lost=st.integers(-0x800000, 0x7FFFFF),
    highest_sequence=U32,
    jitter_ticks=U32,
    last_sr=U32,
    delay_since_last_sr=U32,
)
REPORTS = st.lists(BLOCKS, max_size=3).map(tuple)
PACKETS = st.one_of(
    st.builds(
        SenderReport,
        ssrc=SSRCS,
        ntp=U64,
        timestamp_ticks=U32,
        packets=U32,
        octets=U32,
        reports=REPORTS,
    ),
    st.builds(ReceiverReport, ssrc=SSRCS, reports=REPORTS),
    st.builds(
        Sdes,
        chunks=st.lists(st.builds(SdesChunk, ssrc=SSRCS, cname=st.none() | TEXTS), max_size=3).map(
            tuple
        ),
    ),
    st.builds(Bye, ssrcs=st.lists(SSRCS, max_size=3).map(tuple), reason=st.none() | TEXTS),
    st.builds(
        App,
        subtype=COUNTS,
        ssrc=SSRCS,
        name=st.text(st.characters(max_codepoint=0x7F), min_size=4, max_size=4),
        data=WORDS,
    ),
    st.builds(Pli, sender_ssrc=SSRCS, media_ssrc=SSRCS),
    st.builds(
        Fir,
        sender_ssrc=SSRCS,
        entries=st.lists(st.builds(FirEntry, ssrc=SSRCS, sequence=U8), max_size=3).map(tuple),
    ),
    st.builds(Other, packet_type=st.sampled_from([205, 207, 192, 223]), count=COUNTS, body=WORDS),
)
COMPOUNDS = st.lists(PACKETS, min_size=1, max_size=4)


@given(COMPOUNDS)
def test_what_is_built_is_parsed_back(packets: list[RtcpPacket]) -> None:
    assert parse_compound_untrusted(build_compound(*packets)) == tuple(packets)


@given(st.binary(max_size=120))
def test_any_bytes_parse_or_are_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        parse_compound_untrusted(data)


@given(U8, st.integers(192, 223), WORDS)
def test_any_body_parses_or_is_malformed(count: int, packet_type: int, body: bytes) -> None:
    first = 0x80 | count & 0x3F
    with contextlib.suppress(MalformedError):
        parse_compound_untrusted(struct.pack("!BBH", first, packet_type, len(body) // 4) + body)


@given(COMPOUNDS, st.data())
def test_a_cut_compound_is_malformed_or_fewer_packets(
    packets: list[RtcpPacket], data: st.DataObject
) -> None:
    built = build_compound(*packets)
    cut = built[: data.draw(st.integers(0, len(built) - 1))]
    try:
        parsed = parse_compound_untrusted(cut)
    except MalformedError:
        return
    assert parsed == tuple(packets[: len(parsed)])
    assert len(parsed) < len(packets)


def test_a_report_as_on_the_wire() -> None:
    data = bytes.fromhex(
        "81c9 0007 0000002a"  # one block, from 42
        "deadbeef 80 ffffff 0001fffe 00000010 11112222 00010000"
    )
    assert parse_compound_untrusted(data) == (
        ReceiverReport(
            ssrc=Ssrc(42),
            reports=(
                ReportBlock(
                    ssrc=Ssrc(0xDEADBEEF),
                    fraction_lost=128,
                    packets_lost=-1,
                    highest_sequence=0x1FFFE,
                    jitter_ticks=16,
                    last_sr=0x11112222,
                    delay_since_last_sr=65_536,
                ),
            ),
        ),
    )


def test_keyframe_requests_as_on_the_wire() -> None:
    pli = Pli(sender_ssrc=Ssrc(1), media_ssrc=Ssrc(2))
    assert build_compound(pli) == bytes.fromhex("81ce0002 00000001 00000002")
    fir = Fir(sender_ssrc=Ssrc(1), entries=(FirEntry(ssrc=Ssrc(2), sequence=3),))
    assert build_compound(fir) == bytes.fromhex("84ce0004 00000001 00000000 00000002 03000000")


def test_a_canonical_name_is_found_among_other_items() -> None:
    items = b"\x02\x04Anna" + b"\x01\x03a@b" + b"\x06\x00" + b"\x00"
    chunk = struct.pack("!I", 7) + items + bytes(-len(items) % 4)
    data = struct.pack("!BBH", 0x81, 202, len(chunk) // 4) + chunk
    assert parse_compound_untrusted(data) == (Sdes(chunks=(SdesChunk(ssrc=Ssrc(7), cname="a@b"),)),)


def test_padding_of_the_last_packet_is_dropped() -> None:
    pli = build_compound(Pli(sender_ssrc=Ssrc(1), media_ssrc=Ssrc(2)))
    padded = bytes.fromhex("a0c90003 00000009 00000000 00000008")
    assert parse_compound_untrusted(pli + padded)[1] == ReceiverReport(ssrc=Ssrc(9))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "80c9",
        "40c90001 00000001",  # version 1
        "80c80001 00000001",  # a sender report without its sender info
        "81c90001 00000001",  # a block is missing
        "80c90002 00000001",  # longer than the datagram
        "80600001 00000001",  # an RTP payload type
        "a0c90001 00000001 80c90001 00000001",  # padding in the middle
        "a0c90001 00000000",  # no padding in the padding
        "a0c90001 00000003",  # not of words
        "a0c90001 00000008",  # more than there is
        "81ca0002 00000001 01ff6161",  # an item past the end
        "81ca0002 00000001 0102ffff",  # a name in no alphabet, without an end
        "80ca0001 00000000",  # no chunk, yet a body
        "82cb0001 00000001",  # a source is missing
        "81cb0002 00000001 ff616161",  # a reason past the end
        "80cc0001 00000001",  # no name
        "80cc0002 00000001 ff616161",  # a name that is not ASCII
        "81ce0001 00000001",  # a PLI of nobody
        "84ce0003 00000001 00000000 00000001",  # half a FIR entry
    ],
)
def test_a_compound_against_the_rules_is_malformed(data: str) -> None:
    with pytest.raises(MalformedError):
        parse_compound_untrusted(bytes.fromhex(data))


def test_an_oversized_compound_is_malformed() -> None:
    pli = build_compound(Pli(sender_ssrc=Ssrc(1), media_ssrc=Ssrc(2)))
    with pytest.raises(MalformedError):
        parse_compound_untrusted(pli * (MAX_RTCP_BYTES // len(pli) + 1))


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(ssrc=Ssrc(1 << 32)),
        Bye(ssrcs=tuple(map(Ssrc, range(32)))),
        Bye(ssrcs=(), reason="x" * 256),
        App(subtype=0, ssrc=Ssrc(1), name="ABC", data=b""),
        App(subtype=0, ssrc=Ssrc(1), name="ABCÄ", data=b""),
        App(subtype=0, ssrc=Ssrc(1), name="ABCD", data=b"123"),
        App(subtype=32, ssrc=Ssrc(1), name="ABCD", data=b""),
        Other(packet_type=256, count=0, body=b""),
    ],
)
def test_what_does_not_fit_is_our_own_fault(packet: RtcpPacket) -> None:
    with pytest.raises(LocalProtocolError):
        build_compound(packet)


@pytest.mark.parametrize(("lost", "told"), [(1 << 30, 0x7FFFFF), (-(1 << 30), -0x800000)])
def test_a_loss_beyond_24_bits_is_clamped(lost: int, told: int) -> None:
    block = ReportBlock(
        ssrc=Ssrc(1),
        fraction_lost=0,
        packets_lost=lost,
        highest_sequence=0,
        jitter_ticks=0,
        last_sr=0,
        delay_since_last_sr=0,
    )
    built = build_compound(ReceiverReport(ssrc=Ssrc(1), reports=(block,)))
    (parsed,) = parse_compound_untrusted(built)
    assert isinstance(parsed, ReceiverReport)
    assert parsed.reports[0].packets_lost == told
