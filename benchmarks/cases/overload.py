"""Twice what a bridge can carry, for ten seconds, and back.

In each of four rooms eight people show a camera in three encodings, three of them speak without a
pause, and a few regulars watch all eight as large as they come; a crowd listens. What the regulars
take of the core says how many more it would take to need two cores: so many of the crowd look at
all the pictures too, and stop after ten seconds. Counted are voices lost, consent checks (RFC 7675)
answered and how long that took, what was shed and under which name, and how long after the end
the regulars' pictures arrive at 95 % of the rate they had before. Pictures come in small packets,
so that it takes no thousands of people.
"""

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target
from benchmarks.cases.stage import (
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
OVERLOAD_S, BEFORE_S, AFTER_S = 10.0, 4.0, 10.0
LOOK_S = 0.25
CHECK_EACH_S, CHECK_LOOK_S, CHECK_TIMEOUT_S = 0.2, 0.002, 1.0
RECOVERED, RECOVERY_TARGET_S = 0.95, 3.0
LOOKS_TO_RECOVER = 2
"""So many in a row: one alone may be a burst."""
DECRYPT_ONE_IN = 16
SHED = ("dropped_layer", "dropped_overload", "dropped_awaiting_keyframe", "dropped_before_switch")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """At what all receivers have got so far."""

    at_s: float
    audio: int
    audio_lost: int
    video: int
    video_lost: int


@dataclass(frozen=True, slots=True)
class _Room:
    """Who is in one."""

    senders: Sequence[Member]
    regulars: Sequence[Member]
    crowd: Sequence[Member]


@dataclass(frozen=True, slots=True)
class _Play:
    """Who is there."""

    traffic: Traffic
    rooms: Sequence[_Room]

    @property
    def regulars(self) -> list[Member]:
        return [member for room in self.rooms for member in room.regulars]

    def look(self) -> _Look:
        """All voices, and the regulars' pictures."""
        everybody = [*self.regulars, *(member for room in self.rooms for member in room.crowd)]
        audio, audio_lost = self._count(everybody, PAYLOAD_AUDIO)
        video, video_lost = self._count(self.regulars, PAYLOAD_VIDEO)
        return _Look(
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

    async def watch(self, looks: list[_Look], seconds: float) -> None:
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
    work = f"{crowd} people more than {len(play.regulars)}, who want {times:.1f} cores"
    return _outcome(
        looks,
        begins_s,
        ends_s,
        shed,
        lost,
        work,
        sorted(round_trips_s),
        say,
        twice=setting.small or times >= 0.9 * TIMES,
    )


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


def _outcome(
    looks: Sequence[_Look],
    begins_s: float,
    ends_s: float,
    shed: Counter[str],
    lost_by: Drops,
    work: str,
    round_trips_s: Sequence[float],
    say: Say,
    *,
    twice: bool,
) -> Outcome:
    each = [_between(a, b) for a, b in itertools.pairwise(looks)]
    before = [it for it in each if it["at_s"] <= begins_s]
    during = [it for it in each if begins_s < it["at_s"] <= ends_s]
    after = [it for it in each if it["at_s"] > ends_s]
    usual_per_s = statistics.median(it["video_per_s"] for it in before)
    recovery_s = _recovery(after, RECOVERED * usual_per_s, ends_s)
    first, last = _at(looks, begins_s), _at(looks, ends_s)
    heard, lost = last.audio - first.audio, last.audio_lost - first.audio_lost
    named = {name: shed[name] for name in SHED if shed[name]}
    answered = sum(each < CHECK_TIMEOUT_S for each in round_trips_s)
    slowest_s = max(round_trips_s, default=CHECK_TIMEOUT_S)
    say(
        f"voices lost {lost} of {heard + lost}; {answered} of {len(round_trips_s)} consent checks "
        f"answered, the slowest in {slowest_s:.3f} s; shed {named}; "
        f"recovered after {recovery_s if recovery_s is not None else 'never'}"
    )
    lines = [
        Line(
            measure="overload: voices lost",
            work=work,
            ours=lost,
            unit="packets",
            target=Target(bound=0),
            valid=twice,
            note=f"of {heard + lost:,}; no room for {lost_by.others:,} datagrams at the bridge, "
            f"for {lost_by.load:,} at the load",
        ),
        Line(
            measure="overload: layers shed and counted",
            work=work,
            ours=sum(named.values()),
            unit="packets",
            target=Target(bound=1, at_least=True),
            note=", ".join(f"{name} {count:,}" for name, count in named.items()),
        ),
        Line(
            measure="overload: consent checks answered",
            work=work,
            ours=100 * answered / max(1, len(round_trips_s)),
            unit="%",
            target=Target(bound=100, at_least=True),
            note=f"{answered} of {len(round_trips_s)}, the slowest in {slowest_s * 1e3:.0f} ms",
        ),
        Line(
            measure="overload: pictures as before",
            work="after its end",
            ours=recovery_s if recovery_s is not None else AFTER_S,
            unit="s",
            target=Target(bound=RECOVERY_TARGET_S),
            valid=recovery_s is not None,
        ),
    ]
    origin_s = looks[0].at_s
    return Outcome(
        lines=lines,
        raw={
            "work": work,
            "begins_s": begins_s - origin_s,
            "ends_s": ends_s - origin_s,
            "shed": dict(shed),
            "load_lost": lost_by.load,
            "bridge_lost": lost_by.others,
            "during_video_per_s": statistics.median(it["video_per_s"] for it in during),
            "each": [{**it, "at_s": it["at_s"] - origin_s} for it in each],
        },
    )


def _between(first: _Look, second: _Look) -> dict[str, Any]:
    seconds = second.at_s - first.at_s
    return {
        "at_s": second.at_s,
        "audio_per_s": (second.audio - first.audio) / seconds,
        "video_per_s": (second.video - first.video) / seconds,
        "audio_lost": second.audio_lost - first.audio_lost,
        "video_lost": second.video_lost - first.video_lost,
    }


def _at(looks: Sequence[_Look], at_s: float) -> _Look:
    """The last one before that."""
    return [look for look in looks if look.at_s <= at_s][-1]


def _recovery(after: Sequence[dict[str, Any]], enough_per_s: float, ends_s: float) -> float | None:
    """How long until pictures came as before; None when they did not."""
    for first, second in zip(after, after[LOOKS_TO_RECOVER - 1 :], strict=False):
        if first["video_per_s"] >= enough_per_s <= second["video_per_s"]:
            return float(first["at_s"] - ends_s)
    return None


CASE = Case(key="overload", title="twice what it can carry, and back", run=run, repeats=False)
