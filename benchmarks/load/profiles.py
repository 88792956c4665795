"""Who sends what, and who watches whom: the shapes of meetings that load is made of. Pure.

People are numbered from 0 in the order in which they come, and watch those who came before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from benchmarks.load.description import Wish

AUDIO_SLOTS = 5
"""As octomesh's client has them."""
TOP_LAYER, TILE_LAYER, STRIP_LAYER = 2, 1, 0
"""720p on the stage, 360p in a tile, 180p in the strip beside the stage."""
TALKERS = 1.3
"""So many speak at once in a meeting, on average: turns, and words put in."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A camera that somebody watches."""

    place: int
    """Whose."""
    layer: int


class Profile(Protocol):
    """A meeting's shape."""

    @property
    def people(self) -> int:
        """How many there are."""

    def wish(self, place: int) -> Wish:
        """What one of them sends and has room for."""

    def talking(self, place: int) -> float:
        """The share of the time that one speaks."""

    def watched(self, place: int) -> Sequence[Watched]:
        """Whose cameras one watches once all are there, the most wanted first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """All send and all watch: half of them everybody alike, half one on the stage."""

    people: int
    seen: int = 9
    """At most so many others at once."""

    def wish(self, place: int) -> Wish:
        """See `Profile.wish`."""
        return Wish(
            microphone=True,
            camera=3,
            audio_slots=AUDIO_SLOTS,
            video_slots=self.seen,
            as_browsers=True,
            rids=True,
        )

    def talking(self, place: int) -> float:
        """See `Profile.talking`."""
        return min(0.5, TALKERS / self.people)

    def watched(self, place: int) -> Sequence[Watched]:
        """See `Profile.watched`; everybody is watched by as many."""
        stage = place % 2 == 1
        others = [
            (place - back) % self.people for back in range(1, min(self.seen + 1, self.people))
        ]
        return [
            Watched(other, (STRIP_LAYER if number else TOP_LAYER) if stage else TILE_LAYER)
            for number, other in enumerate(others)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webinar:
    """Few send, and all watch them."""

    people: int
    presenters: int = 2

    def wish(self, place: int) -> Wish:
        """See `Profile.wish`."""
        presents = place < self.presenters
        return Wish(
            microphone=presents,
            camera=3 if presents else 0,
            audio_slots=AUDIO_SLOTS,
            video_slots=self.presenters,
            as_browsers=True,
            rids=True,
        )

    def talking(self, place: int) -> float:
        """See `Profile.talking`."""
        return 0.9 / self.presenters if place < self.presenters else 0.0

    def watched(self, place: int) -> Sequence[Watched]:
        """See `Profile.watched`; the first presenter is on the stage."""
        return [
            Watched(other, STRIP_LAYER if number else TOP_LAYER)
            for number, other in enumerate(
                each for each in range(min(self.presenters, self.people)) if each != place
            )
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Voices alone."""

    people: int

    def wish(self, place: int) -> Wish:
        """See `Profile.wish`."""
        return Wish(microphone=True, audio_slots=AUDIO_SLOTS, as_browsers=True)

    def talking(self, place: int) -> float:
        """See `Profile.talking`."""
        return min(0.5, TALKERS / self.people)

    def watched(self, place: int) -> Sequence[Watched]:
        """See `Profile.watched`."""
        return []


class ProfileName(StrEnum):
    """What they are called on a command line."""

    MEETING = "meeting"
    WEBINAR = "webinar"
    AUDIO = "audio"

    def of(self, people: int) -> Profile:
        """The profile, of so many people."""
        match self:
            case ProfileName.MEETING:
                return Meeting(people=people)
            case ProfileName.WEBINAR:
                return Webinar(people=people)
            case ProfileName.AUDIO:
                return Audio(people=people)
