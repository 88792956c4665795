"""Tables of offices, and what a bridge carries in them."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from benchmarks.capacity import Capacity, Machine
from benchmarks.offices import Office
from relay.ids import Region

_MACHINE = Machine(processor="an example", cores=4, memory_bytes=1 << 33, system="Linux 6.1")
CAPACITY = Capacity(
    measured_at=datetime(2025, 1, 1, tzinfo=UTC),
    profile="meeting",
    machine=_MACHINE,
    packets_out_per_core_s=100_000.0,
    control_core_per_person=0.002,
    received={},
    sent={},
)
"""Of no machine that there is."""


def office(name: str, people: int, meetings: int, size: float, share: float = 0.25) -> Office:
    return Office(
        region=Region(name), people=people, meetings=meetings, size=size, remote_share=share
    )


offices = st.lists(
    st.tuples(
        st.integers(0, 1000),
        st.integers(0, 300),
        st.floats(2, 20).map(lambda size: round(size, 2)),
        st.none() | st.floats(0, 1),
    ),
    min_size=1,
    max_size=6,
).map(
    lambda rows: [
        Office(
            region=Region(f"r{number}"),
            people=people,
            meetings=meetings,
            size=size,
            remote_share=share,
        )
        for number, (people, meetings, size, share) in enumerate(rows)
    ]
)
