"""The connections' types; the code is `connections.pyx`."""

from region.kernel.transports import Transports

UNPROVED_S: float
"""So long a connection may be no transport's before it is closed."""
SILENT_S: float
"""So long a transport's connection may be silent before it is closed."""

class Connections(Transports):
    """TCP connections from clients (RFC 6544), which carry what datagrams do, framed by RFC 4571.

    A connection's address is its peer's, packed with `tcp=True`. `bind_address` and
    `select_address` make it a transport's, with which it is closed then; for a connection
    that is not there they do nothing, for its peer may always have been faster.
    """

    def __init__(self, fd: int) -> None:
        """`fd`: a bound UDP socket (dual-stack AF_INET6, or AF_INET)."""

    def add_connection(self, fd: int, address: bytes) -> None:
        """Serve a connected TCP socket, and close it one day: it belongs to the pump from now on.

        Another connection of the same peer's address is closed. When there is no room, the
        oldest makes it that is no transport's. CapacityError where there is none: the socket
        is the caller's then, as with any other error.
        """

    def close_connection(self, address: bytes) -> None:
        """Close it; one that is not there is no error."""

    def close_silent_connections(self, now_s: float) -> None:
        """Close those that were silent for too long at `now_s` (CLOCK_MONOTONIC)."""

    def unproved_connections(self, address: bytes) -> int:
        """How many connections from this host, or this /64 of IPv6, are no transport's."""

    @property
    def open_connections(self) -> int:
        """How many there are."""
