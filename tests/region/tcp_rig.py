"""Clients of a `Rig` that come by TCP, with frames instead of datagrams (RFC 4571)."""

import os
import socket
import struct
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from region.kernel import pack_address
from tests.region.rig import DEADLINE_S, Rig, give_keys

CHECK = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"transaction!"
"""What every ICE agent begins with, with nothing in it."""


def framed(*packets: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(packet)) + packet for packet in packets)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()


def wait_for_frames(rig: Rig, count: int) -> None:
    """Until the pump has dealt with `count` frames since it began."""
    wait_until(lambda: rig.pump.counters()["tcp_frames_in"] >= count)


_listeners: WeakKeyDictionary[Rig, socket.socket] = WeakKeyDictionary()
"""One for each: with two, two connections of a rig might come from the same address."""


def _listener_of(rig: Rig) -> socket.socket:
    if rig not in _listeners:
        host = rig.address[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        _listeners[rig] = socket.create_server((host, 0), family=family)
    return _listeners[rig]


class Client:
    """A connection that the pump serves; nobody's until a transport binds its address."""

    def __init__(self, rig: Rig, *, send_bytes: int = 0, receive_bytes: int = 0) -> None:
        """Buffers of the pump's end and of ours, where they shall not be the system's."""
        listener = _listener_of(rig)
        self.socket = socket.socket(listener.family)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_bytes:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        host, port = self.socket.getsockname()[:2]
        self.address = pack_address(host, port, tcp=True)
        rig.pump.add_connection(accepted.fileno(), self.address)
        accepted.detach()
        self._received = b""

    def send(self, *packets: bytes) -> None:
        self.socket.sendall(framed(*packets))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """The packet in the next frame."""
        (length,) = struct.unpack("!H", self._exactly(2))
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            more = self.socket.recv(1 << 16)
            assert more, "the pump has closed the connection"
            self._received += more
        data, self._received = self._received[:length], self._received[length:]
        return data

    def has_ended(self) -> bool:
        """Whether the pump closes the connection, having said no more."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def has_nothing(self) -> bool:
        """Whether it is open and no byte waits."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._received
        finally:
            self.socket.settimeout(DEADLINE_S)
        return False


class TcpPeer(Client):
    """A transport with keys, whose path is the connection."""

    def __init__(
        self,
        rig: Rig,
        *,
        payload_types: dict[int, int] | None = None,
        send_bytes: int = 0,
        receive_bytes: int = 0,
    ) -> None:
        super().__init__(rig, send_bytes=send_bytes, receive_bytes=receive_bytes)
        self.transport = rig.pump.add_transport()
        self.outbound, self.inbound = give_keys(rig.pump, self.transport)
        rig.pump.set_payload_types(self.transport, payload_types or {96: 96, 111: 111})
        rig.pump.select_address(self.transport, self.address)
        self.send(CHECK)

    def send_media(self, *packets: bytes) -> None:
        self.send(*(self.outbound.protect(packet) for packet in packets))

    def receive_media(self) -> bytes:
        """The next RTP packet from the pump, decrypted."""
        return self.inbound.unprotect(self.receive())
