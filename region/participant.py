"""One client's transport: ICE, DTLS and SRTP keys around a transport of the pump.

Knows its own sources and slots, and nothing of what flows in them. RFC 8445 §2.5 (lite),
RFC 7675 (consent), RFC 5764 (keys).
"""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import trio
from pylibsrtp import Policy, Session

from region import sdp
from region.demux import Demux, StunArrival
from region.dtls import DtlsServer, DtlsState, DtlsTransport, SrtpKeys
from region.ice import IceCredentials, IceLite
from region.kernel import DTLS, Datagram, Pump
from region.reports import Reception
from region.rtcp import (
    ReceiverReport,
    RtcpPacket,
    SenderReport,
    build_compound,
    parse_compound_untrusted,
)
from relay.control import Allocate
from relay.errors import MalformedError
from relay.ids import Address, ConferenceId, MediaKind, ParticipantId, SourceId, Ssrc, source_id
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A receive-only section of the client, as an egress of the pump."""

    media: MediaKind
    index: int
    ssrc: Ssrc
    egress: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the client sends, as a stream of the pump."""

    id: SourceId
    ssrc: Ssrc
    stream: int


class Participant:
    """Made from an offer; `answer` is for the browser; `run` lives as long as the transport.

    MalformedError or RemoteProtocolError when the offer cannot be answered. The pump's
    handles are freed by `close`, which whoever made it calls.
    """

    def __init__(
        self,
        allocate: Allocate,
        *,
        pump: Pump,
        demux: Demux,
        dtls: DtlsServer,
        candidates: tuple[Address, ...],
        on_rtcp: RtcpHandler,
        dropped: Counter[str],
    ) -> None:
        self.conference: ConferenceId = allocate.conference
        self.id: ParticipantId = allocate.participant
        offer = sdp.parse_offer_untrusted(allocate.offer)
        local = IceCredentials(ufrag=secrets.token_hex(4), password=secrets.token_hex(16))
        mids = [section.mid for section in offer.slots]
        ssrcs = _fresh_ssrcs(offer, 2 * len(mids))
        settled = sdp.answer(
            offer,
            sources={each.mid: each.kind for each in allocate.sources},
            ice=local,
            fingerprint=dtls.fingerprint,
            candidates=candidates,
            slot_ssrcs=dict(zip(mids, ssrcs, strict=False)),
            slot_rtx_ssrcs=dict(zip(mids, ssrcs[len(mids) :], strict=True)),
        )
        self.answer = settled.sdp
        self._pump = pump
        self._demux = demux
        self._on_rtcp = on_rtcp
        self._dropped = dropped
        self._ice = IceLite(local, offer.ice)
        self._ufrag = local.ufrag
        self._dtls = DtlsTransport(dtls, offer.fingerprints)
        self._ended = trio.Event()
        self._open = True
        self.transport = pump.add_transport()
        try:
            pump.set_payload_types(self.transport, dict(settled.payload_types))
            pump.set_extensions(self.transport, dict(settled.extensions))
            self.sources = self._add_sources(settled)
            self._receptions = {source.ssrc: Reception(source.ssrc) for source in self.sources}
            self.slots = self._add_slots(settled)
        except BaseException:
            pump.remove_transport(self.transport)
            raise
        username = f"{local.ufrag}:{offer.ice.ufrag}"
        pump.answer_checks(self.transport, username.encode(), local.password.encode())
        demux.claim_ufrag(self._ufrag, self._on_stun)
        demux.claim_transport(self.transport, self._on_datagram)

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
        blocks = [
            self._receptions[source.ssrc].block(self._pump.stream_stats(source.stream), now)
            for source in self.sources
        ]
        reports = tuple(block for block in blocks if block is not None)
        if reports:
            packet = build_compound(ReceiverReport(ssrc=OWN_SSRC, reports=reports))
            self._pump.send_rtcp(self.transport, packet)

    def _add_sources(self, settled: sdp.Answer) -> tuple[Source, ...]:
        added = []
        for offered in settled.sources:
            source = source_id(self.id, offered.kind)
            video = offered.kind.media is MediaKind.VIDEO
            codec = PayloadType.VP8 if video else PayloadType.OPUS
            stream = self._pump.add_stream(
                self.transport,
                offered.ssrc,
                video=video,
                clock_rate=codec.clock_rate,
                csrc=source,
                rtx_ssrc=offered.rtx_ssrc or 0,
            )
            added.append(Source(id=source, ssrc=offered.ssrc, stream=stream))
        return tuple(added)

    def _add_slots(self, settled: sdp.Answer) -> tuple[Slot, ...]:
        added: list[Slot] = []
        for offered in settled.slots:
            egress = self._pump.add_egress(
                self.transport,
                offered.ssrc,
                video=offered.media is MediaKind.VIDEO,
                trunk=False,
                rtx_ssrc=offered.rtx_ssrc or 0,
            )
            index = sum(slot.media is offered.media for slot in added)
            added.append(Slot(media=offered.media, index=index, ssrc=offered.ssrc, egress=egress))
        return tuple(added)

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
        for packet in packets:
            if isinstance(packet, SenderReport) and packet.ssrc in self._receptions:
                self._receptions[packet.ssrc].heard(packet, datagram.received_s)
        self._on_rtcp(self, packets, datagram.received_s)

    def _receive_dtls(self, datagram: Datagram) -> None:
        was, ignored = self._dtls.state, self._dtls.ignored
        self._dtls.receive(datagram.data)
        self._dropped["dtls_malformed"] += self._dtls.ignored - ignored
        if was is DtlsState.HANDSHAKING and self._dtls.keys is not None:
            self._pump.set_srtp(self.transport, *_sessions(self._dtls.keys))
        self._send_dtls()
        if self._dtls.state in (DtlsState.FAILED, DtlsState.CLOSED):
            self._ended.set()

    def _send_dtls(self) -> None:
        address = self._ice.selected
        for datagram in self._dtls.datagrams():
            if address is not None:
                self._pump.send(address, datagram)


def _fresh_ssrcs(offer: sdp.Offer, count: int) -> list[Ssrc]:
    """Random SSRCs, no two the same and none of them the browser's or ours (RFC 3550 §8.1)."""
    taken = {OWN_SSRC, *(ssrc for section in offer.sections for ssrc in section.ssrcs)}
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
