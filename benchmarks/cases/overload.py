"""Twice what a bridge can carry, for ten seconds, and back.

Eight people show a camera in three encodings, three of them speak without a pause, and 40 people
watch all eight as large as they come. What a packet costs says what the core could carry at most;
then the cameras' frames are made so much larger that the bridge would need two cores. Counted are
voices lost, consent checks (RFC 7675) answered and how long that took, what was shed and under
which name, and how long after its end pictures arrive at 95 % of the rate they had before.
"""

import dataclasses
import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target
from benchmarks.cases.stage import SETTLE_S, Drops, drops, join_all, loaded, measured, started
from benchmarks.load import media
from benchmarks.load.description import Wish
from benchmarks.load.media import Script
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO
from benchmarks.load.traffic import Manners, Traffic
from benchmarks.peers import Member, Picture
from benchmarks.peers.octomesh import Octomesh, OctomeshBridge
from relay.ids import SourceKind

SENDERS, SPEAKERS, RECEIVERS = 8, 3, 40
SPEAKER = Wish(microphone=True, camera=3)
PRESENTER = Wish(camera=3)
TIMES = 2.0
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
class _Play:
    """Who is there."""

    traffic: Traffic
    senders: Sequence[Member]
    receivers: Sequence[Member]

    def look(self) -> _Look:
        kinds = {PAYLOAD_AUDIO: [0, 0], PAYLOAD_VIDEO: [0, 0]}
        engine = self.traffic.engine
        for member in self.receivers:
            for client in member.clients:
                for stream in engine.streams(client):
                    if stream.kind in kinds:
                        kinds[stream.kind][0] += stream.packets
                        kinds[stream.kind][1] += stream.missing + stream.given_up
        return _Look(
            at_s=trio.current_time(),
            audio=kinds[PAYLOAD_AUDIO][0],
            audio_lost=kinds[PAYLOAD_AUDIO][1],
            video=kinds[PAYLOAD_VIDEO][0],
            video_lost=kinds[PAYLOAD_VIDEO][1],
        )

    def show(self, scripts: Sequence[Script]) -> None:
        """These encodings, all cameras."""
        for number, member in enumerate(self.senders):
            phase_us = Random(number).randrange(scripts[0].cycle_us)
            for sender, script in zip(member.senders[SourceKind.CAMERA], scripts, strict=True):
                self.traffic.play_from(sender, script, phase_us)

    async def check(self, round_trips_s: list[float]) -> None:
        """Ask for consent again and again, until cancelled; what is never answered takes longest.

        It is seen with the load's next sweep, some milliseconds late.
        """
        engine, (client, *_) = self.traffic.engine, self.receivers[0].clients
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
    chance = Random(1)
    usual = [media.camera(layer, chance) for layer in range(3)]
    # NACKs would be answered late and all at once, and make more of what there is too much of.
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN, feedback=False, nacks=False)
    with started([Octomesh()]) as (bridge,):
        assert isinstance(bridge, OctomeshBridge)
        async with loaded(manners) as (traffic, nursery):
            play = await _assemble(bridge, traffic, nursery, setting)
            play.show(usual)
            await trio.sleep(4 * SETTLE_S)
            span = await measured(traffic, bridge.pids, max(1.0, min(2.0, setting.seconds)))
            times = 1.0 if setting.small else TIMES / max(span.cores, 0.01)
            say(f"{span.packets_per_s:,.0f} packets/s take {span.cores:.0%}: {times:.1f} × as much")
            looks = [play.look()]
            await play.watch(looks, before_s)
            counters, lost = await bridge.counters(), drops()
            begins_s = trio.current_time()
            round_trips_s: list[float] = []
            async with trio.open_nursery() as checking:
                checking.start_soon(play.check, round_trips_s)
                play.show([_larger(script, times) for script in usual])
                await play.watch(looks, lasts_s)
                checking.cancel_scope.cancel()
            ends_s = trio.current_time()
            play.show(usual)
            shed = await bridge.counters() - counters
            now = drops()
            lost = Drops(now.load - lost.load, now.others - lost.others)
            await play.watch(looks, after_s)
    return _outcome(looks, begins_s, ends_s, shed, lost, times, sorted(round_trips_s), say)


async def _assemble(
    bridge: OctomeshBridge, traffic: Traffic, nursery: trio.Nursery, setting: Setting
) -> _Play:
    count = setting.at_most(SENDERS, small=2)
    wishes = [SPEAKER if number < SPEAKERS else PRESENTER for number in range(count)]
    senders = await join_all(bridge, traffic, nursery, [("overload", wish) for wish in wishes])
    watches = Wish(audio_slots=5, video_slots=count)
    receivers = await join_all(
        bridge,
        traffic,
        nursery,
        [("overload", watches) for _ in range(setting.at_most(RECEIVERS, small=4))],
    )
    for number, member in enumerate(senders):
        for sender in member.senders.get(SourceKind.MICROPHONE, ()):
            traffic.play(sender, media.microphone(Random(number), talking=1.0), Random(number))
    async with trio.open_nursery() as watching:
        for member in receivers:
            watching.start_soon(
                member.watch, [Picture(member=sender.id, layer=2) for sender in senders]
            )
    return _Play(traffic, senders, receivers)


def _larger(script: Script, times: float) -> Script:
    """Frames so many times as large, at the same times."""
    return dataclasses.replace(
        script,
        frames=tuple(
            frame._replace(size_bytes=round(frame.size_bytes * times)) for frame in script.frames
        ),
    )


def _outcome(
    looks: Sequence[_Look],
    begins_s: float,
    ends_s: float,
    shed: Counter[str],
    lost_by: Drops,
    times: float,
    round_trips_s: Sequence[float],
    say: Say,
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
    work = f"{times:.1f} × as large frames for {ends_s - begins_s:.0f} s"
    lines = [
        Line(
            measure="overload: voices lost",
            work=work,
            ours=lost,
            unit="packets",
            target=Target(bound=0),
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
            "times": times,
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


CASE = Case(key="overload", title="twice what it can carry, and back", run=run)
