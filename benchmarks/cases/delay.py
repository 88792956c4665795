"""Delay that a bridge adds: from a packet's leaving its sender to its arrival at a receiver.

At 10, 50 and 80 % of the bridge's core, each peer's own: a rate is looked for at which it uses so
much, with one sender and 50 receivers. A turn that used another share is taken again at a rate
mended by it, a few times. What was used all the same of another, higher or lower, is compared with
nothing: p99 grows with it, but p50 may fall, for who is busy is awake. From the mark's writing in
the load's thread to the receiving system's timestamp; the load's share of that, encryption and a
system call, is some 10 µs and the same for all.
"""

import contextlib
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import trio

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, seated
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import SETTLE_S, loaded, measured, started
from benchmarks.load.counts import BUCKET_BOUNDS_NS
from benchmarks.load.media import plain
from benchmarks.load.traffic import Manners
from benchmarks.load.watch import Figures, Snapshot
from benchmarks.peers import Bridge, Peer
from benchmarks.peers.janus import Janus
from benchmarks.peers.mediasoup import Mediasoup
from benchmarks.peers.octomesh import Octomesh

RECEIVERS = 50
SHARES = (0.1, 0.5, 0.8)
TARGETS_MS = {"p50": 0.3, "p99": 1.5}
"""At half the core."""
QUANTILES = {"p50": 0.5, "p99": 0.99}
FIRST_PER_S, MOST_PER_S = 100.0, 20_000.0
LOOKS, LOOK_S = 12, 1.5
NEAR, NEAR_ENOUGH = 0.05, 0.1
"""Of the share that is wanted: so far off is looked for no further, and compared at most."""
TRIES = 4
"""Of a turn: how fast a machine is changes from one to the next."""
MOST_TIMES = 4.0
"""By which a rate is raised at once."""
NOTHING_CAME_MS = BUCKET_BOUNDS_NS[-1] / 1e6
"""In place of a delay where there is none: longer than any that is told from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Of one peer, at a share of its core."""

    peer: str
    share: float
    """That was wanted."""
    turns: Sequence[dict[str, float]]
    is_janus: bool = False

    @property
    def cores(self) -> float:
        """That it used in fact."""
        return statistics.median(self.values("cores"))

    @property
    def near_enough(self) -> bool:
        """Whether that is what was wanted."""
        return _off(self.cores, self.share) <= NEAR_ENOUGH

    @property
    def lost(self) -> float:
        """Share of the packets, in the worst turn."""
        return max(self.values("lost"))

    @property
    def came(self) -> bool:
        """Whether there was something in each turn whose delay is known."""
        return all(turn[name] < NOTHING_CAME_MS for turn in self.turns for name in QUANTILES)

    def values(self, name: str) -> list[float]:
        """One of each turn."""
        return [turn[name] for turn in self.turns]

    def faults(self) -> list[str]:
        """What went wrong, in words."""
        found = [f"{self.peer} lost {self.lost:.2%}"] if self.lost >= LOSSLESS else []
        return found if self.came else [*found, f"nothing came of {self.peer}"]


@dataclass(slots=True, kw_only=True)
class _Stage:
    peer: Peer
    bridge: Bridge
    audience: Audience
    rates: dict[float, float] = field(default_factory=dict)
    """Packets/s in, by share of the core, of the next turn."""
    turns: dict[float, list[dict[str, float]]] = field(default_factory=dict)

    def at(self, share: float) -> Turns:
        return Turns(
            peer=self.peer.name,
            share=share,
            turns=self.turns[share],
            is_janus=isinstance(self.peer, Janus),
        )


