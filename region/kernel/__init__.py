"""The packet kernel: moves media packets, and knows nothing of conferences.

Python decides and changes the tables; the thread of `pump.pyx` moves; `reference.py` is
the oracle that tests hold the rewrite to.
"""

from region.kernel.alerts import ALIVE_S
from region.kernel.packed_address import is_tcp, pack_address, unpack_address
from region.kernel.pump import DTLS, NO_TRANSPORT, RTCP, STUN, Datagram, Pump
from region.kernel.report import PathReport
from region.kernel.sender import Repeats
from region.kernel.tables import NO_STREAM, EgressStats, StreamStats
from region.kernel.transports import TransportStats

__all__ = [
    "ALIVE_S",
    "DTLS",
    "NO_STREAM",
    "NO_TRANSPORT",
    "RTCP",
    "STUN",
    "Datagram",
    "EgressStats",
    "PathReport",
    "Pump",
    "Repeats",
    "StreamStats",
    "TransportStats",
    "is_tcp",
    "pack_address",
    "unpack_address",
]
