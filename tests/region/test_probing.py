import pytest

from region.kernel.report import ProbeReport
from region.probing import (
    INTERVAL_S,
    MIN_BYTES,
    MIN_DURATION_S,
    RETRY_S,
    ProbePlan,
    Prober,
)

MANY = 100e6


def prober() -> Prober:
    return Prober(300e3, 20e6)


def first_plan(prober: Prober) -> ProbePlan:
    plan = prober.next_probe(300e3, MANY, 0.0)
    assert plan is not None
    return plan


def report(
    plan: ProbePlan, sent_bps: float, received_bps: float, *, packets: int = 5, share: float = 1.0
) -> ProbeReport:
    size_bytes = int(plan.rate_bps * plan.duration_s / 8 * share) + 1
    return ProbeReport(plan.cluster, packets, size_bytes, sent_bps, received_bps)


def test_the_first_probe_is_at_three_times_the_start() -> None:
    plan = first_plan(prober())
    assert plan.rate_bps == 900_000
    assert plan.duration_s == MIN_DURATION_S


def test_a_slow_probe_lasts_until_it_is_more_than_a_link_lets_pass_at_once() -> None:
    plan = Prober(50e3, 20e6).next_probe(50e3, MANY, 0.0)
    assert plan is not None
    assert plan.rate_bps * plan.duration_s / 8 == pytest.approx(MIN_BYTES)


def test_no_probe_tells_of_more_than_it_sought() -> None:
    """Media that fell into it may have made more of it for a moment."""
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 1_800e3, 1_800e3), 0.1) == 900e3


def test_there_is_one_probe_at_a_time() -> None:
    probing = prober()
    first_plan(probing)
    assert probing.next_probe(300e3, MANY, 0.5) is None


def test_a_path_that_carries_the_probe_is_probed_at_twice_that() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 920e3, 900e3), 0.1) == 900e3
    second = probing.next_probe(900e3, MANY, 0.2)
    assert second is not None
    assert second.cluster != plan.cluster
    assert second.rate_bps == 1_800_000


def test_a_path_that_spreads_the_probe_shows_what_it_carries() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 900e3, 400e3), 0.1) == pytest.approx(0.95 * 400e3)


def test_what_is_not_met_is_probed_again_soon_and_then_left_alone_for_an_interval() -> None:
    probing = prober()
    now = 0.0
    for wait_s in (RETRY_S, INTERVAL_S, RETRY_S, INTERVAL_S):
        plan = probing.next_probe(300e3, MANY, now)
        assert plan is not None
        probing.on_report(report(plan, plan.rate_bps, plan.rate_bps / 2), now + 0.1)
        assert probing.next_probe(300e3, MANY, now + wait_s - 0.1) is None
        now += wait_s


def test_less_than_is_known_is_believed_when_two_probes_say_so() -> None:
    """Probes are short: what an end does elsewhere for some milliseconds looks like a limit."""
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 900e3, 200e3), 0.1) is None
    second = probing.next_probe(300e3, MANY, RETRY_S)
    assert second is not None
    told = probing.on_report(report(second, 600e3, 200e3), RETRY_S + 0.1)
    assert told == pytest.approx(0.95 * 200e3)


def test_a_probe_that_is_met_makes_good_for_one_that_was_not() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 900e3, 200e3), 0.1) is None
    second = probing.next_probe(300e3, MANY, RETRY_S)
    assert second is not None
    assert probing.on_report(report(second, 600e3, 600e3), RETRY_S + 0.1) == 600e3
    third = probing.next_probe(600e3, MANY, RETRY_S + 0.2)
    assert third is not None
    assert probing.on_report(report(third, 1_200e3, 300e3), RETRY_S + 0.3) is None


def test_a_probe_may_be_told_in_several_reports() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 900e3, 900e3, packets=2, share=0.4), 0.1) is None
    assert probing.on_report(None, 0.1) is None
    assert probing.on_report(report(plan, 900e3, 900e3), 0.1) == 900e3


@pytest.mark.parametrize(("packets", "share"), [(3, 1.0), (5, 0.7)])
def test_a_probe_of_which_little_arrived_measures_nothing(packets: int, share: float) -> None:
    probing = prober()
    plan = first_plan(probing)
    told = report(plan, 900e3, 900e3, packets=packets, share=share)
    assert probing.on_report(told, 0.1) is None
    assert probing.next_probe(300e3, MANY, 0.9) is None
    assert probing.next_probe(300e3, MANY, 1.1) is not None


def test_a_result_that_comes_too_late_measures_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 900e3, 900e3), 1.1) is None


def test_the_result_of_another_probe_measures_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    other = report(plan, 900e3, 900e3)._replace(cluster=plan.cluster + 1)
    assert probing.on_report(other, 0.1) is None


def test_arrivals_that_were_held_back_measure_nothing() -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, 900e3, 9e6), 0.1) is None


@pytest.mark.parametrize(("sent_bps", "received_bps"), [(0.0, 900e3), (900e3, 0.0)])
def test_rates_that_cannot_be_told_measure_nothing(sent_bps: float, received_bps: float) -> None:
    probing = prober()
    plan = first_plan(probing)
    assert probing.on_report(report(plan, sent_bps, received_bps), 0.1) is None
    assert probing.next_probe(300e3, MANY, 0.2) is None


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
    assert probing.on_report(report(plan, 900e3, 900e3), 0.1) is None
    assert probing.next_probe(300e3, MANY, 0.2) is None
    assert probing.next_probe(300e3, MANY, 0.1 + INTERVAL_S) is not None


def test_ids_of_probes_begin_anew_before_the_kernel_has_no_room_for_them() -> None:
    probing = prober()
    clusters = []
    for turn in range(65_537):
        plan = probing.next_probe(300e3, MANY, turn * INTERVAL_S)
        assert plan is not None
        clusters.append(plan.cluster)
    assert clusters[:2] == [1, 2]
    assert clusters[-3:] == [65_535, 1, 2]
    assert 0 not in clusters
