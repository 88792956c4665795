"""Keeps one trunk to one peer: dials it, takes its calls, chooses between two connections.

What goes wrong with that peer stops here, logged and counted.
"""

import random

import structlog
import trio

from region.trunk import Trunk, TrunkHost
from region.trunk_tls import Contexts, Stream, os_reason, secured
from relay.control import Peer, TrunkReport
from relay.errors import CapacityError, PeerGone
from relay.ids import Address, BridgeId

HANDSHAKE_TIMEOUT_S = 5.0
MAX_CONNECTIONS_PER_PEER = 4
"""Of a verified peer, until the hello decides which one stays."""
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 5.0
BACKUP_DIAL_S = 3.0
"""Without a trunk for so long, the bridge with the larger id dials as well."""
STAGGER_S = 0.25
"""RFC 8305 §5: between starting the attempts on a peer's addresses."""

log = structlog.get_logger()


class TrunkSupervisor:
    """Keeps one trunk to one peer; what goes wrong with that peer is logged and counted here."""

    def __init__(self, peer: Peer, host: TrunkHost, contexts: Contexts) -> None:
        self.peer = peer
        self.current: Trunk | None = None
        self._host = host
        self._contexts = contexts
        self._dropped = host.dropped
        self._trunks: set[Trunk] = set()
        self._scope = trio.CancelScope()
        self._stopped = False
        self._changed = trio.Event()
        self._last_failure = ""
        self._backoff_s = FIRST_BACKOFF_S

    async def run(self) -> None:
        """Dial whenever it is on us and there is no trunk, until stopped."""
        ours_to_dial = self._host.bridge < self.peer.bridge
        with self._scope:
            while True:
                while self.current is not None:
                    await self._changed.wait()
                if not ours_to_dial and await self._connects_within(BACKUP_DIAL_S):
                    continue
                await self._dial()
                await self._connects_within(self._backoff_s * random.uniform(0.5, 1.0))
                self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S)

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
        """Of two connections the smaller id's stays, of two of one side the newer; both ends agree.

        One whose path is down gives way to any: its peer may have started anew.
        """
        old = self.current
        smaller = min(self._host.bridge, self.peer.bridge)
        if old is not None and old.healthy and old.dialler == smaller != new.dialler:
            self._dropped["trunk_duplicate"] += 1
            new.close("there is a trunk already")
            return
        self._set_current(new)
        self._last_failure = ""
        self._backoff_s = FIRST_BACKOFF_S
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
                stream, bridge = await secured(tcp, self._contexts.get("client"), server_side=False)
            if bridge != self.peer.bridge:
                await trio.aclose_forcefully(stream)
                raise PeerGone(f"it is {bridge}")
            connected.append(stream)
            race.cancel()
        except trio.TooSlowError:
            failures.append(f"{address}: no answer")
        except (PeerGone, OSError, ValueError) as error:
            failures.append(f"{address}: {os_reason(error)}")
        finally:
            over.set()
