"""What the focus tells a participant, in its own words; the web room translates for browsers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from relay.control import SourceState
from relay.ids import (
    BridgeId,
    ConferenceId,
    Layer,
    ParticipantId,
    Region,
    SourceKind,
    VideoCodec,
)


class FailureCode(StrEnum):
    """Why something that a participant asked for did not happen."""

    BAD_REQUEST = "bad-request"
    NO_BRIDGE = "no-bridge"
    UNKNOWN_REGION = "unknown-region"
    OFFER_REFUSED = "offer-refused"
    ROOM_FULL = "room-full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A participant as the others see it; between two bridges it has neither bridge nor region."""

    participant: ParticipantId
    name: str
    region: Region | None
    bridge: BridgeId | None
    sources: tuple[SourceState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """You have a seat, and here is everybody else."""

    conference: ConferenceId
    you: Person
    people: tuple[Person, ...]
    codec: VideoCodec
    """What cameras and screens are to be encoded with."""
    resumed: bool = False
    """You are who you were, and your transport goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The bridge's answer to the offer of that attempt."""

    attempt: int
    sdp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonChanged:
    """Somebody else joined, moved, muted or has new sources: the whole of that person."""

    person: Person


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonLeft:
    """Somebody else is gone."""

    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecChanged:
    """Cameras and screens are to be encoded with this from now on."""

    codec: VideoCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersChanged:
    """What anyone wants of a source of yours; nothing when `layers` is empty."""

    kind: SourceKind
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerChanged:
    """Who is speaking; None for nobody, as it also is after `Moved` and before anything is said."""

    participant: ParticipantId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Your transport is gone and this is your bridge now: offer anew."""

    region: Region
    bridge: BridgeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It did not happen, and why, in words for a person; the session goes on."""

    code: FailureCode
    message: str
    attempt: int | None = None
    """Of the offer that came to nothing."""


Notice = (
    Joined
    | Answer
    | PersonChanged
    | PersonLeft
    | CodecChanged
    | LayersChanged
    | SpeakerChanged
    | Moved
    | Failed
)


def newest(waiting: Sequence[Notice]) -> list[Notice]:
    """All of them, but each person at once as they are behind all, or only that they have left.

    What names a person stays behind the first that tells of them.
    """
    told: list[Notice | None] = []
    places: dict[ParticipantId, int] = {}
    for notice in waiting:
        match notice:
            case PersonChanged(person=person) if person.participant in places:
                told[places[person.participant]] = notice
                continue
            case PersonChanged(person=person):
                places[person.participant] = len(told)
            case PersonLeft(participant=participant) if participant in places:
                told[places.pop(participant)] = None
            case _:
                pass
        told.append(notice)
    return [notice for notice in told if notice is not None]
