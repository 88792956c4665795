"""A pump on loopback with peers that speak SRTP to it, for tests of the kernel."""

import contextlib
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from pylibsrtp import ERRORS, SRTP_MAX_TRAILER_LEN, Policy, Session
from pylibsrtp import Error as SrtpError
from pylibsrtp._binding import ffi, lib

from benchmarks.soak.books import bridge_balances
from region.kernel import Pump, pack_address
from region.kernel.transports import CRYPT_WAYS

DEADLINE_S = 5.0
KEY_BYTES = 28
RECEIVE_BYTES = 1 << 20
BATCH = 64
"""Datagrams that the pump reads at once."""
WINDOW = 1_024
"""How far behind the newest packet another may come, as the kernel has it."""
LIBSRTP = "libsrtp"
WAYS = (*CRYPT_WAYS, LIBSRTP)
"""How media and RTCP can be encrypted here."""


def session(
    key: bytes, *, inbound: bool, profile: int = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
) -> Session:
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=profile,
    )
    policy.window_size = WINDOW
    return Session(policy)


def give_keys(pump: Pump, transport: int, way: str | None = None) -> tuple[Session, Session]:
    """New ones, used in one of WAYS, the kernel's best by default.

    With what the other end sends, and with what it receives.
    """
    inbound, outbound = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
    set_keys(pump, transport, inbound, outbound, way)
    return session(inbound, inbound=False), session(outbound, inbound=True)


def set_keys(
    pump: Pump, transport: int, inbound: bytes, outbound: bytes, way: str | None = None
) -> None:
    """These master keys, used in one of WAYS."""
    pump.set_srtp(
        transport,
        session(inbound, inbound=True),
        session(outbound, inbound=False),
        keys=None if way == LIBSRTP else (inbound, outbound),
        way=None if way == LIBSRTP else way,
    )


def protect(by: Session, packet: bytes) -> bytes:
    """As `Session.protect`, but it takes any size."""
    return _processed(lib.srtp_protect, by, packet)


def unprotect(by: Session, packet: bytes) -> bytes:
    """As `Session.unprotect`, but it takes any size."""
    return _processed(lib.srtp_unprotect, by, packet)


def _processed(function: Callable[..., int], by: Session, packet: bytes) -> bytes:
    data = ffi.new("char[]", packet + bytes(SRTP_MAX_TRAILER_LEN))
    length = ffi.new("int *", len(packet))
    status = function(by._srtp[0], data, length)
    if status:
        raise SrtpError(ERRORS[status])
    return bytes(ffi.buffer(data, length[0]))


class Rig:
    """One running pump; waits are for a condition, with a deadline."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
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
        way: str | None = None,
        host: str | None = None,
    ) -> "Peer":
        """A transport with keys and a path, and the socket at its other end.

        `way`: of WAYS, how its media is encrypted. `host`: the socket's address, if another.
        """
        peer = Peer(self, host or self._host, way)
        self.pump.set_payload_types(peer.transport, payload_types or {96: 96, 111: 111})
        self.pump.set_extensions(peer.transport, extensions or {})
        self._peers.append(peer)
        return peer

    def set_option(self, level: int, option: int, value: int) -> None:
        """Of the pump's socket."""
        self._socket.setsockopt(level, option, value)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """What is sent to the pump meanwhile it reads at once at the end, in batches of BATCH.

        Of many batches it leaves out some, as it cannot keep up. Whoever calls it while it is at a
        batch divides that: receive first. What it would send while it is held is lost.
        """
        descriptor = self._socket.fileno()
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as idle:
            held = os.dup(descriptor)
            try:
                os.dup2(idle.fileno(), descriptor)
                yield
            finally:
                os.dup2(held, descriptor)
                os.close(held)

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
    def __init__(self, rig: Rig, host: str, way: str | None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._pump = rig.pump
        self._to = rig.address
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.socket.bind((host, 0))
        self.socket.settimeout(DEADLINE_S)
        self.address = pack_address(*self.socket.getsockname()[:2])
        self.transport = rig.pump.add_transport()
        self.renew_keys(way)
        rig.pump.select_address(self.transport, self.address)

    def renew_keys(self, way: str | None = None) -> None:
        self.outbound, self.inbound = give_keys(self._pump, self.transport, way)

    def send(self, packet: bytes) -> bytes:
        """Protect and send an RTP packet; what went over the wire."""
        data = protect(self.outbound, packet)
        self.send_raw(data)
        return data

    def send_raw(self, data: bytes) -> None:
        self.socket.sendto(data, self._to)

    def receive(self) -> bytes:
        """The next RTP packet from the pump, decrypted."""
        return unprotect(self.inbound, self.socket.recv(4096))

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
