"""Packets that leave together: messages as they were sent, and the padding that made them so."""

import socket
import struct

from tests.region.rig import Peer

MOST_PADDING = 32
"""That the kernel adds to a packet."""
MOST_BYTES = 65_507
"""Of a message, as UDP and IPv4 have 16 bits for its length."""
MOST_SEGMENTS = 64
"""Linux's UDP_MAX_SEGMENTS, of the versions where it is least."""
_SOL_UDP = 17
_UDP_GRO = 104


def receive_whole(peer: Peer) -> None:
    """From now on `next_message` has what was sent together."""
    peer.socket.setsockopt(_SOL_UDP, _UDP_GRO, 1)


def next_message(bound: socket.socket) -> list[bytes]:
    """The datagrams of the next one, which may be a single one."""
    data, control, flags, _ = bound.recvmsg(1 << 17, socket.CMSG_SPACE(4))
    assert not flags & socket.MSG_TRUNC
    for level, kind, value in control:
        if (level, kind) == (_SOL_UDP, _UDP_GRO):
            (size,) = struct.unpack("i", value)
            return [data[at : at + size] for at in range(0, len(data), size)]
    return [data]


def padding_added(data: bytes, to: bytes) -> int | None:
    """How many bytes of padding `data` has beyond `to`; None where anything else differs."""
    added = len(data) - len(to)
    if added == 0 and data == to:
        return 0
    if not 0 < added <= MOST_PADDING:
        return None
    # RFC 3550 §5.1: the last byte says how much there is, with what was there before.
    before = to[-1] if to[0] & 0x20 else 0
    whole = bytes([to[0] | 0x20]) + to[1:] + bytes(added - 1) + bytes([before + added])
    return added if data == whole else None
