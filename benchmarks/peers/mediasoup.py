"""mediasoup as a bridge that the load generator drives: its worker, without Node.

The worker is told by its channel what mediasoup's library for Node would tell it. As mediasoup's
clients have it, a member has a transport to send on and another one to receive on, and gets cameras
and voices one by one: cameras that it asks for, voices of all who are in the room when it does.
https://mediasoup.org/documentation/v3/
"""

import contextlib
import dataclasses
import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Section, Wish, parse_untrusted
from benchmarks.load.traffic import Carried, Traffic
from benchmarks.peers import LOOPBACK, Member, Picture, Place
from benchmarks.peers.groups import single
from benchmarks.peers.mediasoup_channel import Channel, RefusedError
from benchmarks.peers.mediasoup_parameters import (
    FIRST_SSRC,
    Produced,
    consume,
    described,
    preferred,
    produce,
    received,
)
from benchmarks.peers.mediasoup_process import worker_process
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind

SSRCS_EACH = 2
"""Of what a member receives: one more for its retransmissions."""


@dataclass(slots=True, kw_only=True)
class _Room:
    router: str
    made: bool = False
    sent: dict[int, dict[SourceKind, Produced]] = field(default_factory=dict)
    """By member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transport:
    """One of a member's, and our end of it."""

    id: str
    said: Mapping[str, Any]
    """What the worker says of it."""
    connection: PeerConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receiver:
    """What a member receives by."""

    transport: _Transport
    client: int
    """Its handle in the engine."""


@dataclass(slots=True, kw_only=True)
class _Consumed:
    """Something that a member receives."""

    id: str
    section: Section
    layer: int
    """As last asked for."""


class Mediasoup:
    """One worker, and one of its threads moves all packets."""

    name = "mediasoup"

    @contextlib.contextmanager
    def start(self, directory: Path, place: Place = LOOPBACK) -> Iterator["MediasoupBridge"]:
        """See `Peer.start`."""
        with worker_process(directory, place) as (process, end, write):
            yield MediasoupBridge(process.pid, Channel(end, write), place)


