import pytest

from region.probing import INTERVAL_S, MIN_PACKETS, ProbePlan, Prober
from region.sent import ClusterId, PacketResult

MANY = 100e6


def prober() -> Prober:
    return Prober(300e3, 20e6)


def first_plan(prober: Prober) -> ProbePlan:
    plan = prober.next_probe(300e3, MANY, 0.0)
    assert plan is not None
    return plan


def results(
    cluster: ClusterId | None, count: int, sent_us: int, received_us: int, *, at_us: int = 0
) -> list[PacketResult]:
    """Packets of 1,000 bytes, sent and received at such intervals."""
    return [
        PacketResult(
            each, 1_000, at_us + each * sent_us, at_us + each * received_us, cluster, False
        )
        for each in range(count)
    ]


def test_the_first_probe_is_at_three_times_the_start() -> None:
    plan = first_plan(prober())
    assert (plan.rate_bps, plan.packets) == (900_000, MIN_PACKETS)
    assert plan.bytes == 900_000 * 15 // 8_000


def test_there_is_one_probe_at_a_time() -> None:
    probing = prober()
    first_plan(probing)
    assert probing.next_probe(300e3, MANY, 0.5) is None


def test_a_path_that_carries_the_probe_is_probed_at_twice_that() -> None:
    probing = prober()
    plan = first_plan(probing)
    measured = probing.on_results(results(plan.cluster, 5, 8_889, 8_889), 0.1)
    assert measured == pytest.approx(900e3, rel=1e-3)
    second = probing.next_probe(900e3, MANY, 0.2)
    assert second is not None
    assert second.cluster != plan.cluster
    assert second.rate_bps == pytest.approx(1.8e6, rel=1e-3)


def test_a_path_that_spreads_the_probe_shows_what_it_carries() -> None:
    probing = prober()
    plan = first_plan(probing)
    measured = probing.on_results(results(plan.cluster, 5, 8_889, 20_000), 0.1)
    assert measured == pytest.approx(0.95 * 400e3)
    assert probing.next_probe(380e3, MANY, 0.2) is None
    assert probing.next_probe(380e3, MANY, INTERVAL_S) is not None


def test_media_amidst_the_probe_counts() -> None:
    probing = prober()
    plan = first_plan(probing)
    marked = results(plan.cluster, 5, 8_000, 8_000)
    media = results(None, 5, 8_000, 8_000, at_us=4_000)
    mixed = sorted(marked + media, key=lambda result: result.sent_us)
    assert probing.on_results(mixed, 0.1) == pytest.approx(2e6)


def test_media_before_and_behind_the_probe_does_not_count() -> None:
    probing = prober()
    plan = first_plan(probing)
    before = results(None, 5, 100, 100)
    behind = results(None, 5, 100, 100, at_us=200_000)
    marked = results(plan.cluster, 5, 8_000, 8_000, at_us=100_000)
    assert probing.on_results(before + marked + behind, 0.1) == pytest.approx(1e6)


def test_a_probe_may_be_told_in_several_feedbacks() -> None:
    probing = prober()
    cluster = results(first_plan(probing).cluster, 5, 8_000, 8_000)
    assert probing.on_results(cluster[:2], 0.1) is None
    assert probing.on_results(cluster[2:], 0.1) == pytest.approx(1e6)


def test_a_probe_of_which_little_arrived_measures_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_results(results(plan.cluster, 3, 8_000, 8_000), 0.1) is None
    assert probing.next_probe(300e3, MANY, 1.5) is None
    assert probing.next_probe(300e3, MANY, INTERVAL_S) is not None


def test_a_result_that_comes_too_late_measures_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_results(results(plan.cluster, 5, 8_000, 8_000), 1.1) is None


def test_arrivals_that_were_held_back_measure_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_results(results(plan.cluster, 5, 8_000, 100), 0.1) is None


def test_a_burst_at_one_moment_measures_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_results(results(plan.cluster, 5, 0, 8_000), 0.1) is None


def test_no_probe_looks_for_more_than_twice_what_is_wanted() -> None:
    plan = prober().next_probe(300e3, 350e3, 0.0)
    assert plan is not None
    assert plan.rate_bps == 700_000


def test_there_is_no_probe_when_no_more_is_wanted() -> None:
    assert prober().next_probe(300e3, 300e3, 0.0) is None


def test_there_is_no_probe_beyond_the_most_that_is_allowed() -> None:
    assert Prober(300e3, 300e3).next_probe(300e3, MANY, 0.0) is None


def test_a_full_path_is_left_alone_for_an_interval() -> None:
    probing = prober()
    plan = first_plan(probing)
    probing.stop(0.1)
    assert probing.on_results(results(plan.cluster, 5, 8_000, 8_000), 0.1) is None
    assert probing.next_probe(300e3, MANY, 0.2) is None
    assert probing.next_probe(300e3, MANY, 0.1 + INTERVAL_S) is not None
