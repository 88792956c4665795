"""What a transport's path does now: the rate that comes through it, and the delay in its queue.

Pure; judges nothing. draft-ietf-rmcat-gcc-02 §5.5 for the incoming rate.
"""

from collections import deque

RATE_WINDOW_US = 500_000
"""§5.5: the incoming rate is measured over half a second to one second."""
BUCKET_US = 10_000
"""What comes within such a time is counted together, so that a window is 50 counts at most."""

_MAX_STEP_BACK_US = 2_000_000
_BASE_DELAY_US = 10_000_000


class RateWindow:
    """Bits per second over the last half second of whatever clock its times are from."""

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()
        """[time in µs, bytes], at least BUCKET_US apart."""
        self._total_bytes = 0
        self._since_us = 0

    def add(self, size_bytes: int, time_us: int) -> None:
        """So many bytes at this time; what comes out of order counts as of the latest."""
        if not self._buckets or time_us - self._buckets[-1][0] >= BUCKET_US:
            self._advance(time_us)
            if not self._buckets:
                self._since_us = time_us
            self._buckets.append([time_us, 0])
        elif self._buckets[-1][0] - time_us > _MAX_STEP_BACK_US:
            # Another clock, whatever the reason.
            self._buckets.clear()
            self._total_bytes = 0
            self._since_us = time_us
            self._buckets.append([time_us, 0])
        self._buckets[-1][1] += size_bytes
        self._total_bytes += size_bytes

    def bps(self, now_us: int | None = None) -> float | None:
        """By default as of the latest bytes; None before a full window, and after a pause."""
        if not self._buckets:
            return None
        end_us = self._buckets[-1][0]
        if now_us is not None:
            end_us = max(end_us, now_us)
            self._advance(end_us)
        if end_us - self._since_us < RATE_WINDOW_US:
            return None
        return self._total_bytes * 8e6 / RATE_WINDOW_US

    def _advance(self, end_us: int) -> None:
        """Drop what is before the window; an empty window begins anew."""
        buckets = self._buckets
        while buckets and buckets[0][0] <= end_us - RATE_WINDOW_US:
            self._total_bytes -= buckets.popleft()[1]


class QueueDelay:
    """How long packets wait now, over the shortest one-way delay of the last ten seconds or so."""

    def __init__(self) -> None:
        self._base_us: int | None = None
        self._next_base_us: int | None = None
        self._base_from_us = 0
        self.seconds = 0.0

    def update(self, delay_us: int, time_us: int) -> None:
        """The least delay in one feedback, and when: the other packets waited for their own."""
        if time_us - self._base_from_us > _BASE_DELAY_US:
            # Two overlapping minima: the clocks drift apart, and routes change.
            self._base_us, self._next_base_us = self._next_base_us, None
            self._base_from_us = time_us
        self._next_base_us = _least(self._next_base_us, delay_us)
        self._base_us = _least(self._base_us, delay_us)
        self.seconds = (delay_us - self._base_us) / 1e6


def _least(before: int | None, value: int) -> int:
    return value if before is None else min(before, value)
