"""Session descriptions as the load's clients write and read them; no socket, no signalling.

RFC 8866 (SDP), RFC 9429 (JSEP), RFC 9143 (BUNDLE), RFC 5576 and RFC 8853 (encodings), RFC 8285
(header extensions). What a bridge says is read for what the load needs of it and no more.
"""

import re
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
    blocks = re.split(r"\r?\n(?=m=)", text)
    session, media = blocks[0], blocks[1:]
    if not media:
        raise MalformedError("a description without media")
    return Description(
        ufrag=_one(r"a=ice-ufrag:(\S+)", text),
        password=_one(r"a=ice-pwd:(\S+)", text),
        lite="a=ice-lite" in session,
        setup=_one(r"a=setup:(\S+)", text),
        candidates=tuple(
            dict.fromkeys(
                (host, int(port))
                for host, port in re.findall(
                    r"a=candidate:\S+ 1 udp \d+ (\S+) (\d{1,5}) typ", text, re.IGNORECASE
                )
            )
        ),
        sections=tuple(_section_untrusted(block) for block in media),
    )


def _section_untrusted(block: str) -> Section:
    line = re.match(r"m=(\S+) (\d{1,5})(?:/\d+)? (\S+) ([^\r\n]*)", block)
    if line is None:
        raise MalformedError("a media line")
    try:
        media = MediaKind(line[1])
    except ValueError:
        media = None
    formats = tuple(line[4].split())
    payload = rtx = None
    if media is not None:
        maps = re.findall(r"a=rtpmap:(\d{1,3}) ([\w.-]+)/", block)
        names = {int(number): name.lower() for number, name in maps}
        wanted = _CODECS[media]
        payload = next((int(each) for each in formats if names.get(int(each)) == wanted), None)
        for number, original in re.findall(r"a=fmtp:(\d{1,3}) apt=(\d{1,3})", block):
            if int(original) == payload and names.get(int(number)) == "rtx":
                rtx = int(number)
    offered = re.findall(rf"a=rtcp-fb:(?:{payload}|\*) ([^\r\n]+)", block)
    found = re.search(r"a=(sendrecv|sendonly|recvonly|inactive)\b", block)
    extensions = {
        _MEANINGS[uri]: int(number)
        for number, uri in re.findall(r"a=extmap:(\d{1,3})(?:/\w+)? (\S+)", block)
        if uri in _MEANINGS
    }
    known = (*_EXTENSIONS.get(media, ()), *_NAMING) if media is not None else ()
    return Section(
        mid=_one(r"a=mid:(\S+)", block),
        media=media,
        protocol=line[3],
        port=int(line[2]),
        formats=formats,
        direction=found[1] if found else "sendrecv",
        payload=payload,
        rtx_payload=rtx,
        feedback=tuple(each for each in _FEEDBACK if each in offered),
        extensions={meaning: extensions[meaning] for meaning in known if meaning in extensions},
        ssrcs=tuple(dict.fromkeys(int(each) for each in re.findall(r"a=ssrc:(\d+)", block))),
    )


def _one(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise MalformedError(f"a description without {pattern}")
    return found.group(1)
