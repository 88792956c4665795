from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from region.gcc import BandwidthEstimator
from region.kernel.report import Path as SentPath
from region.kernel.report import PathReport, ProbeReport, Usage
from tests.region.arrivals import ArrivalRecorder
from tests.region.link import Link, Path, Sample


def mean_share(samples: list[Sample], capacity_bps: float) -> float:
    return sum(sample.estimate_bps for sample in samples) / len(samples) / capacity_bps


def link(capacity_bps: float, **more: float) -> Link:
    """A quarter of a second of queue, but room for a few frames at least."""
    return Link(
        capacity_bps=capacity_bps,
        limit_bytes=max(60_000, int(capacity_bps / 32)),
        propagation_us=int(more.get("propagation_us", 25_000)),
        jitter_us=int(more.get("jitter_us", 0)),
        loss=more.get("loss", 0.0),
    )


@pytest.mark.parametrize("propagation_us", [5_000, 25_000, 100_000])
@pytest.mark.parametrize("capacity_bps", [250e3, 500e3, 2e6, 10e6])
def test_the_estimate_finds_what_the_path_carries(capacity_bps: float, propagation_us: int) -> None:
    path = Path(link(capacity_bps, propagation_us=propagation_us))
    samples = path.run(25)
    found = next(s for s in samples if 0.8 * capacity_bps <= s.estimate_bps < 1.05 * capacity_bps)
    assert found.time_s - samples[0].time_s < 5
    settled = samples[50:]
    assert 0.8 <= mean_share(settled, capacity_bps) <= 1.05
    assert max(sample.queue_s for sample in settled) < 0.25


def test_the_queue_stays_short_on_average() -> None:
    samples = Path(link(2e6)).run(25)[50:]
    assert sum(sample.queue_s for sample in samples) / len(samples) < 0.05


@pytest.mark.parametrize("jitter_us", [0, 10_000])
@pytest.mark.parametrize("limit_bytes", [20_000, 60_000, 200_000])
@pytest.mark.parametrize("propagation_us", [5_000, 25_000, 100_000])
def test_the_estimate_follows_the_path_down_and_up(
    propagation_us: int, limit_bytes: int, jitter_us: int
) -> None:
    path = Path(
        Link(
            capacity_bps=2e6,
            propagation_us=propagation_us,
            limit_bytes=limit_bytes,
            jitter_us=jitter_us,
        )
    )
    path.run(10)
    for capacity_bps in (500e3, 250e3):
        path.link.capacity_bps = capacity_bps
        samples = path.run(10)
        assert any(s.estimate_bps < 1.1 * capacity_bps and s.queue_s < 0.1 for s in samples[:50])
        assert mean_share(samples[50:], capacity_bps) < 1.1
        assert max(sample.queue_s for sample in samples[50:]) < 0.3
    path.link.capacity_bps = 2e6
    assert any(sample.estimate_bps >= 0.7 * 2e6 for sample in path.run(5))


def test_after_a_fall_nothing_more_is_queued_and_what_is_drains() -> None:
    path = Path(link(2e6))
    path.run(10)
    path.link.capacity_bps = 500e3
    samples = path.run(5)
    fallen = next(index for index, s in enumerate(samples) if s.estimate_bps < 550e3)
    assert fallen < 20
    drained = next(index for index, s in enumerate(samples[10:]) if s.queue_s < 0.05)
    assert drained < 30


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity_bps", [250e3, 2e6])
def test_two_percent_of_random_loss_is_no_congestion(capacity_bps: float, seed: int) -> None:
    lossy = link(capacity_bps, loss=0.02)
    lossy.random = Random(seed)
    samples = Path(lossy).run(25)[50:]
    assert mean_share(samples, capacity_bps) >= 0.8
    assert min(sample.estimate_bps for sample in samples) >= 0.6 * capacity_bps


def test_heavy_loss_is_congestion() -> None:
    path = Path(link(2e6))
    path.run(5)
    path.link.loss = 0.4
    path.run(5)
    assert path.estimator.estimate_bps < 1e6


def test_after_heavy_loss_the_estimate_comes_back() -> None:
    path = Path(link(2e6))
    path.run(5)
    path.link.loss = 0.4
    path.run(5)
    path.link.loss = 0.0
    assert any(sample.estimate_bps >= 0.7 * 2e6 for sample in path.run(7))


def test_packets_out_of_order_are_no_loss() -> None:
    """One in five is told lost first and arrives with the next feedback."""
    estimator, path, recorder = (
        BandwidthEstimator(300_000, 50_000, 2_000_000),
        SentPath(),
        ArrivalRecorder(),
    )
    late: list[int] = []
    for turn in range(200):
        arrived_us = 1_000_000 + turn * 50_000
        arrivals = [(sequence, arrived_us) for sequence in late]
        late = []
        for each in range(20):
            sent_us = arrived_us + each * 2_500
            sequence = path.sent(100, sent_us / 1e6)
            if each % 5 == 0:
                late.append(sequence)
            else:
                arrivals.append((sequence, sent_us + 20_000))
        recorder.arrived(arrivals)
        now = arrived_us / 1e6 + 0.07
        assert all(path.feedback(fci, now) for fci in recorder.feedback())
        estimator.on_report(path.read(now), now)
    assert estimator.estimate_bps >= 300_000


