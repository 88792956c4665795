import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.path_measures import RATE_WINDOW_US, QueueDelay, RateWindow


def steady(window: RateWindow, start_us: int, end_us: int, size_bytes: int) -> None:
    for time_us in range(start_us, end_us, 10_000):
        window.add(size_bytes, time_us)


def test_no_rate_is_known_before_half_a_second() -> None:
    window = RateWindow()
    assert window.bps() is None
    steady(window, 0, RATE_WINDOW_US, 1_000)
    assert window.bps() is None


def test_the_rate_is_that_of_the_last_half_second() -> None:
    window = RateWindow()
    steady(window, 0, 1_000_000, 1_000)
    assert window.bps() == pytest.approx(800e3)
    steady(window, 1_000_000, 1_500_010, 250)
    assert window.bps() == pytest.approx(200e3)


def test_the_rate_falls_while_nothing_comes() -> None:
    window = RateWindow()
    steady(window, 0, 1_000_000, 1_000)
    assert window.bps(1_240_000) == pytest.approx(400e3, rel=0.05)


def test_after_a_pause_the_rate_is_unknown_again() -> None:
    window = RateWindow()
    steady(window, 0, 1_000_000, 1_000)
    window.add(1_000, 9_000_000)
    assert window.bps() is None


def test_a_clock_that_goes_far_back_begins_anew() -> None:
    window = RateWindow()
    steady(window, 10_000_000, 11_000_000, 1_000)
    steady(window, 0, 1_000_000, 500)
    assert window.bps() == pytest.approx(400e3)


@given(st.lists(st.tuples(st.integers(0, 1_500), st.integers(-(2**40), 2**40))))
def test_no_order_of_times_makes_a_rate_of_more_than_came(amounts: list[tuple[int, int]]) -> None:
    window = RateWindow()
    for size_bytes, time_us in amounts:
        window.add(size_bytes, time_us)
        bps = window.bps()
        assert bps is None or 0 <= bps <= sum(size for size, _ in amounts) * 16


def test_the_queue_is_what_delays_more_than_the_least() -> None:
    queue = QueueDelay()
    queue.update(-40_000_000, 0)
    assert queue.seconds == 0.0
    queue.update(-39_900_000, 100_000)
    assert queue.seconds == pytest.approx(0.1)


def test_a_longer_route_is_no_queue_after_a_while() -> None:
    queue = QueueDelay()
    for tenth in range(300):
        queue.update(25_000 if tenth < 50 else 105_000, tenth * 100_000)
    assert queue.seconds == 0.0
