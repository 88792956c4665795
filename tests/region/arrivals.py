"""A receiver for the simulated link: what arrived, as transport-wide feedback to its sender.

Bridges have the kernel's (`region/kernel/arrivals.pxd`).

Pure; draft-holmer-rmcat-transport-wide-cc-extensions-01 §2 and §3.1. A packet that comes after it
was told lost makes the next feedback begin at it, and what arrived behind it is told once more:
that is how libwebrtc reports, and what its sender expects.
"""

from collections.abc import Iterable

from tests.region.twcc import (
    MAX_STATUSES,
    REFERENCE_MODULUS_TICKS,
    REFERENCE_TICKS,
    TICK_US,
    Arrival,
    Feedback,
    build_feedback,
)

MAX_FCI_BYTES = 1_140
"""With the header (12), SRTCP's index and tag (20) and a receiver report it stays below 1,200."""
MAX_PENDING = 8_192
"""A second of the densest transport; what comes beyond before `feedback` is not reported."""
KEPT_TICKS = 500_000 // TICK_US
"""An arrival that was told is remembered for so long, to be told again behind a late one."""

_MAX_DELTA_TICKS = 0x7FFF
# The worst that one more arrival can add: a chunk for a run of losses each 8,191, a vector
# that it opens, a large delta.
_ARRIVAL_BYTES = 4
_LOSSES_A_CHUNK = 0x1FFF


class ArrivalRecorder:
    """The arrivals of one transport, by extended transport-wide sequence number."""

    def __init__(self) -> None:
        self._ticks: dict[int, int] = {}
        self._highest: int | None = None
        self._next = 0
        """The first that is yet to be told."""
        self._oldest = 0
        """What is below is forgotten: nobody knows whether it arrived."""
        self._count = 0
        self.ignored = 0
        """Arrivals that were not recorded: too late, or too many at once."""

    def arrived(self, packets: Iterable[tuple[int, int]]) -> None:
        """Packets as (transport-wide sequence number, arrival in µs), in order of arrival."""
        highest = self._highest
        for sequence, time_us in packets:
            if highest is None:
                # One cycle up, so that what arrives before the first is no negative number.
                highest = sequence + 0x10000
                self._next = highest
                self._oldest = highest - 0x8000
                extended = highest
            else:
                extended = highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000
            if extended in self._ticks:
                continue
            if extended < self._oldest or len(self._ticks) >= MAX_PENDING:
                self.ignored += 1
                continue
            highest = max(highest, extended)
            self._next = min(self._next, extended)
            self._ticks[extended] = time_us // TICK_US
        self._highest = highest

    def feedback(self) -> list[bytes]:
        """All that is to be told, as FCIs of RTPFB format 15; empty when nothing arrived since."""
        told = sorted(sequence for sequence in self._ticks if sequence >= self._next)
        messages = []
        at = 0
        while at < len(told):
            first_ticks = self._ticks[told[at]]
            reference_ticks = first_ticks - first_ticks % REFERENCE_TICKS
            before_ticks = reference_ticks
            # Losses before the first arrival belong to it, unless they are a jump.
            base = self._next if told[at] - self._next < MAX_STATUSES else told[at]
            offset = -1
            size_bytes = 0
            arrivals: list[Arrival] = []
            for sequence in told[at:]:
                ticks = self._ticks[sequence]
                losses = sequence - base - offset - 1
                size_bytes += _ARRIVAL_BYTES + 2 * -(-losses // _LOSSES_A_CHUNK)
                offset = sequence - base
                if (
                    offset >= MAX_STATUSES
                    or abs(ticks - before_ticks) > _MAX_DELTA_TICKS
                    or size_bytes > MAX_FCI_BYTES - 12
                ):
                    break
                arrivals.append(Arrival(offset, ticks - reference_ticks))
                before_ticks = ticks
            at += len(arrivals)
            self._next = told[at - 1] + 1
            messages.append(
                build_feedback(
                    Feedback(
                        base_sequence=base & 0xFFFF,
                        statuses=self._next - base,
                        reference_ticks=reference_ticks % REFERENCE_MODULUS_TICKS,
                        count=self._count,
                        arrivals=tuple(arrivals),
                    )
                )
            )
            self._count = (self._count + 1) & 0xFF
        if told:
            self._forget()
        return messages

    def _forget(self) -> None:
        horizon_ticks = max(self._ticks.values()) - KEPT_TICKS
        old = [sequence for sequence, ticks in self._ticks.items() if ticks < horizon_ticks]
        for sequence in old:
            del self._ticks[sequence]
        if old:
            self._oldest = max(self._oldest, max(old) + 1)