class MediasoupBridge:
    """A worker that runs; all members of its rooms are in this process."""

    def __init__(self, pid: int, channel: Channel, place: Place) -> None:
        self.pids = (pid,)
        self.channel = channel
        self.certificate = LoadCertificate()
        self.place = place
        self._ids, self._ssrcs = itertools.count(1), itertools.count(FIRST_SSRC, SSRCS_EACH)
        self._rooms: dict[str, _Room] = {}
        self._making = trio.Lock()

    async def join(
        self,
        traffic: Traffic,
        room: str,
        name: str,
        wish: Wish,
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Bridge.join`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.channel.listen)
                member = MediasoupMember(
                    self, next(self._ids), await self._room(room), traffic, wish
                )
                try:
                    await member.enter()
                    task_status.started(member)
                    await trio.sleep_forever()
                finally:
                    await member.leave()
        except BaseExceptionGroup as group:
            raise single(group) from None

    def ssrc(self) -> int:
        """One that nobody has, nor the one after it."""
        return next(self._ssrcs)

    async def _room(self, name: str) -> _Room:
        """Which is made when it is new."""
        room = self._rooms.setdefault(name, _Room(router=new_id()))
        async with self._making:
            if not room.made:
                await self.channel.ask("worker.createRouter", None, {"routerId": room.router})
                room.made = True
        return room


def new_id() -> str:
    """For whatever the worker is to make."""
    return str(uuid.uuid4())


class MediasoupMember:
    """Somebody in a room of mediasoup's."""

    def __init__(
        self, bridge: MediasoupBridge, number: int, room: _Room, traffic: Traffic, wish: Wish
    ) -> None:
        self.id = number
        self.clients: list[int] = []
        self.senders: Mapping[SourceKind, Sequence[int]] = {}
        self._bridge = bridge
        self._channel = bridge.channel
        self._room = room
        self._traffic = traffic
        self._wish = wish
        self._transports: list[_Transport] = []
        self._receiver: _Receiver | None = None
        self._received: dict[Produced, _Consumed] = {}
        self._mids = itertools.count()
        self._watching = trio.Lock()
        self._until_it_leaves = contextlib.ExitStack()

    async def enter(self) -> None:
        """Connect what it sends and what it receives, if there is such; to be called once."""
        if self._wish.microphone or self._wish.camera or self._wish.screen:
            await self._send()
        if self._wish.audio_slots or self._wish.video_slots:
            transport = await self._open()
            carried = await self._connect(transport, ())
            self._receiver = _Receiver(transport=transport, client=carried.client)

    async def watch(self, pictures: Sequence[Picture]) -> None:
        """See `Member.watch`; voices are those of all who are in the room now."""
        async with self._watching:
            layers = {
                self._room.sent[each.member][SourceKind.CAMERA]: each.layer
                for each in pictures
                if SourceKind.CAMERA in self._room.sent.get(each.member, {})
            }
            voices = {
                sent[SourceKind.MICROPHONE]: 0
                for member, sent in self._room.sent.items()
                if self._wish.audio_slots and member != self.id and SourceKind.MICROPHONE in sent
            }
            if self._receiver is not None:
                await self._receive(self._receiver, {**voices, **layers})

    async def leave(self) -> None:
        """Let go of its connections."""
        self._room.sent.pop(self.id, None)
        self.clients.clear()
        self._until_it_leaves.close()
        with contextlib.suppress(RemoteProtocolError):  # it is gone, and whoever listens knows
            for transport in self._transports:
                await self._channel.tell(
                    "router.closeTransport", self._room.router, {"transportId": transport.id}
                )

    async def _send(self) -> None:
        transport = await self._open()
        connection = transport.connection
        wish = dataclasses.replace(self._wish, audio_slots=0, video_slots=0)
        sections = parse_untrusted(connection.offer(wish)).sections
        sent = {}
        for source, section in zip(connection.sources, sections, strict=True):
            produced = Produced(
                id=new_id(),
                media=source.kind.media,
                ssrcs=tuple(self._bridge.ssrc() for _ in source.encodings),
            )
            await self._channel.ask(
                "transport.produce", transport.id, produce(produced, source, section)
            )
            sent[source.kind] = produced
        taken = [dataclasses.replace(each, direction="recvonly") for each in sections]
        self.senders = (await self._connect(transport, taken)).senders
        self._room.sent[self.id] = sent

    async def _receive(self, receiver: _Receiver, wanted: Mapping[Produced, int]) -> None:
        """These in these encodings, and no others."""
        transport = receiver.transport
        for produced in [each for each in self._received if each not in wanted]:
            gone = {"consumerId": self._received.pop(produced).id}
            with contextlib.suppress(RefusedError):  # it went with whom it was of
                await self._channel.ask("transport.closeConsumer", transport.id, gone)
        new = [each for each in wanted if each not in self._received]
        for produced in new:
            self._received[produced] = self._consumed(produced, wanted[produced])
        transport.connection.remote = described(
            transport.said, [each.section for each in self._received.values()]
        )
        self._traffic.renew(receiver.client)  # before any of it can come
        for produced in new:
            consumed = self._received[produced]
            await self._channel.ask(
                "transport.consume",
                transport.id,
                consume(consumed.id, produced, consumed.section, consumed.layer),
            )
        for produced, layer in wanted.items():
            consumed = self._received[produced]
            if produced.simulcast and consumed.layer != layer:
                consumed.layer = layer
                await self._channel.ask(
                    "consumer.setPreferredLayers", consumed.id, preferred(layer)
                )

    def _consumed(self, produced: Produced, layer: int) -> _Consumed:
        section = received(
            produced,
            mid=str(next(self._mids)),
            ssrc=self._bridge.ssrc(),
            as_browsers=self._wish.as_browsers,
        )
        return _Consumed(id=new_id(), section=section, layer=layer)

    async def _open(self) -> _Transport:
        """A transport that waits for our connection to it."""
        connection = PeerConnection(self._bridge.certificate, host=self._bridge.place.local_address)
        self._until_it_leaves.callback(connection.close)
        number = new_id()
        said = await self._channel.ask(
            "router.createWebRtcTransport",
            self._room.router,
            {"transportId": number, "listenIps": [{"ip": self._bridge.place.address}]},
        )
        transport = _Transport(id=number, said=said, connection=connection)
        self._transports.append(transport)
        fingerprint = {"algorithm": "sha-256", "value": self._bridge.certificate.fingerprint}
        await self._channel.ask(
            "transport.connect",
            number,
            {"dtlsParameters": {"role": "client", "fingerprints": [fingerprint]}},
        )
        return transport

    async def _connect(self, transport: _Transport, sections: Sequence[Section]) -> Carried:
        """Its media is the engine's from now on."""
        transport.connection.remote = described(transport.said, sections)
        await transport.connection.connect()
        carried = self._traffic.add(transport.connection)
        self._until_it_leaves.callback(self._traffic.remove, carried.client)
        self.clients.append(carried.client)
        return carried
