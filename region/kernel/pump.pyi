"""The packet kernel's types; the code is `pump.pyx`, the byte-for-byte oracle `reference.py`."""

from typing import NamedTuple

from region.kernel.receiver import Receiver

STUN: int
"""RFC 7983 §7: first byte 0 to 3."""
DTLS: int
"""RFC 7983 §7: first byte 20 to 63."""
RTCP: int
"""RFC 5761 §4, already decrypted and authenticated."""

NO_TRANSPORT: int

AFTER_LOSS_S: float
"""So long after a loss receiver reports that tell of none are handed to Python, too."""

class Datagram(NamedTuple):
    """What the pump hands to Python: everything but media."""

    kind: int
    transport: int
    """The transport that owns the address it came from, or NO_TRANSPORT."""
    address: bytes
    """IPv6 (or IPv4-mapped) address, port and protocol, as `pack_address` makes it."""
    received_s: float
    """CLOCK_MONOTONIC when the pump read it."""
    data: bytes

class Pump(Receiver):
    """Moves media between the transports of one port, in a thread that `run` is."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound UDP socket (dual-stack AF_INET6, or AF_INET) that outlives this."""

    @property
    def wake_fd(self) -> int:
        """An eventfd that is readable when `drain` or `news` has what should not wait.

        Receiver reports can: they come with the next `drain`, whenever that is.
        """

    def run(self) -> None:
        """Pump until `stop`; never holds the GIL. OSError when the socket breaks."""

    def stop(self) -> None: ...
    def drain(self, limit: int = 256) -> list[Datagram]:
        """What has arrived for Python; also clears `wake_fd` when it leaves nothing."""

    def pressure_level(self) -> int:
        """How far the pump was behind since the last call, at most.

        0 is not at all; at 1 the top temporal layer is left out, at 2 all but the lowest, from 3
        on `upper` encodings, and at 4 all pictures. What is dropped unread is counted as
        `dropped_overload`, layers as `dropped_layer`.
        """
