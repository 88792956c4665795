"""How much a transport's path carries, by what its receiver reports: Google congestion control.

Pure; sends nothing and allocates nothing. draft-ietf-rmcat-gcc-02 with what libwebrtc has added
since: the trend line, the capacity of the link, probes. What is our own is the draining of a queue
that has formed (§5.5 only stops adding to it), as a bridge can send less from one packet to the
next, and retreat when feedback stays away.
"""

from region.loss_bound import LOW_LOSS, LossBound
from region.path_measures import BUCKET_US, RATE_WINDOW_US, QueueDelay, RateWindow
from region.probing import ProbePlan, Prober
from region.rate_control import RateControl
from region.sent import PacketResult
from region.trendline import Trendline, Usage

ALR_SHARE = 0.65
"""Who sends less of the estimate than this is limited by what there is to send, not by the path."""
SILENCE_S = 1.0
"""So long after the first unanswered packet something is wrong."""

_SILENCE_BACKOFF = 0.8
_SILENCE_INTERVAL_S = 0.5
_STANDING_QUEUE_S = 0.05
_DRAIN_S = 0.6
_MIN_DRAIN = 0.4
_REAL_QUEUE_S = 0.1


class BandwidthEstimator:
    """The estimate for one transport."""

    def __init__(self, start_bps: int, min_bps: int, max_bps: int) -> None:
        self._min_bps, self._max_bps = min_bps, max_bps
        self._wanted_bps = max_bps
        self._rate = RateControl(start_bps, min_bps, max_bps)
        self._trendline = Trendline()
        self._prober = Prober(start_bps, max_bps)
        self._loss = LossBound()
        self._queue = QueueDelay()
        self._acked = RateWindow()
        self._sent = RateWindow()
        self._heard = False
        self._unanswered_s: float | None = None
        self._retreated_s = 0.0
        self._probed_s = float("-inf")

    @property
    def estimate_bps(self) -> int:
        """What may be sent now, all together; less than the path carries while a queue drains."""
        return int(max(self._min_bps, self._known_bps() * self._drain()))

    @property
    def usage(self) -> Usage:
        """What the delay says."""
        return self._trendline.usage

    @property
    def queue_s(self) -> float:
        """How long packets wait on the path, as of the last feedback."""
        return self._queue.seconds

    def on_wanted(self, wanted_bps: int) -> None:
        """What could be of use: no probe looks for more than twice that."""
        self._wanted_bps = wanted_bps

    def on_sent(self, size_bytes: int, now: float) -> None:
        """So much was sent since the last call: all of media, retransmissions and probes."""
        if size_bytes:
            self._sent.add(size_bytes, int(now * 1e6))
            if self._unanswered_s is None:
                self._unanswered_s = now

    def on_rtt(self, rtt_s: float) -> None:
        """A round trip on the path."""
        self._rate.rtt_s = rtt_s

    def on_loss(self, fraction: float, now: float) -> None:
        """The fraction lost by a receiver report: for receivers without transport-wide feedback."""
        if self._heard:
            return
        self._loss.update(fraction, self.estimate_bps, self._rate.rtt_s, now)
        if fraction < LOW_LOSS:
            self._rate.update(Usage.NORMAL, None, now)
        self._loss.release(self._rate.bps)

    def on_results(self, results: list[PacketResult], now: float) -> None:
        """What one feedback says, in the order of sequence."""
        self._heard = True
        self._unanswered_s = None
        received = [result for result in results if result.received_us is not None]
        late = sum(result.was_lost for result in received)
        fraction = self._loss.count(len(results) - late, len(results) - len(received) - late, now)
        if fraction is not None:
            self._loss.update(fraction, self.estimate_bps, self._rate.rtt_s, now)
        if not received:
            return
        probed_bps = self._prober.on_results(received, now)
        self._follow(received)
        self._decide(probed_bps, now)
        self._loss.release(self._rate.bps)

    def _follow(self, received: list[PacketResult]) -> None:
        """One pass over the single packets, by arrival: it is most of what an estimator costs."""
        arrivals = sorted(
            (received_us, sent_us, size_bytes)
            for _, size_bytes, sent_us, received_us, _, _ in received
            if received_us is not None
        )
        add = self._trendline.add
        since_us, sent_us, _ = arrivals[0]
        least_us = since_us - sent_us
        together_bytes = 0
        for received_us, sent_us, size_bytes in arrivals:
            add(sent_us, received_us)
            if received_us - sent_us < least_us:
                least_us = received_us - sent_us
            if received_us - since_us >= BUCKET_US:
                self._acked.add(together_bytes, since_us)
                since_us = received_us
                together_bytes = 0
            together_bytes += size_bytes
        self._acked.add(together_bytes, since_us)
        self._queue.update(least_us, sent_us)

    def _decide(self, probed_bps: float | None, now: float) -> None:
        acked_bps = self._acked.bps()
        if self._trendline.usage is Usage.OVER:
            self._prober.stop(now)
            if self._queue.seconds < _REAL_QUEUE_S and self._is_acked_too_low(now):
                acked_bps = None
            self._rate.update(Usage.OVER, acked_bps, now)
        elif probed_bps is not None:
            self._rate.set_rate(probed_bps, now)
            self._loss.raise_to(probed_bps)
            self._probed_s = now
        else:
            self._rate.update(self._trendline.usage, acked_bps, now)

    def next_probe(self, now: float) -> ProbePlan | None:
        """What to send for a moment beyond media; ask at each timer and after each feedback."""
        if self._trendline.usage is not Usage.NORMAL or self._loss.is_high or self._drain() < 1:
            return None
        return self._prober.next_probe(self._known_bps(), self._wanted_bps, now)

    def on_timer(self, now: float) -> None:
        """A few times a second: retreat while what is sent stays unanswered."""
        if not self._heard or self._unanswered_s is None:
            return
        if now - max(self._unanswered_s + SILENCE_S, self._retreated_s) >= _SILENCE_INTERVAL_S:
            self._retreated_s = now
            self._prober.stop(now)
            self._rate.scale(_SILENCE_BACKOFF, now)

    def _known_bps(self) -> float:
        bound_bps = self._loss.bps
        return self._rate.bps if bound_bps is None else min(self._rate.bps, bound_bps)

    def _drain(self) -> float:
        """The share of the rate that leaves room for the queue to drain within a second or so."""
        excess_s = self._queue.seconds - _STANDING_QUEUE_S
        return 1.0 if excess_s <= 0 else max(_MIN_DRAIN, 1 - excess_s / _DRAIN_S)

    def _is_acked_too_low(self, now: float) -> bool:
        """Whether what arrives says nothing of what the path carries, as little was sent."""
        if now - self._probed_s < RATE_WINDOW_US / 1e6:
            return True
        sent_bps = self._sent.bps(int(now * 1e6))
        return sent_bps is not None and sent_bps < ALR_SHARE * self.estimate_bps
