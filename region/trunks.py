"""All trunks of a bridge: listens for peers, dials them, keeps one connection to each.

The mesh (who may be a peer) comes from the focus by `set_peers`; a peer is who its mesh
certificate says. Each peer has one supervisor, where its failures stop. The bridge with the
smaller id dials; the other does too when no trunk has come about for a while.
"""

import errno
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Literal

import structlog
import trio

from region.demux import Demux
from region.kernel import Pump
from region.trunk import (
    Trunk,
    TrunkAnnounced,
    TrunkDemanded,
    TrunkDown,
    TrunkEvent,
    TrunkHost,
    TrunkRtcp,
    TrunkUp,
    tls_reason,
)
from relay.control import Peer, TrunkReport
from relay.errors import CapacityError, PeerGone, RemoteProtocolError, SettingsError
from relay.identity import Identity, peer_bridge_of, trunk_ssl_context
from relay.ids import Address, BridgeId, ConferenceId
from relay.trunk_messages import RelayedSource, Wanted

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
MAX_CONNECTIONS_PER_PEER = 4
"""Of a verified peer, until the hello decides which one stays."""
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 5.0
BACKUP_DIAL_S = 3.0
"""Without a trunk for so long, the bridge with the larger id dials as well."""
STAGGER_S = 0.25
"""RFC 8305 §5: between starting the attempts on a peer's addresses."""
_LISTEN_BACKLOG = 64

