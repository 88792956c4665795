"""When to send more than media needs for a moment, to learn whether the path carries more.

Pure. draft-ietf-rmcat-gcc-02 knows no probes; these are libwebrtc's: clusters of at least five
packets and 15 ms, their rate multiplied while the path carries them, their result the smaller of
the rates at which they left and came. A bridge does not encode, so its receivers use less than
they could most of the time; that is why it repeats them while more is wanted than is known.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from region.sent import ClusterId, PacketResult

FIRST_SCALE = 3.0
"""The first probe, of the start rate; being met it leads to the next, six times the start."""
SCALE = 2.0
"""A probe, of what is known."""
INTERVAL_S = 2.0
"""So long after a probe that was not met the path may have changed."""
MIN_PACKETS = 5
MIN_DURATION_S = 0.015

_TIMEOUT_S = 1.0
# Of a probe's packets and bytes, what must have arrived.
_MIN_ARRIVED = 0.8
# What came faster than this share of its rate met no limit.
_UNLIMITED = 0.9
# What met a limit measured the limit; a little less does not fill the queue at once.
_UTILISATION = 0.95
# Arrivals so much denser than departures were held back and tell of no rate.
_MAX_COMPRESSION = 2.0
# The path carries more when a probe brings this share of its rate.
_MET = 0.7
_MAX_INTERVAL_US = 1_000_000
_WORTHWHILE = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """To send now: media and padding together, evenly at `rate_bps`, marked with `cluster`.

    Padding is sent until both least amounts are; media that leaves between the cluster's first
    and last packet counts, marked or not.
    """

    cluster: ClusterId
    rate_bps: int
    packets: int
    bytes: int


class Prober:
    """The probes of one transport, one at a time."""

    def __init__(self, start_bps: float, max_bps: float) -> None:
        self._max_bps = max_bps
        self._next_bps: float | None = FIRST_SCALE * start_bps
        self._plan: ProbePlan | None = None
        self._planned_s = 0.0
        self._clusters = 0
        self._cluster: list[PacketResult] = []
        self._behind: list[PacketResult] = []

    def next_probe(self, known_bps: float, wanted_bps: float, now: float) -> ProbePlan | None:
        """The probe to send now, if any; `known_bps` is the estimate, `wanted_bps` of use."""
        if self._plan is not None and now - self._planned_s < _TIMEOUT_S:
            return None
        self._plan = None
        if self._next_bps is None and (not self._clusters or now - self._planned_s >= INTERVAL_S):
            self._next_bps = SCALE * known_bps
        if self._next_bps is None:
            return None
        rate_bps = min(self._next_bps, self._max_bps, max(SCALE * wanted_bps, known_bps))
        self._next_bps = None
        if min(wanted_bps, rate_bps) < _WORTHWHILE * known_bps:
            return None
        self._clusters += 1
        self._plan = ProbePlan(
            cluster=ClusterId(self._clusters),
            rate_bps=int(rate_bps),
            packets=MIN_PACKETS,
            bytes=int(rate_bps * MIN_DURATION_S / 8),
        )
        self._planned_s = now
        self._cluster = []
        self._behind = []
        return self._plan

    def stop(self, now: float) -> None:
        """The path is full: give up what is planned, begin again an interval from now."""
        self._plan = None
        self._next_bps = None
        self._planned_s = now

    def on_results(self, results: Iterable[PacketResult], now: float) -> float | None:
        """Packets that arrived, by sequence; the rate that a probe measured, if now complete."""
        plan = self._plan
        if plan is None or now - self._planned_s >= _TIMEOUT_S:
            return None
        for result in results:
            if result.cluster == plan.cluster:
                self._cluster += self._behind
                self._behind.clear()
                self._cluster.append(result)
            elif self._cluster:
                self._behind.append(result)
        size_bytes = sum(result.size_bytes for result in self._cluster)
        if (
            len(self._cluster) < _MIN_ARRIVED * plan.packets
            or size_bytes < _MIN_ARRIVED * plan.bytes
        ):
            return None
        self._plan = None
        bps = _rate_bps(self._cluster)
        if bps is not None and bps >= _MET * plan.rate_bps:
            self._next_bps = SCALE * bps
        return bps


def _rate_bps(cluster: list[PacketResult]) -> float | None:
    """The smaller of the rates at which the packets left and came; None if they don't tell."""
    sent = [result.sent_us for result in cluster]
    received = [result.received_us for result in cluster if result.received_us is not None]
    sent_us = max(sent) - min(sent)
    received_us = max(received) - min(received)
    if not 0 < sent_us <= _MAX_INTERVAL_US or not 0 < received_us <= _MAX_INTERVAL_US:
        return None
    total_bytes = sum(result.size_bytes for result in cluster)
    # An interval begins when its first packet is complete: n packets have n - 1 intervals.
    last_bytes = max(cluster, key=lambda result: result.sent_us).size_bytes
    first_bytes = min(cluster, key=lambda result: result.received_us or 0).size_bytes
    sent_bps = (total_bytes - last_bytes) * 8e6 / sent_us
    received_bps = (total_bytes - first_bytes) * 8e6 / received_us
    if received_bps > _MAX_COMPRESSION * sent_bps:
        return None
    if received_bps < _UNLIMITED * sent_bps:
        return _UTILISATION * received_bps
    return min(sent_bps, received_bps)
