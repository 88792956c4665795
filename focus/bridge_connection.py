"""One bridge's control connection after its admission: its messages as events, and ours to it."""

from typing import Protocol, assert_never

import structlog
import trio

from focus.admission import BridgeStream
from focus.events import (
    BridgeAnswered,
    BridgeRefused,
    DominantSpeakerReceived,
    Event,
    HeartbeatReceived,
    LayersWantedReceived,
    ParticipantGone,
)
from focus.registry import ConnectionId
from relay.control import (
    FROM_BRIDGE,
    FROM_FOCUS,
    Allocated,
    DominantSpeaker,
    FromBridge,
    FromFocus,
    Gone,
    Heartbeat,
    Hello,
    LayersWanted,
    Refused,
    Renew,
)
from relay.errors import MalformedError, PeerGone, RemoteProtocolError
from relay.ids import BridgeId

BRIDGE_BACKLOG = 4_096
"""Messages for a bridge that does not read: a state for each conference it may have to be told."""
SEND_TIMEOUT_S = 10.0
"""A bridge that takes no byte for this long is as good as gone."""

log = structlog.get_logger()


class BridgeHost(Protocol):
    """The part of the focus that a bridge's connection needs."""

    def handle(self, event: Event) -> None:
        """Applies an event and carries out what follows, before it returns."""

    def renew(self, csr_pem: bytes, bridge: BridgeId, connection: ConnectionId) -> None:
        """Sends the bridge a new certificate; MalformedError when the request is none."""


class BridgeConnection:
    """The focus's end; whoever makes it awaits `run` once and closes the stream."""

    def __init__(
        self, host: BridgeHost, stream: BridgeStream, bridge: BridgeId, connection: ConnectionId
    ) -> None:
        self._host = host
        self._stream = stream
        self._bridge = bridge
        self._connection = connection
        self._outgoing, self._queue = trio.open_memory_channel[FromFocus](BRIDGE_BACKLOG)
        self._scope = trio.CancelScope()
        self._why_cut_off: str | None = None

    def tell(self, message: FromFocus) -> bool:
        """Queues a message; False when the bridge does not read, and is to be cut off."""
        try:
            self._outgoing.send_nowait(message)
        except trio.WouldBlock:
            return False
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # its session is ending and says so next
        return True

    def cut_off(self, reason: str) -> None:
        """Ends `run`; the bridge can be told why then."""
        self._why_cut_off = reason
        self._scope.cancel()

    @property
    def why_cut_off(self) -> str | None:
        """Why `cut_off` was called, if it was."""
        return self._why_cut_off

    async def run(self) -> str | None:
        """Until the bridge goes or is cut off (None), or breaks the protocol (how it did)."""
        fault: str | None = None
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, nursery.cancel_scope)
                try:
                    while True:
                        self._take(FROM_BRIDGE.decode_untrusted(await self._stream.receive()))
                except PeerGone:
                    pass
                except (MalformedError, RemoteProtocolError) as error:
                    fault = str(error)
                nursery.cancel_scope.cancel()
        return fault

    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            async for message in self._queue:
                with trio.fail_after(SEND_TIMEOUT_S):
                    await self._stream.send(FROM_FOCUS.encode(message))
        except (PeerGone, trio.TooSlowError):
            scope.cancel()

    def _take(self, message: FromBridge) -> None:
        bridge, connection = self._bridge, self._connection
        event: Event
        match message:
            case Heartbeat():
                event = HeartbeatReceived(bridge=bridge, connection=connection, heartbeat=message)
            case Allocated(request=request, answer=answer, decodes=decodes):
                event = BridgeAnswered(
                    bridge=bridge,
                    connection=connection,
                    request=request,
                    answer=answer,
                    decodes=None if decodes is None else frozenset(decodes),
                )
            case Refused(request=request, reason=reason):
                log.warning("offer-refused", bridge=bridge, reason=reason)
                event = BridgeRefused(
                    bridge=bridge, connection=connection, request=request, reason=reason
                )
            case Gone(conference=conference, participant=participant, reason=reason):
                log.info(
                    "transport-ended",
                    bridge=bridge,
                    conference=conference,
                    participant=participant,
                    reason=reason,
                )
                event = ParticipantGone(
                    bridge=bridge,
                    connection=connection,
                    conference=conference,
                    participant=participant,
                )
            case LayersWanted():
                event = LayersWantedReceived(bridge=bridge, connection=connection, wanted=message)
            case DominantSpeaker():
                event = DominantSpeakerReceived(
                    bridge=bridge, connection=connection, speaker=message
                )
            case Renew(csr_pem=csr_pem):
                self._host.renew(csr_pem, bridge, connection)
                return
            case Hello():
                raise RemoteProtocolError("a bridge says hello once")
            case _:
                assert_never(message)
        self._host.handle(event)
