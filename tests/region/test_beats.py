"""Timers that expire together."""

import pytest
import trio
from trio.testing import MockClock

from region.beats import beat, next_beat_s


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_all_who_began_at_other_moments_wake_up_at_the_same(mock_clock: MockClock) -> None:
    woken_s: list[tuple[float, float]] = []

    async def look(began_s: float, period_s: float) -> None:
        await trio.sleep_until(began_s)
        await beat(period_s)
        woken_s.append((period_s, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for began_s, period_s in ((10.05, 1.0), (10.31, 1.0), (10.85, 0.2), (10.99, 0.5)):
            nursery.start_soon(look, began_s, period_s)
    assert sorted(woken_s) == [(each, pytest.approx(11.0)) for each in (0.2, 0.5, 1.0, 1.0)]


async def test_a_beat_is_never_now(mock_clock: MockClock) -> None:
    for _ in range(5):
        before_s = trio.current_time()
        await beat(0.2)
        assert 0.0 < trio.current_time() - before_s <= 0.2 + 1e-6


async def test_the_next_is_less_than_a_period_away(mock_clock: MockClock) -> None:
    mock_clock.jump(3.7)
    assert next_beat_s(1.0) - trio.current_time() == pytest.approx(1.0 - (trio.current_time() % 1))
