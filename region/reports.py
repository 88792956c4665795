"""What we tell a sender of how its stream arrives, by the kernel's counters.

Pure; RFC 3550 §6.4.2. What senders report is passed on by the kernel.
"""

from region.kernel import StreamStats
from region.rtcp import ReportBlock
from relay.ids import Ssrc

_MASK_32 = 0xFFFFFFFF


class Reception:
    """How one stream arrives, from report to report."""

    def __init__(self, ssrc: Ssrc) -> None:
        self._ssrc = ssrc
        self._expected_before = 0
        self._received_before = 0

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
        # The pump may have heard it since `now`.
        delay = int(max(0.0, now - stats.reported_s) * 65_536) if stats.report_ntp else 0
        return ReportBlock(
            ssrc=self._ssrc,
            fraction_lost=min(fraction, 255),
            packets_lost=expected - stats.packets,
            highest_sequence=stats.highest_sequence & _MASK_32,
            jitter_ticks=stats.jitter_ticks,
            last_sr=stats.report_ntp,
            delay_since_last_sr=min(delay, _MASK_32),
        )
