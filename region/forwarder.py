"""One conference on this bridge: keeps the kernel and the trunks in agreement with its plan.

It gathers what `region.conference` must know, has it planned, and carries out the
difference: streams and egresses in the pump, announcements and demands on the trunks, what
senders are told. It decides nothing about who receives what.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from region.conference import Knowledge, Plan, SlotKey, plan
from region.demands import demands
from region.feed import Feed
from region.floor import Floor
from region.flows import Flows, Incoming
from region.kernel import Pump, StreamStats
from region.known import Known
from region.legs import Legs, TrunkSide
from region.news import News
from region.pace import Pace, is_over
from region.participant import Participant, Slot
from region.rtcp_router import RtcpRouter
from region.trunks import Trunks
from region.viewer import Viewer
from region.wishes import Wishes
from relay.control import ConferenceState, DominantSpeaker, FromBridge, LayersWanted, View
from relay.errors import CapacityError
from relay.ids import (
    BridgeId,
    ConferenceId,
    Generation,
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
DEMAND_S = 1.0
"""What is demanded is looked at anew at least so often: keyframes come, and holds run out."""


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
        dropped: Counter[str],
        small: bool,
    ) -> None:
        """`sides` has the trunks that are up, and is kept so by its owner; `dropped` counts."""
        self.conference = conference
        self._dropped = dropped
        self._pump = pump
        self._trunks = trunks
        self._sides = sides
        self._tell_focus = tell_focus
        self.participants: dict[ParticipantId, Participant] = {}
        """Those whose transports are here."""
        self._flows = Flows()
        self.rtcp = RtcpRouter(self._flows, pump=pump, trunks=trunks)
        self._known = Known(me, conference)
        self._outdated = False
        """Whether somebody looks at something, or others speak, than is planned for."""
        self._floor = Floor()
        self._dominant: ParticipantId | None = None
        """As the focus was told."""
        self._knowledge: Knowledge | None = None
        self._plan = Plan()
        self._newcomers: set[ParticipantId] = set()
        """Whose slots have been told nothing yet."""
        self._altered: set[SourceId] = set()
        """Whose feeds are others, or have other encodings, than when slots were told of them."""
        self._codec = self._known.state.codec
        """For which pictures were shared out."""
        self._demanded_s = float("-inf")
        self._pace = Pace()
        self._told: set[BridgeId] = set()
        self._wishes = Wishes()
        self._small = small
        """Whether the bridge carries no larger pictures than it must."""
        self.wanted_bps = 0
        """What would be sent to those here if pictures were as large as they are asked for."""

    @property
    def state(self) -> ConferenceState:
        """The conference as the focus has it."""
        return self._known.state

    @state.setter
    def state(self, state: ConferenceState) -> None:
        self._known.state = state

    @property
    def empty(self) -> bool:
        """Whether nobody here and nobody elsewhere needs it any more."""
        return not self._flows.viewers and self._known.nothing

    def is_lively(self, now: float) -> bool:
        """Whether somebody speaks, a path is followed, or anything is behind or has changed."""
        return self._is_behind or self._pace.is_lively(now)

    @property
    def _is_behind(self) -> bool:
        return self._outdated or self.rtcp.defers

    def is_due(self, now: float, news: News) -> bool:
        """Whether to look now."""
        if self._is_behind or self._pace.is_due(now):
            return True
        changed, reports = news.changed, news.reports
        feeds = self._flows.feeds.values()
        if changed and any(not changed.isdisjoint(feed.streams) for feed in feeds):
            return True
        if any(self._flows.awaited(news.awaiting_anew)):
            return True
        viewers = self._flows.viewers.values()
        return bool(reports) and any(it.participant.transport in reports for it in viewers)

    def focus_is_new(self) -> None:
        """It knows nothing of what the one before was told."""
        self.state = replace(self.state, generation=Generation(0))
        self._wishes = Wishes()
        self._dominant = None

    def look_at(self, view: View) -> None:
        """A participant chooses its pictures: it gets them with the next look.

        When somebody begins to speak, many do so at once.
        """
        self._known.look_at(view)
        self._outdated = True

    def forget_view(self, participant: ParticipantId) -> None:
        """It has left for good."""
        self._known.forget_view(participant)

    # What becomes known; the caller replans when it has said all.

    def join(self, participant: Participant) -> None:
        """Its transport is ready, or has more slots and sources than before."""
        viewer = self._flows.viewers.get(participant.id)
        if viewer is None or viewer.participant is not participant:
            self._flows.viewers[participant.id] = Viewer(participant, self._pump)
            self._newcomers.add(participant.id)
            self.participants[participant.id] = participant
        for source in participant.sources:
            if (
                source.id not in self._flows.own
                or self._flows.own[source.id].streams != source.encodings
            ):
                self._flows.own[source.id] = Feed(source.id, source.encodings)
                self._flows.arrange()
                self._altered.add(source.id)

    def leave(self, participant: ParticipantId) -> Participant:
        """It is gone, but for its transport, which the caller closes."""
        for source in [each for each in self._flows.own if participant_of(each) == participant]:
            del self._flows.own[source]
            self._flows.own_ssrcs.pop(source, None)
            self._wishes.forget(source)
        self._flows.arrange()
        del self._flows.viewers[participant]
        return self.participants.pop(participant)

    def offered(self, peer: BridgeId, sources: Iterable[RelayedSource]) -> None:
        """All that a trunk's peer announces of this conference now."""
        self._known.offered(peer, sources)

    def demanded(self, peer: BridgeId, wanted: Iterable[Wanted]) -> None:
        """All that a trunk's peer demands of this conference now."""
        self._known.demanded(peer, wanted)

    def trunk_lost(self, peer: BridgeId) -> None:
        """Forget the trunk, while its handles are still valid."""
        self._known.trunk_lost(peer)
        self._told.discard(peer)
        for source in [s for s, each in self._flows.incoming.items() if each.peer == peer]:
            self._remove_incoming(source)
        self._flows.arrange()
        legs = self._flows.legs.pop(peer, None)
        if legs is not None:
            legs.close()

    def close(self, now: float) -> None:
        """Nobody is left: take back what the trunks were told."""
        self._known.forget_all()
        self.replan(now)

    # Planning

    def replan(self, now: float) -> None:
        """Make everything agree with what is known now."""
        self._outdated = False
        self._pace.enliven(now)
        knowledge = self._known.knowledge(self.participants, self._sides.keys(), self._floor)
        self._knowledge = knowledge
        self._plan = plan(knowledge, self._plan)
        self._expect_announced()
        self._tell_viewers(now)
        self._announce()
        self._carry_legs()
        self._bring_about(now)
        self.rtcp.retain_only_what_flows()

    def _tell_viewers(self, now: float) -> None:
        """Those whom the plan, or what has become of feeds, concerns."""
        feeds = self._flows.feeds
        recoded, self._codec = self.state.codec is not self._codec, self.state.codec
        sharing = []
        for each, viewer in self._flows.viewers.items():
            is_new = each in self._newcomers
            if is_new or each in self._plan.heard_anew:
                viewer.hear(self._in_slots(viewer.participant, MediaKind.AUDIO))
                viewer.carry_voices(feeds)
            elif viewer.hears_any(self._altered):
                viewer.carry_voices(feeds)
            if is_new or each in self._plan.seen_anew:
                shown = self._in_slots(viewer.participant, MediaKind.VIDEO)
                viewer.see(shown, self._plan.pictures.get(each, ()))
                sharing.append(viewer)
            elif recoded or viewer.sees_any(self._altered):
                sharing.append(viewer)
        self._newcomers.clear()
        self._altered.clear()
        self._share_out(sharing, now)
        self._carry_pictures(sharing)

    def _in_slots(self, participant: Participant, media: MediaKind) -> dict[Slot, SourceId]:
        return {
            slot: source
            for slot in participant.slots
            if slot.media is media
            and (source := self._plan.slots.get(_key(participant, slot))) is not None
        }

    def _share_out(self, viewers: Iterable[Viewer], now: float) -> bool:
        """Decide how good each picture is for these; whether any is better or worse than before."""
        codec, audio_bps = self.state.codec, self._floor.voices_bps
        changed = [
            each.share_out(self._flows.feeds, codec, audio_bps, now, small=self._small)
            for each in viewers
        ]
        self.wanted_bps = sum(viewer.wanted_bps for viewer in self._flows.viewers.values())
        return any(changed)

    def _carry_pictures(self, viewers: Iterable[Viewer]) -> None:
        """Have their slots carry what was decided, as far as it is there."""
        feeds = self._flows.feeds
        for viewer in viewers:
            viewer.carry_pictures(feeds)

    def _carry_legs(self) -> None:
        feeds = self._flows.feeds
        for peer, legs in self._flows.legs.items():
            legs.carry(self._plan.legs.get(peer, {}), feeds)

    def _bring_about(self, now: float) -> None:
        """See to it that what slots and legs shall carry comes."""
        awaiting = frozenset(self._pump.awaiting())
        self._demand(awaiting, now)
        self._demanded_s = now
        if self.rtcp.ask_awaited(awaiting, now):
            self._pace.enliven(now)

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
            source: (peer, self._known.sources[peer][source].encodings)
            for source, peer in self._plan.upstreams.items()
        }
        for source, incoming in list(self._flows.incoming.items()):
            if wanted.get(source) != (incoming.peer, incoming.encodings):
                self._remove_incoming(source)
        for source, (peer, encodings) in wanted.items():
            if source not in self._flows.incoming:
                self._expect(source, peer, encodings)
        self._flows.arrange()

    def _expect(
        self, source: SourceId, peer: BridgeId, encodings: tuple[RelayedEncoding, ...]
    ) -> None:
        streams: list[int] = []
        try:
            for number, each in enumerate(encodings):
                streams.append(self._add_stream(source, peer, each, upper=number > 0))
        except CapacityError:
            self._dropped["sources_refused"] += 1
            for stream in streams:
                self._pump.remove_stream(stream)
            return
        feed = Feed(source, streams)
        self._flows.incoming[source] = Incoming(peer=peer, encodings=encodings, feed=feed)
        self._altered.add(source)

    def _add_stream(
        self, source: SourceId, peer: BridgeId, encoding: RelayedEncoding, *, upper: bool
    ) -> int:
        video = kind_of(source).media is MediaKind.VIDEO
        return self._pump.add_stream(
            self._sides[peer].transport,
            encoding.ssrc,
            video=video,
            clock_rate=(PayloadType.VP8 if video else PayloadType.OPUS).clock_rate,
            csrc=source,
            rtx_ssrc=encoding.rtx_ssrc,
            upper=upper,
        )

    def _remove_incoming(self, source: SourceId) -> None:
        self.rtcp.forget(source)
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
                legs = self._flows.legs[peer] = Legs(
                    peer, self._sides[peer], self._pump, self._dropped
                )
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
                    if source in feeds
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
        viewers = list(self._flows.viewers.values())
        if self._knowledge is not None and self._share_out(viewers, now):
            self._carry_pictures(viewers)
            self._bring_about(now)

    def look(self, now: float, news: News) -> None:
        """See what arrives and follow what paths carry; to be called when it `is_due`."""
        if self._pace.look(now):
            self._listen(now)
        for viewer in self._flows.viewers.values():
            if (report := news.reports.get(viewer.participant.transport)) is not None:
                viewer.follow(report, now)
                if not viewer.downlink.is_ample:
                    self._pace.follow(now)
        if self._outdated:
            self.replan(now)
        self._follow_paths(now)
        if is_over(DEMAND_S, self._demanded_s, now) and self._knowledge is not None:
            self._bring_about(now)
        elif self.rtcp.ask_awaited(news.awaiting, now):
            self._pace.enliven(now)

    def _listen(self, now: float) -> None:
        """Read the counters of all feeds, and find what has changed."""
        levels: dict[SourceId, int] = {}
        for source, feed in self._flows.feeds.items():
            stats = [self._pump.stream_stats(stream) for stream in feed.streams]
            if feed.look(stats, now):
                self._altered.add(source)
            if kind_of(source).media is MediaKind.AUDIO:
                spoke = now - stats[0].last_packet_s < SPOKE_WITHIN_S
                levels[source] = stats[0].level if spoke else SILENCE_DBOV
            if source in self._flows.own:
                self._note_ssrcs(source, stats)
        if self._floor.hear(levels, self._known.audio_slots(), now):
            self._outdated = True
        self._tell_dominant()
        if self._altered or any(level < SILENCE_DBOV for level in levels.values()):
            self._pace.enliven(now)
        elif any(feed.alive for feed in self._flows.feeds.values()):
            self._pace.keep_awake(now)

    def _follow_paths(self, now: float) -> None:
        """Share out anew what has become more or less, where feeds or paths have changed."""
        voices_bps = self._floor.voices_bps
        concerned = [
            viewer
            for viewer in self._flows.viewers.values()
            if viewer.downlink.has_changed(voices_bps, now)
            or (self._altered and viewer.sees_any(self._altered))
        ]
        is_altered = bool(self._altered)
        self._altered.clear()
        is_other = self._share_out(concerned, now)
        if is_altered or is_other:
            self._carry_pictures(concerned)
            self._carry_legs()
            self._bring_about(now)

    def _note_ssrcs(self, source: SourceId, stats: Iterable[StreamStats]) -> None:
        self._flows.own_ssrcs[source] = {
            encoding: Ssrc(each.ssrc) for encoding, each in enumerate(stats) if each.ssrc
        }

    def _tell_dominant(self) -> None:
        dominant = self._floor.dominant
        if dominant != self._dominant:
            self._dominant = dominant
            self._tell_focus(DominantSpeaker(conference=self.conference, participant=dominant))


def _key(participant: Participant, slot: Slot) -> SlotKey:
    return SlotKey(participant=participant.id, media=slot.media, number=slot.index)
