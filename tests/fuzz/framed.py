"""A client of the fuzzed pump that comes by TCP; a pair of sockets stands for its connection."""

import contextlib
import socket

from region.kernel import Pump, pack_address

DEADLINE_S = 10.0
ADDRESS = pack_address("192.0.2.1", 9, tcp=True)
_GREETING = b"\x00\x01" + bytes(18)
_SEND_BUFFER_BYTES = 4_608
"""Of the pump's end: so small that much waits for us to read."""


def framed(packet: bytes) -> bytes:
    """RFC 4571."""
    return len(packet).to_bytes(2) + packet


class FramedClient:
    """Connects when it has something to say, and again when the pump has closed."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._socket: socket.socket | None = None
        self._received = b""

    def connect(self, *, greets: bool) -> None:
        """Unless it is; a client that does not greet begins with what comes next."""
        if self._socket is not None:
            return
        self._socket, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._pump.add_connection(theirs.detach(), ADDRESS)
        self._received = b""
        if greets:
            self.write(framed(_GREETING))

    def write(self, data: bytes) -> None:
        """As much as there is room for."""
        try:
            if self._socket is not None:
                self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass
        except OSError:
            self._socket = None

    def read(self) -> None:
        """What has come by now."""
        with contextlib.suppress(OSError):
            while self._socket is not None and (
                more := self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            ):
                self._received += more

    def finish(self) -> list[bytes]:
        """Close our half and wait for the pump to close its own; what came whole.

        AssertionError when that is no stream of frames.
        """
        self.read()
        if self._socket is not None:
            self._socket.settimeout(DEADLINE_S)
            with contextlib.suppress(ConnectionError):
                self._socket.shutdown(socket.SHUT_WR)
                while more := self._socket.recv(1 << 16):
                    self._received += more
            self._socket.close()
            self._socket = None
        stream, self._received = self._received, b""
        packets: list[bytes] = []
        while len(stream) >= 2 and len(stream) >= 2 + int.from_bytes(stream[:2]):
            length = int.from_bytes(stream[:2])
            assert length >= 8, stream[:40].hex()
            packets.append(stream[2 : 2 + length])
            stream = stream[2 + length :]
        return packets
