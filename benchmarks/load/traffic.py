"""The media of all clients of the process: the engine's thread, and what it leaves to Python."""

import resource
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from benchmarks.load.connection import PeerConnection
from benchmarks.load.engine import DTLS, STUN, Engine
from benchmarks.load.media import Script
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO, PAYLOAD_VIDEO_RTX
from relay.errors import LocalProtocolError
from relay.ids import MediaKind, SourceKind
from relay.payload import HeaderExtension

CONSENT_S = 4.5
"""RFC 7675 §5.1: between 4 and 6 s, by chance; here it is their number that spreads them."""
CONSENT_LOOK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A connection whose media the engine moves."""

    client: int
    """Its handle in the engine."""
    senders: Mapping[SourceKind, tuple[int, ...]]
    """Handles of what it sends, the lowest encoding first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How closely clients look at what they get, and what they say about it."""

    decrypt_one_in: int = 1
    """Of so many packets of a stream one is decrypted; 0 for none."""
    feedback: bool = True
    """Transport-wide, where it was negotiated."""
    reports: bool = True
    nacks: bool = True
    plis: bool = True


class Traffic:
    """Who makes it runs it, in a nursery that outlives all connections given to it."""

    def __init__(self, manners: Manners | None = None, *, sweep_ms: float = 5.0) -> None:
        self.engine = Engine(sweep_ms=sweep_ms)
        self._manners = manners or Manners()
        self._connections: dict[int, PeerConnection] = {}
        self._consents: deque[tuple[float, int, PeerConnection]] = deque()
        self._scripts: dict[int, tuple[int, Script]] = {}
        """By their identity, for they are long."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Move media until cancelled."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_cancelled)
            nursery.start_soon(self._hand_on)
            nursery.start_soon(self._keep_consent)
            task_status.started()
            await trio.to_thread.run_sync(self.engine.run)
            nursery.cancel_scope.cancel()

    def add(self, connection: PeerConnection) -> Carried:
        """Move the media of a connection that is connected; also renews its consent."""
        manners = self._manners
        client = self.engine.add_client(
            connection.socket.fileno(),
            connection.outbound,
            connection.inbound,
            **_numbers(connection),
            decrypt_one_in=manners.decrypt_one_in,
            feedback=manners.feedback,
            reports=manners.reports,
            nacks=manners.nacks,
            plis=manners.plis,
        )
        self._connections[client] = connection
        self._consents.append((trio.current_time() + CONSENT_S, client, connection))
        return Carried(client=client, senders=self._add_senders(client, connection))

    def renew(self, client: int) -> None:
        """The connection's description has changed (`PeerConnection.answer`): take its numbers."""
        self.engine.renumber(client, **_numbers(self._connections[client]))

    def remove(self, client: int) -> None:
        """Let go of the connection; its socket is the caller's again, to close."""
        self.engine.remove_client(client)
        del self._connections[client]

    def renew_consent(self, client: int) -> None:
        """Ask the bridge now; it is asked each few seconds anyway. `ClientStats.consents`."""
        self._connections[client].renew_consent()

    def play(self, sender: int, script: Script, chance: Random) -> None:
        """Have it sent from now on, from anywhere in the script."""
        self.play_from(sender, script, chance.randrange(script.cycle_us))

    def play_from(self, sender: int, script: Script, phase_us: int) -> None:
        """Have it sent from now on, from so far into the script."""
        if id(script) not in self._scripts:
            number = self.engine.add_script(
                script.frames,
                cycle_us=script.cycle_us,
                keyframe_bytes=script.keyframe_bytes,
                packet_bytes=script.packet_bytes,
            )
            self._scripts[id(script)] = number, script
        self.engine.set_active(sender, True)
        self.engine.play(sender, self._scripts[id(script)][0], phase_us)

    def _add_senders(
        self, client: int, connection: PeerConnection
    ) -> dict[SourceKind, tuple[int, ...]]:
        assert connection.remote is not None
        remote = connection.remote
        named = HeaderExtension.MID in remote.extensions
        senders: dict[SourceKind, tuple[int, ...]] = {}
        for source in connection.sources:
            media = source.kind.media
            payload, rtx = remote.payload_of(media), remote.rtx_payload_of(media)
            if payload is None:
                raise LocalProtocolError(f"no payload type for {media}: the bridge has refused it")
            senders[source.kind] = tuple(
                self.engine.add_sender(
                    client,
                    kind=PAYLOAD_VIDEO if media is MediaKind.VIDEO else PAYLOAD_AUDIO,
                    ssrc=encoding.ssrc,
                    payload_type=payload,
                    layer=layer,
                    rtx_ssrc=encoding.rtx_ssrc,
                    rtx_payload_type=-1 if rtx is None else rtx,
                    mid=source.mid.encode() if named else b"",
                    rid=encoding.rid.encode(),
                )
                for layer, encoding in enumerate(source.encodings)
            )
        return senders

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.engine.stop()

    async def _hand_on(self) -> None:
        """Give to connections what the engine leaves to them."""
        while True:
            await trio.lowlevel.wait_readable(self.engine.wake_fd)
            for datagram in self.engine.drain():
                connection = self._connections.get(datagram.client)
                if connection is not None and datagram.kind in (STUN, DTLS):
                    connection.receive(datagram.data)

    async def _keep_consent(self) -> None:
        while True:
            await trio.sleep(CONSENT_LOOK_S)
            now = trio.current_time()
            while self._consents and self._consents[0][0] <= now:
                _, client, connection = self._consents.popleft()
                if self._connections.get(client) is connection:
                    connection.renew_consent()
                    self._consents.append((now + CONSENT_S, client, connection))


def _numbers(connection: PeerConnection) -> dict[str, Any]:
    """What the two have settled, in the engine's terms."""
    assert connection.remote is not None
    remote = connection.remote
    meanings = {
        PAYLOAD_AUDIO: remote.payload_of(MediaKind.AUDIO),
        PAYLOAD_VIDEO: remote.payload_of(MediaKind.VIDEO),
        PAYLOAD_VIDEO_RTX: remote.rtx_payload_of(MediaKind.VIDEO),
    }
    return {
        "payload_types": {number: kind for kind, number in meanings.items() if number is not None},
        "extensions": {int(meaning): number for meaning, number in remote.extensions.items()},
        "repairs": {each.ssrcs[1]: each.ssrcs[0] for each in remote.slots if len(each.ssrcs) == 2},
    }
