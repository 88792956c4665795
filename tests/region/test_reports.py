from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from region.kernel import EgressStats, StreamStats
from region.reports import Reception, forwarded
from region.rtcp import (
    ReceiverReport,
    ReportBlock,
    SenderReport,
    build_compound,
    parse_compound_untrusted,
)
from relay.ids import Ssrc

SSRC, SLOT = Ssrc(0x1111), Ssrc(0x2222)
NTP = 0x0123_4567_89AB_CDEF
REPORT = SenderReport(ssrc=SSRC, ntp=NTP, timestamp_ticks=90_000, packets=7, octets=900)


def arrived(packets: int, *, base: int = 1_000, highest: int) -> StreamStats:
    return StreamStats(
        packets=packets,
        bytes=100 * packets,
        highest_sequence=highest,
        base_sequence=base,
        jitter_ticks=33,
        level=127,
        last_packet_s=0.0,
        last_timestamp=0,
        given_up=0,
        ssrc=SSRC,
        rtx_ssrc=0,
        payload_type=-1,
        layer_bytes=(0,) * 9,
        spatial_layers=0,
    )


def sent(*, timestamp_offset: int = 0, packets: int = 5, octets: int = 500) -> EgressStats:
    return EgressStats(
        packets=packets,
        bytes=octets,
        stream=1,
        wanted=1,
        timestamp_offset=timestamp_offset,
        last_packet_s=0.0,
    )


def block(reception: Reception, stats: StreamStats, now: float = 0.0) -> ReportBlock:
    made = reception.block(stats, now)
    assert made is not None
    return made


def test_there_is_nothing_to_report_before_the_first_packet() -> None:
    assert Reception(SSRC).block(arrived(0, highest=0, base=0), 1.0) is None


def test_a_stream_without_loss_is_reported_so() -> None:
    made = block(Reception(SSRC), arrived(10, highest=1_009))
    assert made == ReportBlock(
        ssrc=SSRC,
        fraction_lost=0,
        packets_lost=0,
        highest_sequence=1_009,
        jitter_ticks=33,
        last_sr=0,
        delay_since_last_sr=0,
    )


def test_a_quarter_lost_is_64_of_256() -> None:
    made = block(Reception(SSRC), arrived(75, highest=1_099))
    assert (made.fraction_lost, made.packets_lost) == (64, 25)


def test_the_fraction_is_since_the_last_report_and_the_sum_since_the_beginning() -> None:
    reception = Reception(SSRC)
    block(reception, arrived(50, highest=1_099))
    later = block(reception, arrived(150, highest=1_199))
    assert (later.fraction_lost, later.packets_lost) == (0, 50)


def test_all_lost_since_the_last_report_fits_its_byte() -> None:
    reception = Reception(SSRC)
    block(reception, arrived(1, highest=1_000))
    assert block(reception, arrived(1, highest=1_100)).fraction_lost == 255


def test_duplicates_make_the_sum_negative_and_no_fraction() -> None:
    made = block(Reception(SSRC), arrived(12, highest=1_009))
    assert (made.fraction_lost, made.packets_lost) == (0, -2)


def test_two_reports_of_the_same_moment_divide_by_no_zero() -> None:
    reception = Reception(SSRC)
    block(reception, arrived(5, highest=1_009))
    assert block(reception, arrived(5, highest=1_009)).fraction_lost == 0


def test_the_last_sender_report_and_its_age_are_named() -> None:
    reception = Reception(SSRC)
    reception.heard(REPORT, received_s=10.0)
    made = block(reception, arrived(1, highest=1_000), now=10.5)
    # RFC 3550 §6.4.1: the middle 32 bits, and units of 1/65536 s.
    assert made.last_sr == 0x4567_89AB
    assert made.delay_since_last_sr == 32_768


counts = st.integers(0, 1 << 40)


@given(st.lists(st.tuples(counts, counts, counts, st.floats(0, 1e6)), max_size=5))
def test_whatever_was_counted_a_report_can_be_sent(
    counted: list[tuple[int, int, int, float]],
) -> None:
    reception = Reception(SSRC)
    reception.heard(REPORT, received_s=0.0)
    for packets, base, more, now in counted:
        made = reception.block(arrived(packets, base=base, highest=base + more), now)
        if made is None:
            assert packets == 0
            continue
        wire = build_compound(ReceiverReport(ssrc=Ssrc(1), reports=(made,)))
        (parsed,) = parse_compound_untrusted(wire)
        assert isinstance(parsed, ReceiverReport)
        clamped = max(-(1 << 23), min(made.packets_lost, (1 << 23) - 1))
        assert parsed.reports == (replace(made, packets_lost=clamped),)


def test_a_forwarded_report_keeps_the_moment_and_takes_the_egresss_clock_and_counts() -> None:
    made = forwarded(REPORT, SLOT, sent(timestamp_offset=10))
    assert made == SenderReport(
        ssrc=SLOT, ntp=NTP, timestamp_ticks=90_010, packets=5, octets=500, reports=()
    )


def test_a_senders_own_receptions_are_not_forwarded() -> None:
    own = block(Reception(SSRC), arrived(10, highest=1_009))
    assert forwarded(replace(REPORT, reports=(own,)), SLOT, sent()).reports == ()


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**48),
    st.integers(0, 2**48),
)
def test_clock_and_counts_wrap_at_32_bits(
    ticks: int, offset: int, packets: int, octets: int
) -> None:
    report = replace(REPORT, timestamp_ticks=ticks)
    made = forwarded(report, SLOT, sent(timestamp_offset=offset, packets=packets, octets=octets))
    assert made.timestamp_ticks == (ticks + offset) % 2**32
    assert (made.packets, made.octets) == (packets % 2**32, octets % 2**32)
    assert parse_compound_untrusted(build_compound(made)) == (made,)
