"""People come into a room one after the other, send what their profile says, watch each other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

import trio
from trio_websocket import ConnectionClosed, HandshakeError

from benchmarks.load import media
from benchmarks.load.media import Script, Turns
from benchmarks.load.profiles import Profile, Watched
from benchmarks.load.traffic import Traffic
from benchmarks.peers import Bridge, Member, Picture
from relay.errors import MalformedError, RemoteProtocolError
from relay.ids import SourceKind

VOICES = 16
"""Louder and softer ones."""
_GOLDEN = (5**0.5 - 1) / 2
LOOK_S = 0.02
"""How often it is seen whose first packet has come; the time itself is the packet's own."""

_FAILURES = (RemoteProtocolError, MalformedError, ConnectionClosed, HandshakeError, OSError)


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody who has come, or tried to."""

    place: int
    name: str
    came_at_s: float
    """CLOCK_REALTIME, as the other times."""
    member: Member | None = None
    """Of the room; None before and after."""
    connected_s: float | None = None
    """How long joining took, until media could flow."""
    first_packet_s: float | None = None
    """How long it took until the first packet of media had come."""
    failure: str | None = None
    watching: Sequence[Watched] = field(default_factory=list)


@cache
def _cameras() -> tuple[Script, ...]:
    """The encodings of everybody's camera: the same ones, each person somewhere else in them."""
    chance = Random(1)
    return tuple(media.camera(layer, chance) for layer in range(3))


@cache
def _voices(talking: float) -> tuple[Script, ...]:
    """Of people who speak so much, all in the same turns, which each begins somewhere else."""
    chance = Random(1)
    turns = Turns.draw(chance, talking)
    return tuple(media.voice(chance, turns) for _ in range(VOICES))


def _phase_us(place: int, cycle_us: int) -> int:
    """As far from everybody else's as can be, however many there are: so people take turns."""
    return int(place * _GOLDEN % 1 * cycle_us)


class Gathering:
    """One room's people; who makes it runs it."""

    def __init__(
        self,
        bridge: Bridge,
        traffic: Traffic,
        profile: Profile,
        *,
        room: str,
        joins_per_s: float = 20.0,
        seed: int = 1,
    ) -> None:
        self.people: list[Person] = []
        """All who have come so far, by their place."""
        self.profile = profile
        self._bridge, self._traffic, self._room = bridge, traffic, room
        self._interval_s = 1 / joins_per_s
        self._chance = Random(seed)
        self._cameras = _cameras()
        self._settled = trio.Event()
        self._waiting = profile.people

    @property
    def present(self) -> list[Person]:
        """Those who are in the room."""
        return [person for person in self.people if person.member is not None]

    @property
    def failed(self) -> list[Person]:
        """Those who did not get in, or were let go."""
        return [person for person in self.people if person.failure is not None]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have them come and stay until cancelled; started when all are there, or cannot be.

        Whoever fails is written down, and the others stay.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._see_first_packets)
            begin = trio.current_time()
            for place in range(self.profile.people):
                await trio.sleep_until(begin + place * self._interval_s)
                person = Person(place=place, name=f"person {place + 1}", came_at_s=time.time())
                self.people.append(person)
                nursery.start_soon(self._attend, person)
            await self._settled.wait()
            for person in self.present:
                nursery.start_soon(self._watch_all, person)
            task_status.started()

    async def _attend(self, person: Person) -> None:
        """A person's whole stay; its end, other than by cancelling, is their failure alone."""
        settled = False
        try:
            async with trio.open_nursery() as nursery:
                member = await nursery.start(
                    self._bridge.join,
                    self._traffic,
                    self._room,
                    person.name,
                    self.profile.wish(person.place),
                )
                person.member = member
                person.connected_s = time.time() - person.came_at_s
                self._send(person, member)
                await self._watch(person)
                self._settle()
                settled = True
        except* _FAILURES as group:
            person.failure = _words(group)
        finally:
            person.member = None
            if not settled:
                self._settle()

    def _settle(self) -> None:
        self._waiting -= 1
        if self._waiting == 0:
            self._settled.set()

    def _send(self, person: Person, member: Member) -> None:
        for microphone in member.senders.get(SourceKind.MICROPHONE, ()):
            voice = self._chance.choice(_voices(self.profile.talking(person.place)))
            phase_us = _phase_us(person.place, voice.cycle_us)
            self._traffic.play_from(microphone, voice, phase_us)
        phase_us = self._chance.randrange(self._cameras[0].cycle_us)
        encodings = member.senders.get(SourceKind.CAMERA, ())
        for layer, sender in enumerate(encodings):
            self._traffic.play_from(sender, self._cameras[layer], phase_us)
        if encodings:
            rate_bps = sum(media.LAYER_BPS[: len(encodings)])
            for client in member.clients:
                self._traffic.engine.pace(client, round(media.PACE * rate_bps))

    async def _watch_all(self, person: Person) -> None:
        try:
            await self._watch(person)
        except _FAILURES as error:
            person.failure = _words(error)

    async def _watch(self, person: Person) -> None:
        """Those of whom they want to see that are there by now."""
        if person.member is None:
            return
        present = {each.place: each.member for each in self.present if each.member is not None}
        person.watching = [
            each for each in self.profile.watched(person.place) if each.place in present
        ]
        await person.member.watch(
            [Picture(member=present[it.place].id, layer=it.layer) for it in person.watching]
        )

    async def _see_first_packets(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            for person in self.people:
                if person.member is None or person.first_packet_s is not None:
                    continue
                firsts_ns = [
                    first_ns
                    for client in person.member.clients
                    if (first_ns := self._traffic.engine.client_stats(client).first_media_ns)
                ]
                if firsts_ns:
                    person.first_packet_s = min(firsts_ns) / 1e9 - person.came_at_s


def _words(error: BaseException) -> str:
    """What it says, or the first that is within."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ConnectionClosed | HandshakeError):
        return "The connection to the focus has ended."
    return str(error) or type(error).__name__
