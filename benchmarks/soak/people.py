"""People who use a mesh: they come and go, speak, look around, show screens; all by one engine."""

import contextlib
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import trio
from trio_websocket import ConnectionClosed
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from benchmarks.client import Client
from benchmarks.load.connection import LoadCertificate, PeerConnection
from benchmarks.load.description import Wish
from benchmarks.load.media import CAMERA_BPS, LAYER_BPS, PACE, Script, camera, microphone, screen
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Picture
from benchmarks.peers.octomesh import OctomeshMember
from benchmarks.soak.sockets import drops_of
from relay.errors import RemoteProtocolError
from relay.ids import Region, SourceKind

JOINS_AT_A_TIME = 4
"""People click when they like, but a machine that also carries the load has no time for all."""
VIDEO_SLOTS, AUDIO_SLOTS = 5, 3
ENCODINGS = 1 + len(LAYER_BPS) + 1
"""Of a microphone, a camera and a screen."""
ABRUPTLY = 0.3
"""Of those who leave so many close the page, and the others say goodbye."""
QUIET_S, PATIENCE_S = 0.3, 10.0
"""A bridge that has stopped sends nothing for so long; it has to within so long."""
ACTION_S = 3.0
"""Between two things that somebody does, on average."""
VOICES = 8

_KINDS = {
    SourceKind.MICROPHONE: "microphone",
    SourceKind.CAMERA: "camera",
    SourceKind.SCREEN: "screen",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """What all of them send, each from another place on."""

    microphones: Sequence[Script]
    camera: Sequence[Script]
    screen: Script

    @classmethod
    def draw(cls, chance: Random) -> "Scripts":
        """New ones."""
        return cls(
            microphones=[microphone(chance) for _ in range(VOICES)],
            camera=[camera(layer, chance) for layer in range(len(LAYER_BPS))],
            screen=screen(chance),
        )


class Crowd:
    """Everybody who is in a room, and what has happened to them."""

    def __init__(
        self, url: str, traffic: Traffic, *, regions: Sequence[Region], chance: Random
    ) -> None:
        """`url`: the focus's."""
        self.traffic = traffic
        self.chance = chance
        self.regions = regions
        self.scripts = Scripts.draw(chance)
        self.done: Counter[str] = Counter()
        """What people did, by what it is."""
        self.faults: list[str] = []
        """What must not happen, in words."""
        self.lost = 0
        """Times that Linux found no room in the socket of somebody who is forgotten."""
        self._url = url
        self._certificate = LoadCertificate()
        self._rooms: dict[str, dict[int, Person]] = {}
        self._departed: list[Person] = []
        self._joining = trio.CapacityLimiter(JOINS_AT_A_TIME)

    @property
    def present(self) -> int:
        """How many are in a room."""
        return sum(map(len, self._rooms.values()))

    async def attend(
        self,
        room: str,
        region: Region,
        *,
        leaving: trio.Event,
        task_status: trio.TaskStatus["Person"] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be in the room until `leaving`, and go as they do; started once connected."""
        try:
            await self._attend(room, region, leaving, task_status)
        except WebSocketProtocolError:
            # trio-websocket answers a ping also when it has begun to close; wsproto refuses that.
            if not leaving.is_set():
                raise

    def forget(self) -> None:
        """Close the sockets of all who have left: for a time when nothing is on its way to them."""
        for person in self._departed:
            self.lost += person.forget()
        self._departed.clear()

    async def _attend(
        self,
        room: str,
        region: Region,
        leaving: trio.Event,
        task_status: trio.TaskStatus["Person"],
    ) -> None:
        client = Client(
            self._certificate,
            Wish(
                microphone=True,
                camera=len(LAYER_BPS),
                screen=True,
                audio_slots=AUDIO_SLOTS,
                video_slots=VIDEO_SLOTS,
                as_browsers=True,
                rids=True,
            ),
        )
        async with contextlib.AsyncExitStack() as stay:
            async with self._joining:
                connection = await stay.enter_async_context(
                    client.joined(self._url, room, "somebody", region=region)
                )
            self.done["joins"] += 1
            person = Person(self, client, connection)
            others = self._rooms.setdefault(room, {})
            others[person.id] = person
            person.others = others
            try:
                await person.stay(leaving, task_status)
            finally:
                del others[person.id]
                person.depart()
                self._departed.append(person)


class Person:
    """Somebody who is in a room."""

    others: "Mapping[int, Person]"
    """Who is in the same room, this one among them."""

    def __init__(self, crowd: Crowd, client: Client, connection: PeerConnection) -> None:
        self._crowd = crowd
        self._client = client
        self._connection = connection
        self._member = OctomeshMember(client, crowd.traffic)
        self._member.connected(connection)
        (self._handle,) = self._member.clients
        self._on: set[SourceKind] = set()
        crowd.traffic.engine.pace(self._handle, int(PACE * CAMERA_BPS))
        chance, scripts = crowd.chance, crowd.scripts
        played = {
            SourceKind.MICROPHONE: [chance.choice(scripts.microphones)],
            SourceKind.CAMERA: scripts.camera,
            SourceKind.SCREEN: [scripts.screen],
        }
        for kind, script_of in played.items():
            for sender, script in zip(self._member.senders[kind], script_of, strict=True):
                crowd.traffic.play(sender, script, chance)
                crowd.traffic.engine.set_active(sender, False)

    @property
    def id(self) -> int:
        """As the focus knows this one."""
        return self._member.id

    async def stay(self, leaving: trio.Event, task_status: trio.TaskStatus["Person"]) -> None:
        """Until `leaving`; a stay that ends otherwise is a fault."""
        goodbye = self._crowd.chance.random() >= ABRUPTLY
        async with trio.open_nursery() as nursery:
            listening = await nursery.start(self._listen, leaving)
            await self._say_muted(SourceKind.SCREEN, True)
            await self.turn(SourceKind.MICROPHONE, True)
            await self.turn(SourceKind.CAMERA, True)
            await self._look_around()
            task_status.started(self)
            await leaving.wait()
            self._crowd.traffic.engine.silence(self._handle)
            try:
                if goodbye:
                    self._crowd.done["goodbyes"] += 1
                    await self._client.say({"type": "leave"})
                else:
                    await self._client.hang_up()
            finally:
                await self._hear_no_more()
            listening.cancel()

    async def act(self, until: trio.Event) -> None:
        """Do this and that; the last of it is said to its end."""
        chance = self._crowd.chance
        while not until.is_set():
            with trio.move_on_after(chance.expovariate(1 / ACTION_S)):
                await until.wait()
                return
            match chance.randrange(6):
                case 0 | 1 | 2:
                    await self._look_around()
                case 3:
                    await self.turn(SourceKind.CAMERA, SourceKind.CAMERA not in self._on)
                case 4:
                    await self.turn(SourceKind.MICROPHONE, SourceKind.MICROPHONE not in self._on)
                case 5:
                    await self.turn(SourceKind.SCREEN, SourceKind.SCREEN not in self._on)

    async def turn(self, kind: SourceKind, on: bool) -> None:
        """Switch a source on or off, as a click does."""
        if on == (kind in self._on):
            return
        self._on ^= {kind}
        for sender in self._member.senders[kind]:
            self._crowd.traffic.engine.set_active(sender, on)
        await self._say_muted(kind, not on)
        self._crowd.done[f"{_KINDS[kind]}s {'on' if on else 'off'}"] += 1

    async def rest(self) -> None:
        """Switch everything off."""
        for kind in tuple(self._on):
            await self.turn(kind, False)

    def depart(self) -> None:
        """Leave the socket open behind its connection, and what comes to it still counted.

        A bridge that has no core for a moment sends afterwards, and would send into nothing.
        """
        self._crowd.traffic.engine.silence(self._handle)
        self._ears = socket.socket(fileno=self._connection.socket.detach())

    def forget(self) -> int:
        """Once departed, take it from the engine; how often its socket had no room."""
        self._member.left()
        with self._ears:
            return drops_of(self._ears)

    async def _look_around(self) -> None:
        """Choose whom to see, and how large."""
        chance = self._crowd.chance
        others = [number for number in self.others if number != self.id]
        seen = chance.sample(others, min(len(others), chance.randint(1, VIDEO_SLOTS)))
        await self._member.watch(
            [Picture(member=each, layer=chance.randrange(len(LAYER_BPS))) for each in seen]
        )
        self._crowd.done["views"] += 1

    async def _say_muted(self, kind: SourceKind, muted: bool) -> None:
        await self._client.say({"type": "mute", "kind": _KINDS[kind], "muted": muted})

    async def _listen(
        self, leaving: trio.Event, *, task_status: trio.TaskStatus[trio.CancelScope]
    ) -> None:
        with trio.CancelScope() as scope:
            task_status.started(scope)
            try:
                await self._client.listen()
            except ConnectionClosed:
                if not leaving.is_set():
                    raise RemoteProtocolError("The focus has closed its connection.") from None

    async def _hear_no_more(self) -> None:
        """Until nothing has come for a while: the bridge has to stop by itself."""
        engine = self._crowd.traffic.engine
        with trio.move_on_after(PATIENCE_S, shield=True):
            came, before = engine.client_stats(self._handle).datagrams, -1
            while came != before:
                await trio.sleep(QUIET_S)
                before, came = came, engine.client_stats(self._handle).datagrams
            return
        self._crowd.faults.append(
            f"a bridge still sent {PATIENCE_S:g} s later to somebody who had left"
        )
