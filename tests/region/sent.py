"""What a feedback says of what was sent: the oracle that the kernel's `path.pxd` is held to.

Plain rather than quick. draft-holmer-rmcat-transport-wide-cc-extensions-01 §2.
"""

from typing import NamedTuple

from tests.region.twcc import (
    REFERENCE_MODULUS_TICKS,
    REFERENCE_TICKS,
    TICK_US,
    Arrival,
    Feedback,
    build_feedback,
)

KEPT_US = 5_000_000
KEPT = 4_096


class Told(NamedTuple):
    """What was news."""

    acked: int
    lost: int
    """Less those that were lost before and have arrived after all."""
    never_sent: int


class SentPackets:
    """The packets of one transport; the first has the number 0."""

    def __init__(self) -> None:
        self._sent_us: list[int] = []
        self._arrived: set[int] = set()
        self._lost: set[int] = set()

    def sent(self, sent_us: int) -> int:
        """A packet more; its number, modulo 65,536."""
        self._sent_us.append(sent_us)
        return len(self._sent_us) - 1 & 0xFFFF

    def on_feedback(self, feedback: Feedback) -> Told:
        """The fate of packets."""
        newest = len(self._sent_us) - 1
        base = newest + ((feedback.base_sequence - newest + 0x8000) & 0xFFFF) - 0x8000
        claimed = {base + offset for offset, _ in feedback.arrivals}
        told = range(max(base, 0, newest - KEPT + 1), min(base + feedback.statuses, newest + 1))
        kept = {each for each in told if self._sent_us[each] >= self._sent_us[newest] - KEPT_US}
        arrived = kept & claimed - self._arrived
        lost = kept - claimed - self._arrived - self._lost
        late = arrived & self._lost
        self._arrived |= arrived
        self._lost = (self._lost | lost) - late
        never_sent = sum(not 0 <= each <= newest for each in claimed)
        return Told(len(arrived), len(lost) - len(late), never_sent)


def answer(*arrivals: tuple[int, int], base: int | None = None, statuses: int = 1) -> bytes:
    """An FCI that tells (number, arrival in µs) by ascending number, and losses between them.

    It begins with `base` or else the first arrival, and is of `statuses` packets or more.
    """
    base = arrivals[0][0] if base is None else base
    ticks = [received_us // TICK_US for _, received_us in arrivals]
    reference_ticks = ticks[0] - ticks[0] % REFERENCE_TICKS if ticks else 0
    told = tuple(
        Arrival(sequence - base & 0xFFFF, each - reference_ticks)
        for (sequence, _), each in zip(arrivals, ticks, strict=True)
    )
    return build_feedback(
        Feedback(
            base_sequence=base & 0xFFFF,
            statuses=max(statuses, *(arrival.offset + 1 for arrival in told), 1),
            reference_ticks=reference_ticks % REFERENCE_MODULUS_TICKS,
            count=0,
            arrivals=told,
        )
    )
