"""What happens to a slot: packets arrive, it is given other streams and other limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hypothesis import strategies as st

from relay.payload import HeaderExtension

SSRC = 0x1111
TICKS = 3_000
"""From one picture to the next."""
SENDER_IDS = {
    HeaderExtension.DEPENDENCY_DESCRIPTOR: 9,
    HeaderExtension.VIDEO_ORIENTATION: 3,
}
_SAFE_PACKETS = 8
"""So many arrive as they were sent, so that SRTP learns the sender's sequence numbers."""
_LOST, _TWICE = -1, -2
_FATES = (_LOST, _LOST, _TWICE, 1, 2, 3, 9)
"""Or how many packets overtake it."""


@dataclass(frozen=True, slots=True)
class Arrives:
    """A packet of a stream reaches the pump."""

    stream: int
    packet: bytes
    again: bool = False
    """The same datagram has arrived before."""


@dataclass(frozen=True, slots=True)
class Source:
    """The slot is given another stream, or none."""

    stream: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """The slot is given other limits."""

    spatial: int
    temporal: int


Step = Arrives | Source | Limit


class Camera(Protocol):
    """Makes packets."""

    def take(self, shape: int = 0) -> list[bytes]:
        """Those of the next picture; `shape` is anything up to 63."""


@st.composite
def schedules(draw: st.DrawFn, cameras: Sequence[Camera], *, impaired: bool) -> list[Step]:
    """The cameras at the same time, and a slot that has one or the other and more or less of it.

    `impaired`: packets are lost, late, and doubled.
    """
    rounds = draw(st.integers(10, 40))
    timed: list[tuple[float, Step]] = []
    for stream, camera in enumerate(cameras):
        shapes = draw(st.lists(st.integers(0, 63), min_size=rounds, max_size=rounds))
        packets: list[tuple[float, bytes]] = []
        for now, shape in enumerate(shapes):
            made = camera.take(shape)
            # One after another, so that changes come in between.
            packets += ((now + at / len(made), data) for at, data in enumerate(made))
        arrivals = draw(_arrivals(len(packets))) if impaired else _in_order(len(packets))
        latest = 0
        for index, again in arrivals:
            latest = max(latest, index)
            when = packets[latest][0] + stream / 100
            timed.append((when, Arrives(stream, packets[index][1], again)))
    limits = st.builds(Limit, st.integers(0, 3), st.integers(0, 3))
    given = st.builds(Source, st.sampled_from((None, *range(len(cameras)))))
    changes = st.one_of(limits, limits, limits, given)
    eighths = st.integers(0, 8 * rounds)
    for eighth, change in draw(st.lists(st.tuples(eighths, changes), max_size=rounds // 2)):
        timed.append((eighth / 8 - 0.001, change))
    timed.sort(key=lambda each: each[0])
    return [Source(0), *(step for _, step in timed)]


def _in_order(packets: int) -> list[tuple[int, bool]]:
    return [(index, False) for index in range(packets)]


@st.composite
def _arrivals(draw: st.DrawFn, packets: int) -> list[tuple[int, bool]]:
    """In what order they arrive: lost, late, and twice (then with True)."""
    if packets <= _SAFE_PACKETS:
        return _in_order(packets)
    fates = draw(
        st.dictionaries(
            st.integers(_SAFE_PACKETS, packets - 1), st.sampled_from(_FATES), max_size=packets // 4
        )
    )
    order = [
        (index + max(fates.get(index, 0) + 0.5, 0), index, False)
        for index in range(packets)
        if fates.get(index) != _LOST
    ]
    order += [(index + 3.5, index, True) for index, fate in fates.items() if fate == _TWICE]
    return [(index, again) for _, index, again in sorted(order)]
