"""The floor as a bridge: `floor.c` copies a sender's packets to all others, as they are.

Receivers have the sender's key and numbers, so what comes is decrypted and checked like that of
a real bridge. One sender a room, and no choice of what is received.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import trio
from pylibsrtp import Policy, Session

from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Wish, parse_untrusted
from benchmarks.load.traffic import Traffic
from benchmarks.peers import LOOPBACK, Member, Picture, Place
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind

MASTER_BYTES = 28
_SOURCE = Path(__file__).with_name("floor.c")
_SEND, _JOIN, _LEAVE = b"*", b"+", b"-"


class Floor:
    """See `floor.c`."""

    name = "floor"

    @contextlib.contextmanager
    def start(self, directory: Path, place: Place = LOOPBACK) -> Iterator["FloorBridge"]:
        """See `Peer.start`."""
        program = directory / "floor"
        subprocess.run(["gcc", "-O3", "-Wall", "-o", str(program), str(_SOURCE)], check=True)
        with subprocess.Popen(
            [*place.prefix, str(program), "::"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with process.stdin:  # it ends with that
                line = process.stdout.readline()
                if not line:
                    raise click.ClickException("the floor did not start")
                yield FloorBridge(process.pid, place, int(line))


class FloorBridge:
    """A floor that runs."""

    def __init__(self, pid: int, place: Place, port: int) -> None:
        self.pids = (pid,)
        self._place, self._port = place, port
        self._certificate = LoadCertificate()
        self._key = os.urandom(MASTER_BYTES)
        self._offers: dict[str, str] = {}
        """Of each room's sender; a room's number is its place here."""

    async def join(
        self,
        traffic: Traffic,
        room: str,
        name: str,
        wish: Wish,
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Bridge.join`; whoever sends comes first."""
        connection = _Connection(self._certificate, self._place.local_address, self._key)
        try:
            offer = connection.offer(wish)
            if connection.sources:
                self._offers[room] = offer
            if room not in self._offers:
                raise RemoteProtocolError("The floor has no sender in this room yet.")
            number = list(self._offers).index(room).to_bytes(2, "big")
            connection.remote = parse_untrusted(self._offers[room])
            connection.socket.connect((self._place.address, self._port))
            connection.socket.send((_SEND if connection.sources else _JOIN) + number)
            carried = traffic.add(connection)
            try:
                task_status.started(FloorMember(carried.client, carried.senders))
                await trio.sleep_forever()
            finally:
                traffic.remove(carried.client)
                connection.socket.send(_LEAVE + number)
        finally:
            connection.close()


class FloorMember:
    """Who sends, or one who receives it."""

    def __init__(self, client: int, senders: Mapping[SourceKind, Sequence[int]]) -> None:
        self.id = client
        self.clients = (client,)
        self.senders = senders

    async def watch(self, pictures: Sequence[Picture]) -> None:
        """See `Member.watch`: it gets everything anyway."""


class _Connection(PeerConnection):
    """No ICE, no DTLS: one key for all."""

    def __init__(self, certificate: LoadCertificate, host: str, key: bytes) -> None:
        super().__init__(certificate, host=host)
        self._one_key = key

    @property
    def outbound(self) -> Session:
        return self._session(Policy.SSRC_ANY_OUTBOUND)

    @property
    def inbound(self) -> Session:
        return self._session(Policy.SSRC_ANY_INBOUND)

    def _session(self, ssrc_type: int) -> Session:
        profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        return Session(Policy(key=self._one_key, ssrc_type=ssrc_type, srtp_profile=profile))

    def renew_consent(self) -> None:
        """Nobody asks for it."""
