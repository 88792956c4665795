"""The rates, the queue and the probes that the kernel measures, by what a receiver tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.kernel.report import Path, ProbeReport
from tests.region.sent import answer

WINDOW_US = 500_000
FAR_CLOCK_US = 5_000_000
PROBE = 3


def arrive(
    path: Path, sent_us: int, received_us: int, *, size_bytes: int = 1_000, cluster: int = 0
) -> None:
    number = path.sent(size_bytes, sent_us / 1e6, cluster)
    assert path.feedback(answer((number, FAR_CLOCK_US + received_us)), sent_us / 1e6)


def steady(path: Path, start_us: int, end_us: int, size_bytes: int, *, clock_us: int = 0) -> None:
    for time_us in range(start_us, end_us, 10_000):
        arrive(path, time_us, time_us + clock_us, size_bytes=size_bytes)


def acked_bps(path: Path) -> float | None:
    return path.read(0.0).acked_bps


def test_no_rate_is_known_before_half_a_second() -> None:
    path = Path()
    assert acked_bps(path) is None
    steady(path, 0, WINDOW_US, 1_000)
    assert acked_bps(path) is None


def test_the_rate_is_that_of_the_last_half_second() -> None:
    path = Path()
    steady(path, 0, 1_000_000, 1_000)
    assert acked_bps(path) == pytest.approx(800e3)
    steady(path, 1_000_000, 1_500_010, 250)
    assert acked_bps(path) == pytest.approx(200e3)


def test_the_rate_that_is_sent_falls_while_nothing_is() -> None:
    path = Path()
    for time_us in range(0, 1_000_000, 10_000):
        path.sent(1_000, time_us / 1e6)
    assert path.read(0.99).sent_bps == pytest.approx(800e3)
    assert path.read(1.24).sent_bps == pytest.approx(400e3, rel=0.05)
    assert path.read(1.5).sent_bps is None


def test_after_a_pause_the_rate_is_unknown_again() -> None:
    path = Path()
    steady(path, 0, 1_000_000, 1_000)
    arrive(path, 9_000_000, 9_000_000)
    assert acked_bps(path) is None


def test_a_clock_that_goes_far_back_begins_anew() -> None:
    path = Path()
    steady(path, 0, 1_000_000, 1_000, clock_us=10_000_000)
    steady(path, 1_000_000, 2_000_000, 500, clock_us=-1_000_000)
    assert acked_bps(path) == pytest.approx(400e3)


_received = st.integers(0, 2**40) | st.integers(0, 3_000_000)


@given(st.lists(st.tuples(st.integers(0, 1_500), _received)))
def test_no_order_of_times_makes_a_rate_of_more_than_came(amounts: list[tuple[int, int]]) -> None:
    path = Path()
    for size_bytes, received_us in amounts:
        arrive(path, 0, received_us, size_bytes=size_bytes)
        bps = acked_bps(path)
        assert bps is None or 0 <= bps <= sum(size for size, _ in amounts) * 16


def test_the_queue_is_what_delays_more_than_the_least() -> None:
    path = Path()
    arrive(path, 0, 0)
    assert path.read(0.0).queue_s == 0.0
    arrive(path, 100_000, 200_000)
    assert path.read(0.1).queue_s == pytest.approx(0.1)


def test_of_what_is_told_together_the_least_delay_counts() -> None:
    path = Path()
    arrive(path, 0, 0)
    sent_us = FAR_CLOCK_US + 100_000
    told = [(path.sent(1_000, 0.1), sent_us + delay_us) for delay_us in (70_000, 20_000, 40_000)]
    assert path.feedback(answer(*told), 0.2)
    assert path.read(0.2).queue_s == pytest.approx(0.02)


def test_a_longer_route_is_no_queue_after_a_while() -> None:
    path = Path()
    for tenth in range(300):
        sent_us = tenth * 100_000
        arrive(path, sent_us, sent_us + (25_000 if tenth < 50 else 105_000))
    assert path.read(30.0).queue_s == 0.0


def probe(path: Path, cluster: int, sent_us: int, received_us: int, *, at_us: int = 0) -> None:
    """Five packets of 1,000 bytes, sent and received at such intervals."""
    for each in range(5):
        arrive(path, at_us + each * sent_us, at_us + each * received_us, cluster=cluster)


def probed(path: Path) -> ProbeReport:
    report = path.read(0.0).probe
    assert report is not None
    return report


def rates(report: ProbeReport) -> list[float]:
    """Sent and received."""
    return [report.sent_bps, report.received_bps]


def test_a_probe_is_measured_by_when_its_packets_left_and_came() -> None:
    path = Path()
    probe(path, PROBE, 8_000, 10_000)
    report = probed(path)
    assert report[:3] == (PROBE, 5, 5_000)
    assert rates(report) == pytest.approx([1e6, 800e3])


def test_a_probe_is_told_when_there_is_news_of_it() -> None:
    path = Path()
    arrive(path, 0, 0)
    assert path.read(0.0).probe is None
    arrive(path, 0, 0, cluster=PROBE)
    assert probed(path).packets == 1
    arrive(path, 0, 0)
    assert path.read(0.0).probe is None
    arrive(path, 0, 0, cluster=PROBE)
    assert probed(path).packets == 3


def test_media_amidst_a_probe_counts_and_media_around_it_does_not() -> None:
    path = Path()
    probe(path, 0, 100, 100)
    for each in range(5):
        at_us = 100_000 + each * 8_000
        arrive(path, at_us, at_us, cluster=PROBE)
        if each < 4:
            arrive(path, at_us + 4_000, at_us + 4_000)
    probe(path, 0, 100, 100, at_us=200_000)
    report = probed(path)
    assert report[:3] == (PROBE, 9, 9_000)
    assert rates(report) == pytest.approx([2e6, 2e6])


def test_the_next_probe_is_measured_by_itself() -> None:
    path = Path()
    probe(path, PROBE, 8_000, 8_000)
    probe(path, PROBE + 1, 4_000, 4_000, at_us=100_000)
    report = probed(path)
    assert report[:3] == (PROBE + 1, 5, 5_000)
    assert rates(report) == pytest.approx([2e6, 2e6])


def test_of_the_probe_before_nothing_more_is_measured() -> None:
    path = Path()
    late = path.sent(1_000, 0.0, PROBE)
    probe(path, PROBE + 1, 8_000, 8_000)
    before = probed(path)
    assert path.feedback(answer((late, FAR_CLOCK_US + 50_000)), 0.1)
    assert path.read(0.1).probe is None
    assert before.packets == 5


def test_the_numbers_of_probes_begin_anew() -> None:
    path = Path()
    probe(path, 65_535, 8_000, 8_000)
    probe(path, 1, 8_000, 8_000, at_us=100_000)
    assert probed(path).cluster == 1


def test_times_that_tell_no_rate_are_told_as_none() -> None:
    path = Path()
    probe(path, PROBE, 0, 8_000)
    assert rates(probed(path)) == pytest.approx([0.0, 1e6])
    probe(path, PROBE + 1, 8_000, 0, at_us=100_000)
    assert rates(probed(path)) == pytest.approx([1e6, 0.0])
    probe(path, PROBE + 2, 300_000, 300_000, at_us=200_000)
    assert rates(probed(path)) == [0.0, 0.0]
