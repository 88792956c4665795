"""Twice what a bridge can carry, for ten seconds, and back.

In each of four rooms eight people show a camera in three encodings, three of them speak without a
pause, and a few regulars watch all eight as large as they come; a crowd listens. What the regulars
take of the core says how many more it would take to need two cores: so many of the crowd look at
all the pictures too, and stop after ten seconds; where there are not enough of them, no figure is
worth anything. Counted are gaps in voices and all that was spoken against all that was heard,
consent checks (RFC 7675) answered and how long that took, what was shed and under which name, and
how long after the end the regulars' pictures arrive at 95 % of the rate they had before. Pictures
come in small packets, so that it takes no thousands of people.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import trio

from benchmarks.cases.excess import AFTER_S, CHECK_TIMEOUT_S, Found, Look, Voices, lines
from benchmarks.cases.result import Case, Outcome, Say, Setting
from benchmarks.cases.stage import (
    DRAIN_S,
    SETTLE_S,
    Drops,
    calmed,
    drops,
    join_all,
    loaded,
    measured,
    started,
)
from benchmarks.load import media
from benchmarks.load.description import Wish
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.peers import Bridge, Member, Picture
from benchmarks.peers.octomesh import Octomesh, OctomeshBridge
from relay.ids import SourceKind

ROOMS, SENDERS, SPEAKERS, REGULARS = 4, 8, 3, 4
CROWD = 100
"""At most so many in each room."""
PACKET_BYTES = 300
SPEAKER = Wish(microphone=True, camera=3)
PRESENTER = Wish(camera=3)
TIMES = 2.0
MANY_TIMES = 2
"""Of the crowd, so many as there are regulars, tell what somebody costs."""
OVERLOAD_S, BEFORE_S = 10.0, 4.0
LOOK_S = 0.25
CHECK_EACH_S, CHECK_LOOK_S = 0.2, 0.002
DECRYPT_ONE_IN = 16


@dataclass(frozen=True, slots=True)
class _Room:
    """Who is in one."""

    senders: Sequence[Member]
    regulars: Sequence[Member]
    crowd: Sequence[Member]

    @property
    def listeners(self) -> list[Member]:
        """Who hear all that is spoken."""
        return [*self.regulars, *self.crowd]

    @property
    def microphones(self) -> list[int]:
        """Their handles in the engine."""
        return [
            handle
            for member in self.senders
            for handle in member.senders.get(SourceKind.MICROPHONE, ())
        ]


@dataclass(frozen=True, slots=True)
class _Play:
    """Who is there."""

    traffic: Traffic
    rooms: Sequence[_Room]

    @property
    def regulars(self) -> list[Member]:
        return [member for room in self.rooms for member in room.regulars]

    @property
    def listeners(self) -> list[Member]:
        return [member for room in self.rooms for member in room.listeners]

    async def voices(self) -> Voices:
        """All of them, in a moment of silence, in which none is on its way."""
        engine = self.traffic.engine
        microphones = [handle for room in self.rooms for handle in room.microphones]
        for handle in microphones:
            engine.set_active(handle, False)
        await trio.sleep(DRAIN_S)
        spoken = sum(
            engine.sender_stats(handle).packets * len(room.listeners)
            for room in self.rooms
            for handle in room.microphones
        )
        heard, _ = self._count(self.listeners, PAYLOAD_AUDIO)
        for handle in microphones:
            engine.set_active(handle, True)
        return Voices(spoken, heard)

    def look(self) -> Look:
        """All voices, and the regulars' pictures."""
        audio, audio_lost = self._count(self.listeners, PAYLOAD_AUDIO)
        video, video_lost = self._count(self.regulars, PAYLOAD_VIDEO)
        return Look(
            at_s=trio.current_time(),
            audio=audio,
            audio_lost=audio_lost,
            video=video,
            video_lost=video_lost,
        )

    def _count(self, members: Sequence[Member], kind: int) -> tuple[int, int]:
        """Packets that came, and that never did."""
        came = lost = 0
        for member in members:
            for client in member.clients:
                for stream in self.traffic.engine.streams(client):
                    if stream.kind == kind:
                        came += stream.packets
                        lost += stream.missing + stream.given_up
        return came, lost

    async def have_crowd_watch(self, count: int) -> None:
        """So many of the crowd, in all rooms alike, look at everything; the others at nothing."""
        async with trio.open_nursery() as watching:
            for place, room in enumerate(self.rooms):
                share = (count + place) // len(self.rooms)
                for number, member in enumerate(room.crowd):
                    pictures = _all_of(room) if number < share else []
                    watching.start_soon(member.watch, pictures)

    async def crowd_for(self, cores: float, bridge: Bridge, setting: Setting) -> tuple[int, float]:
        """How many of the crowd it takes, and how many cores they want if that are all of it.

        By what somebody costs where MANY_TIMES as many more watch: packets are cheaper then.
        """
        seconds = max(1.0, min(2.0, setting.seconds))
        there = sum(len(room.crowd) for room in self.rooms)
        some = min(there, MANY_TIMES * len(self.regulars))
        await self.have_crowd_watch(some)
        await trio.sleep(4 * SETTLE_S)
        many = await measured(self.traffic, bridge.pids, seconds)
        await self.have_crowd_watch(0)
        each = max(1e-4, many.cores / (len(self.regulars) + some))
        crowd = max(1, min(there, math.ceil(cores / each) - len(self.regulars)))
        return crowd, (len(self.regulars) + crowd) * each

    async def check(self, round_trips_s: list[float]) -> None:
        """Ask for consent again and again, until cancelled; what is never answered takes longest.

        It is seen with the load's next sweep, some milliseconds late.
        """
        engine, (client, *_) = self.traffic.engine, self.regulars[0].clients
        while True:
            asked_s, before = trio.current_time(), engine.client_stats(client).consents
            self.traffic.renew_consent(client)
            while engine.client_stats(client).consents == before:
                await trio.sleep(CHECK_LOOK_S)
                if trio.current_time() - asked_s >= CHECK_TIMEOUT_S:
                    break
            round_trips_s.append(trio.current_time() - asked_s)
            await trio.sleep_until(asked_s + CHECK_EACH_S)

    async def watch(self, looks: list[Look], seconds: float) -> None:
        """Look again and again."""
        begin = trio.current_time()
        for number in range(1, round(seconds / LOOK_S) + 1):
            await trio.sleep_until(begin + number * LOOK_S)
            looks.append(self.look())


