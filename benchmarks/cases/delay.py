"""Delay that a bridge adds: from a packet's leaving its sender to its arrival at a receiver.

At 10, 50 and 80 % of the bridge's core, each peer's own: a rate is looked for at which it uses so
much, with one sender and 50 receivers. From the mark's writing in the load's thread to the
receiving system's timestamp; the load's share of that, encryption and a system call, is some 10 µs
and the same for all.
"""

import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, seated
from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import SETTLE_S, loaded, measured, started
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
FIRST_PER_S = 100
LOOKS, LOOK_S = 4, 1.0
MOST_PER_S = 20_000


@dataclass(slots=True, kw_only=True)
class _Stage:
    peer: Peer
    bridge: Bridge
    audience: Audience
    rates: dict[float, float] = field(default_factory=dict)
    """Packets/s in, by share of the core."""
    turns: dict[float, list[dict[str, float]]] = field(default_factory=dict)


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
                    turn = await _turn(stage, share, setting.seconds)
                    stage.turns.setdefault(share, []).append(turn)
                    say(
                        f"{stage.peer.name} at {turn['cores']:.0%}, round {number + 1} of "
                        f"{setting.rounds}: p50 {turn['p50']:.3f} ms, p99 {turn['p99']:.3f} ms"
                    )
    return Outcome(lines=list(_lines(stages, shares)), raw=_raw(stages))


async def _rate(stage: _Stage, share: float, setting: Setting) -> float:
    """At which it uses so much of its core."""
    rate = stage.rates.get(max(stage.rates, default=0.0), FIRST_PER_S)
    for _ in range(setting.at_most(LOOKS, small=1)):
        await _play(stage, rate)
        span = await measured(
            stage.audience.traffic, stage.bridge.pids, min(LOOK_S, setting.seconds)
        )
        stage.audience.pause()
        rate = min(MOST_PER_S, max(1.0, rate * min(4.0, share / max(span.cores, 1e-3))))
    return rate


async def _turn(stage: _Stage, share: float, seconds: float) -> dict[str, float]:
    await _play(stage, stage.rates[share])
    traffic = stage.audience.traffic
    before = Snapshot.take(traffic.engine)
    span = await measured(traffic, stage.bridge.pids, seconds)
    figures = Figures.between(before, Snapshot.take(traffic.engine))
    stage.audience.pause()
    delays = {name: figures.video.quantile_ms(part) or 0.0 for name, part in QUANTILES.items()}
    return {**delays, "cores": span.cores, "lost": figures.loss, "packets": float(span.packets)}


async def _play(stage: _Stage, per_s: float) -> None:
    stage.audience.play(plain(round(per_s), PAYLOAD_BYTES), Random(1))
    await trio.sleep(SETTLE_S)


def _lines(stages: Sequence[_Stage], shares: Sequence[float]) -> list[Line]:
    ours, *others = stages
    lines: list[Line] = []
    for share in shares:
        cores = statistics.median(turn["cores"] for turn in ours.turns[share])
        work = f"→ {RECEIVERS} receivers at {share:.0%} of the core"
        for name in QUANTILES:
            values = [turn[name] for turn in ours.turns[share]]
            bound = Target(bound=TARGETS_MS[name]) if share == 0.5 else None
            lines.append(
                Line(
                    measure=f"added delay, {name}",
                    work=work,
                    ours=statistics.median(values),
                    unit="ms",
                    target=bound,
                    note=f"in fact {cores:.0%}",
                )
            )
            lines += [
                versus(
                    f"added delay, {name}",
                    work,
                    "ms",
                    values,
                    other.peer.name,
                    [turn[name] for turn in other.turns[share]],
                    Target(bound=1.0, of_ratio=True) if isinstance(other.peer, Janus) else None,
                )
                for other in others
            ]
    return lines


def _raw(stages: Sequence[_Stage]) -> dict[str, Any]:
    return {
        stage.peer.name: [
            {"share": share, "packets_in_per_s": stage.rates[share], "turns": turns}
            for share, turns in stage.turns.items()
        ]
        for stage in stages
    }


CASE = Case(key="delay", title="delay that the bridge adds", run=run)
