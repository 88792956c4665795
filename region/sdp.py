"""Writes the bridge's answer to an offer, and says what the two have settled.

Knows no transport: identities, addresses and SSRCs are given. RFC 9429 §5.3 (JSEP answers),
RFC 9143 (BUNDLE), RFC 8839 (ICE), RFC 8842 (setup), RFC 8285 (header extensions).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from zlib import crc32

from region.ice import IceCredentials
from region.offer import Codec, Direction, Offer, Section, Setup, parse_offer_untrusted
from relay.errors import RemoteProtocolError
from relay.ids import Address, MediaKind, SourceKind, Ssrc
from relay.payload import EXTENSION_URIS, HeaderExtension, PayloadType

__all__ = ["Answer", "Offer", "OfferedSlot", "OfferedSource", "answer", "parse_offer_untrusted"]

CNAME = "octomesh"
"""RFC 3550 §6.5.1: of every slot, in the answer and in RTCP."""

_MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
_EXTENSIONS = {uri: extension for extension, uri in EXTENSION_URIS.items()}
_ONE_BYTE_IDS = range(1, 15)  # RFC 8285 §4.2; we do not answer extmap-allow-mixed
_OPUS_PARAMETERS = "minptime=10;useinbandfec=1"
_TRANSPORT_CC = "transport-cc"
_FEEDBACK = ("ccm fir", "nack", "nack pli")
_NAMES = {
    SourceKind.MICROPHONE: "microphone",
    SourceKind.CAMERA: "camera",
    SourceKind.SCREEN: "screen",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSource:
    """A stream that the browser will send."""

    mid: str
    kind: SourceKind
    ssrc: Ssrc
    rtx_ssrc: Ssrc | None
    """Where what we ask for again comes; None when the browser sends nothing again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSlot:
    """A stream that the bridge will send."""

    mid: str
    media: MediaKind
    ssrc: Ssrc
    rtx_ssrc: Ssrc | None = None
    """By which what the browser asks for is sent again; None when it takes nothing again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer's text, and what it has settled."""

    sdp: str
    sources: tuple[OfferedSource, ...]
    slots: tuple[OfferedSlot, ...]
    payload_types: Mapping[int, PayloadType]
    """By the browser's number, one-to-one."""
    extensions: Mapping[int, HeaderExtension]
    """By the browser's id, one-to-one."""


def answer(
    offer: Offer,
    *,
    sources: Mapping[str, SourceKind],
    ice: IceCredentials,
    fingerprint: str,
    candidates: Sequence[Address],
    slot_ssrcs: Mapping[str, Ssrc],
    slot_rtx_ssrcs: Mapping[str, Ssrc] = MappingProxyType({}),
) -> Answer:
    """Take the sections in `sources` and `slot_ssrcs` (both by mid), leave the others idle.

    What has no codec of ours, or no part in the bundle, is rejected (port 0).
    RemoteProtocolError, in words for the person, when the offer cannot be served so.
    """
    if offer.transport.setup is Setup.PASSIVE:
        raise RemoteProtocolError("The browser waits for a handshake that it has to begin itself.")
    settled = _Settled(default=candidates[0] if candidates else Address(host="0.0.0.0", port=9))
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
        body = settled.take(offer, section, sources, slot_ssrcs, slot_rtx_ssrcs)
        if body is not None:
            accepted.add(section.mid)
            lines += body + transport
            lines += _candidate_lines(candidates) if section.mid == offer.bundle[0] else []
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
        # RFC 8866 §5.2: the pair of numbers tells sessions of one host apart.
        f"o=- {crc32(ice.ufrag.encode())} 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE " + " ".join(mid for mid in offer.bundle if mid in accepted),
        "a=ice-lite",
    ]
    return Answer(
        sdp="".join(f"{line}\r\n" for line in session + lines),
        sources=tuple(settled.sources),
        slots=tuple(settled.slots),
        payload_types=settled.payload_types,
        extensions=settled.extensions,
    )


