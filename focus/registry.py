"""The registry: which bridges are live, on which connection, and what they last reported.

A bridge is live from its `Hello` until its connection ends, another connection of the same
bridge replaces it, or `MISSED_HEARTBEATS` of its heartbeats are missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NewType

from relay.control import HEARTBEAT_S, Heartbeat, Peer
from relay.ids import Address, BridgeId, Region

ConnectionId = NewType("ConnectionId", int)
"""One control connection of a bridge; what an older one still says is stale."""

MISSED_HEARTBEATS = 3
LONGEST_STEP_S = HEARTBEAT_S / 2
"""However late a tick is, it ages bridges by this much at most.

When the focus itself was held up, the heartbeats it missed are waiting in its sockets: it
must read them before it declares anybody lost.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A live bridge."""

    bridge: BridgeId
    region: Region
    connection: ConnectionId
    media_addresses: tuple[Address, ...]
    relay_addresses: tuple[Address, ...]
    ping_password: str
    up_since_s: float
    silent_s: float = 0.0
    heartbeat: Heartbeat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All live bridges, and every region that ever had one."""

    bridges: Mapping[BridgeId, Bridge] = field(default_factory=dict)
    known_regions: frozenset[Region] = frozenset()
    ticked_s: float | None = None

    def is_current(self, bridge: BridgeId, connection: ConnectionId) -> bool:
        """Whether that connection is the live one of that bridge."""
        return bridge in self.bridges and self.bridges[bridge].connection == connection

    def with_bridge(self, bridge: Bridge) -> "Registry":
        """The registry when `bridge` is live; it replaces an earlier connection of the same id."""
        return replace(
            self,
            bridges={**self.bridges, bridge.bridge: bridge},
            known_regions=self.known_regions | {bridge.region},
        )

    def without(self, bridge: BridgeId) -> "Registry":
        """The registry when `bridge` is lost."""
        return replace(
            self, bridges={name: one for name, one in self.bridges.items() if name != bridge}
        )

    def with_heartbeat(self, bridge: BridgeId, heartbeat: Heartbeat) -> "Registry":
        """The registry after a heartbeat of a live bridge."""
        alive = replace(self.bridges[bridge], silent_s=0.0, heartbeat=heartbeat)
        return replace(self, bridges={**self.bridges, bridge: alive})

    def aged(self, now: float) -> "Registry":
        """The registry at `now`: every bridge is silent for a while longer."""
        elapsed_s = 0.0 if self.ticked_s is None else max(0.0, now - self.ticked_s)
        step_s = min(elapsed_s, LONGEST_STEP_S)
        return replace(
            self,
            ticked_s=now,
            bridges={
                name: replace(bridge, silent_s=bridge.silent_s + step_s)
                for name, bridge in self.bridges.items()
            },
        )

    def silent(self) -> tuple[Bridge, ...]:
        """The bridges whose heartbeats are missing for too long."""
        limit_s = MISSED_HEARTBEATS * HEARTBEAT_S
        return tuple(bridge for bridge in self.bridges.values() if bridge.silent_s > limit_s)

    def peers_of(self, bridge: BridgeId) -> tuple[Peer, ...]:
        """All other live bridges, as that bridge is told them."""
        return tuple(
            Peer(bridge=name, region=peer.region, relay_addresses=peer.relay_addresses)
            for name, peer in sorted(self.bridges.items())
            if name != bridge
        )
