"""A token bucket: how long a sender has to wait so that it keeps to a rate."""


class TokenBucket:
    """`burst` messages at once, then `rate_per_s`; `now` is monotonic seconds."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_s: float | None = None

    def take(self, now: float) -> float:
        """Takes a token, on credit if need be; how many seconds to wait until it is paid."""
        elapsed_s = 0.0 if self._filled_s is None else max(0.0, now - self._filled_s)
        self._filled_s = now
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate_per_s) - 1.0
        return max(0.0, -self._tokens / self._rate_per_s)
