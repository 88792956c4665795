"""What trunks need of TCP and TLS: listening sockets, handshakes, and errors in words."""

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Literal

import trio

from relay.errors import PeerGone, RemoteProtocolError, SettingsError
from relay.identity import Identity, peer_bridge_of, trunk_ssl_context
from relay.ids import BridgeId

_LISTEN_BACKLOG = 64

Stream = trio.SSLStream[trio.SocketStream]


class Contexts:
    """TLS contexts of the present identity, made anew when it changes."""

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self._identity = identity
        self._made_for: Identity | None = None
        self._made: dict[str, ssl.SSLContext] = {}

    def get(self, side: Literal["client", "server"]) -> ssl.SSLContext:
        """The context for our end."""
        identity = self._identity()
        if identity is not self._made_for:
            self._made_for, self._made = identity, {}
        if side not in self._made:
            self._made[side] = trunk_ssl_context(identity, server_side=side == "server")
        return self._made[side]


async def secured(
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


def listen(host: str, port: int) -> trio.SocketListener:
    """A listener, for IPv4 as well where `host` is `::`; SettingsError in words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host == "::" and not _has_ipv6():
        host, family = "0.0.0.0", socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(_LISTEN_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise SettingsError(f"relay port {port}/tcp is in use on {host}") from None
        raise SettingsError(
            f"cannot listen on {host}, relay port {port}/tcp: {os_reason(error)}"
        ) from None
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def tls_reason(error: BaseException) -> str:
    """The TLS alert or socket error that trio wrapped, without Python's decoration."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or "TLS failure").lower().replace("_", " ")
    return os_reason(cause or error)


def os_reason(error: BaseException) -> str:
    """The system's words where there are some."""
    if isinstance(error.__cause__, BaseExceptionGroup):
        error = error.__cause__.exceptions[0]  # What trio's attempts to connect came to.
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__


def remote_host(tcp: trio.SocketStream) -> str:
    """The address at the other end, for logs and bounds."""
    try:
        return str(tcp.socket.getpeername()[0])
    except OSError:
        return "gone"
