"""The types of what Python is told of a path; the code is `report.pyx`."""

from enum import Enum
from typing import NamedTuple

class Usage(Enum):
    """draft-ietf-rmcat-gcc-02 §5.4: what the delay says of a path."""

    NORMAL = "normal"
    OVER = "over"
    """Queues grow."""
    UNDER = "under"
    """Queues drain."""

class ProbeReport(NamedTuple):
    """How the newest probe fares: its packets, and media between its first and its last."""

    cluster: int
    packets: int
    """That arrived."""
    size_bytes: int
    sent_bps: float
    """The rate at which they left; 0 where they don't tell."""
    received_bps: float
    """The rate at which they came; 0 where they don't tell."""

class PathReport(NamedTuple):
    """What a path's receiver has told since the report before."""

    usage: Usage
    """As of the last feedback; OVER if it was that at the end of any."""
    heard: bool
    """Whether the fate of any packet was told."""
    acked_bps: float | None
    """What arrived in the last half second; None before there is that much, and after a pause."""
    sent_bps: float | None
    """What was sent in the last half second, all together; None as above."""
    queue_s: float
    """How long packets wait on the path, as of the last feedback."""
    acked_packets: int
    """Packets that arrived."""
    lost_packets: int
    """Packets that did not, less those of earlier reports that have arrived after all."""
    rtt_s: float | None
    """The shortest round trip, without the time that the receiver waits; None where not heard."""
    unanswered_s: float | None
    """When the first packet was sent since the path was heard from; None if none was."""
    never_sent: int
    """Packets that a receiver claims to have and that were never sent: it lies or is broken."""
    probe: ProbeReport | None
    """None when there is no news of a probe."""

class Path:
    """One transport's path without a pump, for tests and simulations.

    Times are monotonic seconds. Remembers the last 4,096 packets, for 5 s.
    """

    def sent(self, size_bytes: int, now_s: float, cluster: int = 0) -> int:
        """Record a packet of a probe (0: of none); the transport-wide number that it gets.

        The first is 0, after 65,535 they begin anew. `size_bytes` is on the wire.
        """

    def feedback(self, fci: bytes, now_s: float) -> bool:
        """Take the FCI of one transport-wide feedback (RTPFB, format 15).

        False where it is malformed, and nothing has changed.
        draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
        """

    def read(self, now_s: float) -> PathReport:
        """What was learned since this was called last."""
