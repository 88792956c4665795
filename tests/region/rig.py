"""A pump on loopback with peers that speak SRTP to it, for tests of the kernel."""

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator

from pylibsrtp import Policy, Session

from benchmarks.soak.books import bridge_balances
from region.kernel import Pump, pack_address

DEADLINE_S = 5.0
KEY_BYTES = 28


def session(key: bytes, *, inbound: bool) -> Session:
    return Session(
        Policy(
            key=key,
            ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        )
    )


class Rig:
    """One running pump; waits are for a condition, with a deadline."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self.address = self._socket.getsockname()[:2]
        self.pump = Pump(self._socket.fileno())
        self._thread = threading.Thread(target=self.pump.run)
        self._thread.start()
        self._peers: list[Peer] = []

    def peer(
        self,
        *,
        payload_types: dict[int, int] | None = None,
        extensions: dict[int, int] | None = None,
    ) -> "Peer":
        """A transport with keys and a path, and the socket at its other end."""
        peer = Peer(self, self._host)
        self.pump.set_payload_types(peer.transport, payload_types or {96: 96, 111: 111})
        self.pump.set_extensions(peer.transport, extensions or {})
        self._peers.append(peer)
        return peer

    def wait_for_datagrams(self, count: int) -> None:
        """Until the pump has dealt with `count` datagrams since it began."""
        end = time.monotonic() + DEADLINE_S
        while self.pump.counters()["datagrams_in"] < count:
            assert time.monotonic() < end, self.pump.counters()
            os.sched_yield()

    def dropped(self) -> dict[str, int]:
        """The drops that happened, by name."""
        return {
            name.removeprefix("dropped_"): count
            for name, count in self.pump.counters().items()
            if name.startswith("dropped_") and count
        }

    def close(self) -> None:
        self.pump.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        # Whatever a test has sent: of each datagram, and each offer, is counted what became of it.
        for balance in bridge_balances("the pump", Counter(self.pump.counters())):
            assert balance.holds, balance
        for peer in self._peers:
            peer.socket.close()
        self._socket.close()


class Peer:
    def __init__(self, rig: Rig, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._pump = rig.pump
        self._to = rig.address
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((host, 0))
        self.socket.settimeout(DEADLINE_S)
        self.address = pack_address(*self.socket.getsockname()[:2])
        inbound, outbound = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
        self.transport = rig.pump.add_transport()
        rig.pump.set_srtp(
            self.transport,
            session(inbound, inbound=True),
            session(outbound, inbound=False),
            keys=(inbound, outbound),
        )
        rig.pump.select_address(self.transport, self.address)
        self.outbound = session(inbound, inbound=False)
        self.inbound = session(outbound, inbound=True)

    def send(self, packet: bytes) -> bytes:
        """Protect and send an RTP packet; what went over the wire."""
        data = self.outbound.protect(packet)
        self.send_raw(data)
        return data

    def send_raw(self, data: bytes) -> None:
        self.socket.sendto(data, self._to)

    def receive(self) -> bytes:
        """The next RTP packet from the pump, decrypted."""
        return self.inbound.unprotect(self.socket.recv(4096))

    def has_nothing(self) -> bool:
        """Whether no datagram waits."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(DEADLINE_S)
        return False


@contextlib.contextmanager
def running(host: str = "127.0.0.1") -> Iterator[Rig]:
    rig = Rig(host)
    try:
        yield rig
    finally:
        rig.close()
