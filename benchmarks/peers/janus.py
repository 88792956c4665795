"""Janus's VideoRoom plugin as a bridge that the load generator drives.

A member has a connection to send on and another one to receive on, as Janus has it. Cameras it is
asked for one by one. Voices it does not choose among: a member gets those of all who are in the
room when it says whom it watches. https://janus.conf.meetecho.com/docs/videoroom.html

Janus 1.1 keeps packets for retransmission from the first round trip that it measures as a
millisecond or more (`nack_queue_ms` in its ice.c). Where load and bridge share a machine there is
mostly none: it has less to do than elsewhere then, and answers few NACKs.
"""

import contextlib
import dataclasses
import itertools
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import trio

from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Wish
from benchmarks.load.traffic import Traffic
from benchmarks.peers import LOOPBACK, Member, Picture, Place
from benchmarks.peers.janus_api import Handle, RefusedError, Session, open_session
from benchmarks.peers.janus_process import api_url, janus_process
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind

PLUGIN = "janus.plugin.videoroom"
ROOM_EXISTS = 427
MANY = 10_000

_BROWSERS_ONLY = re.compile(
    r"a=(?:extmap:\d+ \S*(?:transport-wide-cc|:sdes:mid)\S*|rtcp-fb:\d+ (?:nack|transport-cc)"
    r"|rtpmap:\d+ rtx/90000|ssrc-group:FID .*)\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """Something that a member sends, as Janus names it."""

    feed: int
    """The member's id."""
    mid: str

    def named(self) -> dict[str, Any]:
        return {"feed": self.feed, "mid": self.mid}


@dataclass(slots=True, kw_only=True)
class _Room:
    number: int
    sent: dict[int, dict[SourceKind, _Stream]] = field(default_factory=dict)
    """By member."""


@dataclass(slots=True, kw_only=True)
class _Subscription:
    """The connection on which a member receives."""

    handle: Handle
    connection: PeerConnection
    client: int | None = None
    """Its handle in the engine, once it is connected."""
    mids: dict[_Stream, str] = field(default_factory=dict)
    """Where in the connection what is subscribed to comes."""
    layers: dict[_Stream, int] = field(default_factory=dict)
    """As last asked for."""


class Janus:
    """Janus as it is packaged, or with that many threads for the media of all connections."""

    def __init__(self, *, event_loops: int | None = None) -> None:
        self._event_loops = event_loops

    @property
    def name(self) -> str:
        """See `Peer.name`."""
        return "Janus" if self._event_loops is None else f"Janus, event_loops = {self._event_loops}"

    @contextlib.contextmanager
    def start(self, directory: Path, place: Place = LOOPBACK) -> Iterator["JanusBridge"]:
        """See `Peer.start`; loopback will not do."""
        if place.address.startswith("127."):
            raise click.ClickException("Janus ignores loopback: it needs a network of its own")
        with janus_process(directory, place, self._event_loops) as process:
            yield JanusBridge(process, place)


class JanusBridge:
    """A Janus that runs; all members of its rooms are in this process."""

    def __init__(self, process: subprocess.Popen[bytes], place: Place) -> None:
        self.pids = (process.pid,)
        self._place = place
        self._certificate = LoadCertificate()
        self._rooms: dict[str, _Room] = {}
        self._ids = itertools.count(1)

    async def join(
        self,
        traffic: Traffic,
        room: str,
        name: str,
        wish: Wish,
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """See `Bridge.join`; who sends nothing gets a connection by watching somebody."""
        entered = self._rooms.setdefault(room, _Room(number=len(self._rooms) + 1))
        async with open_session(api_url(self._place)) as session:
            member = JanusMember(next(self._ids), entered, session, traffic, wish, self._connection)
            try:
                await member.enter(name)
                task_status.started(member)
                await trio.sleep_forever()
            finally:
                member.leave()

    def _connection(self) -> PeerConnection:
        return PeerConnection(self._certificate, host=self._place.local_address)


def plain_offer(offer: str) -> str:
    """Without what a wish has `as_browsers` alone: Janus offers it, whatever is published."""
    for repair in re.findall(r"a=ssrc-group:FID \d+ (\d+)\r\n", offer):
        offer = re.sub(rf"a=ssrc:{repair} .*\r\n", "", offer)
    return _BROWSERS_ONLY.sub("", offer)


class JanusMember:
    """Somebody in a room of Janus's."""

    def __init__(
        self,
        number: int,
        room: _Room,
        session: Session,
        traffic: Traffic,
        wish: Wish,
        connection: Callable[[], PeerConnection],
    ) -> None:
        self.id = number
        self.clients: list[int] = []
        self.senders: Mapping[SourceKind, Sequence[int]] = {}
        self._room = room
        self._session = session
        self._traffic = traffic
        self._wish = wish
        self._connection = connection
        self._subscription: _Subscription | None = None
        self._watching = trio.Lock()
        self._until_it_leaves = contextlib.ExitStack()

    async def enter(self, name: str) -> None:
        """Connect what it sends, if it sends anything; to be called once."""
        wish = dataclasses.replace(self._wish, audio_slots=0, video_slots=0)
        if not (wish.microphone or wish.camera or wish.screen):
            return
        handle = await self._session.attach(PLUGIN)
        try:
            await handle.ask({"request": "create", "room": self._room.number, "publishers": MANY})
        except RefusedError as error:
            if error.code != ROOM_EXISTS:
                raise
        connection = self._open()
        reply = await handle.ask(
            {
                "request": "joinandconfigure",
                "ptype": "publisher",
                "room": self._room.number,
                "id": self.id,
                "display": name,
            },
            offer=connection.offer(wish),
        )
        await connection.accept(_described(reply.sdp))
        await handle.wait_until_up()  # before that nobody can subscribe
        carried = self._traffic.add(connection)
        self._carry(carried.client)
        self.senders = carried.senders
        self._room.sent[self.id] = {
            source.kind: _Stream(feed=self.id, mid=source.mid) for source in connection.sources
        }

    async def watch(self, pictures: Sequence[Picture]) -> None:
        """See `Member.watch`; voices are those of all who are in the room now."""
        async with self._watching:
            layers = {
                self._room.sent[each.member][SourceKind.CAMERA]: each.layer
                for each in pictures
                if SourceKind.CAMERA in self._room.sent.get(each.member, {})
            }
            voices = [
                sent[SourceKind.MICROPHONE]
                for member, sent in self._room.sent.items()
                if self._wish.audio_slots and member != self.id and SourceKind.MICROPHONE in sent
            ]
            await self._subscribe([*voices, *layers])
            await self._choose(layers)

    def leave(self) -> None:
        """Let go of its connections."""
        self._room.sent.pop(self.id, None)
        self.clients.clear()
        self._until_it_leaves.close()

    async def _subscribe(self, wanted: Sequence[_Stream]) -> None:
        """Receive these and no others."""
        subscription = self._subscription
        if subscription is None:
            if not wanted:
                return
            handle = await self._session.attach(PLUGIN)
            subscription = _Subscription(handle=handle, connection=self._open())
            reply = await handle.ask(
                {
                    "request": "join",
                    "ptype": "subscriber",
                    "room": self._room.number,
                    "streams": [stream.named() for stream in wanted],
                    # No offers of its own when somebody leaves: we ask when we watch others.
                    "autoupdate": False,
                }
            )
            self._subscription = subscription
        else:
            changes = {
                "subscribe": [each for each in wanted if each not in subscription.mids],
                "unsubscribe": [each for each in subscription.mids if each not in wanted],
            }
            if not any(changes.values()):
                return
            reply = await subscription.handle.ask(
                {
                    "request": "update",
                    **{
                        change: [stream.named() for stream in streams]
                        for change, streams in changes.items()
                        if streams
                    },
                }
            )
        subscription.mids = {
            _Stream(feed=each["feed_id"], mid=each["feed_mid"]): each["mid"]
            for each in reply.data["streams"]
            if each["active"]
        }
        if reply.sdp is not None:
            await self._renew(subscription, reply.sdp)

    async def _renew(self, subscription: _Subscription, offer: str) -> None:
        """Answer; the first time also connect."""
        answer = subscription.connection.answer(
            offer if self._wish.as_browsers else plain_offer(offer)
        )
        await subscription.handle.ask({"request": "start"}, answer=answer)
        if subscription.client is not None:
            self._traffic.renew(subscription.client)
            return
        await subscription.connection.connect()
        await subscription.handle.wait_until_up()
        subscription.client = self._traffic.add(subscription.connection).client
        self._carry(subscription.client)

    async def _choose(self, layers: Mapping[_Stream, int]) -> None:
        """Get these cameras in these encodings."""
        subscription = self._subscription
        if subscription is None:
            return
        changed = [
            {"mid": subscription.mids[stream], "substream": layer}
            for stream, layer in layers.items()
            if stream in subscription.mids and subscription.layers.get(stream) != layer
        ]
        subscription.layers = dict(layers)
        if changed:
            await subscription.handle.ask({"request": "configure", "streams": changed})

    def _open(self) -> PeerConnection:
        connection = self._connection()
        self._until_it_leaves.callback(connection.close)
        return connection

    def _carry(self, client: int) -> None:
        self.clients.append(client)
        self._until_it_leaves.callback(self._traffic.remove, client)


def _described(sdp: str | None) -> str:
    if sdp is None:
        raise RemoteProtocolError("Janus gives no description of the connection.")
    return sdp
