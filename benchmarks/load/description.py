"""Session descriptions as the load's clients write and read them; no socket, no signalling.

RFC 8866 (SDP), RFC 9429 (JSEP), RFC 9143 (BUNDLE), RFC 5576 and RFC 8853 (encodings), RFC 8285
(header extensions). What a bridge says is read for what the load needs of it and no more.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from relay.errors import MalformedError
from relay.ids import MediaKind, SourceKind
from relay.payload import EXTENSION_URIS, HeaderExtension

OPUS, VP8, VP8_RTX = 111, 96, 97
"""Payload types of what we offer; who offers to us has its own."""
RIDS = ("q", "h", "f")
"""RFC 8852: what browsers' clients call the encodings of a camera, the lowest first."""

_MEANINGS = {uri: meaning for meaning, uri in EXTENSION_URIS.items()}
_EXTENSIONS = {
    MediaKind.AUDIO: (HeaderExtension.AUDIO_LEVEL, HeaderExtension.TRANSPORT_SEQUENCE),
    MediaKind.VIDEO: (HeaderExtension.TRANSPORT_SEQUENCE,),
}
_NAMING = (HeaderExtension.MID, HeaderExtension.RID, HeaderExtension.REPAIRED_RID)
_FEEDBACK = ("nack", "nack pli", "ccm fir", "transport-cc")
_CODECS = {MediaKind.AUDIO: "opus", MediaKind.VIDEO: "vp8"}
_DIRECTIONS = ("sendonly", "recvonly", "sendrecv", "inactive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client sends, and how much it wants to receive."""

    microphone: bool = False
    camera: int = 0
    """In so many encodings, up to three; 0 for no camera."""
    screen: bool = False
    audio_slots: int = 0
    video_slots: int = 0
    as_browsers: bool = False
    """With retransmissions, and transport-wide numbers and feedback both ways."""
    rids: bool = False
    """Its video is named by MID and RID in header extensions, as browsers do it, not by SSRC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One RTP stream that we send."""

    ssrc: int
    rtx_ssrc: int
    rid: str
    """Empty when it is known by its SSRC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What we send in one section."""

    mid: str
    kind: SourceKind
    encodings: tuple[Encoding, ...]
    """The lowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How the peer reaches and recognises us."""

    ufrag: str
    password: str = field(repr=False)
    fingerprint: str
    """Of SHA-256, upper-case digits."""
    address: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One m-section of the peer's."""

    mid: str
    media: MediaKind | None
    """None for what is no RTP."""
    protocol: str
    port: int
    formats: tuple[str, ...]
    direction: str
    """As the peer sees it."""
    payload: int | None
    """The type of Opus or VP8; None where it has neither."""
    rtx_payload: int | None
    feedback: tuple[str, ...]
    """What may be sent about `payload`."""
    extensions: Mapping[HeaderExtension, int]
    ssrcs: tuple[int, ...]
    """What it sends by: the stream, then its retransmissions."""

    @property
    def sends(self) -> bool:
        """Whether we may receive something in it."""
        return (
            self.port != 0
            and self.payload is not None
            and self.direction in ("sendonly", "sendrecv")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The peer's offer or answer."""

    ufrag: str
    password: str = field(repr=False)
    lite: bool
    """RFC 8445 §2.5: it answers checks and sends none."""
    setup: str
    candidates: tuple[tuple[str, int], ...]
    """Of UDP, as literals, in its order."""
    sections: tuple[Section, ...]

    @property
    def slots(self) -> tuple[Section, ...]:
        """Where it sends, in order."""
        return tuple(section for section in self.sections if section.sends)

    def payload_of(self, media: MediaKind) -> int | None:
        """The agreed payload type, the same in all sections (RFC 9143 §9.1)."""
        return next((each.payload for each in self._of(media) if each.payload is not None), None)

    def rtx_payload_of(self, media: MediaKind) -> int | None:
        """What carries its retransmissions; None where nothing does."""
        found = (each.rtx_payload for each in self._of(media))
        return next((payload for payload in found if payload is not None), None)

    @property
    def extensions(self) -> dict[HeaderExtension, int]:
        """The agreed ids of all sections."""
        return {
            meaning: number
            for section in self.sections
            if section.port
            for meaning, number in section.extensions.items()
        }

    def _of(self, media: MediaKind) -> Iterator[Section]:
        return (each for each in self.sections if each.media is media and each.port)


def make_sources(wish: Wish) -> tuple[Source, ...]:
    """What is sent, with SSRCs that nobody else has; its mids are the first of the offer."""
    counts = {
        SourceKind.MICROPHONE: int(wish.microphone),
        SourceKind.CAMERA: wish.camera,
        SourceKind.SCREEN: int(wish.screen),
    }
    sources: list[Source] = []
    for kind, count in counts.items():
        if count:
            first = secrets.randbelow(2**32 - 16) + 1
            named = wish.rids and count > 1
            encodings = tuple(
                Encoding(
                    ssrc=first + 2 * number,
                    rtx_ssrc=first + 2 * number + 1,
                    rid=RIDS[number] if named else "",
                )
                for number in range(count)
            )
            sources.append(Source(mid=str(len(sources)), kind=kind, encodings=encodings))
    return tuple(sources)


def write_offer(wish: Wish, sources: Sequence[Source], identity: Identity) -> str:
    """Sources `sendonly`, then slots `recvonly`, one bundle, nothing left to trickle."""
    sections = {
        source.mid: _section(wish, source.mid, source.kind.media, "sendonly", source)
        for source in sources
    }
    for media, count in (
        (MediaKind.AUDIO, wish.audio_slots),
        (MediaKind.VIDEO, wish.video_slots),
    ):
        for _ in range(count):
            mid = str(len(sections))
            sections[mid] = _section(wish, mid, media, "recvonly", None)
    return _whole(list(sections.values()), list(sections), identity, "actpass")


def write_answer(offer: Description, identity: Identity) -> str:
    """Receive what is offered, send nothing; the numbers are the offer's."""
    sections = []
    taken = []
    for each in offer.sections:
        if each.media is None or each.payload is None or each.port == 0:
            name = each.media or "application"
            line = f"m={name} 0 {each.protocol} {' '.join(each.formats)}"
            sections.append([line, "c=IN IP4 0.0.0.0", f"a=mid:{each.mid}", "a=inactive"])
            continue
        taken.append(each.mid)
        payloads = [each.payload] + ([each.rtx_payload] if each.rtx_payload is not None else [])
        direction = "recvonly" if each.sends else "inactive"
        lines = _head(each.mid, each.media, payloads, direction, each.protocol)
        lines += [f"a=rtcp-fb:{each.payload} {name}" for name in each.feedback]
        for meaning, number in each.extensions.items():
            lines.append(f"a=extmap:{number} {EXTENSION_URIS[meaning]}")
        sections.append(lines)
    return _whole(sections, taken, identity, "active")


def _whole(
    sections: Sequence[list[str]], bundle: Sequence[str], identity: Identity, setup: str
) -> str:
    """`bundle`: the mids of those sections that are not rejected."""
    host, port = identity.address
    transport = [
        f"a=ice-ufrag:{identity.ufrag}",
        f"a=ice-pwd:{identity.password}",
        f"a=fingerprint:sha-256 {identity.fingerprint}",
        f"a=setup:{setup}",
    ]
    candidates = [f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates"]
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
    for section in sections:
        lines += section
        if any(f"a=mid:{mid}" in section for mid in bundle):
            lines += transport
        if bundle and f"a=mid:{bundle[0]}" in section:
            lines += candidates
    return "\r\n".join([*lines, ""])


def _head(
    mid: str, media: MediaKind, payloads: Sequence[int], direction: str, protocol: str
) -> list[str]:
    codec = "opus/48000/2" if media is MediaKind.AUDIO else "VP8/90000"
    lines = [
        f"m={media} 9 {protocol} {' '.join(map(str, payloads))}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{payloads[0]} {codec}",
    ]
    for rtx in payloads[1:]:
        clock_rate = codec.split("/")[1]
        lines += [f"a=rtpmap:{rtx} rtx/{clock_rate}", f"a=fmtp:{rtx} apt={payloads[0]}"]
    return lines


def _section(
    wish: Wish, mid: str, media: MediaKind, direction: str, source: Source | None
) -> list[str]:
    video = media is MediaKind.VIDEO
    payload = VP8 if video else OPUS
    repaired = video and wish.as_browsers
    lines = _head(
        mid,
        media,
        [payload, VP8_RTX] if repaired else [payload],
        direction,
        "UDP/TLS/RTP/SAVPF",
    )
    named = source is not None and wish.rids
    for meaning in (*_EXTENSIONS[media], *(_NAMING if named else ())):
        if wish.as_browsers or meaning is not HeaderExtension.TRANSPORT_SEQUENCE:
            lines.append(f"a=extmap:{int(meaning)} {EXTENSION_URIS[meaning]}")
    if video:
        lines += [f"a=rtcp-fb:{payload} nack pli", f"a=rtcp-fb:{payload} ccm fir"]
    if repaired:
        lines.append(f"a=rtcp-fb:{payload} nack")
    if wish.as_browsers:
        lines += [f"a=rtcp-fb:{payload} transport-cc", "a=rtcp-rsize"]
    return lines + ([] if source is None else _encoding_lines(source, repaired))


def _encoding_lines(source: Source, repaired: bool) -> list[str]:
    rids = [each.rid for each in source.encodings if each.rid]
    if rids:  # RFC 8851, RFC 8853
        return [f"a=rid:{rid} send" for rid in rids] + [f"a=simulcast:send {';'.join(rids)}"]
    lines = []
    for each in source.encodings:
        lines.append(f"a=ssrc:{each.ssrc} cname:load")
        if repaired:  # RFC 5576 §4.2
            lines.append(f"a=ssrc-group:FID {each.ssrc} {each.rtx_ssrc}")
            lines.append(f"a=ssrc:{each.rtx_ssrc} cname:load")
    if len(source.encodings) > 1:  # as libwebrtc groups encodings
        ssrcs = " ".join(str(each.ssrc) for each in source.encodings)
        lines.append(f"a=ssrc-group:SIM {ssrcs}")
    return lines


def parse_untrusted(text: str) -> Description:
    """A bridge's description; MalformedError when it lacks what a client cannot do without."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            blocks.append([])
        blocks[-1].append(line)
    session, *media = blocks
    if not media:
        raise MalformedError("a description without media")
    transport = _Attributes([line for block in blocks for line in block])
    candidates = [value.split() for value in transport.all("candidate")]
    return Description(
        ufrag=transport.one("ice-ufrag"),
        password=transport.one("ice-pwd"),
        lite="a=ice-lite" in session,
        setup=transport.one("setup"),
        candidates=tuple(
            dict.fromkeys(
                (parts[4], int(parts[5]))
                for parts in candidates
                if len(parts) > 5
                and parts[1] == "1"
                and parts[2].lower() == "udp"
                and parts[5].isdecimal()
            )
        ),
        sections=tuple(_section_untrusted(block[0], _Attributes(block)) for block in media),
    )


class _Attributes:
    """The a-lines of a block by name, in their order."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._values: dict[str, list[str]] = {}
        for line in lines:
            if line.startswith("a="):
                name, _, value = line[2:].partition(":")
                self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> Sequence[str]:
        return self._values.get(name, ())

    def one(self, name: str) -> str:
        for value in self.all(name):
            return value
        raise MalformedError(f"a description without a={name}")

    def pairs(self, name: str) -> Iterator[tuple[int, str]]:
        """Of values like `96 VP8/90000` the number and the rest."""
        for value in self.all(name):
            number, _, rest = value.partition(" ")
            number = number.partition("/")[0]  # of a header extension it may have a direction
            if number.isdecimal():
                yield int(number), rest


def _section_untrusted(line: str, attributes: _Attributes) -> Section:
    parts = line.removeprefix("m=").split()
    if len(parts) < 4 or not parts[1].partition("/")[0].isdecimal():
        raise MalformedError("a media line")
    name, port, protocol, *formats = parts
    media = MediaKind(name) if name in _CODECS else None
    payload = rtx = None
    extensions: dict[HeaderExtension, int] = {}
    if media is not None:
        names = {
            number: rest.partition("/")[0].lower() for number, rest in attributes.pairs("rtpmap")
        }
        carried = [int(each) for each in formats if each.isdecimal()]
        payload = next((each for each in carried if names.get(each) == _CODECS[media]), None)
        for number, parameters in attributes.pairs("fmtp"):
            if parameters == f"apt={payload}" and names.get(number) == "rtx":
                rtx = number
        for number, rest in attributes.pairs("extmap"):
            meaning = _MEANINGS.get(rest.partition(" ")[0])
            if meaning in _EXTENSIONS[media] or meaning in _NAMING:
                extensions[meaning] = number
    offered = [
        rest
        for value in attributes.all("rtcp-fb")
        for owner, _, rest in (value.partition(" "),)
        if owner in ("*", str(payload))
    ]
    ssrcs = (value.partition(" ")[0] for value in attributes.all("ssrc"))
    return Section(
        mid=attributes.one("mid"),
        media=media,
        protocol=protocol,
        port=int(port.partition("/")[0]),
        formats=tuple(formats),
        direction=next((each for each in _DIRECTIONS if attributes.all(each)), "sendrecv"),
        payload=payload,
        rtx_payload=rtx,
        feedback=tuple(each for each in _FEEDBACK if each in offered),
        extensions=extensions,
        ssrcs=tuple(dict.fromkeys(int(each) for each in ssrcs if each.isdecimal())),
    )
