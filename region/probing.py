"""When to send more than media needs for a moment, to learn whether the path carries more.

Pure. draft-ietf-rmcat-gcc-02 knows no probes; these are libwebrtc's, twice as long: clusters of at
least five packets and 30 ms, their rate multiplied while the path carries them, their result the
smaller of the rates at which they left and came. A bridge does not encode, so its receivers use
less than they could most of the time; that is why it repeats them while more is wanted than is
known.
"""

from dataclasses import dataclass
from typing import NewType

from region.kernel.report import ProbeReport

ClusterId = NewType("ClusterId", int)
"""A probe: the packets that were sent to measure one rate."""

FIRST_SCALE = 3.0
"""The first probe, of the start rate; being met it leads to the next, six times the start."""
SCALE = 2.0
"""A probe, of what is known."""
INTERVAL_S = 2.0
"""So long after a probe that was not met the path may have changed."""
RETRY_S = 0.5
"""So soon it is repeated, once: it is short, so that a pause of either end looks like a limit."""
MIN_PACKETS = 5
MIN_DURATION_S = 0.03
MIN_BYTES = 2_500
"""Links let some kilobytes pass at any rate: what is less measures nothing but that."""
WORTHWHILE = 1.05
"""So many times what is known is worth a probe."""

_MAX_CLUSTER = 0xFFFF
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """To send now beyond media: padding, evenly, marked with `cluster`.

    At least MIN_PACKETS of it; media that leaves between the cluster's first and last packet
    counts, marked or not.
    """

    cluster: ClusterId
    """1 to 65,535, another each time."""
    rate_bps: int
    """Of the padding."""
    duration_s: float


class Prober:
    """The probes of one transport, one at a time."""

    def __init__(self, start_bps: float, max_bps: float) -> None:
        self._max_bps = max_bps
        self._next_bps: float | None = FIRST_SCALE * start_bps
        self._plan: ProbePlan | None = None
        self._sought_bps = 0.0
        self._planned_s = 0.0
        self._known_bps = 0.0
        """When it was planned."""
        self._wait_s = INTERVAL_S
        """From one that was not met, or from a full path, to the next."""
        self._cluster = 0

    def next_probe(self, known_bps: float, wanted_bps: float, now: float) -> ProbePlan | None:
        """The probe to send now, if any: `known_bps` is the estimate, `wanted_bps` of use."""
        if self._plan is not None:
            if now - self._planned_s < _TIMEOUT_S:
                return None
            self._plan = None
            self._fell_short()
        if self._next_bps is None and (not self._cluster or now - self._planned_s >= self._wait_s):
            self._next_bps = SCALE * known_bps
        if self._next_bps is None:
            return None
        rate_bps = min(self._next_bps, self._max_bps, max(SCALE * wanted_bps, known_bps))
        self._next_bps = None
        if min(wanted_bps, rate_bps) < WORTHWHILE * known_bps:
            return None
        least_bytes = max(rate_bps * MIN_DURATION_S / 8, MIN_BYTES)
        self._cluster = self._cluster % _MAX_CLUSTER + 1
        # Padding alone: media comes in bursts, and a slow picture's fall beside most probes.
        self._sought_bps = rate_bps
        self._plan = ProbePlan(
            cluster=ClusterId(self._cluster),
            rate_bps=int(rate_bps),
            duration_s=least_bytes * 8 / rate_bps,
        )
        self._planned_s = now
        self._known_bps = known_bps
        return self._plan

    def stop(self, now: float) -> None:
        """The path is full: give up what is planned, begin again an interval from now."""
        self._plan = None
        self._next_bps = None
        self._planned_s = now
        self._wait_s = INTERVAL_S

    def on_report(self, report: ProbeReport | None, now: float) -> float | None:
        """How the newest probe fares; the rate that it measured, once enough of it arrived.

        One that falls short of what is known already has to do so twice.
        """
        plan = self._plan
        if plan is None or report is None or now - self._planned_s >= _TIMEOUT_S:
            return None
        if (
            report.cluster != plan.cluster
            or report.packets < _MIN_ARRIVED * MIN_PACKETS
            or report.size_bytes < _MIN_ARRIVED * plan.rate_bps * plan.duration_s / 8
        ):
            return None
        self._plan = None
        bps = _rate_bps(report.sent_bps, report.received_bps)
        if bps is not None:
            # Where media fell into it, for a moment more was sent than the path may carry for long.
            bps = min(bps, self._sought_bps)
        if bps is not None and bps >= _MET * self._sought_bps:
            self._next_bps = SCALE * bps
            self._wait_s = INTERVAL_S
            return bps
        again = self._fell_short()
        return bps if again or bps is None or bps > self._known_bps else None

    def _fell_short(self) -> bool:
        """It was not met; whether that was so the time before too."""
        again = self._wait_s == RETRY_S
        self._wait_s = INTERVAL_S if again else RETRY_S
        return again


def _rate_bps(sent_bps: float, received_bps: float) -> float | None:
    """What a probe says that the path carries; None if it does not tell."""
    if not sent_bps or not 0 < received_bps <= _MAX_COMPRESSION * sent_bps:
        return None
    if received_bps < _UNLIMITED * sent_bps:
        return _UTILISATION * received_bps
    return min(sent_bps, received_bps)
