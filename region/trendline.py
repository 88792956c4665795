"""Whether a path's queue grows: the trend of one-way delay against a threshold that adapts.

Pure; knows no rate. draft-ietf-rmcat-gcc-02 §5.2 to §5.4 for arrival groups, over-use detector and
adaptive threshold; like libwebrtc since 2017 it fits a line to the smoothed delay instead of the
Kalman filter of §5.3, and the gains of the threshold are those fitted to that line.
"""

from collections import deque
from enum import Enum

GROUP_US = 5_000
"""§5.2: packets that were sent within such a time are one group."""
WINDOW_GROUPS = 20
"""The line is fitted to the delays of so many groups."""
SILENCE_US = 2_000_000
"""What was learned before such a pause is forgotten."""

_MAX_BURST_US = 100_000
_SMOOTHING = 0.9
_GAIN = 4.0
_MAX_GAIN_GROUPS = 60
# §5.4: a trend above the threshold counts when it lasts longer than 10 ms.
_OVERUSE_MS = 10.0
_THRESHOLD_MS = 12.5
_MIN_THRESHOLD_MS, _MAX_THRESHOLD_MS = 6.0, 600.0
_THRESHOLD_RISE, _THRESHOLD_FALL = 0.0087, 0.039
# §5.4: no adaptation to a spike, nor over a longer time than this.
_MAX_EXCESS_MS = 15.0
_MAX_ADAPTATION_MS = 100.0


class Usage(Enum):
    """§5.4: what the delay says of the path."""

    NORMAL = "normal"
    OVER = "over"
    """Queues grow."""
    UNDER = "under"
    """Queues drain."""


class _Line:
    """The least-squares line through the last points: §5.3's gradient is its slope.

    Sums of integers: they are kept up for ever without an error that grows.
    """

    __slots__ = ("_points", "_x", "_xx", "_xy", "_y")

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque()
        self._x = self._y = self._xx = self._xy = 0

    def add(self, x: int, y: int) -> None:
        self._points.append((x, y))
        self._x += x
        self._y += y
        self._xx += x * x
        self._xy += x * y
        if len(self._points) > WINDOW_GROUPS:
            x, y = self._points.popleft()
            self._x -= x
            self._y -= y
            self._xx -= x * x
            self._xy -= x * y

    def slope(self) -> float | None:
        """None before there are enough points, or when all are at one time."""
        if len(self._points) < WINDOW_GROUPS:
            return None
        spread = WINDOW_GROUPS * self._xx - self._x * self._x
        return (WINDOW_GROUPS * self._xy - self._x * self._y) / spread if spread else None


class Trendline:
    """The delay trend of one transport."""

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._threshold_ms = _THRESHOLD_MS
        self._reset()

    def _reset(self) -> None:
        self.usage = Usage.NORMAL
        self._grouped = False
        self._first_sent_us = self._last_sent_us = 0
        self._first_received_us = self._last_received_us = 0
        self._before: tuple[int, int] | None = None
        self._line = _Line()
        self._origin_us: int | None = None
        self._delay_ms = self._smoothed_ms = 0.0
        self._groups = 0
        self._trend = 0.0
        self._over_ms: float | None = None
        self._over_groups = 0
        self._adapted_ms: float | None = None

    def add(self, sent_us: int, received_us: int) -> None:
        """A packet that arrived, in the order of arrival; the clocks' origins may differ."""
        if self._grouped:
            since_sent_us = sent_us - self._last_sent_us
            since_received_us = received_us - self._last_received_us
            if since_sent_us > SILENCE_US or abs(since_received_us) > SILENCE_US:
                self._reset()
            elif sent_us < self._first_sent_us:
                # It was overtaken by a whole group and says nothing of this one.
                return
            elif sent_us - self._first_sent_us <= GROUP_US or (
                # §5.2: a burst that a pause of the path held back arrives at once.
                since_received_us <= GROUP_US
                and since_received_us < since_sent_us
                and received_us - self._first_received_us < _MAX_BURST_US
            ):
                if since_sent_us > 0:
                    self._last_sent_us = sent_us
                self._last_received_us = received_us
                return
            else:
                self._complete()
        self._grouped = True
        self._first_sent_us = self._last_sent_us = sent_us
        self._first_received_us = self._last_received_us = received_us

    def _complete(self) -> None:
        if self._before is not None:
            sent_us, received_us = self._before
            self._update(
                (self._last_sent_us - sent_us) / 1_000,
                (self._last_received_us - received_us) / 1_000,
            )
        self._before = (self._last_sent_us, self._last_received_us)

    def _update(self, sent_ms: float, received_ms: float) -> None:
        """One more group: it was sent and arrived so long after the one before."""
        self._groups += 1
        self._delay_ms += received_ms - sent_ms
        self._smoothed_ms += (1 - _SMOOTHING) * (self._delay_ms - self._smoothed_ms)
        if self._origin_us is None:
            self._origin_us = self._last_received_us
        self._line.add(self._last_received_us - self._origin_us, int(self._smoothed_ms * 1e6))
        slope = self._line.slope()
        # Delays are in ns and times in µs.
        trend = self._trend if slope is None else slope / 1_000
        self._detect(trend, sent_ms, self._last_received_us / 1_000)

    def _detect(self, trend: float, sent_ms: float, now_ms: float) -> None:
        """§5.4."""
        offset_ms = min(self._groups, _MAX_GAIN_GROUPS) * trend * _GAIN
        if offset_ms > self._threshold_ms:
            over_ms = sent_ms / 2 if self._over_ms is None else self._over_ms + sent_ms
            self._over_ms = over_ms
            self._over_groups += 1
            if over_ms > _OVERUSE_MS and self._over_groups > 1 and trend >= self._trend:
                self._over_ms = 0.0
                self._over_groups = 0
                self.usage = Usage.OVER
        else:
            self._over_ms = None
            self._over_groups = 0
            self.usage = Usage.UNDER if offset_ms < -self._threshold_ms else Usage.NORMAL
        self._trend = trend
        self._adapt(abs(offset_ms), now_ms)

    def _adapt(self, offset_ms: float, now_ms: float) -> None:
        """§5.4: the threshold follows the offset, slower up than down."""
        elapsed_ms = 0.0 if self._adapted_ms is None else now_ms - self._adapted_ms
        self._adapted_ms = now_ms
        if offset_ms > self._threshold_ms + _MAX_EXCESS_MS:
            return
        gain = _THRESHOLD_FALL if offset_ms < self._threshold_ms else _THRESHOLD_RISE
        step_ms = gain * (offset_ms - self._threshold_ms) * min(elapsed_ms, _MAX_ADAPTATION_MS)
        self._threshold_ms = min(
            max(self._threshold_ms + step_ms, _MIN_THRESHOLD_MS), _MAX_THRESHOLD_MS
        )
