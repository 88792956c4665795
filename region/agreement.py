"""What an offer and the bridge agree on: payload types and header extensions, by number.

Numbers are the whole bundle's (RFC 9143 §9.1), and the kernel has one table for a transport,
so a number means one thing and a thing has one number; what is offered otherwise is left out.
RFC 8285 (header extensions), RFC 4588 (retransmissions).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from region.codecs import Codec
from region.offer import Direction, Extension, Offer, Section
from relay.errors import RemoteProtocolError
from relay.ids import MediaKind, VideoCodec
from relay.payload import EXTENSION_URIS, HeaderExtension, PayloadType

_EXTENSIONS = {uri: extension for extension, uri in EXTENSION_URIS.items()}
_ONE_BYTE_IDS = range(1, 15)  # RFC 8285 §4.2
_TWO_BYTE_IDS = range(1, 256)  # RFC 8285 §4.3
_NEVER_MIXED_ID = 15  # RFC 8285 §4.1.2: that of no element where both forms are mixed
_TRANSPORT_CC = "transport-cc"
_FEEDBACK = ("ccm fir", "nack", "nack pli", _TRANSPORT_CC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedCodec:
    """A payload type that a section and the bridge have in common."""

    codec: Codec
    meaning: PayloadType
    rtx: Codec | None
    """What carries its retransmissions."""

    def feedback(self, *, numbered: bool) -> Iterator[str]:
        """What is sent about it (RFC 4585 §4.2); `numbered`: transport-wide, too."""
        for each in _FEEDBACK:
            # Without a way to send again there is nothing to ask for.
            possible = {"nack": self.rtx is not None, _TRANSPORT_CC: numbered}
            if each in self.codec.feedback and possible.get(each, True):
                yield each


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedExtension:
    """A header extension that a section and the bridge have in common."""

    offered: Extension
    meaning: HeaderExtension


class Agreement:
    """Made of an offer; asked about each of its sections, in their order.

    `payload_types` and `extensions` are those of the answer to the same browser's offer before
    (empty when there was none), which the new offer must not contradict: RemoteProtocolError.
    """

    def __init__(
        self,
        offer: Offer,
        *,
        preferred: VideoCodec,
        payload_types: Mapping[int, PayloadType],
        extensions: Mapping[int, HeaderExtension],
    ) -> None:
        self._payload_types = _OneToOne(payload_types)
        self._extensions = _OneToOne(extensions)
        videos = sorted(VideoCodec, key=lambda codec: codec is not preferred)
        self._order = (
            PayloadType.OPUS,
            PayloadType.OPUS_RED,
            *(PayloadType.of(codec) for codec in videos),
        )
        carried: dict[PayloadType, list[Codec]] = {meaning: [] for meaning in self._order}
        for section in offer.sections:
            if offer.can_carry(section):
                for meaning, codec in section.carried:
                    carried[meaning].append(codec)
        for meaning, codecs in carried.items():
            self._settle_number(meaning, codecs)
        for wire_id, extension in extensions.items():
            uri = EXTENSION_URIS[extension]
            ids = {each.wire_id for each in _all_extensions(offer) if each.uri == uri}
            if ids and wire_id not in ids:
                raise RemoteProtocolError(
                    "The browser numbers its header extensions otherwise than before."
                )

    @property
    def payload_types(self) -> Mapping[int, PayloadType]:
        """By the browser's number, one-to-one."""
        return self._payload_types.meanings

    @property
    def extensions(self) -> Mapping[int, HeaderExtension]:
        """By the browser's id, one-to-one."""
        return self._extensions.meanings

    def codecs_of(self, section: Section) -> tuple[AgreedCodec, ...]:
        """The section's, the most preferred first; RemoteProtocolError when there is none."""
        offered = {(meaning, codec.number): codec for meaning, codec in section.carried}
        agreed: list[AgreedCodec] = []
        for meaning in self._order:
            number = self._payload_types.number_of(meaning)
            codec = None if number is None else offered.get((meaning, number))
            if codec is not None and (agreed or not codec.redundant) and self._is_whole(codec):
                rtx = self._retransmissions(section, codec, meaning)
                agreed.append(AgreedCodec(codec=codec, meaning=meaning, rtx=rtx))
        if not agreed:
            whole = [meaning.name for meaning, codec in section.carried if not codec.redundant]
            names = ", ".join(dict.fromkeys(whole))
            raise RemoteProtocolError(f"The browser numbers {names} in two ways.")
        return tuple(agreed)

    def extensions_of(
        self, section: Section, direction: Direction, codecs: Iterable[AgreedCodec]
    ) -> tuple[AgreedExtension, ...]:
        """Those that the section may use when it is answered with this direction and codecs."""
        reported = any(_TRANSPORT_CC in agreed.codec.feedback for agreed in codecs)
        agreed = []
        for offered in section.extensions:
            meaning = _EXTENSIONS.get(offered.uri)
            if (
                meaning is not None
                and _is_possible_id(offered.wire_id, mixed=section.mixed_extensions)
                and _is_of_direction(offered, direction)
                and _is_of_section(meaning, section, direction, reported)
                and self._extensions.agree(offered.wire_id, meaning)
            ):
                agreed.append(AgreedExtension(offered=offered, meaning=meaning))
        return tuple(agreed)

    def _settle_number(self, meaning: PayloadType, codecs: Iterable[Codec]) -> None:
        """One number for `meaning`: that of before, or what most sections have in common."""
        numbers = Counter[int]()
        constrained: dict[int, bool] = {}
        for codec in codecs:
            if self._is_whole(codec):
                numbers[codec.number] += 1
                constrained.setdefault(codec.number, codec.constrained)
        if not numbers:
            return
        number = self._payload_types.number_of(meaning)
        if number is None:
            number = max(numbers, key=lambda each: (numbers[each], constrained[each]))
        elif number not in numbers:
            raise RemoteProtocolError(f"The browser numbers {meaning.name} otherwise than before.")
        if not self._payload_types.agree(number, meaning):
            raise RemoteProtocolError(f"The browser numbers {meaning.name} as another codec.")

    def _is_whole(self, codec: Codec) -> bool:
        """Whether what it repeats, if it repeats something, is Opus as we have agreed on it."""
        opus = self._payload_types.number_of(PayloadType.OPUS)
        return codec.redundant in (None, opus)

    def _retransmissions(
        self, section: Section, codec: Codec, meaning: PayloadType
    ) -> Codec | None:
        """The type for a codec's retransmissions, unless another section has it otherwise."""
        wanted = meaning.retransmissions
        rtx = section.retransmissions_of(codec)
        if rtx is None or wanted is None or "nack" not in codec.feedback:
            return None
        return rtx if self._payload_types.agree(rtx.number, wanted) else None


