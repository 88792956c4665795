"""What Linux has thrown away because nobody read a socket in time."""

import socket
import struct
from collections.abc import Collection
from pathlib import Path

_SO_MEMINFO = 55
"""<asm-generic/socket.h>."""
_DROPS = 8
"""<linux/sock_diag.h>: SK_MEMINFO_DROPS, the last of nine."""


def drops_of(udp: socket.socket) -> int:
    """Of one of ours; several datagrams that came as one (UDP GRO) count as one."""
    told = udp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_DROPS + 1))
    return int(struct.unpack(f"={_DROPS + 1}I", told)[_DROPS])


def drops_at(ports: Collection[int]) -> int:
    """Of all UDP sockets of the network namespace that are bound to these ports."""
    sum_ = 0
    for table in ("udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) in ports:
                sum_ += int(fields[-1])
    return sum_
