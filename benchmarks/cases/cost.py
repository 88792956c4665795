"""CPU for each packet forwarded: one sender to many, against the floor, Janus and mediasoup."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, Dose, dosed, seated
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import loaded, started
from benchmarks.load.media import Script, bursts, plain
from benchmarks.load.traffic import Manners
from benchmarks.peers import Bridge, Peer
from benchmarks.peers.floor import Floor
from benchmarks.peers.janus import Janus
from benchmarks.peers.mediasoup import Mediasoup
from benchmarks.peers.octomesh import Octomesh

MEASURE = "CPU per forwarded packet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one sender sends to how many."""

    key: str
    title: str
    receivers: int
    script: Script
    of_floor: float
    """At most so many times the floor."""
    as_browsers: bool = False
    """With header extensions, transport-wide feedback both ways, retransmissions."""
    of_janus: tuple[float, float] | None = None
    """At most so many times Janus as packaged, and tuned; None where they do not take part."""
    of_mediasoup: float | None = None
    """At most so many times mediasoup; None where its figure is shown and no more."""


PLAIN = tuple(
    Work(
        key=f"plain-{receivers}",
        title=f"300 packets/s × 1,150 B → {receivers}",
        receivers=receivers,
        script=plain(300, PAYLOAD_BYTES),
        of_floor=1.5,
        of_janus=(1 / 5, 1 / 3),
    )
    for receivers in (10, 30, 50, 200)
)
FULL = Work(
    key="full-30",
    title="300 packets/s → 30, all extensions, feedback both ways, NACK cache",
    receivers=30,
    script=plain(300, PAYLOAD_BYTES),
    as_browsers=True,
    of_floor=1.7,
    of_mediasoup=1 / 2,
)
BURSTS = Work(
    key="bursts-50",
    title="frames of 8 packets, sizes a byte apart, 30/s → 50",
    receivers=50,
    script=bursts(30, 8, PAYLOAD_BYTES, differing=True),
    of_floor=1.0,
)
WORKS = (*PLAIN, FULL, BURSTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One peer's turns."""

    peer: str
    turns: Sequence[Dose]

    @property
    def us_per_packet(self) -> list[float]:
        """Each turn's."""
        return [turn.span.us_per_packet for turn in self.turns]

    @property
    def whole(self) -> bool:
        """Whether everybody got everything."""
        return all(turn.lost < LOSSLESS for turn in self.turns)


async def run(setting: Setting, say: Say) -> Outcome:
    lines: list[Line] = []
    raw: dict[str, Any] = {}
    for work in (FULL,) if setting.small else WORKS:
        others = _others(work, setting)
        ours, *theirs = await compare(work, [Octomesh(), *others], setting, say)
        lines += [
            _line(work, ours, cost, target)
            for cost, target in zip(theirs, others.values(), strict=True)
        ]
        raw[work.key] = {
            "title": work.title,
            "receivers": work.receivers,
            "peers": {
                cost.peer: [turn.as_json() for turn in cost.turns] for cost in (ours, *theirs)
            },
        }
    return Outcome(lines=lines, raw=raw)


async def compare(work: Work, peers: Sequence[Peer], setting: Setting, say: Say) -> list[Cost]:
    """All peers in turns, each on its own; everybody has joined before the first."""
    turns: dict[str, list[Dose]] = {peer.name: [] for peer in peers}
    manners = Manners(feedback=work.as_browsers, nacks=work.as_browsers)
    receivers = setting.at_most(work.receivers, small=4)
    async with contextlib.AsyncExitStack() as until_the_end:
        stages: list[tuple[Peer, Bridge, Audience]] = []
        bridges = until_the_end.enter_context(started(peers))
        for peer, bridge in zip(peers, bridges, strict=True):
            traffic, nursery = await until_the_end.enter_async_context(loaded(manners))
            (audience,) = await seated(
                bridge, traffic, nursery, [receivers], as_browsers=work.as_browsers
            )
            audience.play(work.script, Random(1))
            audience.pause()
            stages.append((peer, bridge, audience))
        for number in range(setting.rounds):
            for peer, bridge, audience in stages:
                dose = await dosed([audience], bridge.pids, setting.seconds)
                turns[peer.name].append(dose)
                say(
                    f"{work.title}, round {number + 1} of {setting.rounds}: {peer.name} "
                    f"{dose.span.us_per_packet:.2f} µs a packet"
                    + (f", {dose.lost:.2%} lost" if dose.lost else "")
                )
    return [Cost(peer=name, turns=each) for name, each in turns.items()]


def _others(work: Work, setting: Setting) -> dict[Peer, Target | None]:
    """Beside whom ours is measured, and what it must reach there."""
    bounds: list[tuple[Peer, float | None]] = [(Floor(), work.of_floor)]
    if setting.janus and work.of_janus:
        bounds += zip((Janus(), Janus(event_loops=1)), work.of_janus, strict=True)
    if setting.mediasoup:
        bounds.append((Mediasoup(), work.of_mediasoup))
    return {
        peer: None if bound is None else Target(bound=round(bound, 3), of_ratio=True)
        for peer, bound in bounds
    }


def _line(work: Work, ours: Cost, other: Cost, target: Target | None) -> Line:
    return versus(
        MEASURE,
        work.title,
        "µs",
        ours.us_per_packet,
        other.peer,
        other.us_per_packet,
        target,
        valid=ours.whole,
        note=_note(ours, other),
    )


def _note(*costs: Cost) -> str:
    return ", ".join(
        f"{cost.peer} lost {max(turn.lost for turn in cost.turns):.2%}"
        for cost in costs
        if not cost.whole
    )


CASE = Case(key="cost", title="CPU for each forwarded packet", run=run)
