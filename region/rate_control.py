"""The rate that follows what the delay says: additive or multiplicative up, multiplicative down.

Pure; knows no packets. draft-ietf-rmcat-gcc-02 §5.5, with libwebrtc's estimate of the link's
capacity, by which it tells "near the limit" from "far below".
"""

from math import sqrt

from region.kernel.report import Usage

BACKOFF = 0.85
"""§5.5: beta, what is left of the rate that arrives when queues grow."""

_INCREASE_A_SECOND = 1.08
_MIN_STEP_BPS = 1_000.0
_MIN_SLOPE_BPS = 4_000.0
# The rate may not run away from what arrives (§5.5 allows 1.5 times), or nothing vouches for it.
_MAX_OF_ACKED, _MAX_OVER_ACKED_BPS = 1.5, 10_000.0
_FRAMES_A_SECOND = 30
_PACKET_BITS = 1_200 * 8
_RESPONSE_S = 0.1
_MAX_BACKOFF_INTERVAL_S = 0.3


class LinkCapacity:
    """What arrived whenever the path was full: a mean and its spread."""

    _GAIN, _PROBE_GAIN = 0.05, 0.5
    _MIN_VARIANCE_KBPS, _MAX_VARIANCE_KBPS = 0.4, 2.5
    _DEVIATIONS = 3.0

    def __init__(self) -> None:
        self._kbps: float | None = None
        self._variance_kbps = self._MIN_VARIANCE_KBPS

    @property
    def bps(self) -> float | None:
        """None while nothing is known."""
        return None if self._kbps is None else self._kbps * 1_000

    def filled(self, acked_bps: float) -> None:
        """Queues grew while this rate arrived."""
        self._update(acked_bps / 1_000, self._GAIN)

    def probed(self, bps: float) -> None:
        """A probe got this rate through."""
        self._update(bps / 1_000, self._PROBE_GAIN)

    def is_below(self, acked_bps: float) -> bool:
        """Whether the path carries more than was known of it."""
        return self._kbps is not None and acked_bps / 1_000 > self._kbps + self._spread_kbps()

    def is_above(self, acked_bps: float) -> bool:
        """Whether the path is full with less than was known of it."""
        return self._kbps is not None and acked_bps / 1_000 < self._kbps - self._spread_kbps()

    def forget(self) -> None:
        """The path has changed."""
        self._kbps = None

    def _spread_kbps(self) -> float:
        return self._DEVIATIONS * sqrt(self._variance_kbps * (self._kbps or 0.0))

    def _update(self, kbps: float, gain: float) -> None:
        mean = kbps if self._kbps is None else self._kbps + gain * (kbps - self._kbps)
        # Normalised by the mean, as the spread of a rate grows with it.
        error = (mean - kbps) ** 2 / max(mean, 1.0)
        variance = self._variance_kbps + gain * (error - self._variance_kbps)
        self._kbps = mean
        self._variance_kbps = min(max(variance, self._MIN_VARIANCE_KBPS), self._MAX_VARIANCE_KBPS)


class RateControl:
    """§5.5's rate: `update` for each report, `set_rate` and `scale` for what is stronger."""

    def __init__(self, start_bps: float, min_bps: float, max_bps: float) -> None:
        self.bps = start_bps
        self.rtt_s = 0.2
        self._min_bps, self._max_bps = min_bps, max_bps
        self._capacity = LinkCapacity()
        self._holding = False
        self._changed_s: float | None = None

    def set_rate(self, bps: float, now: float) -> None:
        """What a probe measured."""
        self._capacity.probed(bps)
        self._change(bps, now)

    def scale(self, factor: float, now: float) -> None:
        """Where nothing was measured: a share of the rate so far."""
        self._change(self.bps * factor, now)

    def update(self, usage: Usage, acked_bps: float | None, now: float) -> None:
        """§5.5: up while queues are stable, on hold while they drain, down while they grow.

        `acked_bps` is what arrives; None when that does not tell what the path carries.
        """
        match usage:
            case Usage.UNDER:
                self._holding = True
            case Usage.NORMAL:
                if self._holding or self._changed_s is None:
                    self._holding = False
                    self._changed_s = now
                self._increase(acked_bps, now)
            case Usage.OVER:
                self._decrease(acked_bps, now)

    def _increase(self, acked_bps: float | None, now: float) -> None:
        elapsed_s = 0.0 if self._changed_s is None else now - self._changed_s
        if acked_bps is not None and self._capacity.is_below(acked_bps):
            self._capacity.forget()
        if self._capacity.bps is not None:
            step_bps = self._slope_bps() * elapsed_s
        else:
            step_bps = self.bps * (_INCREASE_A_SECOND ** min(elapsed_s, 1.0) - 1)
            step_bps = max(step_bps, _MIN_STEP_BPS * min(elapsed_s, 1.0))
        bps = self.bps + step_bps
        if acked_bps is not None:
            # What is above this limit already stays there.
            limit_bps = _MAX_OF_ACKED * acked_bps + _MAX_OVER_ACKED_BPS
            bps = max(self.bps, min(bps, limit_bps))
        self._change(bps, now)

    def _slope_bps(self) -> float:
        """§5.5, near the limit: about half a packet a response time, in bits/s per second."""
        frame_bits = self.bps / _FRAMES_A_SECOND
        packets = -(-frame_bits // _PACKET_BITS)
        response_s = 2 * (self.rtt_s + _RESPONSE_S)
        return max(frame_bits / packets / response_s, _MIN_SLOPE_BPS)

    def _decrease(self, acked_bps: float | None, now: float) -> None:
        self._holding = True
        # One step has to show in the trend before the next.
        early = self._changed_s is not None and now - self._changed_s < min(
            self.rtt_s + _RESPONSE_S, _MAX_BACKOFF_INTERVAL_S
        )
        if acked_bps is None:
            if not early:
                self.scale(BACKOFF, now)
            return
        if early and acked_bps >= self.bps / 2:
            return
        bps = BACKOFF * acked_bps
        if bps > self.bps and self._capacity.bps is not None:
            bps = BACKOFF * self._capacity.bps
        if self._capacity.is_above(acked_bps):
            self._capacity.forget()
        self._capacity.filled(acked_bps)
        self._change(min(bps, self.bps), now)

    def _change(self, bps: float, now: float) -> None:
        self.bps = min(max(bps, self._min_bps), self._max_bps)
        self._changed_s = now
