"""How much a transport's path carries, by what its receiver reports: Google congestion control.

Pure; sends nothing and allocates nothing. draft-ietf-rmcat-gcc-02 with what libwebrtc has added
since: the trend line, the capacity of the link, probes. What single packets tell is worked out in
the kernel (`region/kernel/path.pxd`); this decides by what comes of it, some times a second.
What is our own is the draining of a queue that has formed (§5.5 only stops adding to it), as a
bridge can send less from one packet to the next, and retreat when feedback stays away.
"""

from region.kernel.report import PathReport, Usage
from region.loss_bound import LOW_LOSS, LossBound
from region.probing import WORTHWHILE, ProbePlan, Prober
from region.rate_control import RateControl

ALR_SHARE = 0.65
"""Who sends less of the estimate than this is limited by what there is to send, not by the path."""
SILENCE_S = 1.0
"""So long after the first unanswered packet something is wrong."""

_SILENCE_BACKOFF = 0.8
_SILENCE_INTERVAL_S = 0.5
_STANDING_QUEUE_S = 0.05
_DRAIN_S = 0.6
_MIN_DRAIN = 0.4
_CARRIED = 0.85
_REAL_QUEUE_S = 0.1
# §5.5: so much of the past is in the rate that arrives.
_ACKED_WINDOW_S = 0.5


class BandwidthEstimator:
    """The estimate for one transport."""

    def __init__(self, start_bps: int, min_bps: int, max_bps: int) -> None:
        self._min_bps, self._max_bps = min_bps, max_bps
        self._wanted_bps = max_bps
        self._rate = RateControl(start_bps, min_bps, max_bps)
        self._prober = Prober(start_bps, max_bps)
        self._loss = LossBound()
        self._usage = Usage.NORMAL
        self._queue_s = 0.0
        self._sent_bps: float | None = None
        self._heard = False
        self._unanswered_s: float | None = None
        self._retreated_s = 0.0
        self._probed_s = float("-inf")

    @property
    def estimate_bps(self) -> int:
        """What may be sent now, all together: less than the path carries while a queue drains."""
        return int(max(self._min_bps, self.path_bps * self._drain()))

    @property
    def path_bps(self) -> float:
        """What the path is thought to carry."""
        bound_bps = self._loss.bps
        return self._rate.bps if bound_bps is None else min(self._rate.bps, bound_bps)

    @property
    def is_known(self) -> bool:
        """Whether there was feedback."""
        return self._heard

    @property
    def is_ample(self) -> bool:
        """Whether the path is known to carry all that could be of use: no more is looked for."""
        return (
            self._heard
            and self._usage is not Usage.OVER
            and not self._loss.is_high
            and self._wanted_bps < WORTHWHILE * self.estimate_bps
        )

    def on_wanted(self, wanted_bps: int) -> None:
        """What could be of use: no probe looks for more than twice that."""
        self._wanted_bps = wanted_bps

    def on_rtt(self, rtt_s: float) -> None:
        """A round trip on the path; reports have their own."""
        self._rate.rtt_s = rtt_s

    def on_loss(self, fraction: float, now: float) -> None:
        """The fraction lost by a receiver report: for receivers without transport-wide feedback."""
        if self._heard:
            return
        self._loss.update(fraction, self.estimate_bps, self._rate.rtt_s, now)
        if fraction < LOW_LOSS:
            self._rate.update(Usage.NORMAL, None, now)
        self._loss.release(self._rate.bps)

    def on_report(self, report: PathReport, now: float) -> None:
        """What the kernel has learned of the path since the report before."""
        self._usage = report.usage
        self._queue_s = report.queue_s
        self._sent_bps = report.sent_bps
        self._unanswered_s = report.unanswered_s
        if not report.heard:
            return
        self._heard = True
        if report.rtt_s is not None:
            self._rate.rtt_s = report.rtt_s
        lost = report.lost_packets
        fraction = self._loss.count(report.acked_packets + lost, lost, now)
        if fraction is not None:
            self._loss.update(fraction, self.estimate_bps, self._rate.rtt_s, now)
        if report.acked_bps is not None:
            # What gets through is carried, whatever was lost beside it.
            share = 1.0 if fraction is not None and fraction < LOW_LOSS else _CARRIED
            self._loss.raise_to(share * report.acked_bps)
        if report.acked_packets:
            self._decide(report, now)
            self._loss.release(self._rate.bps)

    def _decide(self, report: PathReport, now: float) -> None:
        acked_bps = report.acked_bps
        probed_bps = self._prober.on_report(report.probe, now)
        if report.usage is Usage.OVER:
            self._prober.stop(now)
            if report.queue_s < _REAL_QUEUE_S and self._is_acked_too_low(now):
                acked_bps = None
            self._rate.update(Usage.OVER, acked_bps, now)
        elif probed_bps is not None:
            self._rate.set_rate(probed_bps, now)
            self._loss.raise_to(probed_bps)
            self._probed_s = now
        else:
            self._rate.update(report.usage, acked_bps, now)

    def next_probe(self, now: float) -> ProbePlan | None:
        """What to send for a moment beyond media; ask after each report."""
        if self._usage is not Usage.NORMAL or self._loss.is_high or self._drain() < 1:
            return None
        return self._prober.next_probe(self.path_bps, self._wanted_bps, now)

    def on_timer(self, now: float) -> None:
        """A few times a second: retreat while what is sent stays unanswered."""
        if not self._heard or self._unanswered_s is None:
            return
        if now - max(self._unanswered_s + SILENCE_S, self._retreated_s) >= _SILENCE_INTERVAL_S:
            self._retreated_s = now
            self._prober.stop(now)
            self._rate.scale(_SILENCE_BACKOFF, now)

    def _drain(self) -> float:
        """The share of the rate that leaves room for the queue to drain within a second or so."""
        excess_s = self._queue_s - _STANDING_QUEUE_S
        return 1.0 if excess_s <= 0 else max(_MIN_DRAIN, 1 - excess_s / _DRAIN_S)

    def _is_acked_too_low(self, now: float) -> bool:
        """Whether what arrives says nothing of what the path carries, as little was sent."""
        if now - self._probed_s < _ACKED_WINDOW_S:
            return True
        return self._sent_bps is not None and self._sent_bps < ALR_SHARE * self.estimate_bps
