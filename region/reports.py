"""RTCP reports: what we tell a sender of its stream, and a sender's report for receivers of it.

Pure; RFC 3550 §6.4. Sequence numbers and loss come from the kernel's counters.
"""

from region.kernel import EgressStats, StreamStats
from region.rtcp import ReportBlock, SenderReport
from relay.ids import Ssrc

_MASK_32 = 0xFFFFFFFF


class Reception:
    """How one stream arrives, from report to report."""

    def __init__(self, ssrc: Ssrc) -> None:
        self._ssrc = ssrc
        self._expected_before = 0
        self._received_before = 0
        self._last_sr = 0
        self._last_sr_s = 0.0

    def heard(self, report: SenderReport, received_s: float) -> None:
        """A sender report of this stream arrived."""
        self._last_sr = report.ntp >> 16 & _MASK_32
        self._last_sr_s = received_s

    def block(self, stats: StreamStats, now: float) -> ReportBlock | None:
        """The next report block, or None before the first packet."""
        if not stats.packets:
            return None
        # RFC 3550 appendix A.3.
        expected = stats.highest_sequence - stats.base_sequence + 1
        expected_interval = expected - self._expected_before
        received_interval = stats.packets - self._received_before
        self._expected_before = expected
        self._received_before = stats.packets
        lost_interval = max(0, expected_interval - received_interval)
        fraction = lost_interval * 256 // expected_interval if expected_interval > 0 else 0
        delay = int((now - self._last_sr_s) * 65_536) if self._last_sr else 0
        return ReportBlock(
            ssrc=self._ssrc,
            fraction_lost=min(fraction, 255),
            packets_lost=expected - stats.packets,
            highest_sequence=stats.highest_sequence & _MASK_32,
            jitter_ticks=stats.jitter_ticks,
            last_sr=self._last_sr,
            delay_since_last_sr=min(delay, _MASK_32),
        )


def forwarded(report: SenderReport, ssrc: Ssrc, egress: EgressStats) -> SenderReport:
    """The sender's report for receivers of it: same moment, the egress's clock and counts."""
    return SenderReport(
        ssrc=ssrc,
        ntp=report.ntp,
        timestamp_ticks=(report.timestamp_ticks + egress.timestamp_offset) & _MASK_32,
        packets=egress.packets & _MASK_32,
        octets=egress.bytes & _MASK_32,
    )
