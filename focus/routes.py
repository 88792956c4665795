"""Routes: which way a conference's streams go between its bridges.

For now every origin reaches every other bridge of the conference in one hop.
"""

from collections.abc import Set

from relay.control import Route
from relay.ids import BridgeId


def routes_at(bridge: BridgeId, seated: Set[BridgeId]) -> tuple[Route, ...]:
    """A route for each origin, as `bridge` has to know it; `seated` are the bridges with seats."""
    return tuple(
        Route(origin=origin, upstream=None, downstream=tuple(sorted(seated - {bridge})))
        if origin == bridge
        else Route(origin=origin, upstream=origin, downstream=())
        for origin in sorted(seated)
    )
