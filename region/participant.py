"""One client's transport: ICE, DTLS and SRTP keys around a transport of the pump.

Knows its own sources and slots, and nothing of what flows in them. RFC 8445 §2.4 (restarts) and
§2.5 (lite), RFC 7675 (consent), RFC 5764 (keys).
"""

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import trio
from pylibsrtp import Policy, Session

from region import sdp
from region.demux import Demux, StunArrival
from region.dtls import DtlsServer, DtlsState, DtlsTransport, SrtpKeys
from region.ice import IceCredentials, IceLite
from region.kernel import DTLS, Datagram, Pump, StreamStats
from region.offer import MAX_SECTIONS
from region.reports import Reception
from region.rtcp import (
    ReceiverReport,
    RtcpPacket,
    build_compound,
    parse_compound_untrusted,
)
from relay.control import Allocate
from relay.errors import LocalProtocolError, MalformedError, RemoteProtocolError
from relay.ids import (
    Address,
    ConferenceId,
    MediaKind,
    ParticipantId,
    SourceId,
    Ssrc,
    VideoCodec,
    kind_of,
    source_id,
)
from relay.payload import PayloadType

CONNECT_TIMEOUT_S = 15.0
"""From the answer to the end of the DTLS handshake."""
CONSENT_TIMEOUT_S = 15.0
"""RFC 7675 §5.1 gives a silent peer 30 s; a frozen picture is not kept that long."""
IDLE_CHECK_S = 0.25
"""How soon a handshake that has ended, or has begun, is noticed by its timer."""

_INBOUND_WINDOW = 1024
"""Packets by which one may come late and still pass the replay check."""

OWN_SSRC = Ssrc(1)
"""Of what the bridge says for itself in RTCP; slots have others."""

RtcpHandler = Callable[["Participant", tuple[RtcpPacket, ...], float], None]
"""Gets the packets of one compound, and when the pump received it."""

MoveHandler = Callable[["Participant", float], None]
"""Hears that a connected client's media goes another way from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A receive-only section of the client, as an egress of the pump."""

    media: MediaKind
    index: int
    ssrc: Ssrc
    egress: int
    numbered: bool
    """Whether the client reports when its packets arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the client sends in one section."""

    id: SourceId
    encodings: tuple[int, ...]
    """Streams of the pump, the lowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where clients send their packets."""

    udp: tuple[Address, ...]
    tcp: tuple[Address, ...]


