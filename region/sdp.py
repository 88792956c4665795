"""Writes the bridge's answer to an offer, and says what the two have settled.

Knows no transport: identities, addresses and SSRCs are given. RFC 9429 §5.3 (JSEP answers),
RFC 9143 (BUNDLE), RFC 8842 (setup), RFC 8853 (simulcast).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from region.agreement import AgreedCodec, AgreedExtension, Agreement
from region.candidates import candidate_lines
from region.ice import IceCredentials
from region.offer import Direction, Offer, Section, Setup, parse_offer_untrusted
from relay.errors import RemoteProtocolError
from relay.ids import SPATIAL_LAYERS, Address, MediaKind, SourceKind, Ssrc, VideoCodec
from relay.payload import HeaderExtension, PayloadType

__all__ = [
    "Answer",
    "Offer",
    "OfferedEncoding",
    "OfferedSlot",
    "OfferedSource",
    "answer",
    "parse_offer_untrusted",
]

CNAME = "octomesh"
"""RFC 3550 §6.5.1: of every slot, in the answer and in RTCP."""

MAX_ENCODINGS = SPATIAL_LAYERS

_NAMES = {
    SourceKind.MICROPHONE: "microphone",
    SourceKind.CAMERA: "camera",
    SourceKind.SCREEN: "screen",
}
_REVERSED = {Direction.SENDONLY: "/recvonly", Direction.RECVONLY: "/sendonly"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedEncoding:
    """One RTP stream of a source."""

    ssrc: Ssrc | None
    """None: to be learnt from packets, by the section's mid and, if there is one, `rid`."""
    rtx_ssrc: Ssrc | None
    """Where what we ask for again comes; None when that is to be learnt too, or never comes."""
    rid: str | None
    """RFC 8852: its name in a header extension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSource:
    """What the browser will send in one section."""

    mid: str
    kind: SourceKind
    encodings: tuple[OfferedEncoding, ...]
    """One to three, in the browser's order."""
    repairable: bool
    """Whether what we ask for is sent again, and can be told to be of which encoding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSlot:
    """A stream that the bridge will send."""

    mid: str
    media: MediaKind
    ssrc: Ssrc
    rtx_ssrc: Ssrc | None = None
    """By which what the browser asks for is sent again; None when it takes nothing again."""
    numbered: bool = False
    """Whether its packets may have the transport-wide sequence, and feedback will tell of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer's text, and what it has settled."""

    offer: Offer
    """To which this is the answer."""
    sdp: str
    sources: tuple[OfferedSource, ...]
    slots: tuple[OfferedSlot, ...]
    decodes: frozenset[VideoCodec] | None
    """What every slot for pictures can carry; None when there is none."""
    payload_types: Mapping[int, PayloadType]
    """By the browser's number, one-to-one."""
    extensions: Mapping[int, HeaderExtension]
    """By the browser's id, one-to-one."""


