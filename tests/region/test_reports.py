from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from region.kernel import StreamStats
from region.reports import Reception
from region.rtcp import (
    ReceiverReport,
    ReportBlock,
    build_compound,
    parse_compound_untrusted,
)
from relay.ids import Ssrc

SSRC = Ssrc(0x1111)


def arrived(
    packets: int,
    *,
    base: int = 1_000,
    highest: int,
    report_ntp: int = 0,
    reported_s: float = 0.0,
) -> StreamStats:
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
        report_ntp=report_ntp,
        reported_s=reported_s,
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
    stats = arrived(1, highest=1_000, report_ntp=0x4567_89AB, reported_s=10.0)
    made = block(Reception(SSRC), stats, now=10.5)
    # RFC 3550 §6.4.1: units of 1/65536 s.
    assert made.last_sr == 0x4567_89AB
    assert made.delay_since_last_sr == 32_768


def test_one_that_came_a_moment_after_the_clock_was_read_has_no_age() -> None:
    stats = arrived(1, highest=1_000, report_ntp=7, reported_s=10.5)
    assert block(Reception(SSRC), stats, now=10.0).delay_since_last_sr == 0


counts = st.integers(0, 1 << 40)


@given(st.lists(st.tuples(counts, counts, counts, st.floats(0, 1e6)), max_size=5))
def test_whatever_was_counted_a_report_can_be_sent(
    counted: list[tuple[int, int, int, float]],
) -> None:
    reception = Reception(SSRC)
    for packets, base, more, now in counted:
        stats = arrived(packets, base=base, highest=base + more, report_ntp=1)
        made = reception.block(stats, now)
        if made is None:
            assert packets == 0
            continue
        wire = build_compound(ReceiverReport(ssrc=Ssrc(1), reports=(made,)))
        (parsed,) = parse_compound_untrusted(wire)
        assert isinstance(parsed, ReceiverReport)
        clamped = max(-(1 << 23), min(made.packets_lost, (1 << 23) - 1))
        assert parsed.reports == (replace(made, packets_lost=clamped),)
