"""Resident memory: of a bridge at rest, and of each participant with three layers that flow.

Of a participant it is what a meeting adds to the bridge at rest, shared among those in it: what
the first one brings with them is in it.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import trio

from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target, versus
from benchmarks.cases.stage import loaded, started
from benchmarks.cpu import resident_bytes
from benchmarks.load.gathering import Gathering
from benchmarks.load.profiles import Meeting
from benchmarks.load.traffic import Manners
from benchmarks.peers import Peer
from benchmarks.peers.janus import Janus
from benchmarks.peers.mediasoup import Mediasoup
from benchmarks.peers.octomesh import Octomesh

PEOPLE = 30
REST_S = 1.0
JOINS_PER_S = 8.0
REST_TARGET = Target(bound=80)
EACH_TARGET = Target(bound=1.5)
DECRYPT_ONE_IN = 16


async def run(setting: Setting, say: Say) -> Outcome:
    peers: list[Peer] = [Octomesh()]
    if setting.janus:
        peers.append(Janus(event_loops=1))
    if setting.mediasoup:
        peers.append(Mediasoup())
    found: dict[str, list[dict[str, Any]]] = {peer.name: [] for peer in peers}
    for _ in range(setting.rounds):
        for peer in peers:
            found[peer.name].append(await _memory(peer, setting, say))
    return Outcome(lines=list(lines(found)), raw=found)


def lines(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Line]:
    """Ours beside each of the others, by turns; what it must reach is in the first."""
    (_, ours), *others = found.items()
    everybody = f"{min(turn['people'] for turn in ours)} people, 3 layers each"
    for measure, work, key, target in (
        ("memory at rest", "nobody there", "rest_mb", REST_TARGET),
        ("memory per participant", everybody, "each_mb", EACH_TARGET),
    ):
        values = [turn[key] for turn in ours]
        if not others:
            median = statistics.median(values)
            yield Line(measure=measure, work=work, ours=median, unit="MB", target=target)
        for number, (name, theirs) in enumerate(others):
            beside = [turn[key] for turn in theirs]
            bound = None if number else target
            yield versus(measure, work, "MB", values, name, beside, bound)


async def _memory(peer: Peer, setting: Setting, say: Say) -> dict[str, Any]:
    people = setting.at_most(PEOPLE, small=3)
    with started([peer]) as (bridge,):
        await trio.sleep(REST_S)
        rest = sum(map(resident_bytes, bridge.pids))
        say(f"{peer.name} at rest: {rest / 1e6:.1f} MB")
        async with loaded(Manners(decrypt_one_in=DECRYPT_ONE_IN)) as (traffic, nursery):
            gathering = Gathering(
                bridge, traffic, Meeting(people=people), room="memory", joins_per_s=JOINS_PER_S
            )
            await nursery.start(gathering.run)
            await trio.sleep(setting.seconds)
            present = len(gathering.present)
            full = sum(map(resident_bytes, bridge.pids))
    each = (full - rest) / max(1, present)
    say(f"{peer.name} with {present} people: {full / 1e6:.1f} MB, {each / 1e6:.2f} MB each")
    return {
        "people": present,
        "rest_mb": rest / 1e6,
        "full_mb": full / 1e6,
        "each_mb": each / 1e6,
    }


CASE = Case(key="memory", title="resident memory", run=run)
