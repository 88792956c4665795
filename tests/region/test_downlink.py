"""What the kernel is told of one receiver's path, and how often."""

import pytest

from region.downlink import LEAST_RTT_S, REPEATS_SHARE, START_BPS, Downlink


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


def test_a_round_trip_is_told_once_until_it_is_another() -> None:
    downlink = Downlink(reports=True)
    told = [downlink.new_rtt_s(rtt_s) for rtt_s in (0.3, 0.31, None, 0.29, 0.4, 0.2)]
    assert told == [0.3, None, None, None, 0.4, 0.2]


@pytest.mark.parametrize("rtt_s", [0.0, 0.001, 0.09])
def test_no_round_trip_is_shorter_than_what_a_browser_takes_to_answer(rtt_s: float) -> None:
    assert Downlink(reports=True).new_rtt_s(rtt_s) == LEAST_RTT_S


def test_before_any_round_trip_is_known_none_is_told() -> None:
    assert Downlink(reports=True).new_rtt_s(None) is None
