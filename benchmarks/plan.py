"""What a mesh has to have for a table of offices: bridges, hosts and bandwidth.

Pure arithmetic on the traffic model and a measured capacity. A bridge process has one core,
of which a share, the *headroom*, is left free; a region gets so many bridges that this holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import assert_never

from benchmarks.capacity import Capacity
from benchmarks.offices import Office
from benchmarks.rates import STATED, Rate, Stream, total
from benchmarks.traffic import Counts, Habits, Meetings, Traffic, meetings_of, traffic_of
from relay.ids import Region


class Spare(StrEnum):
    """What of each region may be lost without the rest being too little."""

    NONE = "none"
    BRIDGE = "bridge"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What bridges are to be like."""

    headroom: float = 0.3
    """Share of each bridge's core that is left free."""
    spare: Spare = Spare.NONE
    host_cores: int | None = None
    """Of a host; None is as many as the machine of the capacity has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """What it takes to forward that; sized by a measured capacity."""

    cores: float
    """That all bridges of the region keep busy, of those that were measured."""
    bridges: int
    hosts: int

    @property
    def workers(self) -> int:
        """Bridges of a host, at most."""
        return ceil(self.bridges / self.hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPlan:
    """One region's part."""

    region: Region
    people: int
    attending: float
    """In meetings at once."""
    from_people: Rate
    to_people: Rate
    from_regions: Rate
    to_regions: Rate
    among_bridges: Rate
    """On the trunks between the region's own bridges."""
    processing: Processing | None
    """None without a capacity; the region is taken to have one bridge then."""

    @property
    def into_bridges(self) -> Rate:
        """All that comes in at the region's bridges."""
        return total((self.from_people, self.from_regions, self.among_bridges))

    @property
    def out_of_bridges(self) -> Rate:
        """All that goes out from them."""
        return total((self.to_people, self.to_regions, self.among_bridges))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all regions need."""

    habits: Habits
    terms: Terms
    capacity: Capacity | None
    received: Mapping[Stream, Rate]
    """What the streams were taken to carry, to people and on trunks; and from people."""
    sent: Mapping[Stream, Rate]
    meetings: tuple[Meetings, ...]
    regions: tuple[RegionPlan, ...]
    trunks: Mapping[tuple[Region, Region], Rate]
    """From each region to each other."""

    @property
    def host_cores(self) -> int | None:
        """Of a host; None where nothing says so."""
        if self.terms.host_cores is None and self.capacity:
            return self.capacity.machine.cores
        return self.terms.host_cores


def make_plan(
    offices: Sequence[Office], habits: Habits, terms: Terms, capacity: Capacity | None
) -> Plan:
    """What these offices need; without a capacity only the bandwidth is known."""
    received = {**STATED, **(capacity.received if capacity else {})}
    sent = {**STATED, **(capacity.sent if capacity else {})}
    meetings = meetings_of(offices, habits)
    if capacity is None:
        processing = None
        traffic = traffic_of(meetings, {office.region: 1 for office in offices}, habits)
    else:
        processing, traffic = _sized(meetings, habits, terms, capacity, received)
    trunks = {pair: _rate(counts, received) for pair, counts in traffic.trunks.items()}

    def region_plan(office: Office) -> RegionPlan:
        here = office.region
        return RegionPlan(
            region=here,
            people=office.people,
            attending=traffic.attending[here],
            from_people=_rate(traffic.sent[here], sent),
            to_people=_rate(traffic.received[here], received),
            from_regions=total(rate for (a, b), rate in trunks.items() if b == here != a),
            to_regions=total(rate for (a, b), rate in trunks.items() if a == here != b),
            among_bridges=trunks[here, here],
            processing=processing[here] if processing else None,
        )

    return Plan(
        habits=habits,
        terms=terms,
        capacity=capacity,
        received=received,
        sent=sent,
        meetings=meetings,
        regions=tuple(region_plan(office) for office in offices),
        trunks={(a, b): rate for (a, b), rate in trunks.items() if a != b},
    )


_ROUNDING = 1e-9


def _sized(
    meetings: Sequence[Meetings],
    habits: Habits,
    terms: Terms,
    capacity: Capacity,
    rates: Mapping[Stream, Rate],
) -> tuple[dict[Region, Processing], Traffic]:
    """The fewest bridges that carry it all, with what flows among so many.

    More bridges have more trunks to fill, here and elsewhere, so it is counted anew until
    nobody needs more.
    """
    host_cores = terms.host_cores or capacity.machine.cores
    carrying = {group.office.region: 1 for group in meetings}
    while True:
        running = {
            region: _running(bridges, host_cores, terms.spare)
            for region, bridges in carrying.items()
        }
        bridges = {region: count for region, (count, _) in running.items()}
        traffic = traffic_of(meetings, bridges, habits)
        cores = _cores(traffic, capacity, rates)
        # What is lost takes its trunks along, so those that are left have a little less to do.
        needed = {
            region: max(least, ceil(cores[region] / (1 - terms.headroom) - _ROUNDING))
            for region, least in carrying.items()
        }
        if needed == carrying:
            break
        carrying = needed
    return {
        region: Processing(cores=cores[region], bridges=count, hosts=hosts)
        for region, (count, hosts) in running.items()
    }, traffic


def _running(carrying: int, host_cores: int, spare: Spare) -> tuple[int, int]:
    """How many bridges on how many hosts, so that enough are left without the spare."""
    hosts = ceil(carrying / host_cores)
    match spare:
        case Spare.NONE:
            return carrying, hosts
        case Spare.BRIDGE:
            return carrying + 1, ceil((carrying + 1) / host_cores)
        case Spare.HOST:
            return (hosts + 1) * ceil(carrying / hosts), hosts + 1
        case _:
            assert_never(spare)


def _cores(
    traffic: Traffic, capacity: Capacity, rates: Mapping[Stream, Rate]
) -> dict[Region, float]:
    """What the packets that leave each region's bridges, and its people, keep busy."""
    packets_s = {
        region: _rate(counts, rates).packets_s for region, counts in traffic.received.items()
    }
    for (region, _), counts in traffic.trunks.items():
        packets_s[region] += _rate(counts, rates).packets_s
    return {
        region: packets_s[region] / capacity.packets_out_per_core_s
        + people * capacity.control_core_per_person
        for region, people in traffic.attending.items()
    }


def _rate(counts: Counts, rates: Mapping[Stream, Rate]) -> Rate:
    return total(rates[stream] * count for stream, count in counts.items())
