"""Reads a browser's SDP offer: its sections, and how the browser is reached and recognised.

RFC 8866 (SDP), RFC 9143 (BUNDLE), RFC 8839 (ICE), RFC 8842 and RFC 8122 (DTLS), RFC 8285
(header extensions), RFC 5576 (SSRCs), RFC 8851 and RFC 8853 (simulcast). Candidates are not
read: a lite agent never checks.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from region.codecs import Codec
from region.ice import IceCredentials
from relay.errors import MalformedError
from relay.ids import MediaKind, Ssrc
from relay.payload import PayloadType

MAX_OFFER_CHARS = 400_000
MAX_SECTIONS = 64
MAX_ATTRIBUTES = 1_024
"""Of one section; Chromium's longest has about 200."""
MAX_SSRCS = 32
"""Of one section; three encodings with their retransmissions are 6."""
MAX_EXTENSIONS = 255
"""Of one section; there are no more ids."""

_PROTOCOL = "UDP/TLS/RTP/SAVPF"
_PAYLOAD_TYPES = frozenset(map(str, range(128)))
_DIGEST_CHARS = {"sha-256": 32 * 3 - 1, "sha-384": 48 * 3 - 1, "sha-512": 64 * 3 - 1}

_TOKEN = r"[\w!#$%&'*+.^`{|}~-]"
_MEDIA_LINE = re.compile(
    rf"({_TOKEN}{{1,32}}) (\d{{1,5}}) ([\w/-]{{1,32}}) (\w[\w -]{{0,400}})", re.A
)
_ATTRIBUTE = re.compile(rf"({_TOKEN}{{1,64}})(?::(.*))?", re.A)
_MID = re.compile(rf"{_TOKEN}{{1,16}}", re.A)
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_RTPMAP = re.compile(r"(\d{1,3}) ([\w.+-]{1,32})/(\d{1,6})(?:/(\d{1,2}))?", re.A)
_RTCP_FB = re.compile(r"(\d{1,3}|\*) (.{1,64})", re.A)
_FMTP = re.compile(r"(\d{1,3}) (.{1,512})", re.A)
_EXTMAP = re.compile(r"(\d{1,3})(?:/(sendrecv|sendonly|recvonly|inactive))? (\S{1,128}).*", re.A)
_SSRC = re.compile(r"(\d{1,10}) .*", re.A)
_SSRC_PAIR = re.compile(r"FID (\d{1,10}) (\d{1,10})", re.A)
_SSRC_SIMULCAST = re.compile(r"SIM((?: \d{1,10}){1,32})", re.A)
_RID = re.compile(r"([\w-]{1,16}) send(?: .*)?", re.A)
_SIMULCAST = re.compile(r"(?:recv \S{1,400} )?send (\S{1,400})(?: recv \S{1,400})?", re.A)
_FINGERPRINT = re.compile(r"([\w-]{1,16}) ([0-9A-Fa-f:]{1,200})", re.A)