def answer(
    offer: Offer,
    *,
    sources: Mapping[str, SourceKind],
    codec: VideoCodec,
    ice: IceCredentials,
    fingerprint: str,
    candidates: Sequence[Address],
    tcp_candidates: Sequence[Address] = (),
    slot_ssrcs: Mapping[str, Ssrc],
    slot_rtx_ssrcs: Mapping[str, Ssrc] = MappingProxyType({}),
    session_id: int,
    version: int,
    earlier: Answer | None = None,
) -> Answer:
    """Take the sections in `sources` and `slot_ssrcs` (both by mid), leave the others idle.

    What has no codec of ours, or no part in the bundle, is rejected (port 0); of the codecs,
    all are taken, `codec` first. `earlier` is the answer to this peer connection's offer before,
    whose numbers stay, and with it `session_id`, while `version` counts up (RFC 3264 §8).
    RemoteProtocolError, in words for the person, when the offer cannot be served so.
    """
    if offer.transport.setup is Setup.PASSIVE:
        raise RemoteProtocolError("The browser waits for a handshake that it has to begin itself.")
    # RFC 8842 §3.1: other fingerprints would begin another DTLS association.
    if earlier is not None and set(earlier.offer.fingerprints) != set(offer.fingerprints):
        raise RemoteProtocolError("The offer is of another connection than that which it renews.")
    settled = _Settled(
        offer=offer,
        agreement=Agreement(
            offer,
            preferred=codec,
            payload_types=earlier.payload_types if earlier else {},
            extensions=earlier.extensions if earlier else {},
        ),
        default=candidates[0] if candidates else Address(host="0.0.0.0", port=9),
    )
    # RFC 9429 §5.3.1 leaves these to the first section; aiortc reads them in each.
    transport = [
        f"a=ice-ufrag:{ice.ufrag}",
        f"a=ice-pwd:{ice.password}",
        f"a=fingerprint:{fingerprint}",
        f"a=setup:{Setup.PASSIVE}",
    ]
    lines: list[str] = []
    accepted: set[str] = set()
    for section in offer.sections:
        body = settled.take(section, sources, slot_ssrcs, slot_rtx_ssrcs)
        if body is not None:
            accepted.add(section.mid)
            lines += body + transport
            if section.mid == offer.bundle[0]:
                lines += candidate_lines(candidates, tcp_candidates)
        elif section.mid == offer.bundle[0]:
            # RFC 9143 §7.3.1: its transport is that of all, and browsers will not do without.
            raise RemoteProtocolError("The offer's first section cannot be used.")
        else:
            lines += _rejected(section)
    missing = sources.keys() - {source.mid for source in settled.sources}
    if missing:
        kinds = " and ".join(sorted(_NAMES[sources[mid]] for mid in missing))
        raise RemoteProtocolError(
            f"The browser says it sends its {kinds}, but offers no such media."
        )
    session = [
        "v=0",
        f"o=- {session_id} {version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(mid for mid in offer.bundle if mid in accepted),
        "a=ice-lite",
        *(["a=extmap-allow-mixed"] if offer.mixed_extensions else []),
    ]
    return Answer(
        offer=offer,
        sdp="".join(f"{line}\r\n" for line in session + lines),
        sources=tuple(settled.sources),
        slots=tuple(settled.slots),
        decodes=settled.decodes,
        payload_types=settled.agreement.payload_types,
        extensions=settled.agreement.extensions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """A section of the answer, and what has been agreed on in it."""

    lines: list[str]
    codecs: tuple[AgreedCodec, ...]
    extensions: frozenset[HeaderExtension]

    @property
    def repairable(self) -> bool:
        return any(agreed.rtx is not None for agreed in self.codecs)


@dataclass(slots=True)
class _Settled:
    """What the sections so far have become."""

    offer: Offer
    agreement: Agreement
    default: Address
    sources: list[OfferedSource] = field(default_factory=list)
    slots: list[OfferedSlot] = field(default_factory=list)
    decodes: frozenset[VideoCodec] | None = None
    used: set[Ssrc] = field(default_factory=set)
    """By the browser."""

    def take(
        self,
        section: Section,
        sources: Mapping[str, SourceKind],
        slot_ssrcs: Mapping[str, Ssrc],
        slot_rtx_ssrcs: Mapping[str, Ssrc],
    ) -> list[str] | None:
        """The answer to the section as source, as slot or idle; None when it must be rejected."""
        if section.media is None or not self.offer.can_carry(section):
            return None
        sends = section.direction in (Direction.SENDONLY, Direction.SENDRECV)
        receives = section.direction in (Direction.RECVONLY, Direction.SENDRECV)
        kind = sources.get(section.mid)
        if kind is not None and kind.media is section.media and sends:
            body = self._body(section, Direction.RECVONLY)
            source = self._source(section, kind, body)
            self.sources.append(source)
            return body.lines + _encoding_lines(section, source)
        if section.mid in slot_ssrcs and receives:
            body = self._body(section, Direction.SENDONLY)
            slot = OfferedSlot(
                mid=section.mid,
                media=section.media,
                ssrc=slot_ssrcs[section.mid],
                rtx_ssrc=slot_rtx_ssrcs.get(section.mid) if body.repairable else None,
                numbered=HeaderExtension.TRANSPORT_SEQUENCE in body.extensions,
            )
            self.slots.append(slot)
            if slot.media is MediaKind.VIDEO:
                carries = {agreed.meaning.codec for agreed in body.codecs} - {None}
                known = frozenset(VideoCodec) if self.decodes is None else self.decodes
                self.decodes = known & carries
            return body.lines + _slot_lines(slot)
        return self._body(section, Direction.INACTIVE).lines

    def _source(self, section: Section, kind: SourceKind, body: _Body) -> OfferedSource:
        name = _NAMES[kind]
        encodings = _encodings(section, body)
        if kind is SourceKind.MICROPHONE:
            encodings = encodings[:1]
        if not encodings:
            raise RemoteProtocolError(
                f"The browser does not say by which SSRC or MID it sends its {name}."
            )
        ssrcs = [
            ssrc for each in encodings for ssrc in (each.ssrc, each.rtx_ssrc) if ssrc is not None
        ]
        if any(source.kind is kind for source in self.sources):
            raise RemoteProtocolError(f"The browser offers its {name} twice.")
        if len(set(ssrcs)) < len(ssrcs) or self.used & set(ssrcs):
            raise RemoteProtocolError(f"The browser uses an SSRC of its {name} twice.")
        self.used.update(ssrcs)
        return OfferedSource(
            mid=section.mid,
            kind=kind,
            encodings=encodings,
            repairable=body.repairable and _is_told_apart(encodings, body.extensions),
        )

    def _body(self, section: Section, direction: Direction) -> _Body:
        """The section without its streams."""
        codecs = self.agreement.codecs_of(section)
        extensions = self.agreement.extensions_of(section, direction, codecs)
        meanings = frozenset(each.meaning for each in extensions)
        formats = " ".join(
            str(each.number) for agreed in codecs for each in (agreed.codec, agreed.rtx) if each
        )
        lines = [
            f"m={section.media_name} {self.default.port} {section.protocol} {formats}",
            f"c=IN {_family(self.default)} {self.default.host}",
            f"a=mid:{section.mid}",
            f"a={direction}",
            "a=rtcp-mux",
        ]
        if section.rtcp_rsize:
            lines.append("a=rtcp-rsize")
        if section.mixed_extensions and not self.offer.mixed_extensions:
            lines.append("a=extmap-allow-mixed")
        lines += map(_extension_line, extensions)
        for agreed in codecs:
            lines += _codec_lines(agreed, HeaderExtension.TRANSPORT_SEQUENCE in meanings)
        return _Body(lines=lines, codecs=codecs, extensions=meanings)


def _encodings(section: Section, body: _Body) -> tuple[OfferedEncoding, ...]:
    """How the section's streams are known: by what names them most surely."""
    by_mid = HeaderExtension.MID in body.extensions
    rids: Sequence[str] = ()
    if by_mid and HeaderExtension.RID in body.extensions:
        rids = section.simulcast_rids[:MAX_ENCODINGS] or section.rids[:1]
    if rids and (section.simulcast_rids or not section.ssrcs):
        return tuple(OfferedEncoding(ssrc=None, rtx_ssrc=None, rid=rid) for rid in rids)
    rtx_ssrcs = dict(section.rtx_ssrcs) if body.repairable else {}
    ssrcs = section.simulcast_ssrcs[:MAX_ENCODINGS] or section.ssrcs[:1]
    if ssrcs:
        return tuple(
            OfferedEncoding(ssrc=ssrc, rtx_ssrc=rtx_ssrcs.get(ssrc), rid=None) for ssrc in ssrcs
        )
    return (OfferedEncoding(ssrc=None, rtx_ssrc=None, rid=None),) if by_mid else ()


def _is_told_apart(
    encodings: Sequence[OfferedEncoding], extensions: frozenset[HeaderExtension]
) -> bool:
    """Whether retransmissions are known to be of which encoding.

    By their SSRC, by the repaired rid, or, where there is one encoding, by the mid alone.
    """
    first = encodings[0]
    if first.ssrc is not None:
        return any(encoding.rtx_ssrc is not None for encoding in encodings)
    return first.rid is None or HeaderExtension.REPAIRED_RID in extensions


def _encoding_lines(section: Section, source: OfferedSource) -> list[str]:
    """RFC 8851 §6.3, RFC 8853 §5.3.2: those that we take, in the offer's order."""
    rids = [encoding.rid for encoding in source.encodings if encoding.rid is not None]
    lines = [f"a=rid:{rid} recv" for rid in rids]
    if rids and section.simulcast_rids:
        lines.append(f"a=simulcast:recv {';'.join(rids)}")
    return lines


def _extension_line(agreed: AgreedExtension) -> str:
    offered = agreed.offered
    return f"a=extmap:{offered.wire_id}{_REVERSED.get(offered.direction, '')} {offered.uri}"


def _codec_lines(agreed: AgreedCodec, numbered: bool) -> list[str]:
    codec = agreed.codec
    channels = f"/{codec.channels}" if codec.channels > 1 else ""
    lines = [f"a=rtpmap:{codec.number} {codec.encoding}/{codec.clock_rate}{channels}"]
    if parameters := codec.answered_parameters:
        lines.append(f"a=fmtp:{codec.number} {parameters}")
    lines += [f"a=rtcp-fb:{codec.number} {each}" for each in agreed.feedback(numbered=numbered)]
    if agreed.rtx is not None:
        lines.append(f"a=rtpmap:{agreed.rtx.number} rtx/{codec.clock_rate}")
        lines.append(f"a=fmtp:{agreed.rtx.number} apt={codec.number}")
    return lines


def _slot_lines(slot: OfferedSlot) -> list[str]:
    """RFC 5576 §4; RFC 8830 §2: "-" is no stream, for slots are not to be played in step."""
    lines = [f"a=msid:- slot-{slot.mid}"]
    if slot.rtx_ssrc is not None:
        lines.append(f"a=ssrc-group:FID {slot.ssrc} {slot.rtx_ssrc}")
    for ssrc in (slot.ssrc, slot.rtx_ssrc):
        if ssrc is not None:
            lines.append(f"a=ssrc:{ssrc} cname:{CNAME}")
    return lines


def _rejected(section: Section) -> list[str]:
    """RFC 9429 §5.3.1: port 0, and one format because the grammar wants one."""
    return [
        f"m={section.media_name} 0 {section.protocol} {section.formats[0]}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        "a=inactive",
    ]


def _family(address: Address) -> str:
    return "IP6" if ":" in address.host else "IP4"
