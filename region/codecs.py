"""A payload type of an offer: what it is on a trunk, and what is answered to it.

RFC 8866 §6.6 and §6.15, RFC 7587 (Opus), RFC 2198 (RED), RFC 7741 (VP8), RFC 9628 (VP9),
RFC 6184 (H264), AV1's RTP specification.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.payload import PayloadType

_ENCODINGS = {
    ("opus", 48_000, 2): PayloadType.OPUS,
    ("red", 48_000, 2): PayloadType.OPUS_RED,
    ("av1", 90_000, 1): PayloadType.AV1,
    ("vp9", 90_000, 1): PayloadType.VP9,
    ("vp8", 90_000, 1): PayloadType.VP8,
    ("h264", 90_000, 1): PayloadType.H264,
}
_PARAMETER = re.compile(r"\s*([\w-]{1,32})\s*=\s*([\w.+/-]{1,64})\s*", re.A)
_REDUNDANT = re.compile(r"(\d{1,3})(?:/\1){1,4}", re.A)
_BASELINE = re.compile(r"42([0-9A-Fa-f])0[0-9A-Fa-f]{2}", re.A)
_CONSTRAINED = 0x4
"""RFC 6184 §8.1: `constraint_set1` within the first digit of the `profile-iop`."""
_OPUS_PARAMETERS = "minptime=10;useinbandfec=1;usedtx=1"
_ECHOED = {
    # RFC 6184 §8.2.2: the three that make the format, which an answer has to repeat.
    PayloadType.H264: ("level-asymmetry-allowed", "packetization-mode", "profile-level-id"),
    PayloadType.AV1: ("profile", "level-idx", "tier"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """A payload type of a section, RFC 8866 §6.6 and §6.15, RFC 4585 §4.2."""

    number: int
    encoding: str
    clock_rate: int
    channels: int
    parameters: str
    feedback: tuple[str, ...]

    @property
    def canonical(self) -> PayloadType | None:
        """What it is on a trunk, when we carry it; retransmissions are none by themselves."""
        wanted = _ENCODINGS.get((self.encoding.lower(), self.clock_rate, self.channels))
        match wanted:
            case PayloadType.OPUS_RED:
                carried = self.redundant is not None
            case PayloadType.VP9:  # RFC 9628 §6: profile 0 unless said otherwise
                carried = self._by_name.get("profile-id", "0") == "0"
            case PayloadType.AV1:
                carried = self._by_name.get("profile", "0") == "0"
            case PayloadType.H264:
                carried = self._is_baseline
            case _:
                carried = True
        return wanted if carried else None

    @property
    def redundant(self) -> int | None:
        """The payload type that this one repeats, when it is RFC 2198's RED of a single one."""
        match = _REDUNDANT.fullmatch(self.parameters)
        return int(match[1]) if match and self.encoding.lower() == "red" else None

    @property
    def repairs(self) -> int | None:
        """RFC 4588 §8.6: the payload type whose retransmissions this one carries, if it does."""
        number = self._by_name.get("apt", "")
        is_number = number.isascii() and number.isdigit() and len(number) <= 3
        return int(number) if self.encoding.lower() == "rtx" and is_number else None

    @property
    def constrained(self) -> bool:
        """Whether it is H264's constrained baseline, which more decoders know than the whole."""
        match = _BASELINE.fullmatch(self._by_name.get("profile-level-id", ""))
        return match is not None and bool(int(match[1], 16) & _CONSTRAINED)

    @property
    def answered_parameters(self) -> str:
        """Its `a=fmtp` in an answer; empty for none."""
        match self.canonical:
            case PayloadType.OPUS:
                return _OPUS_PARAMETERS
            case PayloadType.OPUS_RED:
                return self.parameters
            case PayloadType.VP9:
                return "profile-id=0"
            case PayloadType.H264 | PayloadType.AV1 as echoing:
                given = self._by_name
                names = (name for name in _ECHOED[echoing] if name in given)
                return ";".join(f"{name}={given[name]}" for name in names)
        return ""

    @property
    def _by_name(self) -> Mapping[str, str]:
        matches = map(_PARAMETER.fullmatch, self.parameters.split(";"))
        return {match[1].lower(): match[2] for match in matches if match is not None}

    @property
    def _is_baseline(self) -> bool:
        """RFC 6184 §8.1: baseline where no profile is named; fragmented only with mode 1."""
        given = self._by_name
        profile = given.get("profile-level-id")
        return given.get("packetization-mode") == "1" and (
            profile is None or _BASELINE.fullmatch(profile) is not None
        )
