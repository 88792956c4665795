"""One trunk's shell: a TLS connection to another bridge, the link on it, the path beside it.

Who dials and which of two connections stays is decided in `region.trunks`.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import assert_never

import structlog
import trio

from region.demux import Demux
from region.kernel import Pump
from region.trunk_path import PathHandlers, PathSecrets, TrunkPath
from region.trunk_tls import Stream, tls_reason
from relay.control import TrunkReport
from relay.errors import CapacityError, MalformedError, RemoteProtocolError
from relay.ids import Address, BridgeId, ConferenceId
from relay.link import Announced, Demanded, Link, LinkEvent, LinkState, Opened, PeerClosed
from relay.trunk_messages import TRUNK_VERSIONS, RelayedSource, TrunkHello, Wanted

HELLO_TIMEOUT_S = 5.0
PATH_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 1.0
MAX_UNSENT_BYTES = 4 << 20
"""Of control messages; a peer that lets so many wait does not read, and is dropped."""
_READ_BYTES = 65_536

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkUp:
    """Media may cross. What the peer announces and demands comes right behind this, anew."""

    peer: BridgeId
    transport: int
    """The pump's handle, until TrunkDown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkDown:
    """Media cannot cross any more: forget all that either side announced and demanded.

    The transport's handles are valid during this event and not after it.
    """

    peer: BridgeId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkAnnounced:
    """All that the peer can send of the conference now."""

    peer: BridgeId
    conference: ConferenceId
    sources: tuple[RelayedSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkDemanded:
    """All that the peer wants of the conference now."""

    peer: BridgeId
    conference: ConferenceId
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkRtcp:
    """A compound RTCP packet of the peer, authentic and decrypted."""

    peer: BridgeId
    packet: bytes
    received_s: float


TrunkEvent = TrunkUp | TrunkDown | TrunkAnnounced | TrunkDemanded | TrunkRtcp


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkHost:
    """What all trunks of a bridge share."""

    bridge: BridgeId
    pump: Pump
    demux: Demux
    media_addresses: tuple[Address, ...]
    on_event: Callable[[TrunkEvent], None]
    """Neither blocks nor raises."""
    dropped: Counter[str]
    """What of peers' was refused or not taken, by reason."""


class Trunk:
    """One connection, from the end of its TLS handshake to its own end."""

    def __init__(
        self,
        host: TrunkHost,
        stream: Stream,
        *,
        peer: BridgeId,
        dialler: BridgeId,
        on_open: Callable[["Trunk"], None],
    ) -> None:
        """`peer` is the certificate's; `on_open` is called once the hellos fit, and may `close`.

        CapacityError when the pump has no room for a transport.
        """
        self.peer = peer
        self.dialler = dialler
        self._host = host
        self._stream = stream
        self._on_open = on_open
        drawn = PathSecrets.draw()
        handlers = PathHandlers(up=self._on_up, down=self._on_down, rtcp=self._on_rtcp)
        self._path = TrunkPath(
            pump=host.pump,
            demux=host.demux,
            secrets=drawn,
            handlers=handlers,
            dropped=host.dropped,
        )
        hello = TrunkHello(
            versions=TRUNK_VERSIONS,
            features=(),
            bridge=host.bridge,
            srtp_key=drawn.srtp_key,
            ice_ufrag=drawn.ice.ufrag,
            ice_pwd=drawn.ice.password,
            media_addresses=host.media_addresses,
        )
        self._link = Link(hello, peer, dropped=host.dropped)
        self._unsent = trio.Event()
        self._overfull = trio.Event()
        self._hello_scope = trio.CancelScope()
        self._scope = trio.CancelScope()
        self._reason: str | None = None
        self._send_scope = trio.CancelScope(shield=True)
        self._opened_s = -inf
        self._rates = _Rates()

    @property
    def open(self) -> bool:
        """Whether announcements and demands are taken."""
        return self._link.state is LinkState.OPEN

    @property
    def up(self) -> bool:
        """Whether media may cross."""
        return self._path.up

    @property
    def healthy(self) -> bool:
        """Whether media may cross, or soon may: a new trunk has some seconds for its path."""
        return self.up or (self.open and trio.current_time() < self._opened_s + PATH_TIMEOUT_S)

    async def run(self) -> str:
        """Serve the connection until it ends, and close it; the reason, in words for a log."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                try:
                    with self._scope:
                        await self._serve()
                finally:
                    self.close("shutting down")
        finally:
            await trio.aclose_forcefully(self._stream)
        return self._reason or "shutting down"

    def close(self, reason: str) -> None:
        """End `run`, with a goodbye; again is harmless, and the first reason counts."""
        if self._reason is not None:
            return
        self._reason = reason
        self._link.close(reason)
        self._scope.cancel()
        self._send_scope.deadline = trio.current_time() + GOODBYE_TIMEOUT_S
        self._unsent.set()
        self._path.close(reason)

    def announce(self, conference: ConferenceId, sources: tuple[RelayedSource, ...]) -> None:
        """All that we can send of the conference; nothing happens while not open."""
        if self.open:
            try:
                self._link.announce(conference, sources)
            except CapacityError as error:
                log.warning("announce-refused", peer=self.peer, reason=str(error))
            self._wake_sender()

    def demand(self, conference: ConferenceId, wanted: tuple[Wanted, ...]) -> None:
        """All that we want of the conference; nothing happens while not open."""
        if self.open:
            try:
                self._link.demand(conference, wanted)
            except CapacityError as error:
                log.warning("demand-refused", peer=self.peer, reason=str(error))
            self._wake_sender()

    def send_rtcp(self, packet: bytes) -> bool:
        """False when it was not sent."""
        return self._path.send_rtcp(packet)

    def report(self) -> TrunkReport:
        """What the focus is told; rates are since the last report."""
        path = self._path.summary()
        sent_bps, received_bps = self._measure_rates()
        return TrunkReport(
            peer=self.peer,
            up=self.up,
            rtt_ms=path.rtt_ms,
            rtt_min_ms=path.rtt_min_ms,
            rtt_p50_ms=path.rtt_p50_ms,
            rtt_p95_ms=path.rtt_p95_ms,
            jitter_ms=path.jitter_ms,
            loss=path.loss,
            sources_out=self._link.sources_out,
            sources_in=self._link.sources_in,
            sent_bps=sent_bps,
            received_bps=received_bps,
        )

    def _measure_rates(self) -> tuple[float, float]:
        if self._reason is not None:
            return 0.0, 0.0
        stats = self._host.pump.transport_stats(self._path.transport)
        return self._rates.update(time.monotonic(), stats.bytes_out, stats.bytes_in)

    async def _serve(self) -> None:
        self._link.start()
        self._unsent.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._path.run)
            nursery.start_soon(self._end_when_overfull)
            with trio.move_on_after(HELLO_TIMEOUT_S) as self._hello_scope:
                await self._receive()
            self.close("no hello in time")

    async def _receive(self) -> None:
        while self._reason is None:
            try:
                data = await self._stream.receive_some(_READ_BYTES)
                if not data:
                    self.close("the peer hung up")
                for event in self._link.receive(bytes(data)):
                    self._on_link_event(event)
            except (MalformedError, RemoteProtocolError) as error:
                self.close(str(error))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self.close(f"the connection broke: {tls_reason(error)}")

    async def _send(self) -> None:
        """Write until closed and all is written, then end TLS.

        Cancelling a write would cut a TLS record in two, and no goodbye could follow: so this is
        shielded, and `close` sets the deadline.
        """
        try:
            with self._send_scope:
                while self._reason is None or self._link.unsent_bytes:
                    await self._unsent.wait()
                    self._unsent = trio.Event()
                    with trio.fail_after(SEND_TIMEOUT_S):
                        await self._stream.send_all(self._link.data_to_send())
                await self._stream.aclose()
        except trio.TooSlowError:
            self.close("the peer does not read")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close(f"the connection broke: {tls_reason(error)}")

    def _wake_sender(self) -> None:
        if self._link.unsent_bytes > MAX_UNSENT_BYTES:
            self._overfull.set()
        elif self._link.unsent_bytes:
            self._unsent.set()

    async def _end_when_overfull(self) -> None:
        """Not where it was told too much: who tells is in the middle of something."""
        await self._overfull.wait()
        self.close("the peer does not read")

    def _on_link_event(self, event: LinkEvent) -> None:
        match event:
            case Opened():
                self._hello_scope.deadline = inf
                self._on_opened(event)
            case Announced() | Demanded():
                if self.up:
                    self._pass_on(event)
            case PeerClosed():
                self.close(f"the peer closed: {event.reason}")
            case _:
                assert_never(event)

    def _on_opened(self, event: Opened) -> None:
        self._opened_s = trio.current_time()
        self._on_open(self)
        if self._reason is None:
            log.info("trunk-open", peer=self.peer, dialler=self.dialler, version=event.version)
            self._path.open(event.hello, controlling=self._host.bridge < self.peer)

    def _on_up(self) -> None:
        log.info("trunk-up", peer=self.peer, transport=self._path.transport)
        self._host.on_event(TrunkUp(peer=self.peer, transport=self._path.transport))
        state: tuple[Announced | Demanded, ...] = (*self._link.announced, *self._link.demanded)
        for event in state:
            self._pass_on(event)

    def _on_down(self, reason: str) -> None:
        log.warning("trunk-down", peer=self.peer, reason=reason)
        if self.open:
            self._link.withdraw()
            self._wake_sender()
        self._host.on_event(TrunkDown(peer=self.peer, reason=reason))

    def _on_rtcp(self, packet: bytes, received_s: float) -> None:
        self._host.on_event(TrunkRtcp(peer=self.peer, packet=packet, received_s=received_s))

    def _pass_on(self, event: Announced | Demanded) -> None:
        match event:
            case Announced(conference=conference, sources=sources):
                self._host.on_event(
                    TrunkAnnounced(peer=self.peer, conference=conference, sources=sources)
                )
            case Demanded(conference=conference, wanted=wanted):
                self._host.on_event(
                    TrunkDemanded(peer=self.peer, conference=conference, wanted=wanted)
                )
            case _:
                assert_never(event)


class _Rates:
    """Bits per second out and in, since the last update."""

    def __init__(self) -> None:
        self._at_s: float | None = None
        self._sent_bytes = 0
        self._received_bytes = 0

    def update(self, now: float, sent_bytes: int, received_bytes: int) -> tuple[float, float]:
        before_s, self._at_s = self._at_s, now
        sent, self._sent_bytes = sent_bytes - self._sent_bytes, sent_bytes
        received, self._received_bytes = received_bytes - self._received_bytes, received_bytes
        if before_s is None or now <= before_s:
            return 0.0, 0.0
        return sent * 8 / (now - before_s), received * 8 / (now - before_s)
