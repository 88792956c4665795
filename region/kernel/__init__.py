"""The packet kernel: moves media packets, and knows nothing of conferences.

Python decides and changes its tables; `pump.pyx` moves; `reference.py` is the oracle that
tests hold the rewrite to.
"""

from region.kernel.pump import (
    DTLS,
    NO_STREAM,
    NO_TRANSPORT,
    RTCP,
    STUN,
    Datagram,
    EgressStats,
    Pump,
    StreamStats,
    TransportStats,
    pack_address,
    unpack_address,
)

__all__ = [
    "DTLS",
    "NO_STREAM",
    "NO_TRANSPORT",
    "RTCP",
    "STUN",
    "Datagram",
    "EgressStats",
    "Pump",
    "StreamStats",
    "TransportStats",
    "pack_address",
    "unpack_address",
]
