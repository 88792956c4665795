"""The sending half's types; the code is `sender.pyx`."""

from typing import NamedTuple

from region.kernel.alerts import Alerts

class Repeats(NamedTuple):
    """What became of a request to send packets again."""

    sent: int
    gone: int
    """Not kept any more, though no switch to another source or encoding makes up for them."""

class Sender(Alerts):
    """Sends on the socket of the tables' transports."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound, non-blocking UDP socket that outlives this."""

    def send(self, address: bytes, data: bytes) -> bool:
        """Send one plain datagram now, or a frame to a TCP address.

        False when the socket, or the connection if it is there, would not take it.
        """

    def send_rtcp(self, transport: int, packet: bytes) -> bool:
        """Protect a compound RTCP packet and send it; False when there is no path or no room."""

    def retransmit(self, egress: int, sequences: list[int]) -> Repeats:
        """Send packets (numbers as they left) again by RFC 4588.

        Not sent, and counted: what is not known or not kept any more, what was sent again
        within a round trip, more than half of what the egress has sent at all, and more than
        `limit_repeats` allows its transport.
        """
