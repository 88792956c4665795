"""Accepts clients' TCP connections on the media port and hands them to the pump.

RFC 6544: our candidates are passive, so clients connect. What passes over a connection is the
pump's business; here is who gets one.
"""

import errno
import resource
import socket
import time
from collections import Counter

import structlog
import trio

from region.beats import beat
from region.kernel import Pump, pack_address
from relay.errors import CapacityError

MAX_UNPROVED_PER_HOST = 64
"""Connections without a valid check; those with one are not limited, for an office behind one
address may have many people."""
UNSENT_BYTES = 16_384
"""In the system's buffer of each; more would only be late. The pump keeps as much again."""
MAX_FILES = 16_384
"""That this process asks to have open; half of what it gets may be connections."""
_ACCEPT_PACE_S = 0.002
"""At most 500/s: a flood of connections shall leave the event loop to others."""
_FULL_PAUSE_S = 0.1
_SILENCE_TICK_S = 1.0
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# accept(2): "treat them like EAGAIN by retrying".
_GONE = {
    *(errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET),
}

log = structlog.get_logger()


class MediaListener:
    """Owns neither the listening socket nor the pump; both outlive `run`."""

    def __init__(self, listener: socket.socket, pump: Pump) -> None:
        """`listener`: bound and listening."""
        self._listener = trio.socket.from_stdlib_socket(listener)
        self._pump = pump
        self._room = 0
        self.dropped: Counter[str] = Counter()
        """Connections that were refused, by reason."""

    async def run(self) -> None:
        """Accept, and close what is silent, until cancelled; raises the limit of open files."""
        self._room = _files() // 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept)
            nursery.start_soon(self._close_silent)

    async def _accept(self) -> None:
        while True:
            try:
                accepted, remote = await self._listener.accept()
            except OSError as error:
                await self._after_failure(error)
                continue
            with accepted:
                self._hand_over(accepted, remote)
            await trio.sleep(_ACCEPT_PACE_S)

    async def _after_failure(self, error: OSError) -> None:
        if error.errno in _GONE:
            self.dropped["tcp_gone"] += 1
        elif error.errno in _FULL:
            # The connection waits in the backlog for somebody else to close a file.
            if not self.dropped["tcp_no_files"]:
                log.warning("tcp-accept-failed", reason=error.strerror)
            self.dropped["tcp_no_files"] += 1
            await trio.sleep(_FULL_PAUSE_S)
        else:
            raise error

    def _hand_over(self, accepted: trio.socket.SocketType, remote: tuple[str, int]) -> None:
        """To the pump, or to nobody."""
        address = pack_address(remote[0], remote[1], tcp=True)
        if self._pump.unproved_connections(address) >= MAX_UNPROVED_PER_HOST:
            self.dropped["tcp_host_limit"] += 1
            return
        if self._pump.open_connections >= self._room:
            self.dropped["tcp_full"] += 1
            return
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
            self._pump.add_connection(accepted.fileno(), address)
        except CapacityError:
            self.dropped["tcp_full"] += 1
        except OSError:
            self.dropped["tcp_gone"] += 1
        else:
            accepted.detach()

    async def _close_silent(self) -> None:
        while True:
            await beat(_SILENCE_TICK_S)
            self._pump.close_silent_connections(time.monotonic())


def _files() -> int:
    """How many files this process may have open from now on, MAX_FILES at most.

    With the usual 1,024 strangers could take them all, and from trunks too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= MAX_FILES:
        return MAX_FILES
    allowed = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
