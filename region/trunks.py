"""All trunks of a bridge: listens for peers, dials them, keeps one connection to each.

The mesh (who may be a peer) comes from the focus by `set_peers`; a peer is who its mesh
certificate says. Each peer has one supervisor, where its failures stop. The bridge with the
smaller id dials; the other does too when no trunk has come about for a while.
"""

from collections import Counter
from collections.abc import Callable

import structlog
import trio

from region.demux import Demux
from region.kernel import Pump
from region.trunk import (
    GOODBYE_TIMEOUT_S,
    Trunk,
    TrunkAnnounced,
    TrunkDemanded,
    TrunkDown,
    TrunkEvent,
    TrunkHost,
    TrunkRtcp,
    TrunkUp,
)
from region.trunk_supervisor import TrunkSupervisor
from region.trunk_tls import Contexts, Stream, listen, remote_host, secured
from relay.control import Peer, TrunkReport
from relay.errors import PeerGone
from relay.framing import frame
from relay.identity import Identity
from relay.ids import Address, BridgeId, ConferenceId
from relay.trunk_messages import TRUNK_MESSAGES, Bye, RelayedSource, Wanted

__all__ = [
    "TrunkAnnounced",
    "TrunkDemanded",
    "TrunkDown",
    "TrunkEvent",
    "TrunkRtcp",
    "TrunkUp",
    "Trunks",
]

HANDSHAKE_TIMEOUT_S = 5.0
MAX_HANDSHAKES = 64
"""Half-open at a time: a mesh that starts together has fewer bridges dialling each other."""
MAX_HANDSHAKES_PER_HOST = 16
"""So that one host cannot take all of them; one host may run many bridges."""

log = structlog.get_logger()


class Trunks:
    """Owns the listener and every trunk; `run` must be running for anything to happen."""

    def __init__(
        self,
        *,
        identity: Callable[[], Identity],
        bridge: BridgeId,
        pump: Pump,
        demux: Demux,
        media_addresses: tuple[Address, ...],
        on_event: Callable[[TrunkEvent], None],
    ) -> None:
        """`identity` is asked at each handshake, so that a renewed certificate is used at once.

        `on_event` neither blocks nor raises.
        """
        self.dropped: Counter[str] = Counter()
        """What was refused or not taken, by reason, since the beginning."""
        self._host = TrunkHost(
            bridge=bridge,
            pump=pump,
            demux=demux,
            media_addresses=media_addresses,
            on_event=on_event,
            dropped=self.dropped,
        )
        self._contexts = Contexts(identity)
        self._supervisors: dict[BridgeId, TrunkSupervisor] = {}
        self._nursery: trio.Nursery | None = None
        self._half_open: Counter[str] = Counter()

    async def run(
        self,
        listen_host: str,
        relay_port: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; started with the port. SettingsError when it cannot listen."""
        listener = listen(listen_host, relay_port)
        try:
            async with listener, trio.open_nursery() as nursery:
                self._nursery = nursery
                for supervisor in self._supervisors.values():
                    nursery.start_soon(supervisor.run)
                task_status.started(listener.socket.getsockname()[1])
                await trio.serve_listeners(self._accept, [listener])
        finally:
            self._nursery = None

    def set_peers(self, peers: tuple[Peer, ...]) -> None:
        """These bridges and no others are in the mesh: there shall be a trunk to each."""
        wanted = {peer.bridge: peer for peer in peers if peer.bridge != self._host.bridge}
        for bridge in self._supervisors.keys() - wanted.keys():
            self._supervisors.pop(bridge).stop("not in the mesh any more")
        for bridge, peer in wanted.items():
            if bridge in self._supervisors:
                self._supervisors[bridge].peer = peer
                continue
            supervisor = TrunkSupervisor(peer, self._host, self._contexts)
            self._supervisors[bridge] = supervisor
            if self._nursery is not None:
                self._nursery.start_soon(supervisor.run)

    def announce(
        self, peer: BridgeId, conference: ConferenceId, sources: tuple[RelayedSource, ...]
    ) -> None:
        """All that we can send the peer of the conference; sent when it differs from the last.

        Without a connection nothing happens: TrunkUp is when to say it again.
        """
        trunk = self._trunk(peer)
        if trunk is not None:
            trunk.announce(conference, sources)

    def demand(self, peer: BridgeId, conference: ConferenceId, wanted: tuple[Wanted, ...]) -> None:
        """All that we want of the conference from the peer; like `announce`."""
        trunk = self._trunk(peer)
        if trunk is not None:
            trunk.demand(conference, wanted)

    def send_rtcp(self, peer: BridgeId, packet: bytes) -> bool:
        """Send a compound over the trunk's media path; False when it was not sent."""
        trunk = self._trunk(peer)
        return trunk is not None and trunk.send_rtcp(packet)

    def reports(self) -> tuple[TrunkReport, ...]:
        """How each trunk that there shall be does; rates are since the last call."""
        return tuple(supervisor.report() for supervisor in self._supervisors.values())

    def _trunk(self, peer: BridgeId) -> Trunk | None:
        supervisor = self._supervisors.get(peer)
        return supervisor.current if supervisor is not None else None

    async def _accept(self, tcp: trio.SocketStream) -> None:
        """One connection that came in: whoever it is, its failure stays here."""
        try:
            stream, peer = await self._identify(tcp)
            supervisor = self._supervisors.get(peer)
            if supervisor is None:
                await _turn_away(stream, "you are not in the mesh that the focus told")
                raise _RefusedError("not_in_mesh", f"{peer} is not in the mesh")
        except _RefusedError as refusal:
            self.dropped[refusal.counter] += 1
            log.warning("trunk-refused", address=remote_host(tcp), reason=str(refusal))
            return
        await supervisor.serve(stream, dialler=peer)

    async def _identify(self, tcp: trio.SocketStream) -> tuple[Stream, BridgeId]:
        """The TLS handshake, bounded in time and number."""
        host = remote_host(tcp)
        crowded = self._half_open[host] >= MAX_HANDSHAKES_PER_HOST
        if crowded or self._half_open.total() >= MAX_HANDSHAKES:
            await trio.aclose_forcefully(tcp)
            raise _RefusedError("handshake_flood", "too many half-open handshakes")
        self._half_open[host] += 1
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                return await secured(tcp, self._contexts.get("server"), server_side=True)
        except trio.TooSlowError:
            raise _RefusedError("handshake_timeout", "slow handshake") from None
        except PeerGone as error:
            raise _RefusedError("handshake_failed", str(error)) from None
        finally:
            self._half_open[host] -= 1
            if not self._half_open[host]:
                del self._half_open[host]


class _RefusedError(Exception):
    """A connection that came in and is not taken."""

    def __init__(self, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.counter = counter


async def _turn_away(stream: Stream, reason: str) -> None:
    """Say why, to a peer that is what it says it is."""
    with trio.move_on_after(GOODBYE_TIMEOUT_S):
        try:
            await stream.send_all(frame(TRUNK_MESSAGES.encode(Bye(reason=reason))))
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # It did not wait for the answer.
    await trio.aclose_forcefully(stream)
