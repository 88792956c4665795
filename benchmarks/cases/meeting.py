"""How many people one core carries in a meeting where all send and everybody sees nine.

Everybody sends a camera in three encodings and a microphone, as browsers do, and hears the
loudest (from Janus and mediasoup, which do not choose, everybody). For each number of people
there is a new meeting, on a new bridge; the number doubles until it fails, and then the largest
that does not is looked for. A number fails when two meetings of three have. A meeting has failed
that loses 0.1 % or more, or takes 5 ms or more from sender to receiver for one packet in a hundred,
or has not let everybody in, or does not show the pictures that were asked for, and all of their
packets: a bridge that leaves out what it cannot carry does not carry it.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trio

from benchmarks.capacity import Capacity, Machine
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target
from benchmarks.cases.search import TURNS, mostly
from benchmarks.cases.stage import drops, loaded, started
from benchmarks.cpu import cpu_ns, pump_ns
from benchmarks.load.gathering import Gathering
from benchmarks.load.measuring import Measured, measure
from benchmarks.load.profiles import Meeting
from benchmarks.load.traffic import Manners
from benchmarks.peers import Bridge, Peer
from benchmarks.peers.janus import Janus
from benchmarks.peers.mediasoup import Mediasoup
from benchmarks.peers.octomesh import Octomesh

TARGET_RATIO = 5
MOST_P99_MS = 5.0
FIRST, GROWTH, MOST = 8, 2, 400
FINE = 1.1
"""Two numbers of people that are no further apart are as good as one."""
JOINS_PER_S = 8.0
JOIN_TIMEOUT_S = 60.0
WARM_UP_S = 6.0
"""Bridges begin with low estimates of what a path carries."""
DECRYPT_ONE_IN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One meeting."""

    people: int
    joined: int
    measured: Measured | None
    """None when nobody could come."""
    seconds: float
    cpu_ns: int
    pump_ns: int
    load_lost: int

    @property
    def p99_ms(self) -> float:
        """Of all media."""
        if self.measured is None:
            return float("inf")
        whole = self.measured.whole
        return (whole.audio + whole.video).quantile_ms(0.99) or float("inf")

    @property
    def faults(self) -> list[str]:
        """Why it does not count, if it does not."""
        if self.measured is None or self.joined < self.people:
            return [f"{self.people - self.joined} did not get in"]
        found = []
        if self.measured.whole.loss >= LOSSLESS:
            found.append(f"{self.measured.whole.loss:.2%} lost")
        if self.p99_ms >= MOST_P99_MS:
            found.append(f"p99 {self.p99_ms:.1f} ms")
        found += self.measured.layers.faults
        if self.measured.whole.overloaded or self.load_lost:
            found.append(f"the load did not keep up ({self.load_lost} packets lost by it)")
        return found

    def as_json(self) -> dict[str, Any]:
        whole = self.measured.whole if self.measured else None
        return {
            "people": self.people,
            "joined": self.joined,
            "seconds": self.seconds,
            "cores": self.cpu_ns / 1e9 / max(self.seconds, 1e-9),
            "pump_cores": self.pump_ns / 1e9 / max(self.seconds, 1e-9),
            "packets_per_s": whole.packets_per_s if whole else 0.0,
            "sent_packets_per_s": whole.sent_packets_per_s if whole else 0.0,
            "loss": whole.loss if whole else None,
            "p99_ms": self.p99_ms if whole else None,
            "as_asked": self.measured.layers.as_asked if self.measured else None,
            "pictures_whole": self.measured.layers.whole if self.measured else None,
            "load_lost": self.load_lost,
            "engine_cpu": whole.engine_cpu if whole else None,
            "faults": self.faults,
            "wrong": whole.faults if whole else {},
        }


async def run(setting: Setting, say: Say) -> Outcome:
    peers: list[Peer] = [Octomesh()]
    if setting.janus:
        peers += [Janus(event_loops=1), Janus()]
    if setting.mediasoup:
        peers.append(Mediasoup())
    meetings: dict[str, list[Held]] = {}
    for peer in peers:
        meetings[peer.name] = await _search(peer, setting, say)
    largest = {name: _largest(held) for name, held in meetings.items()}
    lines = list(_lines(peers, largest, meetings))
    ours = largest[peers[0].name]
    return Outcome(
        lines=lines,
        raw={name: [each.as_json() for each in held] for name, held in meetings.items()},
        capacity=_capacity(ours) if ours is not None else None,
    )


