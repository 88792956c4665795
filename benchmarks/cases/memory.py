"""Resident memory: of a bridge at rest, and of each participant with three layers that flow.

Of a participant it is what a meeting adds to the bridge at rest, shared among those in it: what
the first one brings with them is in it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import trio

from benchmarks.cases.result import Case, Line, Outcome, Say, Setting, Target
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
    found = {peer.name: await _memory(peer, setting, say) for peer in peers}
    return Outcome(lines=list(_lines(found)), raw=found)


def _lines(found: Mapping[str, dict[str, Any]]) -> Iterator[Line]:
    """Ours beside each of the others; what it must reach is in the first."""
    (_, ours), *others = found.items()
    everybody = f"{ours['people']} people, 3 layers each"
    for measure, work, key, target in (
        ("memory at rest", "nobody there", "rest_mb", REST_TARGET),
        ("memory per participant", everybody, "each_mb", EACH_TARGET),
    ):
        for number, (name, theirs) in enumerate(others or [("", None)]):
            yield Line(
                measure=measure,
                work=work,
                ours=ours[key],
                unit="MB",
                against=name,
                theirs=theirs[key] if theirs else None,
                ratio=ours[key] / theirs[key] if theirs and theirs[key] else None,
                target=None if number else target,
            )


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
