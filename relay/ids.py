"""Ids and closed sets that every process shares."""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, NewType

from pydantic import Field

BridgeId = NewType("BridgeId", str)
"""One bridge process's identity, the common name of its mesh certificate."""
Region = NewType("Region", str)
"""Where a bridge stands: lower-case letters, digits and dashes, e.g. `sao-paulo`."""
ConferenceId = NewType("ConferenceId", str)
"""A room's name, lower-case, unique in the mesh."""
ParticipantId = NewType("ParticipantId", int)
"""A participant's number, unique in its conference, 1 to 2^30 - 1, never used twice."""
SourceId = NewType("SourceId", int)
"""A participant's number and the source's kind in 32 bits: what stands in the CSRC of a slot."""
Ssrc = NewType("Ssrc", int)
"""RFC 3550 §3: a stream's 32-bit name, meaningful on one transport only."""
Generation = NewType("Generation", int)
"""Counts full-state messages of one kind; a lower number than the last is stale."""

U16 = Annotated[int, Field(ge=0, le=0xFFFF)]
U32 = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
U64 = Annotated[int, Field(ge=0, le=0xFFFFFFFFFFFFFFFF)]

MAX_PARTICIPANT_ID = (1 << 30) - 1

_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_CONFERENCE = re.compile(r"[\w][\w.~@+-]{0,127}")


class SourceKind(IntEnum):
    """What a participant may send; the low two bits of a `SourceId`."""

    MICROPHONE = 1
    CAMERA = 2
    SCREEN = 3

    @property
    def media(self) -> "MediaKind":
        """Whether this kind is heard or seen."""
        return MediaKind.AUDIO if self is SourceKind.MICROPHONE else MediaKind.VIDEO


class MediaKind(StrEnum):
    """RFC 8866 §5.14: the media type of a section."""

    AUDIO = "audio"
    VIDEO = "video"


class VideoCodec(StrEnum):
    """What pictures are encoded with; the names that SDP has, in lower case (RFC 8866 §6.6)."""

    AV1 = "av1"
    VP9 = "vp9"
    VP8 = "vp8"
    H264 = "h264"

    @property
    def scalable(self) -> bool:
        """Whether one encoding carries all spatial layers (SVC); with simulcast each has one."""
        return self in (VideoCodec.AV1, VideoCodec.VP9)


SPATIAL_LAYERS = 3
"""At most: of a 720p picture 180p, 360p and 720p."""
TEMPORAL_LAYERS = 3
"""At most: of 30 pictures a second 7.5, 15 and 30."""


@dataclass(frozen=True, slots=True, order=True)
class Layer:
    """How good a picture is: a spatial layer, and the highest temporal one with it, from 0."""

    spatial: Annotated[int, Field(ge=0, lt=SPATIAL_LAYERS)]
    temporal: Annotated[int, Field(ge=0, lt=TEMPORAL_LAYERS)]


TOP_LAYER = Layer(SPATIAL_LAYERS - 1, TEMPORAL_LAYERS - 1)
"""All that there is; a microphone's, too, which has no layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to reach something: a literal IPv4 or IPv6 address and a port."""

    host: Annotated[str, Field(min_length=2, max_length=64)]
    port: U16

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def source_id(participant: ParticipantId, kind: SourceKind) -> SourceId:
    """The source's conference-wide number, which is also its CSRC."""
    return SourceId(participant << 2 | kind)


def participant_of(source: SourceId) -> ParticipantId:
    """Whose source this is."""
    return ParticipantId(source >> 2)


def kind_of(source: SourceId) -> SourceKind:
    """What kind of source this is; ValueError when the number names no kind."""
    kind = _KINDS[source & 3]
    if kind is None:
        raise ValueError(f"source {source} has the kind 0, which is none")
    return kind


_KINDS: tuple[SourceKind | None, ...] = (None, *SourceKind)


def region_of(text: str) -> Region:
    """`text` as a region's name; ValueError with a readable reason when it is none."""
    if not _REGION.fullmatch(text):
        raise ValueError(
            f"region {text[:40]!r} is not a name like 'sao-paulo': "
            "lower-case letters, digits and inner dashes, at most 32"
        )
    return Region(text)


def conference_of(room: str) -> ConferenceId:
    """The conference that a room name means: names differ by more than case and outer spaces."""
    name = room.strip().casefold()
    if not _CONFERENCE.fullmatch(name):
        raise ValueError(
            "a room name has 1 to 128 letters, digits or any of . _ ~ @ + -, "
            "and begins with a letter or digit"
        )
    return ConferenceId(name)
