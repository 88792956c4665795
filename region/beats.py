"""Timers that expire together, so that a bridge with little to do seldom wakes up.

To wake a process costs more than most of what it is woken for: tasks that look at something each
second, or a few times in it, all look at the same moments. Measured: benchmarks/RESULTS.md.
"""

import math

import trio


async def beat(period_s: float) -> None:
    """Sleep until the clock is next at a multiple of `period_s`."""
    await trio.sleep_until(next_beat_s(period_s))


def next_beat_s(period_s: float) -> float:
    """When that is, by trio's clock."""
    return (math.floor(trio.current_time() / period_s) + 1) * period_s
