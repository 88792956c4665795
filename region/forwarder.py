"""One conference on this bridge: keeps the kernel and the trunks in agreement with its plan.

It gathers what `region.conference` must know, has it planned, and carries out the
difference: streams and egresses in the pump, announcements and demands on the trunks,
keyframe requests. It decides nothing about who receives what.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from region.conference import Knowledge, Local, Offered, Plan, SlotKey, plan
from region.kernel import NO_STREAM, Pump
from region.keyframes import KeyframeRequests
from region.participant import OWN_SSRC, Participant, Slot
from region.reports import forwarded
from region.rtcp import Pli, ReceiverReport, RtcpPacket, SenderReport, build_compound
from region.speakers import ranked
from region.trunks import Trunks
from relay.control import ConferenceState
from relay.ids import (
    BridgeId,
    ConferenceId,
    Generation,
    Layer,
    MediaKind,
    ParticipantId,
    SourceId,
    Ssrc,
    kind_of,
)
from relay.payload import PayloadType
from relay.trunk_messages import RelayedSource, Wanted

SPOKE_WITHIN_S = 0.5
"""A microphone without packets for longer is silent."""
SILENCE_DBOV = 127


class LinkSsrcs:
    """Hands out the SSRCs of one trunk, each once; all conferences of the trunk share it."""

    def __init__(self) -> None:
        self._last = int(OWN_SSRC)

    def take(self) -> Ssrc:
        """A number that this end of the trunk has not used before (2^32 of them suffice)."""
        self._last += 1
        return Ssrc(self._last)

    def take_pair(self) -> "LinkPair":
        """For a stream and its retransmissions."""
        return LinkPair(media=self.take(), retransmissions=self.take())


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPair:
    """By what a source goes over a trunk."""

    media: Ssrc
    retransmissions: Ssrc


@dataclass(slots=True, kw_only=True)
class TrunkSide:
    """What the bridge holds of one live trunk."""

    transport: int
    ssrcs: LinkSsrcs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Incoming:
    """A source that comes over a trunk, as a stream of the pump."""

    peer: BridgeId
    ssrcs: LinkPair
    stream: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    """A source that goes over a trunk, as an egress of the pump."""

    ssrcs: LinkPair
    egress: int


class Forwarder:
    """`close` frees all that it holds in the pump but the participants' own transports."""

    def __init__(
        self,
        conference: ConferenceId,
        me: BridgeId,
        *,
        pump: Pump,
        trunks: Trunks,
        sides: Mapping[BridgeId, TrunkSide],
    ) -> None:
        """`sides` has the trunks that are up, and is kept so by its owner."""
        self.conference = conference
        self.state = ConferenceState(
            conference=conference, generation=Generation(0), seats=(), routes=()
        )
        self.participants: dict[ParticipantId, Participant] = {}
        self.views: dict[ParticipantId, tuple[SourceId, ...]] = {}
        self._me = me
        self._pump = pump
        self._trunks = trunks
        self._sides = sides
        self._offered: dict[BridgeId, dict[SourceId, RelayedSource]] = {}
        self._demanded: dict[BridgeId, frozenset[SourceId]] = {}
        self._speakers: tuple[SourceId, ...] = ()
        self._plan = Plan()
        self._incoming: dict[SourceId, _Incoming] = {}
        self._legs: dict[BridgeId, dict[SourceId, _Leg]] = {}
        self._link_ssrcs: dict[BridgeId, dict[SourceId, LinkPair]] = {}
        self._told: set[BridgeId] = set()
        self._keyframes = KeyframeRequests()
        self._pictures: dict[int, SourceId] = {}
        """What each video egress shall carry."""

    @property
    def empty(self) -> bool:
        """Whether nobody here and nobody elsewhere needs it any more."""
        return not (self.participants or self.state.seats or self._offered or self._demanded)

    # What becomes known; the caller replans when it has said all.

    def offered(self, peer: BridgeId, sources: Iterable[RelayedSource]) -> None:
        """All that a trunk's peer announces of this conference now."""
        self._offered[peer] = {each.source: each for each in sources}
        if not self._offered[peer]:
            del self._offered[peer]

    def demanded(self, peer: BridgeId, wanted: Iterable[Wanted]) -> None:
        """All that a trunk's peer demands of this conference now."""
        self._demanded[peer] = frozenset(
            each.source for each in wanted if each.layer is not Layer.NONE
        )
        if not self._demanded[peer]:
            del self._demanded[peer]

    def trunk_lost(self, peer: BridgeId) -> None:
        """Forget the trunk, while its handles are still valid."""
        self._offered.pop(peer, None)
        self._demanded.pop(peer, None)
        self._told.discard(peer)
        for source in [s for s, each in self._incoming.items() if each.peer == peer]:
            self._pump.remove_stream(self._incoming.pop(source).stream)
        for leg in self._legs.pop(peer, {}).values():
            self._pump.remove_egress(leg.egress)
        self._link_ssrcs.pop(peer, None)

    def measure_levels(self, now: float) -> bool:
        """Rank the speakers anew; whether the ranking has changed."""
        levels = {}
        for source, stream in self._streams().items():
            if kind_of(source).media is MediaKind.AUDIO:
                stats = self._pump.stream_stats(stream)
                spoke = now - stats.last_packet_s < SPOKE_WITHIN_S
                levels[source] = stats.level if spoke else SILENCE_DBOV
        before, self._speakers = self._speakers, ranked(levels, self._speakers)
        return self._speakers != before

    def close(self, now: float) -> None:
        """Nobody is left: take back what the trunks were told."""
        self.state = ConferenceState(
            conference=self.conference, generation=self.state.generation, seats=(), routes=()
        )
        self._offered.clear()
        self._demanded.clear()
        self.replan(now)

    # Carrying out

    def replan(self, now: float) -> None:
        """Make everything agree with what is known now."""
        self._plan = plan(
            Knowledge(
                me=self._me,
                state=self.state,
                locals={
                    each.id: _local(each, self.views.get(each.id))
                    for each in self.participants.values()
                },
                offered={
                    peer: {
                        each.source: Offered(origin=each.origin, hops=each.hops)
                        for each in sources.values()
                    }
                    for peer, sources in self._offered.items()
                    if peer in self._sides
                },
                demanded={
                    peer: wanted for peer, wanted in self._demanded.items() if peer in self._sides
                },
                speakers=self._speakers,
            ),
            self._plan,
        )
        self._receive_demanded()
        self._pictures.clear()
        streams = self._streams()
        asked: set[SourceId] = set()
        self._fill_slots(streams, asked)
        self._run_legs(streams, asked)
        self._tell_trunks()
        self._keyframes.retain(streams.keys())
        for source in sorted(asked):
            self.request_keyframe(source, now)

    def _streams(self) -> dict[SourceId, int]:
        """Each source that arrives here, and the pump's stream of it."""
        streams = {source: each.stream for source, each in self._incoming.items()}
        for participant in self.participants.values():
            streams |= {source.id: source.stream for source in participant.sources}
        return streams

    def _receive_demanded(self) -> None:
        """Streams for what the trunks shall bring, under the SSRCs that were announced."""
        wanted = {
            source: (peer, _announced_pair(self._offered[peer][source]))
            for peer, sources in self._plan.demands.items()
            for source in sources
        }
        for source, incoming in list(self._incoming.items()):
            if wanted.get(source) != (incoming.peer, incoming.ssrcs):
                self._pump.remove_stream(incoming.stream)
                del self._incoming[source]
        for source, (peer, ssrcs) in wanted.items():
            if source not in self._incoming:
                kind = kind_of(source).media
                codec = PayloadType.VP8 if kind is MediaKind.VIDEO else PayloadType.OPUS
                stream = self._pump.add_stream(
                    self._sides[peer].transport,
                    ssrcs.media,
                    video=kind is MediaKind.VIDEO,
                    clock_rate=codec.clock_rate,
                    csrc=source,
                    rtx_ssrc=ssrcs.retransmissions,
                )
                self._incoming[source] = _Incoming(peer=peer, ssrcs=ssrcs, stream=stream)

    def _fill_slots(self, streams: Mapping[SourceId, int], asked: set[SourceId]) -> None:
        for participant in self.participants.values():
            for slot in participant.slots:
                source = self._plan.slots.get(_key(participant, slot))
                self._carry(slot.egress, source, streams, asked)

    def _run_legs(self, streams: Mapping[SourceId, int], asked: set[SourceId]) -> None:
        for peer in self._legs.keys() | self._plan.legs.keys():
            legs = self._legs.setdefault(peer, {})
            wanted = self._plan.legs.get(peer, frozenset())
            for source in legs.keys() - wanted:
                self._pump.remove_egress(legs.pop(source).egress)
                # Its sequence numbers may be anywhere when it is wanted again, and both ends
                # would guess different rollover counters (RFC 3711 §3.3.1): a new SSRC then.
                self._link_ssrcs[peer].pop(source, None)
            for source in wanted - legs.keys():
                ssrcs = self._link_pair(peer, source)
                egress = self._pump.add_egress(
                    self._sides[peer].transport,
                    ssrcs.media,
                    video=kind_of(source).media is MediaKind.VIDEO,
                    trunk=True,
                    rtx_ssrc=ssrcs.retransmissions,
                )
                legs[source] = _Leg(ssrcs=ssrcs, egress=egress)
            for source, leg in legs.items():
                self._carry(leg.egress, source, streams, asked)
            if not legs:
                del self._legs[peer]

    def _carry(
        self,
        egress: int,
        source: SourceId | None,
        streams: Mapping[SourceId, int],
        asked: set[SourceId],
    ) -> None:
        """Let the egress carry the source; whose picture it waits for is `asked` for a keyframe."""
        stream = NO_STREAM if source is None else streams[source]
        stats = self._pump.egress_stats(egress)
        if stats.wanted != stream or stream == NO_STREAM:
            self._pump.set_source(egress, stream)
        if source is not None and kind_of(source).media is MediaKind.VIDEO:
            self._pictures[egress] = source
            if stats.stream != stream:
                asked.add(source)

    def _tell_trunks(self) -> None:
        """Announcements and demands; the link sends only what has changed."""
        for peer in self._told | self._plan.announced.keys() | self._plan.demands.keys():
            if peer not in self._sides:
                continue
            announced = self._plan.announced.get(peer, {})
            for source in self._link_ssrcs.get(peer, {}).keys() - announced.keys():
                del self._link_ssrcs[peer][source]
            self._trunks.announce(
                peer,
                self.conference,
                tuple(
                    RelayedSource(
                        source=source,
                        ssrc=self._link_pair(peer, source).media,
                        rtx_ssrc=self._link_pair(peer, source).retransmissions,
                        origin=offered.origin,
                        hops=offered.hops,
                    )
                    for source, offered in sorted(announced.items())
                ),
            )
            demand = self._plan.demands.get(peer, frozenset())
            self._trunks.demand(
                peer,
                self.conference,
                tuple(Wanted(source=source, layer=Layer.ALL) for source in sorted(demand)),
            )
            if announced or demand:
                self._told.add(peer)
            else:
                self._told.discard(peer)

    def _link_pair(self, peer: BridgeId, source: SourceId) -> LinkPair:
        known = self._link_ssrcs.setdefault(peer, {})
        if source not in known:
            known[source] = self._sides[peer].ssrcs.take_pair()
        return known[source]

    # RTCP

    def request_keyframe(self, source: SourceId, now: float) -> None:
        """Ask for one where the source comes from, unless that was done a moment ago."""
        if self._keyframes.request(source, now):
            self._send_pli(source)

    def on_tick(self, now: float, awaiting: frozenset[int]) -> None:
        """Ask (again) for keyframes that are due, or that one of these egresses waits for."""
        for source in self._keyframes.due(now):
            self._send_pli(source)
        for source in {self._pictures[egress] for egress in self._pictures.keys() & awaiting}:
            self.request_keyframe(source, now)

    def slot_keyframe(self, participant: Participant, ssrc: Ssrc, now: float) -> None:
        """A client cannot decode what is in one of its slots."""
        for slot in participant.slots:
            source = self._plan.slots.get(_key(participant, slot))
            if slot.ssrc == ssrc and source is not None:
                self.request_keyframe(source, now)

    def leg_keyframe(self, peer: BridgeId, ssrc: Ssrc, now: float) -> bool:
        """A peer needs a keyframe of what goes to it by this SSRC; whether that is ours."""
        for source, leg in self._legs.get(peer, {}).items():
            if leg.ssrcs.media == ssrc:
                self.request_keyframe(source, now)
                return True
        return False

    def leg_nack(self, peer: BridgeId, ssrc: Ssrc, sequences: list[int]) -> bool:
        """A peer misses packets of what goes to it by this SSRC; whether that is ours."""
        for leg in self._legs.get(peer, {}).values():
            if leg.ssrcs.media == ssrc:
                self._pump.retransmit(leg.egress, sequences)
                return True
        return False

    def relayed_report(self, peer: BridgeId, report: SenderReport) -> bool:
        """A sender report of what comes from the peer; whether that is ours."""
        for source, incoming in self._incoming.items():
            if incoming.peer == peer and incoming.ssrcs.media == report.ssrc:
                self.forward_report(source, report)
                return True
        return False

    def forward_report(self, source: SourceId, report: SenderReport) -> None:
        """Tell everybody who gets the source, in the terms of what they get."""
        stream = self._streams().get(source)
        for participant in self.participants.values():
            for slot in participant.slots:
                if self._plan.slots.get(_key(participant, slot)) == source:
                    stats = self._pump.egress_stats(slot.egress)
                    if stats.stream == stream:
                        packet = _for_itself(forwarded(report, slot.ssrc, stats))
                        self._pump.send_rtcp(participant.transport, packet)
        for peer, legs in self._legs.items():
            leg = legs.get(source)
            if leg is not None:
                stats = self._pump.egress_stats(leg.egress)
                if stats.stream == stream:
                    self._trunks.send_rtcp(
                        peer, _for_itself(forwarded(report, leg.ssrcs.media, stats))
                    )

    def _send_pli(self, source: SourceId) -> None:
        incoming = self._incoming.get(source)
        if incoming is not None:
            self._trunks.send_rtcp(incoming.peer, _pli(incoming.ssrcs.media))
            return
        for participant in self.participants.values():
            for own in participant.sources:
                if own.id == source:
                    self._pump.send_rtcp(participant.transport, _pli(own.ssrc))


def _local(participant: Participant, view: tuple[SourceId, ...] | None) -> Local:
    count = {media: sum(slot.media is media for slot in participant.slots) for media in MediaKind}
    return Local(
        sources=frozenset(source.id for source in participant.sources),
        audio_slots=count[MediaKind.AUDIO],
        video_slots=count[MediaKind.VIDEO],
        view=view,
    )


def _key(participant: Participant, slot: Slot) -> SlotKey:
    return SlotKey(participant=participant.id, media=slot.media, index=slot.index)


def _for_itself(*packets: RtcpPacket) -> bytes:
    """A compound that begins with the bridge's own SSRC, by which SRTCP knows its sender."""
    return build_compound(ReceiverReport(ssrc=OWN_SSRC), *packets)


def _announced_pair(source: RelayedSource) -> LinkPair:
    return LinkPair(media=source.ssrc, retransmissions=source.rtx_ssrc)


def _pli(media_ssrc: Ssrc) -> bytes:
    return _for_itself(Pli(sender_ssrc=OWN_SSRC, media_ssrc=media_ssrc))
