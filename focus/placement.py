"""Placement: which bridge a participant gets. A pure function of measurements and seats taken.

The `nearest` strategy: an explicit region that has a live bridge, else the region with the
smallest measured round trip (of those as near as can be told, the emptiest), else the emptiest
region; there, the bridge with the fewest seats granted. A seat counts from the moment it is
granted, so that a burst of joins spreads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.ids import BridgeId, Region

SAME_RTT_MS = 1.0
"""Browsers measure in whole milliseconds: closer round trips than this are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a participant said about where it would sit well."""

    region: Region | None = None
    """An explicit choice, which wins over measurements while it has a live bridge."""
    rtts_ms: Mapping[Region, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A live bridge and the seats that have been granted on it."""

    bridge: BridgeId
    region: Region
    seats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Sit here."""

    bridge: BridgeId
    region: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class NoLiveBridge:
    """There is no bridge at all at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRegion:
    """The explicit choice names no region of this mesh; these there are."""

    regions: tuple[Region, ...]


Placement = Placed | NoLiveBridge | UnknownRegion


def place(
    wish: Wish, candidates: tuple[Candidate, ...], known_regions: frozenset[Region]
) -> Placement:
    """The bridge for that wish; `known_regions` also holds those whose bridges are all away."""
    if not candidates:
        return NoLiveBridge()
    if wish.region is not None and wish.region not in known_regions:
        return UnknownRegion(regions=tuple(sorted(known_regions)))
    region = _region(wish, candidates)
    best = min(
        (candidate for candidate in candidates if candidate.region == region),
        key=lambda candidate: (candidate.seats, candidate.bridge),
    )
    return Placed(bridge=best.bridge, region=best.region)


def _region(wish: Wish, candidates: tuple[Candidate, ...]) -> Region:
    live = {candidate.region for candidate in candidates}
    if wish.region in live:
        assert wish.region is not None
        return wish.region
    near = live
    if measured := live & wish.rtts_ms.keys():
        nearest_ms = min(wish.rtts_ms[region] for region in measured)
        near = {it for it in measured if wish.rtts_ms[it] <= nearest_ms + SAME_RTT_MS}
    seats = dict.fromkeys(live, 0)
    for candidate in candidates:
        seats[candidate.region] += candidate.seats
    return min(near, key=lambda region: (seats[region], region))
