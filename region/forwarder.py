"""One conference on this bridge: keeps the kernel and the trunks in agreement with its plan.

It gathers what `region.conference` must know, has it planned, and carries out the
difference: streams and egresses in the pump, announcements and demands on the trunks, what
senders are told. It decides nothing about who receives what.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from region.conference import (
    LOUDEST_RELAYED,
    Knowledge,
    Local,
    Offered,
    Plan,
    SlotKey,
    demands,
    plan,
)
from region.feed import Feed
from region.flows import Flows, Incoming
from region.kernel import PathReport, Pump, StreamStats
from region.legs import Legs, TrunkSide
from region.participant import Participant, Slot
from region.rtcp_router import RtcpRouter
from region.speakers import SILENT_DBOV, Speakers
from region.trunks import Trunks
from region.viewer import Viewer
from region.wishes import Wishes
from relay.control import ConferenceState, DominantSpeaker, FromBridge, LayersWanted, View
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
    participant_of,
)
from relay.payload import PayloadType
from relay.trunk_messages import RelayedEncoding, RelayedSource, Wanted

SPOKE_WITHIN_S = 0.5
"""A microphone without packets for longer is silent."""
SILENCE_DBOV = 127
VOICES_HELD_S = 5.0
"""Bandwidth is kept for as many voices as there were lately: people draw breath."""
VOICE_BPS = 60_000
"""Of a voice: Opus at 32 kbit/s in 50 packets a second, headers included."""


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
        tell_focus: Callable[[FromBridge], None],
        small: bool,
    ) -> None:
        """`sides` has the trunks that are up, and is kept so by its owner."""
        self.conference = conference
        self.state = ConferenceState(
            conference=conference, generation=Generation(0), seats=(), routes=()
        )
        self.views: dict[ParticipantId, View] = {}
        self._me = me
        self._pump = pump
        self._trunks = trunks
        self._sides = sides
        self._tell_focus = tell_focus
        self._flows = Flows()
        self.rtcp = RtcpRouter(self._flows, pump=pump, trunks=trunks)
        self._offered: dict[BridgeId, dict[SourceId, RelayedSource]] = {}
        self._demanded: dict[BridgeId, dict[SourceId, tuple[Layer, ...]]] = {}
        self._speakers = Speakers()
        self._dominant: ParticipantId | None = None
        self._voices = 0
        self._voices_s = 0.0
        """Microphones that are heard now."""
        self._knowledge: Knowledge | None = None
        self._plan = Plan()
        self._told: set[BridgeId] = set()
        self._wishes = Wishes()
        self._small = small
        """Whether the bridge carries no larger pictures than it must."""

    @property
    def participants(self) -> Mapping[ParticipantId, Participant]:
        """Those whose transports are here."""
        return {each: viewer.participant for each, viewer in self._flows.viewers.items()}

    @property
    def empty(self) -> bool:
        """Whether nobody here and nobody elsewhere needs it any more."""
        return not (self._flows.viewers or self.state.seats or self._offered or self._demanded)

    def focus_is_new(self) -> None:
        """It knows nothing of what the one before was told."""
        self.state = replace(self.state, generation=Generation(0))
        self._wishes = Wishes()
        self._dominant = None

    # What becomes known; the caller replans when it has said all.

    def join(self, participant: Participant) -> None:
        """Its transport is ready, or has more slots and sources than before."""
        viewer = self._flows.viewers.get(participant.id)
        if viewer is None or viewer.participant is not participant:
            self._flows.viewers[participant.id] = Viewer(participant, self._pump)
        for source in participant.sources:
            if (
                source.id not in self._flows.own
                or self._flows.own[source.id].streams != source.encodings
            ):
                self._flows.own[source.id] = Feed(source.id, source.encodings)

    def leave(self, participant: ParticipantId) -> Participant:
        """It is gone, but for its transport, which the caller closes."""
        for source in [each for each in self._flows.own if participant_of(each) == participant]:
            del self._flows.own[source]
            self._flows.own_ssrcs.pop(source, None)
            self._wishes.forget(source)
        return self._flows.viewers.pop(participant).participant

    def offered(self, peer: BridgeId, sources: Iterable[RelayedSource]) -> None:
        """All that a trunk's peer announces of this conference now."""
        self._offered[peer] = {each.source: each for each in sources}
        if not self._offered[peer]:
            del self._offered[peer]

    def demanded(self, peer: BridgeId, wanted: Iterable[Wanted]) -> None:
        """All that a trunk's peer demands of this conference now."""
        self._demanded[peer] = {each.source: each.layers for each in wanted}
        if not self._demanded[peer]:
            del self._demanded[peer]

    def trunk_lost(self, peer: BridgeId) -> None:
        """Forget the trunk, while its handles are still valid."""
        self._offered.pop(peer, None)
        self._demanded.pop(peer, None)
        self._told.discard(peer)
        for source in [s for s, each in self._flows.incoming.items() if each.peer == peer]:
            self._remove_incoming(source)
        legs = self._flows.legs.pop(peer, None)
        if legs is not None:
            legs.close()

    def close(self, now: float) -> None:
        """Nobody is left: take back what the trunks were told."""
        self.state = ConferenceState(
            conference=self.conference, generation=self.state.generation, seats=(), routes=()
        )
        self._offered.clear()
        self._demanded.clear()
        self.replan(now)

    # Planning

    def replan(self, now: float) -> None:
        """Make everything agree with what is known now."""
        knowledge = self._known()
        self._knowledge = knowledge
        self._plan = plan(knowledge, self._plan)
        self._expect_announced()
        for viewer in self._flows.viewers.values():
            participant = viewer.participant
            shown = {
                slot: source
                for slot in participant.slots
                if (source := self._plan.slots.get(_key(participant, slot))) is not None
            }
            viewer.show(shown, self._plan.pictures.get(participant.id, ()))
        self._announce()
        self._share_out(self._flows.viewers.values(), now)
        self.rtcp.retain_only_what_flows()

    def _known(self) -> Knowledge:
        return Knowledge(
            me=self._me,
            state=self.state,
            locals={
                each: _local(viewer.participant, self.views.get(each))
                for each, viewer in self._flows.viewers.items()
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
            speakers=self._speakers.ranking,
            voices=self._speakers.voices,
        )

    def _share_out(self, viewers: Iterable[Viewer], now: float) -> None:
        """Decide how good each picture is for these, and bring about what that needs."""
        feeds = self._flows.feeds
        for viewer in viewers:
            viewer.share_out(
                feeds, self.state.codec, self._voices * VOICE_BPS, now, small=self._small
            )
        self._bring_about(now)

    def _bring_about(self, now: float) -> None:
        """What slots and legs shall carry, and what has to come for that."""
        feeds = self._flows.feeds
        for viewer in self._flows.viewers.values():
            viewer.carry(feeds)
        for peer, legs in self._flows.legs.items():
            legs.carry(self._plan.legs.get(peer, {}), feeds)
        awaiting = frozenset(self._pump.awaiting())
        self._demand(awaiting, now)
        self.rtcp.ask_awaited(awaiting, now)

    def _demand(self, awaiting: frozenset[int], now: float) -> None:
        """Tell trunks and senders what has to come."""
        assert self._knowledge is not None
        targets = (
            target for viewer in self._flows.viewers.values() for target in viewer.targets(awaiting)
        )
        needed = demands(self._plan, self._knowledge, targets)
        for peer in self._told | self._plan.announced.keys() | needed.peers.keys():
            if peer not in self._sides:
                continue
            wanted = needed.peers.get(peer, {})
            self._trunks.demand(
                peer,
                self.conference,
                tuple(
                    Wanted(source=source, layers=layers)
                    for source, layers in sorted(wanted.items())
                ),
            )
            if wanted or self._plan.announced.get(peer):
                self._told.add(peer)
            else:
                self._told.discard(peer)
        for source, layers in self._wishes.update(needed.own, now).items():
            self._tell_focus(
                LayersWanted(
                    conference=self.conference,
                    participant=participant_of(source),
                    kind=kind_of(source),
                    layers=layers,
                )
            )

    def _expect_announced(self) -> None:
        """Streams for all that the trunks could bring: what is not demanded does not come."""
        wanted = {
            source: (peer, self._offered[peer][source].encodings)
            for source, peer in self._plan.upstreams.items()
        }
        for source, incoming in list(self._flows.incoming.items()):
            if wanted.get(source) != (incoming.peer, incoming.encodings):
                self._remove_incoming(source)
        for source, (peer, encodings) in wanted.items():
            if source not in self._flows.incoming:
                feed = Feed(source, self._add_streams(source, peer, encodings))
                self._flows.incoming[source] = Incoming(peer=peer, encodings=encodings, feed=feed)

    def _add_streams(
        self, source: SourceId, peer: BridgeId, encodings: Iterable[RelayedEncoding]
    ) -> list[int]:
        video = kind_of(source).media is MediaKind.VIDEO
        return [
            self._pump.add_stream(
                self._sides[peer].transport,
                each.ssrc,
                video=video,
                clock_rate=(PayloadType.VP8 if video else PayloadType.OPUS).clock_rate,
                csrc=source,
                rtx_ssrc=each.rtx_ssrc,
                upper=number > 0,
            )
            for number, each in enumerate(encodings)
        ]

    def _remove_incoming(self, source: SourceId) -> None:
        for stream in self._flows.incoming.pop(source).feed.streams:
            self._pump.remove_stream(stream)

    def _announce(self) -> None:
        """What peers may demand; the link sends only what has changed."""
        feeds = self._flows.feeds
        for peer in self._told | self._plan.announced.keys() | self._flows.legs.keys():
            if peer not in self._sides:
                continue
            announced = self._plan.announced.get(peer, {})
            legs = self._flows.legs.get(peer)
            if legs is None:
                legs = self._flows.legs[peer] = Legs(peer, self._sides[peer], self._pump)
            legs.retain(announced)
            self._trunks.announce(
                peer,
                self.conference,
                tuple(
                    RelayedSource(
                        source=source,
                        encodings=legs.names(source, len(feeds[source].streams)),
                        origin=offered.origin,
                        hops=offered.hops,
                    )
                    for source, offered in sorted(announced.items())
                ),
            )
            if announced:
                self._told.add(peer)
            else:
                del self._flows.legs[peer]

    # Time

    def relieve(self, small: bool, now: float) -> None:
        """From now on the bridge carries no larger pictures than it must, or any again."""
        self._small = small
        if self._knowledge is not None:
            self._share_out(self._flows.viewers.values(), now)

    def look(self, now: float) -> None:
        """See what arrives and who speaks: a few times a second."""
        levels: dict[SourceId, int] = {}
        changed = False
        for source, feed in self._flows.feeds.items():
            stats = [self._pump.stream_stats(stream) for stream in feed.streams]
            changed |= feed.look(stats, now)
            if kind_of(source).media is MediaKind.AUDIO:
                spoke = now - stats[0].last_packet_s < SPOKE_WITHIN_S
                levels[source] = stats[0].level if spoke else SILENCE_DBOV
            if source in self._flows.own:
                self._note_ssrcs(source, stats)
        heard = sum(level < SILENT_DBOV for level in levels.values())
        if heard >= self._voices or now - self._voices_s > VOICES_HELD_S:
            self._voices, self._voices_s = min(heard, LOUDEST_RELAYED), now
        before = self._speakers.ranking, self._speakers.voices[:LOUDEST_RELAYED]
        self._speakers.update(levels, now)
        self._tell_dominant()
        # Who is behind all audio slots may change places unheard.
        if (self._speakers.ranking, self._speakers.voices[:LOUDEST_RELAYED]) != before:
            self.replan(now)
        elif changed:
            self._share_out(self._flows.viewers.values(), now)

    def on_tick(
        self, now: float, reports: Mapping[int, PathReport], awaiting: frozenset[int]
    ) -> None:
        """Follow what paths carry; ask (again) for keyframes that are due, or awaited."""
        changed = []
        for viewer in self._flows.viewers.values():
            transport = viewer.participant.transport
            report = reports.get(transport)
            if report is None:
                continue
            viewer.downlink.on_report(report, now)
            probe = viewer.downlink.next_probe(now)
            if probe is not None:
                self._pump.probe(transport, probe.rate_bps, probe.duration_s, probe.cluster)
            if viewer.downlink.has_changed(self._voices * VOICE_BPS, now):
                changed.append(viewer)
        if changed:
            self._share_out(changed, now)
        self.rtcp.ask_awaited(awaiting, now)

    def _note_ssrcs(self, source: SourceId, stats: Iterable[StreamStats]) -> None:
        self._flows.own_ssrcs[source] = {
            encoding: Ssrc(each.ssrc) for encoding, each in enumerate(stats) if each.ssrc
        }

    def _tell_dominant(self) -> None:
        source = self._speakers.dominant
        dominant = None if source is None else participant_of(source)
        if dominant != self._dominant:
            self._dominant = dominant
            self._tell_focus(DominantSpeaker(conference=self.conference, participant=dominant))


def _local(participant: Participant, view: View | None) -> Local:
    count = {media: sum(slot.media is media for slot in participant.slots) for media in MediaKind}
    local = Local(
        sources=frozenset(source.id for source in participant.sources),
        audio_slots=count[MediaKind.AUDIO],
        video_slots=count[MediaKind.VIDEO],
    )
    if view is None:
        return local
    return replace(local, pictures=view.pictures, last_n=view.last_n, height_px=view.height_px)


def _key(participant: Participant, slot: Slot) -> SlotKey:
    return SlotKey(participant=participant.id, media=slot.media, number=slot.index)