class Direction(StrEnum):
    """RFC 8866 §6.7, as the browser sees it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Setup(StrEnum):
    """RFC 8842 §5.1: who begins the DTLS handshake."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A header extension of a section, RFC 8285 §5."""

    wire_id: int
    uri: str
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How the browser is reached and recognised."""

    ice: IceCredentials
    fingerprints: tuple[str, ...]
    """`sha-256 AA:BB:…`: lower-case name, upper-case digits; only hashes worth trusting."""
    setup: Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One m-section of an offer."""

    mid: str
    media_name: str
    media: MediaKind | None
    """None for anything but RTP audio and video."""
    port: int
    protocol: str
    formats: tuple[str, ...]
    direction: Direction
    codecs: tuple[Codec, ...]
    extensions: tuple[Extension, ...]
    mixed_extensions: bool
    """RFC 8285 §4.1.2: elements may be longer than 16 bytes, and ids go up to 255."""
    ssrcs: tuple[Ssrc, ...]
    """What the browser sends by, without retransmissions."""
    rtx_ssrcs: tuple[tuple[Ssrc, Ssrc], ...]
    """RFC 5576 §4.2, FID: a stream and its retransmissions."""
    simulcast_ssrcs: tuple[Ssrc, ...]
    """Encodings of one picture, as libwebrtc groups them (SIM) for clients that name no rids."""
    rids: tuple[str, ...]
    """RFC 8851: streams that are named by a header extension, not by SSRC."""
    simulcast_rids: tuple[str, ...]
    """RFC 8853: encodings of one picture; of alternatives the first."""
    rtcp_mux: bool
    rtcp_rsize: bool
    transport: Transport | None
    """Its own, or the session's; None when it leaves that to the BUNDLE group."""

    @property
    def carried(self) -> tuple[tuple[PayloadType, Codec], ...]:
        """The payload types that we carry, in the browser's order."""
        audio = self.media is MediaKind.AUDIO
        return tuple(
            (meaning, codec)
            for codec in self.codecs
            if (meaning := codec.canonical) is not None and (meaning.codec is None) is audio
        )

    def retransmissions_of(self, codec: Codec) -> Codec | None:
        """The payload type that carries this one's retransmissions, or None."""
        return next((each for each in self.codecs if each.repairs == codec.number), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A parsed offer."""

    sections: tuple[Section, ...]
    bundle: tuple[str, ...]
    """The mids of the BUNDLE group."""
    transport: Transport
    """That of the group's first section."""
    mixed_extensions: bool
    """RFC 8285 §4.1.2, of the whole session."""

    @property
    def ice(self) -> IceCredentials:
        """The browser's credentials."""
        return self.transport.ice

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of the browser's certificate, any one of which must match."""
        return self.transport.fingerprints

    @property
    def slots(self) -> tuple[Section, ...]:
        """The sections in which the browser can be sent something that we carry."""
        return tuple(
            section
            for section in self.sections
            if section.direction is Direction.RECVONLY and self.can_carry(section)
        )

    def can_carry(self, section: Section) -> bool:
        """Whether it shares the one transport that a bridge gives, and has a codec of ours."""
        return (
            section.mid in self.bundle
            and section.rtcp_mux
            and any(meaning is not PayloadType.OPUS_RED for meaning, _ in section.carried)
        )


def parse_offer_untrusted(text: str) -> Offer:
    """The offer in `text`; MalformedError when it is none that WebRTC would make."""
    if len(text) > MAX_OFFER_CHARS:
        raise MalformedError(f"offer of {len(text)} characters is over {MAX_OFFER_CHARS}")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines[0] != "v=0":
        raise MalformedError("offer does not begin with v=0")
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line[1:2] != "=":
            raise MalformedError("offer has a line that is not type=value")
        if line.startswith("m="):
            blocks.append([])
        blocks[-1].append(line)
    if not 2 <= len(blocks) <= MAX_SECTIONS + 1:
        raise MalformedError(f"offer has {len(blocks) - 1} media sections")
    session = _Attributes(blocks[0])
    sections = tuple(
        _section_untrusted(block[0], _Attributes(block), session) for block in blocks[1:]
    )
    by_mid = {section.mid: section for section in sections}
    if len(by_mid) != len(sections):
        raise MalformedError("offer has two sections of one mid")
    groups = [group.split(" ")[1:] for group in session.all("group") if group.startswith("BUNDLE ")]
    bundle = tuple(groups[0]) if groups else ()
    if not bundle or not by_mid.keys() >= set(bundle):
        raise MalformedError("offer has no BUNDLE group of its sections")
    transport = by_mid[bundle[0]].transport
    if transport is None:
        raise MalformedError("offer lacks ICE credentials, fingerprint or setup")
    return Offer(
        sections=sections,
        bundle=bundle,
        transport=transport,
        mixed_extensions=_allows_mixed(session),
    )


class _Attributes:
    """The a-lines of a block by name, in their order."""

    def __init__(self, lines: Sequence[str]) -> None:
        if len(lines) > MAX_ATTRIBUTES:
            raise MalformedError(f"a section of {len(lines)} lines")
        self._values: dict[str, list[str]] = {}
        for line in lines:
            if not line.startswith("a="):
                continue
            match = _ATTRIBUTE.fullmatch(line[2:])
            if match is None:
                raise MalformedError("an attribute without a name")
            self._values.setdefault(match[1], []).append(match[2] or "")

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def matches(self, name: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """The values of a shape that we read; other shapes are other people's extensions."""
        return (match for value in self.all(name) if (match := pattern.fullmatch(value)))


def _section_untrusted(media_line: str, own: _Attributes, session: _Attributes) -> Section:
    line = _MEDIA_LINE.fullmatch(media_line[2:])
    if line is None or int(line[2]) > 0xFFFF:
        raise MalformedError("media line")
    mid = own.first("mid")
    if mid is None or not _MID.fullmatch(mid):
        raise MalformedError("a section without a mid")
    rtp = line[1] in tuple(MediaKind) and line[3] == _PROTOCOL
    pairs = tuple(
        (_ssrc_untrusted(match[1]), _ssrc_untrusted(match[2]))
        for match in own.matches("ssrc-group", _SSRC_PAIR)
    )
    ssrcs = dict.fromkeys(_ssrc_untrusted(match[1]) for match in own.matches("ssrc", _SSRC))
    if len(ssrcs) > MAX_SSRCS or len(pairs) > MAX_SSRCS:
        raise MalformedError("a section with too many SSRCs")
    retransmissions = {rtx for _, rtx in pairs}
    group = next(own.matches("ssrc-group", _SSRC_SIMULCAST), None)
    rids = tuple(dict.fromkeys(match[1] for match in own.matches("rid", _RID)))
    return Section(
        mid=mid,
        media_name=line[1],
        media=MediaKind(line[1]) if rtp else None,
        port=int(line[2]),
        protocol=line[3],
        formats=tuple(line[4].split()),
        direction=_direction(own, session),
        codecs=_codecs_untrusted(own, line[4].split()) if rtp else (),
        extensions=_extensions_untrusted(own, session),
        mixed_extensions=_allows_mixed(session) or _allows_mixed(own),
        ssrcs=tuple(ssrc for ssrc in ssrcs if ssrc not in retransmissions),
        rtx_ssrcs=pairs,
        simulcast_ssrcs=()
        if group is None
        else tuple(dict.fromkeys(_ssrc_untrusted(digits) for digits in group[1].split())),
        rids=rids,
        simulcast_rids=_simulcast_rids(own, rids),
        rtcp_mux=own.first("rtcp-mux") is not None,
        rtcp_rsize=own.first("rtcp-rsize") is not None,
        transport=_transport_untrusted(own, session),
    )


def _ssrc_untrusted(digits: str) -> Ssrc:
    if not 0 < int(digits) <= 0xFFFFFFFF:
        raise MalformedError("SSRC out of range")
    return Ssrc(int(digits))


def _simulcast_rids(own: _Attributes, rids: Sequence[str]) -> tuple[str, ...]:
    """RFC 8853 §5.1: `send q;~h,x;f`, where ~ is paused, a comma an alternative."""
    match = next(own.matches("simulcast", _SIMULCAST), None)
    if match is None:
        return ()
    chosen: dict[str, None] = {}
    for alternatives in match[1].split(";"):
        names = (name.removeprefix("~") for name in alternatives.split(","))
        # A name without its a=rid stands for nothing.
        chosen |= dict.fromkeys([name for name in names if name in rids][:1])
    return tuple(chosen)


def _extensions_untrusted(own: _Attributes, session: _Attributes) -> tuple[Extension, ...]:
    """Those of the session are each section's."""
    if len(session.all("extmap")) + len(own.all("extmap")) > MAX_EXTENSIONS:
        raise MalformedError("a section with too many header extensions")
    return tuple(
        dict.fromkeys(
            Extension(
                wire_id=int(match[1]),
                uri=match[3],
                direction=Direction(match[2] or Direction.SENDRECV),
            )
            for attributes in (session, own)
            for match in attributes.matches("extmap", _EXTMAP)
        )
    )


def _allows_mixed(attributes: _Attributes) -> bool:
    return attributes.first("extmap-allow-mixed") is not None


def _direction(own: _Attributes, session: _Attributes) -> Direction:
    for attributes in (own, session):
        for direction in Direction:
            if attributes.first(direction) is not None:
                return direction
    return Direction.SENDRECV  # RFC 8866 §6.7: what silence means


def _codecs_untrusted(own: _Attributes, formats: Sequence[str]) -> tuple[Codec, ...]:
    """In the order of the media line, which is that of preference."""
    maps = {match[1]: match for match in own.matches("rtpmap", _RTPMAP)}
    parameters = {match[1]: match[2] for match in own.matches("fmtp", _FMTP)}
    feedback = [(match[1], match[2]) for match in own.matches("rtcp-fb", _RTCP_FB)]
    codecs = []
    for number in dict.fromkeys(formats):
        if (match := maps.get(number)) is None:
            continue
        if number not in _PAYLOAD_TYPES:
            raise MalformedError("payload type out of range")
        codecs.append(
            Codec(
                number=int(number),
                encoding=match[2],
                clock_rate=int(match[3]),
                channels=int(match[4] or 1),
                parameters=parameters.get(number, ""),
                feedback=tuple(value for owner, value in feedback if owner in (number, "*")),
            )
        )
    return tuple(codecs)


def _transport_untrusted(own: _Attributes, session: _Attributes) -> Transport | None:
    ufrag = own.first("ice-ufrag") or session.first("ice-ufrag")
    password = own.first("ice-pwd") or session.first("ice-pwd")
    setup = own.first("setup") or session.first("setup")
    lines = own if own.first("fingerprint") is not None else session
    fingerprints = tuple(
        f"{match[1].lower()} {match[2].upper()}"
        for match in lines.matches("fingerprint", _FINGERPRINT)
        if _DIGEST_CHARS.get(match[1].lower()) == len(match[2])
    )
    if ufrag is None or password is None or setup is None or not fingerprints:
        return None
    if not _UFRAG.fullmatch(ufrag) or not _PASSWORD.fullmatch(password):
        raise MalformedError("ICE credentials")
    if setup not in tuple(Setup):
        raise MalformedError("setup")
    return Transport(
        ice=IceCredentials(ufrag, password), fingerprints=fingerprints, setup=Setup(setup)
    )