Stream = trio.SSLStream[trio.SocketStream]

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
        self._host = TrunkHost(
            bridge=bridge,
            pump=pump,
            demux=demux,
            media_addresses=media_addresses,
            on_event=on_event,
        )
        self._contexts = _Contexts(identity)
        self._supervisors: dict[BridgeId, _Supervisor] = {}
        self._nursery: trio.Nursery | None = None
        self._half_open: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    async def run(
        self,
        listen_host: str,
        relay_port: int,
        *,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; started with the port. SettingsError when it cannot listen."""
        with _listen(listen_host, relay_port) as listener:
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    for supervisor in self._supervisors.values():
                        nursery.start_soon(supervisor.run)
                    task_status.started(listener.getsockname()[1])
                    await trio.serve_listeners(self._accept, [trio.SocketListener(listener)])
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
            supervisor = _Supervisor(peer, self._host, self._contexts, self.dropped)
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
                await trio.aclose_forcefully(stream)
                raise _RefusedError("not_in_mesh", f"{peer} is not in the mesh")
        except _RefusedError as refusal:
            self.dropped[refusal.counter] += 1
            log.warning("trunk-refused", address=_remote_host(tcp), reason=str(refusal))
            return
        await supervisor.serve(stream, dialler=peer)

    async def _identify(self, tcp: trio.SocketStream) -> tuple[Stream, BridgeId]:
        """The TLS handshake, bounded in time and number."""
        host = _remote_host(tcp)
        crowded = self._half_open[host] >= MAX_HANDSHAKES_PER_HOST
        if crowded or self._half_open.total() >= MAX_HANDSHAKES:
            await trio.aclose_forcefully(tcp)
            raise _RefusedError("handshake_flood", "too many half-open handshakes")
        self._half_open[host] += 1
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                return await _secured(tcp, self._contexts.get("server"), server_side=True)
        except trio.TooSlowError:
            raise _RefusedError("handshake_timeout", "slow handshake") from None
        except PeerGone as error:
            raise _RefusedError("handshake_failed", str(error)) from None
        finally:
            self._half_open[host] -= 1
            if not self._half_open[host]:
                del self._half_open[host]


class _Supervisor:
    """Keeps one trunk to one peer; what goes wrong with that peer is logged and counted here."""

    def __init__(
        self, peer: Peer, host: TrunkHost, contexts: "_Contexts", dropped: Counter[str]
    ) -> None:
        self.peer = peer
        self.current: Trunk | None = None
        self._host = host
        self._contexts = contexts
        self._dropped = dropped
        self._trunks: set[Trunk] = set()
        self._scope = trio.CancelScope()
        self._stopped = False
        self._changed = trio.Event()
        self._last_failure = ""

    async def run(self) -> None:
        """Dial whenever it is on us and there is no trunk, until stopped."""
        ours_to_dial = self._host.bridge < self.peer.bridge
        backoff_s = FIRST_BACKOFF_S
        with self._scope:
            while True:
                while self.current is not None:
                    await self._changed.wait()
                    backoff_s = FIRST_BACKOFF_S
                if not ours_to_dial and await self._connects_within(BACKUP_DIAL_S):
                    continue
                await self._dial()
                if self.current is None:
                    await self._connects_within(backoff_s * random.uniform(0.5, 1.0))
                    backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    def stop(self, reason: str) -> None:
        """The peer is in the mesh no more."""
        self._stopped = True
        for trunk in tuple(self._trunks):
            trunk.close(reason)
        self._scope.cancel()

    async def serve(self, stream: Stream, dialler: BridgeId) -> None:
        """Run a trunk on a connection whose other end is verified to be the peer."""
        try:
            if self._stopped or len(self._trunks) >= MAX_CONNECTIONS_PER_PEER:
                raise CapacityError("too many connections")
            trunk = Trunk(
                self._host,
                stream,
                peer=self.peer.bridge,
                dialler=dialler,
                on_open=self._elect,
            )
        except CapacityError as error:
            self._dropped["trunk_no_room"] += 1
            log.warning("trunk-refused", peer=self.peer.bridge, reason=str(error))
            await trio.aclose_forcefully(stream)
            return
        self._trunks.add(trunk)
        reason = "shutting down"
        try:
            reason = await trunk.run()
        finally:
            self._trunks.discard(trunk)
            if self.current is trunk:
                self._set_current(None)
            log.info("trunk-closed", peer=self.peer.bridge, dialler=dialler, reason=reason)

    def report(self) -> TrunkReport:
        """The present trunk's, or that there is none."""
        if self.current is not None:
            return self.current.report()
        return TrunkReport(
            peer=self.peer.bridge,
            up=False,
            rtt_ms=None,
            rtt_min_ms=None,
            rtt_p50_ms=None,
            rtt_p95_ms=None,
            jitter_ms=None,
            loss=None,
            sources_out=0,
            sources_in=0,
            sent_bps=0.0,
            received_bps=0.0,
        )

    def _elect(self, new: Trunk) -> None:
        """Of two connections that of the smaller id stays, the newer if both are; both ends agree.

        One whose path is down gives way to any: its peer may have started anew.
        """
        old = self.current
        smaller = min(self._host.bridge, self.peer.bridge)
        if old is not None and old.up and old.dialler == smaller != new.dialler:
            self._dropped["trunk_duplicate"] += 1
            new.close("there is a trunk already")
            return
        self._set_current(new)
        self._last_failure = ""
        if old is not None:
            old.close("another connection took its place")

    def _set_current(self, trunk: Trunk | None) -> None:
        self.current = trunk
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def _connects_within(self, seconds: float) -> bool:
        """Whether a trunk opened, by whomever it was dialled."""
        with trio.move_on_after(seconds):
            while self.current is None:
                await self._changed.wait()
        return self.current is not None

    async def _dial(self) -> None:
        """Connect to whichever address proves to be the peer first, and serve it to its end."""
        connected: list[Stream] = []
        failures: list[str] = []
        async with trio.open_nursery() as nursery:
            for address in self.peer.relay_addresses:
                attempt_over = trio.Event()
                nursery.start_soon(
                    self._attempt, address, connected, failures, nursery.cancel_scope, attempt_over
                )
                with trio.move_on_after(STAGGER_S):
                    await attempt_over.wait()
        if connected:
            for surplus in connected[1:]:
                await trio.aclose_forcefully(surplus)
            await self.serve(connected[0], dialler=self._host.bridge)
            return
        self._dropped["dial_failed"] += 1
        failure = "; ".join(sorted(failures)) or "the peer has no address"
        if failure != self._last_failure:  # Not each few seconds the same line.
            self._last_failure = failure
            log.warning("trunk-dial-failed", peer=self.peer.bridge, reason=failure)

    async def _attempt(
        self,
        address: Address,
        connected: list[Stream],
        failures: list[str],
        race: trio.CancelScope,
        over: trio.Event,
    ) -> None:
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                tcp = await trio.open_tcp_stream(address.host, address.port)
                stream, bridge = await _secured(
                    tcp, self._contexts.get("client"), server_side=False
                )
            if bridge != self.peer.bridge:
                await trio.aclose_forcefully(stream)
                raise PeerGone(f"it is {bridge}")
            connected.append(stream)
            race.cancel()
        except trio.TooSlowError:
            failures.append(f"{address}: no answer")
        except (PeerGone, OSError, ValueError) as error:
            failures.append(f"{address}: {_os_reason(error)}")
        finally:
            over.set()


class _Contexts:
    """TLS contexts of the present identity, made anew when it changes."""

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self._identity = identity
        self._made_for: Identity | None = None
        self._made: dict[str, ssl.SSLContext] = {}

    def get(self, side: Literal["client", "server"]) -> ssl.SSLContext:
        identity = self._identity()
        if identity is not self._made_for:
            self._made_for, self._made = identity, {}
        if side not in self._made:
            self._made[side] = trunk_ssl_context(identity, server_side=side == "server")
        return self._made[side]


class _RefusedError(Exception):
    """A connection that came in and is not taken."""

    def __init__(self, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.counter = counter


async def _secured(
    tcp: trio.SocketStream, context: ssl.SSLContext, *, server_side: bool
) -> tuple[Stream, BridgeId]:
    """The connection after its TLS handshake, and who is there; PeerGone when that fails.

    Closes the connection when it fails or is cancelled.
    """
    _keep_alive(tcp)
    stream = trio.SSLStream(tcp, context, server_side=server_side)
    try:
        await stream.do_handshake()
        return stream, peer_bridge_of(stream)
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise PeerGone(f"the handshake failed: {tls_reason(error)}") from None
    except RemoteProtocolError as error:
        await trio.aclose_forcefully(stream)
        raise PeerGone(str(error)) from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def _keep_alive(tcp: trio.SocketStream) -> None:
    """Notice within about 10 s that the peer's host is gone, also when there is nothing to say."""
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 4)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000)


def _listen(host: str, port: int) -> trio.socket.SocketType:
    """A listening socket, for IPv4 as well where `host` is `::`; SettingsError in words."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = trio.socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if host != "::":
            raise SettingsError(f"cannot listen on {host}: {_os_reason(error)}") from None
        return _listen("0.0.0.0", port)  # A kernel without IPv6.
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        _bind(listener, host, port)
        listener.listen(_LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"relay port {port}/tcp is in use on {host}") from None
        raise SettingsError(
            f"cannot listen on {host}, relay port {port}/tcp: {_os_reason(error)}"
        ) from None
    return listener


def _os_reason(error: BaseException) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error) or type(error).__name__


def _remote_host(tcp: trio.SocketStream) -> str:
    try:
        return str(tcp.socket.getpeername()[0])
    except OSError:
        return "gone"
