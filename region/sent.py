"""What was sent on a transport and not yet answered, to be joined with the feedback on it.

Pure. draft-holmer-rmcat-transport-wide-cc-extensions-01 §2: the sender keeps the send times.
"""

from collections.abc import Iterable
from typing import NamedTuple, NewType

from region.twcc import REFERENCE_MODULUS_TICKS, TICK_US, Feedback

ClusterId = NewType("ClusterId", int)
"""A probe: the packets that were sent to measure one rate."""

KEPT_US = 5_000_000
"""Feedback on what was sent longer ago says nothing of the path as it is."""
MAX_KEPT = 16_384
"""A quarter of the sequence numbers, so that none is ambiguous."""


class SentPacket(NamedTuple):
    """What the kernel remembers of a packet."""

    sequence: int
    """Transport-wide, 16 bits."""
    size_bytes: int
    """On the wire."""
    sent_us: int
    cluster: ClusterId | None
    """Of which probe it is a part."""


class PacketResult(NamedTuple):
    """What became of a packet."""

    sequence: int
    size_bytes: int
    sent_us: int
    received_us: int | None
    """By the receiver's clock, whose origin is unknown but stays; None when it did not arrive."""
    cluster: ClusterId | None
    was_lost: bool
    """It arrived after all: an earlier result said that it did not."""


class SentHistory:
    """The unanswered packets of one transport, by extended sequence number."""

    def __init__(self) -> None:
        self._packets: dict[int, SentPacket] = {}
        self._lost: set[int] = set()
        self._newest = -1
        self._reference_ticks: int | None = None
        self.never_sent = 0
        """Packets of which feedback said that they arrived, and which were never sent."""

    def record(self, packets: Iterable[SentPacket]) -> None:
        """Packets in the order of their sequence numbers, as they were sent."""
        newest = self._newest
        for packet in packets:
            newest = _extended(packet.sequence, newest) if newest >= 0 else packet.sequence
            self._packets[newest] = packet
        self._newest = newest
        self._forget()

    def on_feedback(self, feedback: Feedback) -> list[PacketResult]:
        """The fate of packets, by sequence; what was told before or never sent is left out.

        A loss is told once, and the packet once more should it arrive after all.
        """
        if self._newest < 0:
            self.never_sent += len(feedback.arrivals)
            return []
        base = _extended(feedback.base_sequence, self._newest)
        reference_ticks = self._unwrapped_ticks(feedback.reference_ticks)
        packets, lost = self._packets, self._lost
        results = []
        # Feedback may claim 65,535 losses in 20 bytes: look only where there are packets.
        at = max(base, next(iter(packets), self._newest + 1))
        for offset, ticks in feedback.arrivals:
            sequence = base + offset
            if sequence > self._newest:
                self.never_sent += 1
                continue
            if at < sequence:
                results += self._losses(at, sequence)
            at = max(at, sequence + 1)
            packet = packets.pop(sequence, None)
            if packet is None:
                continue
            was_lost = sequence in lost
            lost.discard(sequence)
            results.append(
                PacketResult(
                    packet.sequence,
                    packet.size_bytes,
                    packet.sent_us,
                    (reference_ticks + ticks) * TICK_US,
                    packet.cluster,
                    was_lost,
                )
            )
        results += self._losses(at, min(base + feedback.statuses, self._newest + 1))
        return results

    def _losses(self, start: int, end: int) -> list[PacketResult]:
        results = []
        for sequence in range(start, end):
            packet = self._packets.get(sequence)
            if packet is not None and sequence not in self._lost:
                self._lost.add(sequence)
                wire, size_bytes, sent_us, cluster = packet
                results.append(PacketResult(wire, size_bytes, sent_us, None, cluster, False))
        return results

    def _unwrapped_ticks(self, reference_ticks: int) -> int:
        """The receiver's clock without its wrap-around each 12 days."""
        last = self._reference_ticks
        if last is not None:
            half = REFERENCE_MODULUS_TICKS // 2
            step = (reference_ticks - last + half) % REFERENCE_MODULUS_TICKS - half
            reference_ticks = last + step
        self._reference_ticks = reference_ticks
        return reference_ticks

    def _forget(self) -> None:
        packets = self._packets
        if not packets:
            return
        horizon_us = packets[self._newest].sent_us - KEPT_US if self._newest in packets else 0
        while packets:
            oldest = next(iter(packets))
            if packets[oldest].sent_us >= horizon_us and len(packets) <= MAX_KEPT:
                return
            del packets[oldest]
            self._lost.discard(oldest)


def _extended(sequence: int, near: int) -> int:
    """The number nearest to `near` that ends in these 16 bits."""
    return near + ((sequence - near + 0x8000) & 0xFFFF) - 0x8000
