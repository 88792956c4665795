"""Transport-wide feedback, and what a network may do to packets, as hypothesis makes them."""

import struct

from hypothesis import strategies as st

from tests.region.twcc import REFERENCE_TICKS, Arrival, Feedback

_gaps = st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 9_000))
_deltas = st.one_of(st.integers(0, 255), st.integers(-0x8000, 0x7FFF))


@st.composite
def feedbacks(draw: st.DrawFn) -> Feedback:
    """Any that can be built, runs and gaps of any length included."""
    arrivals = []
    offset, ticks = 0, 0
    steps = draw(st.lists(st.tuples(_gaps, st.integers(1, 40), _deltas), max_size=8))
    for gap, run, delta in steps:
        offset += gap
        for each in range(run):
            ticks += delta if each == 0 else draw(st.integers(0, 3)) * 100
            arrivals.append(Arrival(offset, ticks))
            offset += 1
    arrivals = [arrival for arrival in arrivals if arrival.offset < 0xFFFF]
    least = arrivals[-1].offset + 1 if arrivals else 1
    return Feedback(
        base_sequence=draw(st.integers(0, 0xFFFF)),
        statuses=draw(st.integers(least, min(least + 9_000, 0xFFFF)) | st.just(least)),
        reference_ticks=draw(st.integers(0, 0xFFFFFF)) * REFERENCE_TICKS,
        count=draw(st.integers(0, 0xFF)),
        arrivals=tuple(arrivals),
    )


fates = st.lists(
    st.one_of(
        st.none(),
        st.integers(0, 20_000),
        st.tuples(st.integers(0, 20_000), st.integers(0, 400_000)),
    ),
    min_size=1,
    max_size=150,
)
"""For each packet: lost, the µs it takes, or those of the packet and of its duplicate."""


def fci(statuses: int, *chunks: int, deltas: bytes = b"") -> bytes:
    """Feedback from packet 0 on, byte by byte."""
    return (
        struct.pack("!HHI", 0, statuses, 1 << 8) + struct.pack(f"!{len(chunks)}H", *chunks) + deltas
    )


MALFORMED = {
    "no header": b"\0" * 7,
    "no packet": fci(0, 0x2001, deltas=b"\1"),
    "no chunk": fci(1),
    "too few chunks": fci(15, 0x8000),
    "an empty run": fci(1, 0x2000, deltas=b"\1"),
    "an empty run of losses": fci(1, 0x0000, 0x0001),
    "a reserved status in a run": fci(1, 0x6001, deltas=b"\1\1\1"),
    "a reserved status in a vector": fci(1, 0xF000, deltas=b"\1\1\1"),
    "no deltas": fci(2, 0x2002),
    "half a large delta": fci(1, 0x4001, deltas=b"\1"),
    "far more arrivals than bytes": fci(0x1FFF, 0x3FFF, deltas=b"\1"),
    "more than padding behind": fci(1, 0x2001, deltas=b"\1\0\0\0\0"),
}
"""By what is wrong."""

ARRIVED = {
    "a run": (fci(3, 0x2003, deltas=b"\x01\x02\x03"), 3),
    "a run of large deltas": (fci(2, 0x4002, deltas=b"\x01\x02\xff\xff"), 2),
    "a vector of one bit": (fci(14, 0xA001, deltas=b"\x01\x02"), 2),
    "a vector of two bits": (fci(7, 0xD002, deltas=b"\x01\x02\x03"), 2),
    "one bit beyond the last packet": (fci(1, 0xBFFF, deltas=b"\x01"), 1),
    "two bits beyond the last packet": (fci(1, 0xDFFF, deltas=b"\x01"), 1),
    "a run beyond the last packet": (fci(1, 0x3FFF, deltas=b"\x01"), 1),
}
"""Well-formed feedback by its form, and how many arrivals it tells of."""
