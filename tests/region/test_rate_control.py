import pytest

from region.kernel.report import Usage
from region.rate_control import BACKOFF, RateControl


def control(start_bps: float = 1e6) -> RateControl:
    return RateControl(start_bps, 50e3, 5e6)


def stable(rate: RateControl, since_s: float, seconds: int, acked_bps: float | None) -> None:
    for each in range(10 * seconds + 1):
        rate.update(Usage.NORMAL, acked_bps, since_s + each / 10)


def test_far_below_the_limit_the_rate_grows_by_eight_percent_a_second() -> None:
    rate = control()
    stable(rate, 0.0, 5, 5e6)
    assert rate.bps == pytest.approx(1e6 * 1.08**5, rel=1e-3)


def test_the_rate_does_not_run_away_from_what_arrives() -> None:
    rate = control()
    stable(rate, 0.0, 60, 1e6)
    assert rate.bps == pytest.approx(1.51e6)


def test_what_is_above_that_already_stays() -> None:
    rate = control()
    stable(rate, 0.0, 60, 100e3)
    assert rate.bps == 1e6


def test_overuse_leaves_a_share_of_what_arrives() -> None:
    rate = control()
    rate.update(Usage.OVER, 800e3, 1.0)
    assert rate.bps == BACKOFF * 800e3


def test_overuse_never_raises_the_rate() -> None:
    rate = control()
    rate.update(Usage.OVER, 4e6, 1.0)
    assert rate.bps == 1e6


def test_the_next_step_down_waits_until_the_first_can_show() -> None:
    rate = control()
    rate.update(Usage.OVER, 800e3, 1.0)
    rate.update(Usage.OVER, 600e3, 1.1)
    assert rate.bps == BACKOFF * 800e3
    rate.update(Usage.OVER, 600e3, 1.4)
    assert rate.bps == BACKOFF * 600e3


def test_a_collapse_does_not_wait() -> None:
    rate = control()
    rate.update(Usage.OVER, 800e3, 1.0)
    rate.update(Usage.OVER, 200e3, 1.05)
    assert rate.bps == BACKOFF * 200e3


def test_overuse_that_nothing_measures_takes_a_share_of_the_rate() -> None:
    rate = control()
    rate.update(Usage.OVER, None, 1.0)
    rate.update(Usage.OVER, None, 1.1)
    assert rate.bps == BACKOFF * 1e6


def test_the_rate_is_held_while_queues_drain() -> None:
    rate = control()
    rate.update(Usage.OVER, 800e3, 1.0)
    for each in range(20):
        rate.update(Usage.UNDER, 800e3, 1.1 + each / 10)
    assert rate.bps == BACKOFF * 800e3


def test_near_the_known_limit_the_rate_grows_slowly() -> None:
    rate = control()
    rate.rtt_s = 0.1
    rate.update(Usage.OVER, 1e6, 0.0)
    before_bps = rate.bps
    stable(rate, 1.0, 1, 900e3)
    assert 0 < rate.bps - before_bps < 30e3


def test_beyond_the_known_limit_it_grows_fast_again() -> None:
    rate = control()
    rate.update(Usage.OVER, 1e6, 0.0)
    before_bps = rate.bps
    stable(rate, 1.0, 1, 2e6)
    assert rate.bps == pytest.approx(before_bps * 1.08, rel=1e-2)


def test_the_rate_stays_within_its_bounds() -> None:
    rate = control()
    rate.set_rate(99e6, 0.0)
    assert rate.bps == 5e6
    rate.update(Usage.OVER, 1e3, 1.0)
    assert rate.bps == 50e3
