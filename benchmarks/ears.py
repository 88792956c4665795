"""What a crowd of clients hears, gathered by a thread of `native.c` for Python to answer."""

import contextlib
import ctypes
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.client import TRANSPORT_SEQUENCE
from benchmarks.native import library

_SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>; Python has no name for it
_ARRIVALS, _STREAMS, _SAYINGS, _SAYING_BYTES = 1 << 13, 64, 1 << 12, 1500


class _Stream(ctypes.Structure):
    _fields_ = (
        ("ssrc", ctypes.c_uint32),
        ("sequence", ctypes.c_uint16),
        ("payload_type", ctypes.c_uint16),
        ("packets", ctypes.c_uint64),
    )


class _Ear(ctypes.Structure):
    _fields_ = (
        ("arrived", ctypes.c_uint64),
        ("arrivals", ctypes.c_uint64 * _ARRIVALS),
        ("stream_count", ctypes.c_uint64),
        ("streams", _Stream * _STREAMS),
    )


class _Saying(ctypes.Structure):
    _fields_ = (
        ("ear", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("data", ctypes.c_uint8 * _SAYING_BYTES),
    )


class _Mouth(ctypes.Structure):
    _fields_ = (("said", ctypes.c_uint64), ("sayings", _Saying * _SAYINGS))


class Stream(NamedTuple):
    """An SSRC that was heard."""

    ssrc: int
    sequence: int
    """Of the last packet."""
    payload_type: int
    packets: int


class Arrival(NamedTuple):
    """A packet with a transport-wide number."""

    number: int
    size_bytes: int
    at_us: int
    """By a clock of 32 bits."""


class Ears:
    """One for each socket, in their order."""

    def __init__(self, count: int) -> None:
        self._ears = (_Ear * count)()
        self._read = [0] * count
        self._mouth = _Mouth()
        self._heard = 0

    def arrivals(self, ear: int) -> list[Arrival]:
        """Those since the last time, at most as many as are kept."""
        state = self._ears[ear]
        end: int = state.arrived
        begin = max(self._read[ear], end - _ARRIVALS)
        self._read[ear] = end
        first, last = begin % _ARRIVALS, end % _ARRIVALS
        if first <= last:
            raw = state.arrivals[first:last]
        else:
            raw = state.arrivals[first:] + state.arrivals[:last]
        return [Arrival(each & 0xFFFF, each >> 16 & 0xFFFF, each >> 32) for each in raw]

    def streams(self, ear: int) -> list[Stream]:
        """All that were ever heard."""
        state = self._ears[ear]
        return [
            Stream(each.ssrc, each.sequence, each.payload_type, each.packets)
            for each in state.streams[: state.stream_count]
        ]

    def rtcp(self) -> Iterator[tuple[int, bytes]]:
        """To whom, and what, encrypted as it came; each is given once."""
        for number in range(max(self._heard, self._mouth.said - _SAYINGS), self._mouth.said):
            saying = self._mouth.sayings[number % _SAYINGS]
            yield saying.ear, bytes(saying.data[: saying.bytes])
            self._heard = number + 1

    @contextlib.contextmanager
    def listening(self, sockets: Sequence[socket.socket]) -> Iterator[None]:
        """Empty the sockets for as long as the context is open."""
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        fds = (ctypes.c_int * len(sockets))(*(each.fileno() for each in sockets))
        stop = ctypes.c_int(0)
        thread = threading.Thread(
            target=library().listen_to,
            args=(
                fds,
                len(sockets),
                TRANSPORT_SEQUENCE,
                self._ears,
                ctypes.byref(self._mouth),
                ctypes.byref(stop),
            ),
        )
        thread.start()
        try:
            yield
        finally:
            stop.value = 1
            thread.join()
