"""The bridge's WebSocket to the focus: dials, proves who it is, keeps it open, dials again.

What the messages mean is not known here; the wire is in `relay/PROTOCOL.md`, "Control".
While the focus is away the bridge goes on with what it has: media needs no focus.
"""

import random
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from math import inf
from urllib.parse import urlsplit

import structlog
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

from region.beats import beat
from region.enrolment import IdentityStore, focus_ssl_context
from region.reasons import NO_WEBSOCKET, reason_of
from region.settings import RegionSettings
from relay.control import (
    CONTROL_VERSION,
    FROM_BRIDGE,
    FROM_FOCUS,
    HEARTBEAT_S,
    MAX_CONTROL_BYTES,
    Challenge,
    Denied,
    FromBridge,
    FromFocus,
    Heartbeat,
    Hello,
    Renew,
    Renewed,
    Welcome,
)
from relay.errors import MalformedError, PeerGone, RemoteProtocolError, SettingsError
from relay.identity import make_request, sign_challenge
from relay.ids import Address

CONNECT_TIMEOUT_S = 5.0
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 5.0
OUTGOING_MESSAGES = 1024
"""Waiting for the focus at most; a focus that reads so slowly is dialled anew."""

_FAULTS_OF_THE_FOCUS = (MalformedError, RemoteProtocolError, PeerGone, SettingsError)
"""Of these another connection may be free: a certificate that cannot be stored now, say, is sent
again. A fault of our own is none of them."""

log = structlog.get_logger()


