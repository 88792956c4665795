"""What a soak has found, and what is wrong with it; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.load.counts import Totals
from benchmarks.soak.books import (
    HURRIED,
    ROUTINE,
    Balance,
    bridge_balances,
    hurried,
    mesh_balance,
    unexplained,
)
from benchmarks.soak.growth import Allowance, grows
from benchmarks.soak.look import Look

MEMORY_A_JOIN_BYTES = 8 << 10
MEMORY_BYTES, MEMORY_A_PERSON_BYTES = 4 << 20, 200 << 10
"""Allocators go on filling for some hundred joins, and keep what a crowd at its largest took: up to
3 MB in two minutes of eight people, who join some 40 times behind the warm-up. So these minutes see
a leak of 165 KB a join and no smaller one; it takes the half hour of thirty people, who join a
thousand times and more, to see one of 9 KB.
"""
DESCRIPTORS = Allowance(each=0.01, all=2)
THREADS = Allowance(each=0.01, all=3)
"""Python's pools keep idle threads for ten seconds."""

FAULTS = (
    *("duplicates", "undecryptable", "malformed", "unmarked"),
    *("picture_jumps", "base_jumps", "unexpected"),
)
"""Of what people receive; there must be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """When nothing was on its way: what processes had, and what all had counted."""

    joins: int
    """Until then."""
    look: Look
    load: Totals
    unread: int
    """Datagrams that came to sockets without room until then, at most."""
    unread_by_load: int
    """Those of them that came to people's and not to bridges'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All of it."""

    people: int
    """At the same time."""
    began: Look
    """Before anybody came."""
    rests: Sequence[Rest]
    """After each round; the last when everybody had left."""
    samples: Sequence[Look]
    done: Mapping[str, int]
    faults: Sequence[str]
    """What went wrong on the way, in words."""
    troubles: Sequence[str]
    """Lines of logs."""
    paths_lost: int = 0
    """Times that one bridge did not answer another for 0.6 s."""

    def balances(self) -> list[Balance]:
        """At the last rest."""
        last = self.rests[-1]
        return [
            *(
                balance
                for name, told in last.look.told.items()
                if name != "focus"
                for balance in bridge_balances(name, told)
            ),
            mesh_balance(last.look.bridges(), last.load, unread=last.unread),
        ]

    @property
    def was_hurried(self) -> bool:
        """Whether the machine was too busy at some time: then some drops are its own."""
        last = self.rests[-1]
        return hurried(
            last.load,
            unread=last.unread_by_load,
            waiting=max(self.waiting.values()),
            waiting_at_once=self.waiting_at_once,
        )

    @property
    def waiting(self) -> dict[str, float]:
        """By process, for which share of the time it wanted a core and had none."""
        return _waiting(self.began, self.rests[-1].look)

    @property
    def waiting_at_once(self) -> float:
        """The most of it that any process had from one sample to the next."""
        pairs = pairwise(self.samples)
        return max((max(_waiting(*pair).values()) for pair in pairs), default=0.0)

    def drops(self) -> dict[str, int]:
        """By reason, of all bridges."""
        sums: dict[str, int] = {}
        for name, told in self.rests[-1].look.told.items():
            for each, count in told.items():
                if each.startswith("dropped_"):
                    fresh = count - self.began.told[name].get(each, 0)
                    reason = each.removeprefix("dropped_")
                    sums[reason] = sums.get(reason, 0) + fresh
        return {reason: count for reason, count in sorted(sums.items()) if count}

    def failures(self) -> list[str]:
        """Why it is not as it has to be; none when it is."""
        return [*self.faults, *self._growing(), *self._unaccounted(), *self._received()] + [
            f"in a log: {line}" for line in self.troubles
        ]

    def _growing(self) -> list[str]:
        """The last rest has fewer people than the others and is no point of the series."""
        found = []
        memory = Allowance(
            each=MEMORY_A_JOIN_BYTES, all=MEMORY_BYTES + MEMORY_A_PERSON_BYTES * self.people
        )
        for name in self.began.usage:
            usage = [(rest.joins, rest.look.usage[name]) for rest in self.rests[:-1]]
            series = {
                "memory, MB": ([(at, it.memory_bytes) for at, it in usage], memory, 1e-6),
                "descriptors": ([(at, it.descriptors) for at, it in usage], DESCRIPTORS, 1),
                "threads": ([(at, it.threads) for at, it in usage], THREADS, 1),
            }
            for what, (points, allowance, unit) in series.items():
                if grows(points, allowance):
                    figures = ", ".join(f"{value * unit:.4g}" for _, value in points)
                    found.append(f"{name}: {what} grow with each join: {figures}")
        return found

    def _unaccounted(self) -> list[str]:
        drops = {f"dropped_{reason}": count for reason, count in self.drops().items()}
        unknown = unexplained(drops, was_hurried=self.was_hurried)
        return [f"does not balance: {each}" for each in self.balances() if not each.holds] + [
            f"{count:,} dropped as {reason}, which nothing here explains"
            for reason, count in unknown.items()
        ]

    def _received(self) -> list[str]:
        load = self.rests[-1].load
        found = [
            f"people received {count:,} × {name}"
            for name in FAULTS
            if (count := getattr(load, name))
        ]
        if self.paths_lost and not self.was_hurried:
            found.append(
                f"a trunk's path did not answer, {self.paths_lost} ×, and nobody was too busy"
            )
        gaps = load.given_up + load.missing
        if gaps and not self.was_hurried:
            found.append(f"{gaps:,} packets never came, and nobody was too busy to send them")
        return found


def _waiting(first: Look, second: Look) -> dict[str, float]:
    seconds = max(second.at_s - first.at_s, 1.0)
    return {
        name: (second.usage[name].waited_s - usage.waited_s) / seconds
        for name, usage in first.usage.items()
    }


def why(reason: str) -> str:
    """Of a drop."""
    return ROUTINE.get(reason) or HURRIED.get(reason) or "NOT EXPLAINED"
