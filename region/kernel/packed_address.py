"""Addresses as the kernel keys them: IPv6 or IPv4 mapped into it, a port, and whether it is TCP."""

import socket

_MAPPED = bytes(10) + b"\xff\xff"
_HOST_BYTES = 16
ADDRESS_BYTES = _HOST_BYTES + 3


def pack_address(host: str, port: int, tcp: bool = False) -> bytes:
    """A literal address; ValueError when `host` is none."""
    if not 0 <= port <= 0xFFFF:
        raise ValueError("a port is between 0 and 65535")
    try:
        if ":" in host:
            packed = socket.inet_pton(socket.AF_INET6, host)
        else:
            packed = _MAPPED + socket.inet_pton(socket.AF_INET, host)
    except OSError:
        raise ValueError("not a literal IPv4 or IPv6 address") from None
    return packed + port.to_bytes(2) + bytes([tcp])


def unpack_address(packed: bytes) -> tuple[str, int]:
    """Back to a literal (IPv4 where it was mapped) and a port."""
    if len(packed) != ADDRESS_BYTES:
        raise ValueError("a packed address has 19 bytes")
    host, port = packed[:_HOST_BYTES], int.from_bytes(packed[_HOST_BYTES:-1])
    if host.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, host[len(_MAPPED) :]), port
    return socket.inet_ntop(socket.AF_INET6, host), port


def is_tcp(packed: bytes) -> bool:
    """Whether it is a TCP connection's."""
    return packed[-1:] == b"\x01"