def test_a_bump_in_the_delay_takes_little_from_who_sends_little() -> None:
    """What arrives is far less than what the path carries, and says nothing of it."""
    path = Path(link(2e6), source_bps=200e3)
    path.run(10)
    before_bps = path.estimator.estimate_bps
    assert before_bps > 1.5e6
    for _ in range(90):
        path.link.propagation_us += 1_000
        path.run(0.01)
    assert Usage.OVER in {report.usage for report in path.reports[-9:]}
    assert path.estimator.estimate_bps > 0.5 * before_bps


def test_a_sender_with_little_to_send_keeps_what_it_knows() -> None:
    samples = Path(link(2e6, jitter_us=5_000), source_bps=300e3).run(30)[50:]
    assert mean_share(samples, 2e6) >= 0.8
    assert min(sample.estimate_bps for sample in samples) >= 0.6 * 2e6


def test_what_is_of_no_use_is_not_looked_for() -> None:
    path = Path(link(10e6), source_bps=500e3)
    path.estimator.on_wanted(1_000_000)
    path.run(20)
    assert 800_000 <= path.estimator.estimate_bps <= 2_000_000


def test_without_feedback_the_estimate_retreats_and_comes_back_with_it() -> None:
    path = Path(link(2e6))
    path.run(10)
    before_bps = path.estimator.estimate_bps
    path.answers = False
    silent = path.run(5)
    assert silent[5].estimate_bps > 0.8 * before_bps
    assert silent[-1].estimate_bps < 0.4 * before_bps
    path.answers = True
    assert any(sample.estimate_bps >= 0.7 * 2e6 for sample in path.run(8))


def test_silence_of_a_sender_that_sends_nothing_means_nothing() -> None:
    path = Path(link(2e6), source_bps=300e3, audio=False)
    path.run(10)
    path.source_bps = 0.0
    path.estimator.on_wanted(0)
    path.run(1)
    before_bps = path.estimator.estimate_bps
    path.run(20)
    assert path.estimator.estimate_bps == before_bps


def test_a_receiver_that_reports_loss_alone_is_followed_by_loss_alone() -> None:
    estimator = BandwidthEstimator(300_000, 50_000, 2_000_000)
    for second in range(10):
        estimator.on_loss(0.0, float(second))
    grown_bps = estimator.estimate_bps
    assert 500_000 < grown_bps < 700_000
    estimator.on_loss(0.5, 10.0)
    assert estimator.estimate_bps == pytest.approx(0.75 * grown_bps, rel=1e-3)


def test_receiver_reports_are_not_counted_twice() -> None:
    path = Path(link(2e6))
    path.run(5)
    before_bps = path.estimator.estimate_bps
    path.estimator.on_loss(0.9, path.now_s)
    assert path.estimator.estimate_bps == before_bps


_rates = st.none() | st.floats(0, 1e12)
_times_s = st.none() | st.floats(0, 1e6)


@settings(max_examples=50)
@given(
    st.lists(
        st.builds(
            PathReport,
            usage=st.sampled_from(Usage),
            heard=st.booleans(),
            acked_bps=_rates,
            sent_bps=_rates,
            queue_s=st.floats(0, 1e12),
            acked_packets=st.integers(0, 4_096),
            lost_packets=st.integers(-4_096, 4_096),
            rtt_s=_times_s,
            unanswered_s=_times_s,
            never_sent=st.integers(0, 100),
            probe=st.none()
            | st.builds(
                ProbeReport,
                cluster=st.integers(1, 3),
                packets=st.integers(0, 20),
                size_bytes=st.integers(0, 30_000),
                sent_bps=st.floats(0, 1e12),
                received_bps=st.floats(0, 1e12),
            ),
        ),
        max_size=40,
    )
)
def test_whatever_a_receiver_claims_the_estimate_stays_within_its_bounds(
    reports: list[PathReport],
) -> None:
    estimator = BandwidthEstimator(300_000, 50_000, 2_000_000)
    for index, report in enumerate(reports):
        now = 1.0 + index * 0.1
        estimator.on_report(report, now)
        estimator.on_timer(now)
        estimator.next_probe(now)
        assert 50_000 <= estimator.estimate_bps <= 2_000_000


def test_probes_have_ids_of_their_own() -> None:
    estimator = BandwidthEstimator(300_000, 50_000, 2_000_000)
    plans = [plan for now in range(0, 30, 3) if (plan := estimator.next_probe(float(now)))]
    assert len(plans) > 3
    assert all(before.cluster < after.cluster for before, after in pairwise(plans))
