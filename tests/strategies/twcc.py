"""Transport-wide feedback, and what a network may do to packets, as hypothesis makes them."""

from hypothesis import strategies as st

from region.twcc import REFERENCE_TICKS, Arrival, Feedback

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
