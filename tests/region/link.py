"""A path in a box: a queue before a link of some capacity, a sender that obeys the estimator."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

from region.gcc import BandwidthEstimator
from region.kernel.report import Path as SentPath
from region.kernel.report import PathReport
from region.probing import MIN_PACKETS, ProbePlan
from tests.region.arrivals import ArrivalRecorder

STEP_US = 1_000
FEEDBACK_US = 50_000
FRAME_US = 33_000
PACKET_BYTES = 1_200
PADDING_BYTES = 250
FIRST_SEQUENCE = 65_000
RECEIVER_CLOCK_US = 7_000_000_000


@dataclass(kw_only=True)
class Link:
    """One direction: first in, first out, drop-tail, constant propagation."""

    capacity_bps: float
    propagation_us: int = 25_000
    limit_bytes: int = 60_000
    loss: float = 0.0
    jitter_us: int = 0
    """Up to so much is added to an arrival; order is kept."""
    random: Random = field(default_factory=lambda: Random(1))
    queue: deque[tuple[int, int, int]] = field(default_factory=deque)
    queued_bytes: int = 0
    free_us: float = 0.0
    arrived_us: int = 0
    dropped: int = 0

    def send(self, sequence: int, size_bytes: int, now_us: int) -> None:
        if self.queued_bytes + size_bytes > self.limit_bytes or self.random.random() < self.loss:
            self.dropped += 1
            return
        self.queue.append((sequence, size_bytes, now_us))
        self.queued_bytes += size_bytes

    def leave(self, now_us: int) -> list[tuple[int, int]]:
        """(sequence, arrival at the far end) of what has left by now."""
        left = []
        while self.queue:
            sequence, size_bytes, entered_us = self.queue[0]
            done_us = max(self.free_us, entered_us) + size_bytes * 8e6 / self.capacity_bps
            if done_us > now_us:
                break
            self.free_us = done_us
            self.queue.popleft()
            self.queued_bytes -= size_bytes
            jitter_us = self.random.randint(0, self.jitter_us)
            self.arrived_us = max(self.arrived_us, int(done_us) + self.propagation_us + jitter_us)
            left.append((sequence, self.arrived_us))
        return left

    @property
    def queue_s(self) -> float:
        return self.queued_bytes * 8 / self.capacity_bps


@dataclass(kw_only=True)
class Sample:
    """The state of things at one moment."""

    time_s: float
    estimate_bps: int
    queue_s: float


class Path:
    """A sender, a link and a receiver that answers, on one simulated clock."""

    def __init__(
        self,
        link: Link,
        *,
        start_bps: int = 300_000,
        max_bps: int = 20_000_000,
        source_bps: float = float("inf"),
        audio: bool = True,
        read_us: int = 100_000,
    ) -> None:
        self.link = link
        self.estimator = BandwidthEstimator(start_bps, 50_000, max_bps)
        self.source_bps = source_bps
        self.answers = True
        self.samples: list[Sample] = []
        self.reports: list[PathReport] = []
        self.now_us = 1_000_000
        self._audio = audio
        self._read_us = read_us
        self._sent = SentPath()
        for _ in range(FIRST_SEQUENCE):  # so that numbers begin anew before long
            self._sent.sent(0, 0.0)
        self._recorder = ArrivalRecorder()
        self._arriving: deque[tuple[int, int]] = deque()
        self._answering: deque[tuple[int, bytes]] = deque()
        self._media_bytes = 0.0
        self._plan: ProbePlan | None = None
        self._probe_bytes = 0.0
        self._probe_us = 0.0

    @property
    def now_s(self) -> float:
        return self.now_us / 1e6

    def run(self, seconds: float) -> list[Sample]:
        """Go on for so long; the samples of that time, ten a second."""
        first = len(self.samples)
        end_us = self.now_us + int(seconds * 1e6)
        while self.now_us < end_us:
            self.now_us += STEP_US
            self._step()
        return self.samples[first:]

    def _step(self) -> None:
        now_us = self.now_us
        if self._audio and now_us % 20_000 == 0:
            self._send(120, 0)
        if now_us % FRAME_US == 0:
            self._send_frame()
        self._send_probe()
        self._arriving += self.link.leave(now_us)
        arrived = []
        while self._arriving and self._arriving[0][1] <= now_us:
            sequence, time_us = self._arriving.popleft()
            arrived.append((sequence, time_us + RECEIVER_CLOCK_US))
        self._recorder.arrived(arrived)
        if now_us % FEEDBACK_US == 0 and self.answers:
            for fci in self._recorder.feedback():
                self._answering.append((now_us + self.link.propagation_us, fci))
        while self._answering and self._answering[0][0] <= now_us:
            assert self._sent.feedback(self._answering.popleft()[1], self.now_s)
        if now_us % self._read_us == 0:
            self._decide()
        if now_us % 100_000 == 0:
            self.samples.append(
                Sample(
                    time_s=self.now_s,
                    estimate_bps=self.estimator.estimate_bps,
                    queue_s=self.link.queue_s,
                )
            )

    def _decide(self) -> None:
        report = self._sent.read(self.now_s)
        self.reports.append(report)
        self.estimator.on_report(report, self.now_s)
        self.estimator.on_timer(self.now_s)
        if plan := self.estimator.next_probe(self.now_s):
            self._plan = plan
            self._probe_bytes = plan.rate_bps * plan.duration_s / 8
            self._probe_us = self.now_us

    def _send_frame(self) -> None:
        audio_bps = 48_000 if self._audio else 0
        rate_bps = max(0.0, min(self.estimator.estimate_bps, self.source_bps) - audio_bps)
        self._media_bytes += rate_bps * FRAME_US / 8e6
        while self._media_bytes >= 100:
            size_bytes = int(min(self._media_bytes, PACKET_BYTES))
            self._media_bytes -= size_bytes
            self._send(size_bytes, 0)

    def _send_probe(self) -> None:
        """Padding at the plan's rate, beyond media."""
        plan = self._plan
        if plan is None:
            return
        total_bytes = plan.rate_bps * plan.duration_s / 8
        size_bytes = int(max(PADDING_BYTES, min(PACKET_BYTES, total_bytes / MIN_PACKETS)))
        while self._probe_us <= self.now_us:
            self._send(size_bytes, plan.cluster)
            self._probe_bytes -= size_bytes
            self._probe_us += size_bytes * 8e6 / plan.rate_bps
            if self._probe_bytes <= 0:
                self._plan = None
                return

    def _send(self, size_bytes: int, cluster: int) -> None:
        sequence = self._sent.sent(size_bytes, self.now_s, cluster)
        self.link.send(sequence, size_bytes, self.now_us)
