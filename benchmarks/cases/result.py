"""What a case is given and what it gives back: lines of the table, and all that it has counted.

Pure.
"""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[str], None]
"""Gets one line each time that something has been measured."""

LOSSLESS = 0.001
"""What loses more than this share has reached its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How thoroughly a case goes about it."""

    rounds: int = 5
    """Turns of each, in a case that repeats; they alternate where things are compared."""
    seconds: float = 5.0
    """Of each turn."""
    janus: bool = True
    """Whether Janus takes part."""
    mediasoup: bool = True
    """Whether mediasoup does."""
    small: bool = False
    """With so few people that it takes seconds: that it works, not what it gives."""

    def at_most(self, number: int, *, small: int) -> int:
        """The first, or the second where it is to be small."""
        return small if self.small else number


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a line must reach."""

    bound: float
    at_least: bool = False
    """Otherwise at most."""
    of_ratio: bool = False
    """Otherwise of our own figure."""
    of: str = ""
    """Where the bound comes from, if it is none of the table's own."""

    def text(self, unit: str) -> str:
        """As the table has it."""
        sign = "≥" if self.at_least else "≤"
        whose = f" {self.of}" if self.of else ""
        return f"{sign} {self.bound:g}{' ×' if self.of_ratio else _suffix(unit)}{whose}"

    def reached(self, ours: float, ratio: float | None) -> bool:
        """Whether it is."""
        value = ratio if self.of_ratio else ours
        if value is None:
            return False
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table."""

    measure: str
    work: str
    ours: float
    unit: str = ""
    against: str = ""
    """Whose figure is beside it."""
    theirs: float | None = None
    ratio: float | None = None
    """Ours to theirs."""
    target: Target | None = None
    valid: bool = True
    """Whether nothing has gone wrong that would make the figure worthless."""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """None where nothing has to be."""
        if self.target is None:
            return None
        return self.valid and self.target.reached(self.ours, self.ratio)

    def as_json(self) -> dict[str, Any]:
        """All of it, and what follows from it."""
        return {
            "measure": self.measure,
            "work": self.work,
            "ours": self.ours,
            "unit": self.unit,
            "against": self.against,
            "theirs": self.theirs,
            "ratio": self.ratio,
            "target": self.target.text(self.unit) if self.target else "",
            "reached": self.reached,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a case has found."""

    lines: list[Line]
    raw: Any
    """Every turn, for JSON; what it looks like is the case's own."""
    capacity: Any = None
    """A `benchmarks.capacity.Capacity`, from the case that measures one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One kind of question."""

    key: str
    title: str
    run: Callable[[Setting, Say], Awaitable[Outcome]] = field(repr=False)
    repeats: bool = True
    """Whether it takes `Setting.rounds` turns; otherwise one, however many are asked for."""


def versus(
    measure: str,
    work: str,
    unit: str,
    ours: Sequence[float],
    against: str,
    theirs: Sequence[float],
    target: Target | None,
    *,
    valid: bool = True,
    note: str = "",
) -> Line:
    """Medians of turns that alternated; the ratio is the median of each round's."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True) if b]
    return Line(
        measure=measure,
        work=work,
        ours=statistics.median(ours),
        unit=unit,
        against=against,
        theirs=statistics.median(theirs),
        ratio=statistics.median(ratios) if ratios else None,
        target=target,
        valid=valid,
        note=note,
    )


def _suffix(unit: str) -> str:
    return unit if unit in ("", "%") else f" {unit}"
