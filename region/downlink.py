"""What one receiver's path carries, and what of it there is for pictures. Pure."""

from region.allocation import Budget
from region.gcc import BandwidthEstimator
from region.kernel import PathReport
from region.probing import ProbePlan

START_BPS = 1_000_000
MIN_BPS = 50_000
MAX_BPS = 30_000_000
"""More than 49 pictures cost."""
REPEATS_SHARE = 0.5
"""Of what a path carries, for what is sent again: where much is lost, more only fills the queue."""
LEAST_RTT_S = 0.1
"""Of a browser: however near it is, what it is asked for takes it a moment."""
WORTH_TELLING = 0.1
"""Of a figure, what it has changed by until the kernel is told, which has better to do."""


class Downlink:
    """Without `reports` by the receiver its path carries whatever there is, but for its losses."""

    def __init__(self, *, reports: bool) -> None:
        self.estimator = BandwidthEstimator(START_BPS if reports else MAX_BPS, MIN_BPS, MAX_BPS)
        self._budget = Budget()
        self._told_repeats_bps = 0
        self._told_rtt_s = 0.0
        self._told_ample = False

    @property
    def estimate_bps(self) -> int:
        """All that may be sent."""
        return self.estimator.estimate_bps

    def new_repeats_bps(self) -> int | None:
        """What retransmissions may be, if that is another than before.

        No less while a queue drains, or nothing can be decoded.
        """
        bps = int(REPEATS_SHARE * self.estimator.path_bps)
        if abs(bps - self._told_repeats_bps) <= WORTH_TELLING * self._told_repeats_bps:
            return None
        self._told_repeats_bps = bps
        return bps

    def new_rtt_s(self, measured_s: float | None) -> float | None:
        """The round trip to reckon with, if that is another than before."""
        rtt_s = self._told_rtt_s if measured_s is None else max(LEAST_RTT_S, measured_s)
        if abs(rtt_s - self._told_rtt_s) <= WORTH_TELLING * self._told_rtt_s:
            return None
        self._told_rtt_s = rtt_s
        return rtt_s

    def new_ample(self) -> bool | None:
        """`is_ample`, if that is another than before."""
        ample = self.is_ample
        if ample is self._told_ample:
            return None
        self._told_ample = ample
        return ample

    @property
    def is_ample(self) -> bool:
        """Whether it carries more than is wanted."""
        return self.estimator.is_ample

    @property
    def is_known(self) -> bool:
        """Whether its receiver has told anything of it, so that the estimate is no guess."""
        return self.estimator.is_known

    def on_wanted(self, wanted_bps: int) -> None:
        """What would be sent if the path carried anything: no probe looks for much more."""
        self.estimator.on_wanted(wanted_bps)

    def on_report(self, report: PathReport, now: float) -> None:
        """What the receiver's feedback said since the last report."""
        self.estimator.on_report(report, now)
        self.estimator.on_timer(now)

    def on_loss(self, fraction: float, now: float) -> None:
        """What a receiver report said: for receivers that say no more."""
        self.estimator.on_loss(fraction, now)

    def next_probe(self, now: float) -> ProbePlan | None:
        """What to send beyond media, to learn whether there is room for more."""
        return self.estimator.next_probe(now)

    def has_changed(self, audio_bps: int, now: float) -> bool:
        """Whether pictures are to be shared out anew."""
        return self._budget.update(self.estimate_bps, audio_bps, now)

    def budget_bps(self, audio_bps: int, now: float) -> int:
        """For pictures."""
        self._budget.update(self.estimate_bps, audio_bps, now)
        return self._budget.bps
