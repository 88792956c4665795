"""Between the focus's words and the browser's: notices and kinds as `web/messages.py` has them."""

import unicodedata
from collections.abc import Sequence
from typing import assert_never

from focus import notices
from relay.control import SourceState
from relay.ids import ParticipantId, SourceKind, VideoCodec, source_id
from web import messages
from web.messages import CodecName, KindName

_KIND_OF: dict[KindName, SourceKind] = {
    "microphone": SourceKind.MICROPHONE,
    "camera": SourceKind.CAMERA,
    "screen": SourceKind.SCREEN,
}
_NAME_OF = {kind: name for name, kind in _KIND_OF.items()}

_CODEC_NAME_OF: dict[VideoCodec, CodecName] = {
    VideoCodec.AV1: "av1",
    VideoCodec.VP9: "vp9",
    VideoCodec.VP8: "vp8",
    VideoCodec.H264: "h264",
}

_CODE_OF: dict[notices.FailureCode, messages.ErrorCode] = {
    notices.FailureCode.BAD_REQUEST: "bad-request",
    notices.FailureCode.NO_BRIDGE: "no-bridge",
    notices.FailureCode.UNKNOWN_REGION: "unknown-region",
    notices.FailureCode.OFFER_REFUSED: "offer-refused",
    notices.FailureCode.ROOM_FULL: "room-full",
}
_FATAL = frozenset({notices.FailureCode.UNKNOWN_REGION, notices.FailureCode.ROOM_FULL})
"""Asking again would not help."""

# UAX #9 §2.1, §2.2: they would turn the text around them about.
_BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def kind_of(name: KindName) -> SourceKind:
    """The kind that a browser means."""
    return _KIND_OF[name]


def display_name_of(text: str) -> str:
    """A participant's name fit to be shown to others; ValueError when nothing is left of it."""
    visible = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace()
        or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _BIDI_CONTROLS)
    )
    name = " ".join(visible.split())
    if not name:
        raise ValueError("a name has at least one visible character")
    return name


def to_browser(
    notice: notices.Notice, ice_servers: Sequence[messages.IceServer], secret: str
) -> messages.ToBrowser:
    """The message that tells a browser this.

    A newcomer also hears of the TURN servers it may use, and by which secret it may come back.
    """
    match notice:
        case notices.Joined():
            return messages.Joined(
                room=notice.conference,
                you=_person(notice.you),
                people=[_person(one) for one in notice.people],
                codec=_CODEC_NAME_OF[notice.codec],
                ice_servers=list(ice_servers),
                resumed=notice.resumed,
                resume=secret,
            )
        case notices.Answer(attempt=attempt, sdp=sdp):
            return messages.Answer(attempt=attempt, sdp=sdp)
        case notices.PersonChanged(person=person):
            return messages.PersonChanged(person=_person(person))
        case notices.PersonLeft(participant=participant):
            return messages.PersonLeft(id=participant)
        case notices.CodecChanged(codec=codec):
            return messages.CodecChanged(codec=_CODEC_NAME_OF[codec])
        case notices.LayersChanged(kind=kind, layers=layers):
            return messages.LayersChanged(
                kind=_NAME_OF[kind],
                layers=[messages.Layer(spatial=it.spatial, temporal=it.temporal) for it in layers],
            )
        case notices.SpeakerChanged(participant=speaker):
            return messages.SpeakerChanged(id=speaker)
        case notices.Moved(region=region, bridge=bridge):
            return messages.Moved(region=region, bridge=bridge)
        case notices.Failed(code=code, message=message, attempt=attempt):
            return messages.Error(
                code=_CODE_OF[code], message=message, fatal=code in _FATAL, attempt=attempt
            )
        case _:
            assert_never(notice)


def source_to_browser(participant: ParticipantId, source: SourceState) -> messages.Source:
    """A source of that participant."""
    return messages.Source(
        id=source_id(participant, source.kind), kind=_NAME_OF[source.kind], muted=source.muted
    )


def _person(person: notices.Person) -> messages.Person:
    return messages.Person(
        id=person.participant,
        name=person.name,
        region=person.region or "",
        bridge=person.bridge or "",
        sources=[source_to_browser(person.participant, source) for source in person.sources],
    )
