"""Compiles and loads `native.c`; calls into it release the GIL."""

import contextlib
import ctypes
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
OUT = _HERE / "out"


@cache
def library() -> ctypes.CDLL:
    """`native.c`, compiled when it is newer than what was compiled of it."""
    OUT.mkdir(exist_ok=True)
    target = OUT / "native.so"
    source = _HERE / "native.c"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        command = ["gcc", "-O3", "-Wall", "-shared", "-fPIC", "-o", str(target), str(source)]
        subprocess.run(command, check=True)
    library = ctypes.CDLL(str(target))
    library.floor_run.restype = ctypes.c_long
    return library


def floor_run(bound: socket.socket, destinations: Sequence[int]) -> int:
    """Forward all to these loopback ports until a one-byte datagram; how many were sent."""
    addresses = b"".join(_sockaddr_in6(port) for port in destinations)
    return int(library().floor_run(bound.fileno(), addresses, len(destinations)))


def _sockaddr_in6(port: int) -> bytes:
    """127.0.0.1 mapped into IPv6, as the bridge's dual-stack socket addresses it."""
    family = socket.AF_INET6.to_bytes(2, "little")
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")
    return family + port.to_bytes(2, "big") + bytes(4) + mapped + bytes(4)


class Drained:
    """What the draining thread has counted."""

    def __init__(self) -> None:
        self._count = ctypes.c_long(0)

    @property
    def datagrams(self) -> int:
        return self._count.value

    @property
    def reference(self) -> object:
        return ctypes.byref(self._count)


@contextlib.contextmanager
def draining(sockets: Sequence[socket.socket]) -> Iterator[Drained]:
    """Empty the sockets in a native thread for as long as the context is open."""
    fds = (ctypes.c_int * len(sockets))(*(each.fileno() for each in sockets))
    stop = ctypes.c_int(0)
    drained = Drained()
    thread = threading.Thread(
        target=library().drain,
        args=(fds, len(sockets), ctypes.byref(stop), drained.reference),
    )
    thread.start()
    try:
        yield drained
    finally:
        stop.value = 1
        thread.join()