async def _search(peer: Peer, setting: Setting, say: Say) -> list[Held]:
    """All that were tried."""
    held: list[Held] = []

    async def carries(people: int) -> bool:
        return await mostly(lambda: held_well(people), setting.at_most(TURNS, small=1))

    async def held_well(people: int) -> bool:
        each = await hold(peer, people, setting)
        held.append(each)
        why = ", ".join(each.faults)
        rate = each.measured.whole.packets_per_s if each.measured else 0
        say(
            f"{peer.name}: {people} people, {rate:,.0f} packets/s, p99 {each.p99_ms:.2f} ms, "
            f"{each.cpu_ns / 1e9 / max(each.seconds, 1e-9):.0%} of the core: {why or 'carried'}"
        )
        return not each.faults

    if setting.small:
        await carries(3)
        return held
    good, bad = 0, FIRST
    while bad <= MOST and await carries(bad):
        good, bad = bad, bad * GROWTH
    while good and bad - good > 1 and bad / good > FINE:
        middle = (good + bad) // 2
        if await carries(middle):
            good = middle
        else:
            bad = middle
    while not good and bad > 2:
        bad = bad - max(1, bad // 4)
        if await carries(bad):
            break
    return held


async def hold(peer: Peer, people: int, setting: Setting) -> Held:
    """One meeting, on a bridge of its own."""
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN)
    with started([peer]) as (bridge,):
        async with loaded(manners) as (traffic, nursery):
            gathering = Gathering(
                bridge,
                traffic,
                Meeting(people=people),
                room="meeting",
                joins_per_s=JOINS_PER_S,
            )
            with trio.move_on_after(JOIN_TIMEOUT_S):
                await nursery.start(gathering.run)
            measured = None
            joined = len(gathering.present)
            used, begin = _used(bridge), trio.current_time()
            lost = drops().load
            if joined == people:
                await trio.sleep(setting.at_most(round(WARM_UP_S), small=1))
                lost, begin, used = drops().load, trio.current_time(), _used(bridge)
                measured = await measure(traffic, [gathering], max(1, round(setting.seconds)))
            after = _used(bridge)
            return Held(
                people=people,
                joined=joined,
                measured=measured,
                seconds=trio.current_time() - begin,
                cpu_ns=after[0] - used[0],
                pump_ns=after[1] - used[1],
                load_lost=drops().load - lost,
            )


def _used(bridge: Bridge) -> tuple[int, int]:
    with contextlib.suppress(FileNotFoundError):  # it has crashed
        return sum(map(cpu_ns, bridge.pids)), sum(map(pump_ns, bridge.pids))
    return 0, 0


def _largest(held: list[Held]) -> Held | None:
    """One of the largest meetings of which most went well."""
    well = Counter(each.people for each in held if not each.faults)
    tried = Counter(each.people for each in held)
    good = [each for each in held if not each.faults and 2 * well[each.people] > tried[each.people]]
    return max(good, key=lambda each: each.people, default=None)


def _lines(
    peers: list[Peer], largest: dict[str, Held | None], meetings: dict[str, list[Held]]
) -> list[Line]:
    def size(peer: Peer) -> int:
        held = largest[peer.name]
        return held.people if held is not None else 0

    ours, *others = peers
    measure, work = "largest meeting on one core", "all send 3 layers + audio, see 9"
    note = _note(largest[ours.name], meetings[ours.name])
    first = Line(measure=measure, work=work, ours=size(ours), unit="people", note=note)
    return [first] + [
        Line(
            measure=measure,
            work=work,
            ours=size(ours),
            unit="people",
            against=other.name,
            theirs=size(other),
            ratio=size(ours) / size(other) if size(other) else None,
            target=(
                Target(bound=TARGET_RATIO, at_least=True, of_ratio=True)
                if isinstance(other, Janus)
                else None
            ),
            note="" if size(other) else f"{other.name} carried none: {_why(meetings[other.name])}",
        )
        for other in others
    ]


def _note(largest: Held | None, held: list[Held]) -> str:
    if largest is None:
        return _why(held)
    failed = [each for each in held if each.faults and each.people > largest.people]
    nearest = min(failed, key=lambda each: each.people, default=None)
    ended = f"; {nearest.people}: {', '.join(nearest.faults)}" if nearest is not None else ""
    return f"p99 {largest.p99_ms:.2f} ms{ended}"


def _why(held: list[Held]) -> str:
    return ", ".join(held[-1].faults)


def _capacity(held: Held) -> Capacity | None:
    """What `octomesh plan` reads; None when the pump did nothing."""
    measured = held.measured
    if measured is None or not held.pump_ns or not measured.whole.packets_per_s:
        return None
    return Capacity(
        measured_at=datetime.now(UTC),
        profile="meeting",
        machine=Machine.here(),
        packets_out_per_core_s=measured.whole.packets_per_s * held.seconds * 1e9 / held.pump_ns,
        control_core_per_person=min(
            0.99, (held.cpu_ns - held.pump_ns) / 1e9 / held.seconds / held.people
        ),
        received=measured.rates.of_received,
        sent=measured.rates.of_sent,
    )


CASE = Case(key="meeting", title="the largest meeting on one core", run=run, repeats=False)