@dataclass(slots=True)
class _Settled:
    """What the sections so far have agreed on; numbers are the whole bundle's (RFC 9143 §9.1)."""

    default: Address
    payload_types: dict[int, PayloadType] = field(default_factory=dict)
    extensions: dict[int, HeaderExtension] = field(default_factory=dict)
    sources: list[OfferedSource] = field(default_factory=list)
    slots: list[OfferedSlot] = field(default_factory=list)

    def take(
        self,
        offer: Offer,
        section: Section,
        sources: Mapping[str, SourceKind],
        slot_ssrcs: Mapping[str, Ssrc],
        slot_rtx_ssrcs: Mapping[str, Ssrc],
    ) -> list[str] | None:
        """The answer to the section as source, as slot or idle; None when it must be rejected."""
        if section.media is None or not offer.can_carry(section):
            return None
        sends = section.direction in (Direction.SENDONLY, Direction.SENDRECV)
        receives = section.direction in (Direction.RECVONLY, Direction.SENDRECV)
        kind = sources.get(section.mid)
        if kind is not None and kind.media is section.media and sends:
            lines, repairable = self._media_lines(section, Direction.RECVONLY)
            self.sources.append(self._source(section, kind, repairable))
            return lines
        if section.mid in slot_ssrcs and receives:
            lines, repairable = self._media_lines(section, Direction.SENDONLY)
            slot = OfferedSlot(
                mid=section.mid,
                media=section.media,
                ssrc=slot_ssrcs[section.mid],
                rtx_ssrc=slot_rtx_ssrcs.get(section.mid) if repairable else None,
            )
            self.slots.append(slot)
            return lines + _slot_lines(slot)
        return self._media_lines(section, Direction.INACTIVE)[0]

    def _source(self, section: Section, kind: SourceKind, repairable: bool) -> OfferedSource:
        name = _NAMES[kind]
        if not section.ssrcs:
            raise RemoteProtocolError(
                f"The browser offers its {name} in several qualities at once (simulcast), "
                "which this bridge cannot take."
                if section.rids
                else f"The browser does not say by which SSRC it sends its {name}."
            )
        ssrc = section.ssrcs[0]
        if any(source.kind is kind or source.ssrc == ssrc for source in self.sources):
            raise RemoteProtocolError(f"The browser offers its {name} twice.")
        rtx_ssrc = dict(section.rtx_ssrcs).get(ssrc) if repairable else None
        return OfferedSource(mid=section.mid, kind=kind, ssrc=ssrc, rtx_ssrc=rtx_ssrc)

    def _media_lines(self, section: Section, direction: Direction) -> tuple[list[str], bool]:
        """The section without its streams, and whether lost packets can be sent again."""
        codec = self._settle_codec(section)
        rtx = self._settle_retransmissions(section, codec)
        formats = f"{codec.number}" if rtx is None else f"{codec.number} {rtx.number}"
        lines = [
            f"m={section.media_name} {self.default.port} {section.protocol} {formats}",
            f"c=IN {_family(self.default)} {self.default.host}",
            f"a=mid:{section.mid}",
            f"a={direction}",
            "a=rtcp-mux",
        ]
        if section.rtcp_rsize:
            lines.append("a=rtcp-rsize")
        counted = False
        for wire_id, uri in section.extensions:
            if self._settle_extension(wire_id, uri, direction):
                lines.append(f"a=extmap:{wire_id} {uri}")
                counted |= uri == EXTENSION_URIS[HeaderExtension.TRANSPORT_SEQUENCE]
        if codec.canonical is PayloadType.OPUS:
            lines.append(f"a=rtpmap:{codec.number} opus/48000/2")
            lines.append(f"a=fmtp:{codec.number} {_OPUS_PARAMETERS}")
        else:
            lines.append(f"a=rtpmap:{codec.number} VP8/90000")
        feedback = [each for each in _FEEDBACK if each in codec.feedback]
        if counted and _TRANSPORT_CC in codec.feedback:
            feedback.append(_TRANSPORT_CC)
        if rtx is not None:
            lines.append(f"a=rtpmap:{rtx.number} rtx/{codec.clock_rate}")
            lines.append(f"a=fmtp:{rtx.number} apt={codec.number}")
        elif "nack" in feedback:  # without a way to send again there is nothing to ask for
            feedback.remove("nack")
        lines += [f"a=rtcp-fb:{codec.number} {each}" for each in feedback]
        return lines, rtx is not None

    def _settle_codec(self, section: Section) -> Codec:
        """The section's payload type, under the same number as in other sections."""
        assert section.codec is not None  # can_carry has said so
        wanted = section.codec.canonical
        assert wanted is not None
        known = {canonical: number for number, canonical in self.payload_types.items()}
        for codec in section.codecs:
            if codec.canonical is wanted and codec.number == known.get(wanted, codec.number):
                break
        else:
            raise RemoteProtocolError(f"The browser numbers {wanted.name} in two ways.")
        if self.payload_types.setdefault(codec.number, wanted) is not wanted:
            raise RemoteProtocolError(f"The browser numbers {wanted.name} as another codec.")
        return codec

    def _settle_retransmissions(self, section: Section, codec: Codec) -> Codec | None:
        """The type for a video codec's retransmissions, unless another section has it otherwise."""
        assert codec.canonical is not None
        wanted = codec.canonical.retransmissions
        rtx = section.retransmissions_of(codec)
        if rtx is None or wanted is None or "nack" not in codec.feedback:
            return None
        known = {canonical: number for number, canonical in self.payload_types.items()}
        if known.get(wanted, rtx.number) != rtx.number:
            return None
        return rtx if self.payload_types.setdefault(rtx.number, wanted) is wanted else None

    def _settle_extension(self, wire_id: int, uri: str, direction: Direction) -> bool:
        """Whether the section may use this extension."""
        if wire_id not in _ONE_BYTE_IDS:
            return False
        if uri == _MID_URI:
            # Harmless where we receive: it is read by nobody. We never send it.
            return direction is Direction.RECVONLY and wire_id not in self.extensions
        extension = _EXTENSIONS.get(uri)
        if extension is None:
            return False
        if extension is HeaderExtension.TRANSPORT_SEQUENCE and direction is not Direction.RECVONLY:
            return False  # what we send is not numbered yet
        known = {canonical: number for number, canonical in self.extensions.items()}
        if known.get(extension, wire_id) != wire_id:
            return False
        return self.extensions.setdefault(wire_id, extension) is extension


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


def _candidate_lines(candidates: Sequence[Address]) -> list[str]:
    """RFC 8839 §5.1: host candidates of the one component, the first the most preferred."""
    lines = []
    foundations: dict[str, int] = {}
    for index, address in enumerate(candidates):
        foundation = foundations.setdefault(address.host, len(foundations) + 1)
        # RFC 8445 §5.1.2.1: type preference 126 for hosts, component 1.
        priority = 126 << 24 | (65_535 - index) << 8 | 255
        lines.append(
            f"a=candidate:{foundation} 1 udp {priority} {address.host} {address.port} typ host"
        )
    return [*lines, "a=end-of-candidates"]


def _family(address: Address) -> str:
    return "IP6" if ":" in address.host else "IP4"