async def run(setting: Setting, say: Say) -> Outcome:
    lasts_s = OVERLOAD_S if not setting.small else 1.0
    before_s, after_s = (1.0, 1.0) if setting.small else (BEFORE_S, AFTER_S)
    # NACKs would be answered late and all at once, and make more of what there is too much of.
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN, feedback=False, nacks=False)
    with started([Octomesh()]) as (bridge,):
        assert isinstance(bridge, OctomeshBridge)
        async with loaded(manners) as (traffic, nursery):
            play = await _assembled(bridge, traffic, nursery, setting)
            await trio.sleep(4 * SETTLE_S)
            await calmed(traffic, bridge.pids)
            crowd, times = await play.crowd_for(TIMES, bridge, setting)
            say(f"{len(play.regulars)} people and {crowd} more want {times:.1f} cores")
            await trio.sleep(4 * SETTLE_S)
            voices = await play.voices()
            await trio.sleep(SETTLE_S)
            looks = [play.look()]
            await play.watch(looks, before_s)
            counters, lost = await bridge.counters(), drops()
            begins_s = trio.current_time()
            round_trips_s: list[float] = []
            async with trio.open_nursery() as checking:
                checking.start_soon(play.check, round_trips_s)
                await play.have_crowd_watch(crowd)
                await play.watch(looks, lasts_s)
                checking.cancel_scope.cancel()
            ends_s = trio.current_time()
            await play.have_crowd_watch(0)
            shed = await bridge.counters() - counters
            now = drops()
            lost = Drops(now.load - lost.load, now.others - lost.others)
            await play.watch(looks, after_s)
            voices = await play.voices() - voices
    found = Found(
        work=f"{crowd} people more than {len(play.regulars)}, who want {times:.1f} cores",
        looks=looks,
        begins_s=begins_s,
        ends_s=ends_s,
        shed=shed,
        lost_by=lost,
        voices=voices,
        round_trips_s=sorted(round_trips_s),
        twice=setting.small or times >= 0.9 * TIMES,
    )
    for line in (told := lines(found)):
        say(f"{line.measure}: {line.ours:,.6g} {line.unit}; {line.note}")
    return Outcome(lines=told, raw=found.as_json())


async def _assembled(
    bridge: Bridge, traffic: Traffic, nursery: trio.Nursery, setting: Setting
) -> _Play:
    """Everybody has joined; the regulars watch, the crowd does not."""
    rooms = setting.at_most(ROOMS, small=1)
    senders, regulars = setting.at_most(SENDERS, small=2), setting.at_most(REGULARS, small=2)
    crowd = setting.at_most(CROWD, small=2)
    watches = Wish(audio_slots=5, video_slots=senders)
    wishes = [SPEAKER] * min(SPEAKERS, senders) + [PRESENTER] * (senders - SPEAKERS)
    wishes += [watches] * (regulars + crowd)
    members = await join_all(
        bridge,
        traffic,
        nursery,
        [(f"overload-{room}", wish) for room in range(rooms) for wish in wishes],
    )
    size = len(wishes)
    made = [
        _Room(
            senders=members[at : at + senders],
            regulars=members[at + senders : at + senders + regulars],
            crowd=members[at + senders + regulars : at + size],
        )
        for at in range(0, len(members), size)
    ]
    play = _Play(traffic, made)
    chance = Random(1)
    scripts = [
        dataclasses.replace(media.camera(layer, chance), packet_bytes=PACKET_BYTES)
        for layer in range(3)
    ]
    for room in made:
        for number, member in enumerate(room.senders):
            for sender in member.senders.get(SourceKind.MICROPHONE, ()):
                talk = media.microphone(Random(number), talking=1.0)
                traffic.play(sender, talk, Random(number))
            phase_us = Random(number).randrange(scripts[0].cycle_us)
            for sender, script in zip(member.senders[SourceKind.CAMERA], scripts, strict=True):
                traffic.play_from(sender, script, phase_us)
    async with trio.open_nursery() as watching:
        for room in made:
            for member in room.regulars:
                watching.start_soon(member.watch, _all_of(room))
            for member in room.crowd:
                watching.start_soon(member.watch, [])
    return play


def _all_of(room: _Room) -> list[Picture]:
    return [Picture(member=sender.id, layer=2) for sender in room.senders]


CASE = Case(key="overload", title="twice what it can carry, and back", run=run, repeats=False)
