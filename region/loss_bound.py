"""The rate that losses allow.

Pure; knows no delay. draft-ietf-rmcat-gcc-02 §6, turned round: instead of a rate of its own that
climbs beside the delay's, a bound that is there only after heavy losses.
"""

LOSS_WINDOW_S = 1.0
LOSS_WINDOW_PACKETS = 20
"""A fraction of fewer packets says little."""
LOW_LOSS, HIGH_LOSS = 0.02, 0.10
"""§6: below the first the rate may grow, above the second it shrinks."""

_GROWTH_A_SECOND = 1.08
_BACKOFF_INTERVAL_S = 0.3


class LossBound:
    """§6: the rate that losses allow; None while they allow any."""

    def __init__(self) -> None:
        self.bps: float | None = None
        self.is_high = False
        self._expected = 0
        self._lost = 0
        self._since_s: float | None = None
        self._updated_s = 0.0
        self._decreased_s: float | None = None

    def count(self, expected: int, lost: int, now: float) -> float | None:
        """Packets with known fate; the fraction lost when enough of them are together."""
        if self._since_s is None:
            self._since_s = now
        self._expected += expected
        self._lost += lost
        if now - self._since_s < LOSS_WINDOW_S or self._expected < LOSS_WINDOW_PACKETS:
            return None
        fraction = max(0, self._lost) / self._expected
        self._since_s = now
        self._expected = self._lost = 0
        return fraction

    def update(self, fraction: float, rate_bps: float, rtt_s: float, now: float) -> None:
        """A fraction lost while `rate_bps` was allowed."""
        elapsed_s = min(now - self._updated_s, LOSS_WINDOW_S)
        self._updated_s = now
        self.is_high = fraction > HIGH_LOSS
        if self.is_high:
            if self._decreased_s is None or now - self._decreased_s >= _BACKOFF_INTERVAL_S + rtt_s:
                self.bps = rate_bps * (1 - fraction / 2)
                self._decreased_s = now
        elif fraction < LOW_LOSS and self.bps is not None:
            self.bps *= _GROWTH_A_SECOND**elapsed_s

    def raise_to(self, bps: float) -> None:
        """So much got through."""
        if self.bps is not None:
            self.bps = max(self.bps, bps)

    def release(self, rate_bps: float) -> None:
        """Forget the bound when it has grown above what the delay allows."""
        if self.bps is not None and self.bps > rate_bps:
            self.bps = None
