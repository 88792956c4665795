"""Whether something grows with use, by figures that were taken again and again; pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

WARM_UP = 2
"""Points in front that are not looked at: caches fill, and allocators take what they will keep."""

Point = tuple[float, float]
"""How much it has been used, and the figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is no leak."""

    each: float
    """Growth for each unit of use; a leak is more."""
    all: float
    """Growth from the first point to the last; less may be chance."""


def slope(points: Sequence[Point]) -> float:
    """The median of the slopes of all pairs (Theil and Sen): single outliers do not count."""
    slopes = [
        (second[1] - first[1]) / (second[0] - first[0])
        for first, second in combinations(points, 2)
        if second[0] != first[0]
    ]
    return statistics.median(slopes) if slopes else 0.0


def grows(points: Sequence[Point], allowance: Allowance) -> bool:
    """Whether the figure rises steadily with use, by more than is allowed of both kinds."""
    points = points[WARM_UP:]
    if len(points) < 2:
        return False
    each = slope(points)
    return each > allowance.each and each * (points[-1][0] - points[0][0]) > allowance.all