_Meaning = TypeVar("_Meaning", bound=IntEnum)


class _OneToOne(Generic[_Meaning]):
    """Numbers on the wire and what they mean."""

    def __init__(self, meanings: Mapping[int, _Meaning]) -> None:
        self.meanings: dict[int, _Meaning] = dict(meanings)
        self._numbers: dict[_Meaning, int] = {
            meaning: number for number, meaning in meanings.items()
        }

    def number_of(self, meaning: _Meaning) -> int | None:
        return self._numbers.get(meaning)

    def allows(self, number: int, meaning: _Meaning) -> bool:
        """Whether neither is something else's."""
        return (
            self.meanings.get(number, meaning) is meaning
            and self._numbers.get(meaning, number) == number
        )

    def agree(self, number: int, meaning: _Meaning) -> bool:
        if not self.allows(number, meaning):
            return False
        self.meanings[number] = meaning
        self._numbers[meaning] = number
        return True


def _all_extensions(offer: Offer) -> Iterator[Extension]:
    return (each for section in offer.sections for each in section.extensions)


def _is_possible_id(wire_id: int, *, mixed: bool) -> bool:
    return wire_id in _ONE_BYTE_IDS or (
        mixed and wire_id in _TWO_BYTE_IDS and wire_id != _NEVER_MIXED_ID
    )


def _is_of_direction(offered: Extension, direction: Direction) -> bool:
    """RFC 8285 §6: one that the browser only sends is of use where we receive; and reversed."""
    match offered.direction:
        case Direction.SENDRECV:
            return True
        case Direction.SENDONLY:
            return direction is Direction.RECVONLY
        case Direction.RECVONLY:
            return direction is Direction.SENDONLY
        case Direction.INACTIVE:
            return False


def _is_of_section(
    meaning: HeaderExtension, section: Section, direction: Direction, reported: bool
) -> bool:
    match meaning:
        case HeaderExtension.AUDIO_LEVEL:
            return section.media is MediaKind.AUDIO
        case HeaderExtension.VIDEO_ORIENTATION:
            return section.media is MediaKind.VIDEO
        case HeaderExtension.DEPENDENCY_DESCRIPTOR:
            # Longer than the 16 bytes of a one-byte element (RFC 8285 §4.2).
            return section.media is MediaKind.VIDEO and section.mixed_extensions
        case HeaderExtension.ABS_CAPTURE_TIME:
            return True
        case HeaderExtension.TRANSPORT_SEQUENCE:
            return reported  # numbers that nobody reports on serve nobody
        case HeaderExtension.MID | HeaderExtension.RID | HeaderExtension.REPAIRED_RID:
            return direction is Direction.RECVONLY  # we name our streams by SSRC