async def run(setting: Setting, say: Say) -> Outcome:
    peers: list[Peer] = [Octomesh()]
    if setting.janus:
        peers += [Janus(event_loops=1), Janus()]
    if setting.mediasoup:
        peers.append(Mediasoup())
    shares = SHARES[:1] if setting.small else SHARES
    async with contextlib.AsyncExitStack() as until_the_end:
        stages: list[_Stage] = []
        bridges = until_the_end.enter_context(started(peers))
        for peer, bridge in zip(peers, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(
                loaded(Manners(feedback=False, nacks=False))
            )
            (audience,) = await seated(
                bridge, traffic, nursery, [setting.at_most(RECEIVERS, small=4)]
            )
            stages.append(_Stage(peer=peer, bridge=bridge, audience=audience))
        for stage in stages:
            for share in shares:
                stage.rates[share] = await _rate(stage, share, setting)
                say(f"{stage.peer.name}: {share:.0%} of the core at {stage.rates[share]:,.0f}/s in")
        for number in range(setting.rounds):
            for share in shares:
                for stage in stages:
                    turn = await turn_at(
                        share,
                        stage.rates[share],
                        partial(_turn, stage, setting.seconds),
                        setting.at_most(TRIES, small=1),
                    )
                    stage.turns.setdefault(share, []).append(turn)
                    stage.rates[share] = turn["packets_in_per_s"]
                    say(
                        f"{stage.peer.name} at {turn['cores']:.0%}, round {number + 1} of "
                        f"{setting.rounds}: p50 {turn['p50']:.3f} ms, p99 {turn['p99']:.3f} ms"
                    )
    found = [line for share in shares for line in lines(*(stage.at(share) for stage in stages))]
    return Outcome(lines=found, raw=_raw(stages))


async def _rate(stage: _Stage, share: float, setting: Setting) -> float:
    first = stage.rates.get(max(stage.rates, default=0.0), FIRST_PER_S)
    looks = setting.at_most(LOOKS, small=1)
    return await rate_for(share, first, partial(_look, stage, setting), looks)


async def _look(stage: _Stage, setting: Setting, per_s: float) -> float:
    """How many cores it uses at that rate."""
    await _play(stage, per_s)
    span = await measured(stage.audience.traffic, stage.bridge.pids, min(LOOK_S, setting.seconds))
    stage.audience.pause()
    return span.cores


async def rate_for(
    share: float, first_per_s: float, look: Callable[[float], Awaitable[float]], looks: int
) -> float:
    """At which `look` finds so many cores used twice in a row; after so many looks the nearest."""
    per_s, was_near = first_per_s, False
    found: list[tuple[float, float]] = []
    for _ in range(looks):
        cores = await look(per_s)
        found.append((_off(cores, share), per_s))
        near = _off(cores, share) <= NEAR
        if near and was_near:
            return per_s
        was_near = near
        if not near:
            per_s = _mended(per_s, cores, share)
    return min(found)[1]


async def turn_at(
    share: float,
    per_s: float,
    turn: Callable[[float], Awaitable[dict[str, float]]],
    tries: int,
) -> dict[str, float]:
    """The first that uses about so many cores, or of so many tries the nearest."""
    tried: list[dict[str, float]] = []
    for _ in range(tries):
        tried.append(await turn(per_s))
        cores = tried[-1]["cores"]
        if _off(cores, share) <= NEAR_ENOUGH:
            break
        per_s = _mended(per_s, cores, share)
    return min(tried, key=lambda each: _off(each["cores"], share))


def _mended(per_s: float, cores: float, share: float) -> float:
    return _bounded(per_s * min(MOST_TIMES, share / max(cores, 1e-3)))


def _bounded(per_s: float) -> float:
    return min(MOST_PER_S, max(1.0, per_s))


def _off(cores: float, share: float) -> float:
    return abs(cores / share - 1)


async def _turn(stage: _Stage, seconds: float, per_s: float) -> dict[str, float]:
    await _play(stage, per_s)
    traffic = stage.audience.traffic
    before = Snapshot.take(traffic.engine)
    span = await measured(traffic, stage.bridge.pids, seconds)
    figures = Figures.between(before, Snapshot.take(traffic.engine))
    stage.audience.pause()
    found = {name: figures.video.quantile_ms(part) for name, part in QUANTILES.items()}
    return {
        **{name: NOTHING_CAME_MS if ms is None else ms for name, ms in found.items()},
        "cores": span.cores,
        "lost": figures.loss,
        "packets": float(span.packets),
        "packets_in_per_s": per_s,
    }


async def _play(stage: _Stage, per_s: float) -> None:
    stage.audience.play(plain(round(per_s), PAYLOAD_BYTES), Random(1))
    await trio.sleep(SETTLE_S)


def lines(ours: Turns, *others: Turns) -> list[Line]:
    """Ours beside nobody, and beside each of the others."""
    work = f"→ {RECEIVERS} receivers at {ours.share:.0%} of the core"
    valid = ours.came and ours.lost < LOSSLESS and ours.near_enough
    found: list[Line] = []
    for name in QUANTILES:
        bound = Target(bound=TARGETS_MS[name]) if ours.share == 0.5 else None
        found.append(
            Line(
                measure=f"added delay, {name}",
                work=work,
                ours=statistics.median(ours.values(name)),
                unit="ms",
                target=bound,
                valid=valid,
                note=", ".join([f"in fact {ours.cores:.0%}", *ours.faults()]),
            )
        )
        found += [
            versus(
                f"added delay, {name}",
                work,
                "ms",
                ours.values(name),
                other.peer,
                other.values(name),
                Target(bound=1.0, of_ratio=True) if other.is_janus else None,
                valid=valid and other.came and other.near_enough,
                note=", ".join(
                    [
                        f"in fact {ours.cores:.0%}",
                        f"{other.peer} {other.cores:.0%}",
                        *ours.faults(),
                        *other.faults(),
                    ]
                ),
            )
            for other in others
        ]
    return found


def _raw(stages: Sequence[_Stage]) -> dict[str, Any]:
    return {
        stage.peer.name: [{"share": share, "turns": turns} for share, turns in stage.turns.items()]
        for stage in stages
    }


CASE = Case(key="delay", title="delay that the bridge adds", run=run)