class FocusLink:
    """One supervised connection; `on_message` gets all but what this file deals with."""

    def __init__(
        self,
        settings: RegionSettings,
        store: IdentityStore,
        *,
        media_addresses: tuple[Address, ...],
        relay_addresses: tuple[Address, ...],
        ping_password: str,
        heartbeat: Callable[[], Heartbeat],
        on_message: Callable[[FromFocus], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._media_addresses = media_addresses
        self._relay_addresses = relay_addresses
        self._ping_password = ping_password
        self._heartbeat = heartbeat
        self._on_message = on_message
        self._outgoing: trio.MemorySendChannel[FromBridge] | None = None
        self._hang_up: Callable[[], None] = lambda: None
        self._renewal_key: bytes | None = None
        self.dropped: Counter[str] = Counter()

    @property
    def connected(self) -> bool:
        """Whether the focus has welcomed us and the connection stands."""
        return self._outgoing is not None

    def send(self, message: FromBridge) -> None:
        """Queue a message; without a focus it is dropped, for a new one asks for everything."""
        if self._outgoing is None:
            self.dropped["no_focus"] += 1
            return
        try:
            self._outgoing.send_nowait(message)
        except trio.WouldBlock:
            self.dropped["focus_too_slow"] += 1
            self._outgoing = None
            self._hang_up()

    async def run(self) -> None:
        """Stay connected until cancelled; a failure of the focus ends in a log line and a retry."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            began_s = trio.current_time()
            try:
                await self._connect()
            except (
                *_FAULTS_OF_THE_FOCUS,
                OSError,
                HandshakeError,
                ConnectionClosed,
                *NO_WEBSOCKET,
                trio.TooSlowError,  # it did not answer our goodbye
            ) as error:
                focus, reason = self._settings.focus_url, reason_of(error)
                log.warning("focus-lost", focus=focus, reason=reason)
            if trio.current_time() - began_s > 2 * MAX_BACKOFF_S:
                backoff_s = FIRST_BACKOFF_S
            await trio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _connect(self) -> None:
        base = self._settings.focus_url.rstrip("/")
        url = f"wss{base.removeprefix('https')}/api/bridges/control"
        opened = False
        with trio.move_on_after(CONNECT_TIMEOUT_S) as timeout:
            async with open_websocket_url(
                url,
                ssl_context=focus_ssl_context(self._settings),
                max_message_size=MAX_CONTROL_BYTES,
                disconnect_timeout=1,
            ) as socket:
                opened = True
                await self._introduce(socket)
                timeout.deadline = inf
                await self._converse(socket)
        if timeout.cancelled_caught:
            if not opened:
                await self._shake_hands()
            raise PeerGone(f"no welcome within {CONNECT_TIMEOUT_S:.0f} s")

    async def _shake_hands(self) -> None:
        """Raise what is wrong with the focus's TLS, which trio-websocket waits out in silence."""
        url = urlsplit(self._settings.focus_url)
        assert url.hostname is not None
        context = focus_ssl_context(self._settings)
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            stream = await trio.open_ssl_over_tcp_stream(
                url.hostname, url.port or 443, ssl_context=context, https_compatible=True
            )
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError as error:
                raise PeerGone(reason_of(error.__cause__ or error)) from None
            finally:
                await trio.aclose_forcefully(stream)

    async def _introduce(self, socket: WebSocketConnection) -> None:
        challenge = await _receive(socket)
        if not isinstance(challenge, Challenge):
            raise RemoteProtocolError("the focus did not begin with a challenge")
        if CONTROL_VERSION not in challenge.versions:
            raise RemoteProtocolError(
                f"the focus speaks control versions {challenge.versions}, we {CONTROL_VERSION}"
            )
        identity = self._store.identity
        hello = Hello(
            version=CONTROL_VERSION,
            software=f"octomesh {version('octomesh')}",
            certificate_pem=identity.certificate_pem,
            signature=sign_challenge(identity.key_pem, challenge.nonce),
            media_addresses=self._media_addresses,
            relay_addresses=self._relay_addresses,
            ping_password=self._ping_password,
        )
        await socket.send_message(FROM_BRIDGE.encode(hello))
        welcome = await _receive(socket)
        if isinstance(welcome, Denied):
            raise RemoteProtocolError(f"the focus denied us: {welcome.reason}")
        if not isinstance(welcome, Welcome):
            raise RemoteProtocolError("the focus did not welcome us")
        log.info("focus-connected", bridge=welcome.bridge, focus=self._settings.focus_url)
        self._on_message(welcome)

    async def _converse(self, socket: WebSocketConnection) -> None:
        send, outgoing = trio.open_memory_channel[FromBridge](OUTGOING_MESSAGES)
        self._outgoing = send
        self._renewal_key = None  # an unanswered request went down with the last connection
        gone = "it did not take our messages"
        try:
            async with trio.open_nursery() as nursery:
                self._hang_up = nursery.cancel_scope.cancel
                nursery.start_soon(self._send_all, socket, outgoing)
                nursery.start_soon(self._beat)
                while True:
                    message = await _receive(socket)
                    if isinstance(message, Renewed):
                        self._renewed(message)
                    elif isinstance(message, Denied):
                        raise RemoteProtocolError(f"the focus denied us: {message.reason}")
                    else:
                        self._on_message(message)
        except* (*_FAULTS_OF_THE_FOCUS, ConnectionClosed, OSError) as group:
            gone = reason_of(group)  # What is raised in here comes out in a group.
        finally:
            self._outgoing = None
        raise PeerGone(gone)

    async def _send_all(
        self, socket: WebSocketConnection, outgoing: trio.MemoryReceiveChannel[FromBridge]
    ) -> None:
        async for message in outgoing:
            await socket.send_message(FROM_BRIDGE.encode(message))

    async def _beat(self) -> None:
        while True:
            self.send(self._heartbeat())
            if self._renewal_key is None and self._store.ends_soon():
                self._renewal_key, csr_pem = make_request()
                self.send(Renew(csr_pem=csr_pem))
            await beat(HEARTBEAT_S)

    def _renewed(self, message: Renewed) -> None:
        if self._renewal_key is None:
            raise RemoteProtocolError("a certificate that nobody asked for")
        self._store.replace(self._renewal_key, message.certificate_pem)
        self._renewal_key = None
        log.info("certificate-renewed", bridge=self._store.bridge)


async def _receive(socket: WebSocketConnection) -> FromFocus:
    data = await socket.get_message()
    if isinstance(data, str):
        raise MalformedError("a text frame where msgpack was due")
    return FROM_FOCUS.decode_untrusted(data)
