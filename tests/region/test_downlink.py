"""What the kernel is told of one receiver's path, and how often."""

import pytest

from region.downlink import (
    LEAST_RTT_S,
    MAX_BPS,
    MIN_BPS,
    REPEATS_SHARE,
    START_BPS,
    Downlink,
)
from region.kernel.pump import AFTER_LOSS_S
from region.kernel.report import Usage
from tests.region.forwarding import HEARD


def test_retransmissions_may_take_their_share_and_that_is_told_once() -> None:
    downlink = Downlink(reports=True)
    assert downlink.new_repeats_bps() == REPEATS_SHARE * START_BPS
    assert downlink.new_repeats_bps() is None


def test_a_path_that_carries_much_less_is_told_of_again() -> None:
    downlink = Downlink(reports=False)
    before = downlink.new_repeats_bps()
    assert before is not None
    for second in range(3):
        downlink.on_loss(0.5, float(second))
    after = downlink.new_repeats_bps()
    assert after is not None
    assert after < before / 2


@pytest.mark.parametrize("reports_a_second", [1, 9])
def test_what_losses_cost_is_made_up_for_while_reports_are_still_read(
    reports_a_second: int,
) -> None:
    downlink = Downlink(reports=False)
    for second in range(60):
        downlink.on_loss(1.0, float(second))
    assert downlink.estimate_bps == MIN_BPS
    for at in range(int(AFTER_LOSS_S) * reports_a_second):
        downlink.on_loss(0.0, 60 + at / reports_a_second)
    assert downlink.estimate_bps == MAX_BPS


def test_a_round_trip_is_told_once_until_it_is_another() -> None:
    downlink = Downlink(reports=True)
    told = [downlink.new_rtt_s(rtt_s) for rtt_s in (0.3, 0.31, None, 0.29, 0.4, 0.2)]
    assert told == [0.3, None, None, None, 0.4, 0.2]


@pytest.mark.parametrize("rtt_s", [0.0, 0.001, 0.09])
def test_no_round_trip_is_shorter_than_what_a_browser_takes_to_answer(rtt_s: float) -> None:
    assert Downlink(reports=True).new_rtt_s(rtt_s) == LEAST_RTT_S


def test_before_any_round_trip_is_known_none_is_told() -> None:
    assert Downlink(reports=True).new_rtt_s(None) is None


def test_a_path_that_carries_all_that_is_wanted_is_ample_and_that_is_told_once() -> None:
    downlink = Downlink(reports=True)
    downlink.on_wanted(START_BPS // 2)
    assert downlink.new_ample() is None  # nothing is known of it yet
    downlink.on_report(HEARD, 0.1)
    assert downlink.new_ample() is True
    assert downlink.new_ample() is None
    downlink.on_wanted(2 * START_BPS)
    assert downlink.new_ample() is False


@pytest.mark.parametrize(
    "otherwise",
    [
        {"usage": Usage.OVER},
        {"queue_s": 1.0},
        {"acked_packets": 30, "lost_packets": 30},
    ],
    ids=lambda each: " and ".join(each),
)
def test_a_path_that_is_over_used_or_loses_much_is_not_ample(otherwise: dict[str, object]) -> None:
    downlink = Downlink(reports=True)
    downlink.on_wanted(int(0.9 * START_BPS))
    for tenth in range(20):
        downlink.on_report(HEARD, tenth / 10)
    assert downlink.new_ample() is True
    for tenth in range(20, 35):
        downlink.on_report(HEARD._replace(**otherwise), tenth / 10)
    assert downlink.new_ample() is False
