"""What was seen of an overload, and what of it has to be reached. Pure."""

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.cases.result import LOSSLESS, Line, Target
from benchmarks.cases.stage import Drops

AFTER_S = 10.0
"""So long it is looked at when it is over."""
CHECK_TIMEOUT_S = 1.0
RECOVERED, RECOVERY_TARGET_S = 0.95, 3.0
LOOKS_TO_RECOVER = 2
"""So many in a row: one alone may be a burst."""
SHED = ("dropped_layer", "dropped_overload")
"""Dropped of pictures that everybody has asked for whole."""
UNASKED = ("dropped_awaiting_keyframe", "dropped_before_switch")
"""Dropped wherever somebody begins to watch, however much time a bridge has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """At what all receivers have got so far."""

    at_s: float
    audio: int
    audio_lost: int
    video: int
    video_lost: int


class Voices(NamedTuple):
    """Packets, so far."""

    spoken: int
    """Once for each who should hear it."""
    heard: int

    def __sub__(self, earlier: "Voices") -> "Voices":
        return Voices(self.spoken - earlier.spoken, self.heard - earlier.heard)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was seen."""

    work: str
    looks: Sequence[Look]
    begins_s: float
    ends_s: float
    """Of the overload."""
    shed: Counter[str]
    """What the bridge counted in it."""
    lost_by: Drops
    voices: Voices
    """From before it to after it."""
    round_trips_s: Sequence[float]
    """Of consent checks, ascending."""
    twice: bool
    """Whether there were enough people for it."""

    @property
    def each(self) -> list[dict[str, Any]]:
        """Rates, from look to look."""
        return [_between(a, b) for a, b in itertools.pairwise(self.looks)]

    @property
    def recovery_s(self) -> float | None:
        """How long until pictures came as before; None when they did not."""
        usual_per_s = statistics.median(
            it["video_per_s"] for it in self.each if it["at_s"] <= self.begins_s
        )
        after = [it for it in self.each if it["at_s"] > self.ends_s]
        enough_per_s = RECOVERED * usual_per_s
        for first, second in zip(after, after[LOOKS_TO_RECOVER - 1 :], strict=False):
            if first["video_per_s"] >= enough_per_s <= second["video_per_s"]:
                return float(first["at_s"] - self.ends_s)
        return None

    def named(self, reasons: Sequence[str]) -> dict[str, int]:
        """Drops for these that there were."""
        return {name: self.shed[name] for name in reasons if self.shed[name]}

    def as_json(self) -> dict[str, Any]:
        each, origin_s = self.each, self.looks[0].at_s
        return {
            "work": self.work,
            "begins_s": self.begins_s - origin_s,
            "ends_s": self.ends_s - origin_s,
            "shed": dict(self.shed),
            "load_lost": self.lost_by.load,
            "bridge_lost": self.lost_by.others,
            "voices": self.voices._asdict(),
            "during_video_per_s": statistics.median(
                it["video_per_s"] for it in each if self.begins_s < it["at_s"] <= self.ends_s
            ),
            "each": [{**it, "at_s": it["at_s"] - origin_s} for it in each],
        }


def lines(found: Found) -> list[Line]:
    """What it must reach."""
    return [_voices_line(found), _shed_line(found), _consent_line(found), _recovery_line(found)]


def _voices_line(found: Found) -> Line:
    """Gaps show what came too late or never; what never began to come shows in the whole alone."""
    first, last = _at(found.looks, found.begins_s), _at(found.looks, found.ends_s)
    heard, lost = last.audio - first.audio, last.audio_lost - first.audio_lost
    never = found.voices.spoken - found.voices.heard
    return Line(
        measure="overload: voices lost",
        work=found.work,
        ours=lost,
        unit="packets",
        target=Target(bound=0),
        # As if all that is missing of the whole were missing of what overload lasted.
        valid=found.twice and never <= LOSSLESS * (heard + lost),
        note=f"of {heard + lost:,}; {found.voices.heard:,} heard of {found.voices.spoken:,} "
        f"spoken, before and after it too; no room for {found.lost_by.others:,} datagrams at the "
        f"bridge, for {found.lost_by.load:,} at the load",
    )


def _shed_line(found: Found) -> Line:
    named = found.named(SHED)
    told = [f"{name} {count:,}" for name, count in named.items()]
    beside = [f"{name} {count:,}" for name, count in found.named(UNASKED).items()]
    return Line(
        measure="overload: layers shed and counted",
        work=found.work,
        ours=sum(named.values()),
        unit="packets",
        target=Target(bound=1, at_least=True),
        valid=found.twice,
        note=", ".join(told) + (f"; beside them {', '.join(beside)}" if beside else ""),
    )


def _consent_line(found: Found) -> Line:
    asked = len(found.round_trips_s)
    answered = sum(each < CHECK_TIMEOUT_S for each in found.round_trips_s)
    slowest_s = max(found.round_trips_s, default=CHECK_TIMEOUT_S)
    return Line(
        measure="overload: consent checks answered",
        work=found.work,
        ours=100 * answered / max(1, asked),
        unit="%",
        target=Target(bound=100, at_least=True),
        valid=found.twice,
        note=f"{answered} of {asked}, the slowest in {slowest_s * 1e3:.0f} ms",
    )


def _recovery_line(found: Found) -> Line:
    recovery_s = found.recovery_s
    return Line(
        measure="overload: pictures as before",
        work="after its end",
        ours=recovery_s if recovery_s is not None else AFTER_S,
        unit="s",
        target=Target(bound=RECOVERY_TARGET_S),
        valid=found.twice and recovery_s is not None,
        note="" if recovery_s is not None else "never",
    )


def _between(first: Look, second: Look) -> dict[str, Any]:
    seconds = second.at_s - first.at_s
    return {
        "at_s": second.at_s,
        "audio_per_s": (second.audio - first.audio) / seconds,
        "video_per_s": (second.video - first.video) / seconds,
        "audio_lost": second.audio_lost - first.audio_lost,
        "video_lost": second.video_lost - first.video_lost,
    }


def _at(looks: Sequence[Look], at_s: float) -> Look:
    """The last one before that."""
    return [look for look in looks if look.at_s <= at_s][-1]