class Participant:
    """Made from an offer; `answer` is for the browser; `run` lives as long as the transport.

    MalformedError or RemoteProtocolError when the offer cannot be answered. The pump's
    handles are freed by `close`, which whoever made it calls.
    """

    def __init__(
        self,
        allocate: Allocate,
        *,
        codec: VideoCodec,
        pump: Pump,
        demux: Demux,
        dtls: DtlsServer,
        reach: Reach,
        on_rtcp: RtcpHandler,
        on_moved: MoveHandler,
        dropped: Counter[str],
    ) -> None:
        """`codec` is what pictures of its conference shall be encoded with."""
        self.conference: ConferenceId = allocate.conference
        self.id: ParticipantId = allocate.participant
        self._pump = pump
        self._demux = demux
        self._on_rtcp = on_rtcp
        self._on_moved = on_moved
        self._dropped = dropped
        self._reach = reach
        self._fingerprint = dtls.fingerprint
        self._session_id = secrets.randbits(62)
        self._slot_ssrcs: dict[str, Ssrc] = {}
        self._slot_rtx_ssrcs: dict[str, Ssrc] = {}
        self._sources: dict[str, Source] = {}
        self._slots: dict[str, Slot] = {}
        self._receptions: dict[int, Reception] = {}
        """By stream."""
        self._ended = trio.Event()
        self._open = True
        local = _fresh_credentials()
        offer = sdp.parse_offer_untrusted(allocate.offer)
        settled = self._answer(offer, allocate, codec, local, None)
        self._dtls = DtlsTransport(dtls, offer.fingerprints)
        self._ice = IceLite(local, offer.ice)
        self._ufrag = local.ufrag
        self.transport = pump.add_transport()
        try:
            self._take(settled)
            self._answer_checks(local, offer)
        except BaseException:
            pump.remove_transport(self.transport)
            raise
        demux.claim_transport(self.transport, self._on_datagram)

    @property
    def answer(self) -> str:
        """To the last offer."""
        return self._settled.sdp

    @property
    def decodes(self) -> tuple[VideoCodec, ...] | None:
        """What its slots can show; None when it has none for pictures."""
        decodes = self._settled.decodes
        return None if decodes is None else tuple(sorted(decodes))

    @property
    def sources(self) -> Collection[Source]:
        """What it sends."""
        return self._sources.values()

    @property
    def slots(self) -> Collection[Slot]:
        """In which it receives."""
        return self._slots.values()

    def renew(self, allocate: Allocate, codec: VideoCodec) -> None:
        """A later offer of the same peer connection: `answer` is another after that.

        New credentials restart ICE (RFC 8445 §2.4), while media goes on where it went; new
        sections add sources and slots. Errors as at the first; nothing has changed then.
        """
        before = self._settled
        offer = sdp.parse_offer_untrusted(allocate.offer)
        restarts = offer.ice != before.offer.ice
        local = _fresh_credentials() if restarts else self._ice.local
        self._take(self._answer(offer, allocate, codec, local, before))
        if restarts:
            self._demux.release_ufrag(self._ufrag)
            self._ice = self._ice.restarted(local, offer.ice)
            self._ufrag = local.ufrag
            self._answer_checks(local, offer)

    def _answer(
        self,
        offer: sdp.Offer,
        allocate: Allocate,
        codec: VideoCodec,
        local: IceCredentials,
        earlier: sdp.Answer | None,
    ) -> sdp.Answer:
        """What is to be settled, without any change but that slots have their SSRCs.

        However often it is renewed, there are no more slots than one offer may have sections, and
        one source of each kind.
        """
        mids = [section.mid for section in offer.slots if section.mid not in self._slot_ssrcs]
        if len(self._slot_ssrcs) + len(mids) > MAX_SECTIONS:
            raise RemoteProtocolError(f"The browser has offered more than {MAX_SECTIONS} sections.")
        taken = {*self._slot_ssrcs.values(), *self._slot_rtx_ssrcs.values()}
        ssrcs = _fresh_ssrcs(offer, taken, 2 * len(mids))
        self._slot_ssrcs |= zip(mids, ssrcs, strict=False)
        self._slot_rtx_ssrcs |= zip(mids, ssrcs[len(mids) :], strict=True)
        settled = sdp.answer(
            offer,
            sources={each.mid: each.kind for each in allocate.sources},
            codec=codec,
            ice=local,
            fingerprint=self._fingerprint,
            candidates=self._reach.udp,
            tcp_candidates=self._reach.tcp,
            slot_ssrcs=self._slot_ssrcs,
            slot_rtx_ssrcs=self._slot_rtx_ssrcs,
            session_id=self._session_id,
            version=allocate.request,
            earlier=earlier,
        )
        mids_before = {kind_of(source.id): mid for mid, source in self._sources.items()}
        if any(mids_before.get(each.kind, each.mid) != each.mid for each in settled.sources):
            raise RemoteProtocolError("The browser sends in another section than before.")
        return settled

    def _take(self, settled: sdp.Answer) -> None:
        """Have in the pump what was settled."""
        added: dict[str, Source] = {}
        slots = dict(self._slots)
        try:
            for source in settled.sources:
                if source.mid not in self._sources:
                    added[source.mid] = self._add_source(source)
            for slot in settled.slots:
                if slot.mid not in slots:
                    index = sum(each.media is slot.media for each in slots.values())
                    slots[slot.mid] = self._add_slot(slot, index)
        except BaseException:
            for each in added.values():
                self._remove_streams(each.encodings)
            for mid in slots.keys() - self._slots.keys():
                self._pump.remove_egress(slots[mid].egress)
            raise
        self._sources |= added
        self._slots = slots
        self._settled = settled
        self._pump.set_payload_types(self.transport, dict(settled.payload_types))
        self._pump.set_extensions(self.transport, dict(settled.extensions))

    def _answer_checks(self, local: IceCredentials, offer: sdp.Offer) -> None:
        username = f"{local.ufrag}:{offer.ice.ufrag}"
        self._pump.answer_checks(self.transport, username.encode(), local.password.encode())
        self._demux.claim_ufrag(local.ufrag, self._on_stun)

    @property
    def connected(self) -> bool:
        """Whether media can flow."""
        return self._open and self._dtls.state is DtlsState.ESTABLISHED

    async def run(self) -> str:
        """Keep the transport until it ends of itself; why it did, for a log and the focus."""
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            await self._handshake()
        if self.connected:
            await self._ended.wait()
        if self._dtls.state is DtlsState.FAILED:
            return f"DTLS failed: {self._dtls.failure}"
        if self._dtls.state is DtlsState.CLOSED:
            return "the browser closed its transport"
        if self._dtls.state is DtlsState.ESTABLISHED:
            return "the browser fell silent"
        if self._ice.selected is None:
            return "no connection: no valid ICE check arrived"
        return "no connection: the DTLS handshake did not end"

    async def _handshake(self) -> None:
        """Repeat lost flights until the handshake has ended one way or the other."""
        while self._dtls.state is DtlsState.HANDSHAKING:
            timeout_s = self._dtls.next_timeout_s()
            with trio.move_on_after(IDLE_CHECK_S if timeout_s is None else timeout_s):
                await self._ended.wait()
                return
            self._dtls.on_timer()
            self._send_dtls()

    def on_second(self, now: float) -> None:
        """Reports and consent: to be called about each second."""
        if not self.connected:
            return
        by_pump_s = now - self._pump.transport_stats(self.transport).last_consent_s
        if min(by_pump_s, self._ice.silent_for(now)) > CONSENT_TIMEOUT_S:
            self._ended.set()
        else:
            self._send_report(now)

    def close(self) -> None:
        """Say goodbye and free the pump's handles; once."""
        self._dtls.close()
        self._send_dtls()
        self._open = False
        self._ended.set()
        self._demux.release_ufrag(self._ufrag)
        self._demux.release_transport(self.transport)
        self._pump.remove_transport(self.transport)

    def _send_report(self, now: float) -> None:
        """Tell the browser how its sources arrive (RFC 3550 §6.4.2)."""
        blocks = []
        for stream in self._streams:
            stats = self._pump.stream_stats(stream)
            block = self._reception(stats).block(stats, now) if stats.ssrc else None
            if block is not None:
                blocks.append(block)
        if blocks:
            packet = build_compound(ReceiverReport(ssrc=OWN_SSRC, reports=tuple(blocks)))
            self._pump.send_rtcp(self.transport, packet)

    @property
    def _streams(self) -> Iterator[int]:
        return (stream for source in self.sources for stream in source.encodings)

    def _reception(self, stats: StreamStats) -> Reception:
        return self._receptions.setdefault(stats.ssrc, Reception(Ssrc(stats.ssrc)))

    def _add_source(self, settled: sdp.OfferedSource) -> Source:
        source = source_id(self.id, settled.kind)
        streams: list[int] = []
        try:
            for number, encoding in enumerate(settled.encodings):
                streams.append(self._add_stream(source, settled, encoding, upper=number > 0))
        except BaseException:
            self._remove_streams(streams)
            raise
        return Source(id=source, encodings=tuple(streams))

    def _remove_streams(self, streams: Iterable[int]) -> None:
        for stream in streams:
            self._pump.remove_stream(stream)

    def _add_stream(
        self,
        source: SourceId,
        settled: sdp.OfferedSource,
        encoding: sdp.OfferedEncoding,
        *,
        upper: bool,
    ) -> int:
        video = settled.kind.media is MediaKind.VIDEO
        try:
            return self._pump.add_stream(
                self.transport,
                encoding.ssrc or 0,
                video=video,
                clock_rate=(PayloadType.VP8 if video else PayloadType.OPUS).clock_rate,
                csrc=source,
                rtx_ssrc=encoding.rtx_ssrc or 0,
                repairable=settled.repairable,
                upper=upper,
                mid=settled.mid.encode(),
                rid=(encoding.rid or "").encode(),
            )
        except LocalProtocolError:  # the pump has another stream of that name
            raise RemoteProtocolError("The browser uses one SSRC for two streams.") from None

    def _add_slot(self, settled: sdp.OfferedSlot, index: int) -> Slot:
        egress = self._pump.add_egress(
            self.transport,
            settled.ssrc,
            video=settled.media is MediaKind.VIDEO,
            trunk=False,
            rtx_ssrc=settled.rtx_ssrc or 0,
            numbered=settled.numbered,
        )
        return Slot(
            media=settled.media,
            index=index,
            ssrc=settled.ssrc,
            egress=egress,
            numbered=settled.numbered,
        )

    def _on_stun(self, arrival: StunArrival) -> None:
        address = arrival.datagram.address
        reply = self._ice.receive_check(
            arrival.message,
            address,
            arrival.datagram.received_s,
            replayed=self._pump.saw_check(self.transport, arrival.message.transaction_id),
        )
        if not reply.valid:
            self._dropped["check_refused"] += 1
        else:
            # Before the response, which lets the browser begin with DTLS.
            self._pump.bind_address(self.transport, address)
        if reply.selected is not None:
            self._pump.select_address(self.transport, reply.selected)
        if reply.response is not None:
            self._pump.send(address, reply.response)
        if reply.selected is not None and self.connected:
            self._on_moved(self, arrival.datagram.received_s)

    def _on_datagram(self, datagram: Datagram) -> None:
        if datagram.kind == DTLS:
            self._receive_dtls(datagram)
        else:
            self._receive_rtcp(datagram)

    def _receive_rtcp(self, datagram: Datagram) -> None:
        try:
            packets = parse_compound_untrusted(datagram.data)
        except MalformedError:
            self._dropped["rtcp_malformed"] += 1
            return
        self._on_rtcp(self, packets, datagram.received_s)

    def _receive_dtls(self, datagram: Datagram) -> None:
        was, ignored = self._dtls.state, self._dtls.ignored
        self._dtls.receive(datagram.data)
        self._dropped["dtls_malformed"] += self._dtls.ignored - ignored
        if was is DtlsState.HANDSHAKING and self._dtls.keys is not None:
            keys = self._dtls.keys
            plain = keys.profile == Policy.SRTP_PROFILE_AEAD_AES_128_GCM
            self._pump.set_srtp(
                self.transport,
                *_sessions(keys),
                keys=(keys.inbound, keys.outbound) if plain else None,
            )
        self._send_dtls()
        if self._dtls.state in (DtlsState.FAILED, DtlsState.CLOSED):
            self._ended.set()

    def _send_dtls(self) -> None:
        address = self._ice.selected
        for datagram in self._dtls.datagrams():
            if address is not None:
                self._pump.send(address, datagram)


def _fresh_credentials() -> IceCredentials:
    return IceCredentials(ufrag=secrets.token_hex(4), password=secrets.token_hex(16))


def _fresh_ssrcs(offer: sdp.Offer, ours: Collection[Ssrc], count: int) -> list[Ssrc]:
    """Random SSRCs, no two the same and none of them the browser's or ours (RFC 3550 §8.1)."""
    offered = (ssrc for section in offer.sections for ssrc in section.ssrcs)
    taken = {OWN_SSRC, *ours, *offered}
    fresh: list[Ssrc] = []
    while len(fresh) < count:
        ssrc = Ssrc(secrets.randbelow(0xFFFFFFFF) + 1)
        if ssrc not in taken:
            taken.add(ssrc)
            fresh.append(ssrc)
    return fresh


def _sessions(keys: SrtpKeys) -> tuple[Session, Session]:
    inbound = Policy(key=keys.inbound, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=keys.profile)
    inbound.window_size = _INBOUND_WINDOW
    outbound = Policy(
        key=keys.outbound, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=keys.profile
    )
    return Session(inbound), Session(outbound)
