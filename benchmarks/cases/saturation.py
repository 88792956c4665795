"""Packets out of one core: the rate is raised until something is lost in two turns of three.

The figure is the highest rate that was carried in two turns of three, and below which every rate
that was tried was carried, too.

The bridge has a core, the load another one. Receivers sit in rooms of 50 with a sender each, all
senders at the same rate: octomesh lets 500 people into a room, and with so many in one room it is
joining that takes long, not forwarding. All is counted that was sent while a rate was tried, so
nothing is lost unseen between two looks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any

import trio

from benchmarks.cases.audience import PAYLOAD_BYTES, Audience, Dose, dosed, seated
from benchmarks.cases.result import LOSSLESS, Case, Line, Outcome, Say, Setting, Target
from benchmarks.cases.search import TURNS, mostly
from benchmarks.cases.stage import loaded, started
from benchmarks.load.media import Script, bursts, plain
from benchmarks.load.traffic import Manners
from benchmarks.peers.octomesh import Octomesh

TARGET_PER_S = 250_000
ROOM = 50
RECEIVERS = (50, 200, 500)
DECRYPT_ONE_IN = 16
FRAME_PACKETS = 8
FIRST_PER_S = 60_000
BEGIN, STEP, MAX_STEPS = 0.6, 1.3, 12
"""Of what a packet's cost promises at a low rate, and how it goes on."""
HALVINGS = 3
"""Between the last rate that was carried and the first that was not."""
SEARCH_S = 2.0
EASE_S = 2.5
"""What has been too much goes on for a while: a bridge leaves out layers until it is at ease."""


def plainly(per_s: float) -> Script:
    """Single packets, evenly spaced, so many a second."""
    return plain(max(1, round(per_s)), PAYLOAD_BYTES)


def in_frames(per_s: float) -> Script:
    """The same number in frames."""
    return bursts(
        max(1, round(per_s / FRAME_PACKETS)), FRAME_PACKETS, PAYLOAD_BYTES, differing=True
    )


SHAPES: dict[str, Callable[[float], Script]] = {
    "single packets": plainly,
    f"frames of {FRAME_PACKETS}": in_frames,
}


async def run(setting: Setting, say: Say) -> Outcome:
    manners = Manners(decrypt_one_in=DECRYPT_ONE_IN, feedback=False, nacks=False)
    lines: list[Line] = []
    raw: list[dict[str, Any]] = []
    with started([Octomesh()]) as (bridge,):
        async with loaded(manners) as (traffic, nursery):
            sizes = [4, 4] if setting.small else [ROOM] * (RECEIVERS[-1] // ROOM)
            audiences = await seated(bridge, traffic, nursery, sizes)
            counts = [len(audiences[0].receivers), sum(sizes)] if setting.small else RECEIVERS
            for receivers in counts:
                rooms = _seating(audiences, receivers)
                for name, shape in SHAPES.items():
                    work = f"{name} → {receivers} receivers"
                    found = await _raise(rooms, shape, bridge.pids, setting, work, say)
                    lines.append(_line(work, found))
                    raw.append(
                        {
                            "work": work,
                            "receivers": receivers,
                            "shape": name,
                            "carried_per_s": found.carried,
                            "steps": [
                                {"asked_per_s": per_s, **dose.as_json()}
                                for per_s, dose in found.turns
                            ],
                        }
                    )
    return Outcome(lines=lines, raw=raw)


def _seating(audiences: Sequence[Audience], receivers: int) -> list[Audience]:
    """The first rooms, that have so many people."""
    return list(audiences[: receivers // len(audiences[0].receivers)])


async def _raise(
    rooms: Sequence[Audience],
    shape: Callable[[float], Script],
    pids: Sequence[int],
    setting: Setting,
    work: str,
    say: Say,
) -> "_Found":
    """Every rate tried."""
    receivers = sum(len(room.receivers) for room in rooms)
    seconds = setting.seconds if setting.small else SEARCH_S

    async def tried(per_s: float) -> Dose:
        script = shape(per_s / receivers)
        for number, room in enumerate(rooms):
            room.play(script, Random(number))
            room.pause()
        dose = await dosed(rooms, pids, seconds)
        say(
            f"{work}: {dose.span.packets_per_s:,.0f} packets/s, {dose.span.cores:.0%} of the "
            f"core, {dose.lost:.3%} lost"
            + (f", {dose.load_lost:,} packets by the load" if dose.load_lost else "")
            + (f", {dose.bridge_lost:,} packets on their way in" if dose.bridge_lost else "")
        )
        return dose

    first = 1_000.0 if setting.small else FIRST_PER_S
    found = _Found()

    async def carries(per_s: float) -> bool:
        async def turn() -> bool:
            dose = await tried(per_s)
            found.turns.append((per_s, dose))
            if dose.lost >= LOSSLESS:
                await trio.sleep(EASE_S)
            return dose.lost < LOSSLESS

        return await mostly(turn, setting.at_most(TURNS, small=1))

    if not await carries(first):
        return found
    found.carried = good = first
    bad = BEGIN * 1e6 / found.turns[0][1].span.us_per_packet
    for _ in range(setting.at_most(MAX_STEPS, small=0)):
        if not await carries(bad):
            break
        good, bad = bad, bad * STEP
        found.carried = good
    for _ in range(setting.at_most(HALVINGS, small=0)):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if await carries(middle) else (good, middle)
        found.carried = good
    return found


@dataclass(slots=True)
class _Found:
    """All turns, and the rate that stands at the end."""

    turns: list[tuple[float, Dose]] = field(default_factory=list)
    """With the rate that was tried, packets/s out."""
    carried: float | None = None

    @property
    def best(self) -> list[Dose]:
        """The turns at that rate in which nothing was lost."""
        return [
            dose for per_s, dose in self.turns if per_s == self.carried and dose.lost < LOSSLESS
        ]

    @property
    def failed(self) -> list[Dose]:
        """The turns at higher rates, in which something was."""
        return [
            dose
            for per_s, dose in self.turns
            if dose.lost >= LOSSLESS and (self.carried is None or per_s > self.carried)
        ]


def _line(work: str, found: _Found) -> Line:
    best, failed = found.best, found.failed
    note = ""
    if failed and all(step.load_lost >= (step.expected - step.got) / 2 for step in failed):
        note = "ended by the load, not by the bridge"
    elif best:
        cores = median(dose.span.cores for dose in best)
        us_per_packet = median(dose.span.us_per_packet for dose in best)
        note = f"at {cores:.0%} of the core, {us_per_packet:.2f} µs a packet"
    return Line(
        measure="packets out per core",
        work=work,
        ours=median(dose.span.packets_per_s for dose in best) if best else 0.0,
        unit="packets/s",
        target=Target(bound=TARGET_PER_S, at_least=True),
        note=note,
    )


CASE = Case(key="saturation", title="packets out of one core, loss < 0.1 %", run=run, repeats=False)
