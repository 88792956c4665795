"""All conferences of a bridge: brings what focus, trunks and clients say to the right one.

A shell: owns the participants and the clock of their conferences, and keeps each failure
with the participant that it belongs to.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import monotonic
from typing import assert_never

import structlog
import trio

from region.beats import beat, next_beat_s
from region.demux import Demux
from region.dtls import DtlsServer
from region.forwarder import Forwarder
from region.kernel import Pump
from region.legs import LinkSsrcs, TrunkSide
from region.news import News
from region.pace import LOOK_S
from region.participant import OWN_SSRC, Participant, Reach
from region.relief import Relief
from region.rtcp import (
    Fir,
    Nack,
    Pli,
    ReceiverReport,
    RtcpPacket,
    parse_compound_untrusted,
)
from region.trunks import (
    TrunkAnnounced,
    TrunkDemanded,
    TrunkDown,
    TrunkEvent,
    TrunkRtcp,
    Trunks,
    TrunkUp,
)
from relay.control import (
    Allocate,
    Allocated,
    ConferenceState,
    FromBridge,
    Gone,
    Refused,
    Release,
    View,
)
from relay.errors import CapacityError, MalformedError, RemoteProtocolError
from relay.ids import BridgeId, ConferenceId, ParticipantId, Ssrc, VideoCodec

CALM_BEAT_S = 1.0
"""How often it is seen which conferences are due, while none is lively: with all else that happens
each second."""
HURRIED_LOOK_S = 0.1
"""The soonest after a look when there is news."""
REPORT_S = 1.0
UNSEATED_S = 10.0
"""A transport that the focus seats nowhere for so long is a leftover."""

log = structlog.get_logger()

_Key = tuple[ConferenceId, ParticipantId]


class Conferences:
    """`run` must be running; methods are called from its trio thread and never block."""

    def __init__(
        self,
        me: BridgeId,
        *,
        pump: Pump,
        demux: Demux,
        reach: Reach,
        tell_focus: Callable[[FromBridge], None],
    ) -> None:
        self.dropped: Counter[str] = Counter()
        self._me = me
        self._pump = pump
        self._demux = demux
        demux.on_news = self._hurry
        self._dtls = DtlsServer()
        self._reach = reach
        self._tell_focus = tell_focus
        self._trunks: Trunks | None = None
        self._sides: dict[BridgeId, TrunkSide] = {}
        self._link_ssrcs: dict[BridgeId, LinkSsrcs] = {}
        self._relief = Relief()
        self._news = trio.Event()
        self._is_calm = False
        """Whether none was lively at the last look, nor the pump behind."""
        self._begun: frozenset[int] = frozenset()
        """Streams that have begun since the last look."""
        self._awaiting: frozenset[int] = frozenset()
        """Egresses that waited for a keyframe at the last look."""
        self._forwarders: dict[ConferenceId, Forwarder] = {}
        self._unseated_s: dict[_Key, float] = {}
        self._unconfirmed_s: dict[ConferenceId, float] = {}
        """Conferences of which the present focus has not spoken yet, and since when."""
        self._nursery: trio.Nursery | None = None

    @property
    def participants(self) -> int:
        """How many transports there are."""
        return sum(len(each.participants) for each in self._forwarders.values())

    @property
    def count(self) -> int:
        """How many conferences there are."""
        return len(self._forwarders)

    async def run(self, trunks: Trunks) -> None:
        """Serve until cancelled, then close every transport."""
        self._trunks = trunks
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._report_each_second)
                while True:
                    await self._until_the_next_look()
                    self._look(monotonic())
        finally:
            self._nursery = None
            for forwarder in self._forwarders.values():
                # A trunk that goes down after this must not find them any more.
                for participant in list(forwarder.participants):
                    forwarder.leave(participant).close()

    # From the focus

    def focus_is_new(self) -> None:
        """Generations begin anew; what the focus does not confirm ends after a while."""
        self._unconfirmed_s = dict.fromkeys(self._forwarders, monotonic())
        for forwarder in self._forwarders.values():
            forwarder.focus_is_new()

    def on_state(self, state: ConferenceState) -> None:
        """A conference as the focus has it now."""
        forwarder = self._forwarder(state.conference)
        if state.generation <= forwarder.state.generation:
            self.dropped["stale_conference_state"] += 1
            return
        self._unconfirmed_s.pop(state.conference, None)
        forwarder.state = state
        self._replan(forwarder)

    def on_view(self, view: View) -> None:
        """A participant chooses its pictures."""
        self._forwarder(view.conference).look_at(view)
        self._hurry()

    def on_allocate(self, allocate: Allocate) -> None:
        """Answer an offer; a participant's earlier transport ends."""
        if self._nursery is None:
            self._refuse(allocate, "the bridge is stopping")
            return
        forwarder = self._forwarder(allocate.conference)
        known = forwarder.participants.get(allocate.participant) if allocate.renews else None
        try:
            if known is not None:
                known.renew(allocate, forwarder.state.codec)
                participant = known
            elif allocate.renews:
                raise RemoteProtocolError("The connection that the browser renews is gone.")
            else:
                participant = self._participant(allocate, forwarder.state.codec)
        except (MalformedError, RemoteProtocolError, CapacityError) as error:
            self._refuse(allocate, str(error))
            return
        if known is None:
            self._end(allocate.conference, allocate.participant)
            self._nursery.start_soon(self._serve, participant)
        forwarder.join(participant)
        self._tell_focus(
            Allocated(
                request=allocate.request, answer=participant.answer, decodes=participant.decodes
            )
        )
        log.info(
            "allocated",
            conference=allocate.conference,
            participant=allocate.participant,
            renewed=allocate.renews,
        )
        self._replan(forwarder)

    def _participant(self, allocate: Allocate, codec: VideoCodec) -> Participant:
        return Participant(
            allocate,
            codec=codec,
            pump=self._pump,
            demux=self._demux,
            dtls=self._dtls,
            reach=self._reach,
            on_rtcp=self._on_client_rtcp,
            on_moved=self._on_client_moved,
            dropped=self.dropped,
        )

    def on_release(self, release: Release) -> None:
        """A participant left."""
        self._end(release.conference, release.participant)
        forwarder = self._forwarders.get(release.conference)
        if forwarder is not None:
            forwarder.forget_view(release.participant)
            self._replan(forwarder)

    def _refuse(self, allocate: Allocate, reason: str) -> None:
        self.dropped["offers_refused"] += 1
        log.warning(
            "offer-refused",
            conference=allocate.conference,
            participant=allocate.participant,
            reason=reason,
        )
        self._tell_focus(Refused(request=allocate.request, reason=reason[:500]))

    # From the trunks

    def on_trunk_event(self, event: TrunkEvent) -> None:
        """Whatever a trunk has to say."""
        match event:
            case TrunkUp(peer=peer, transport=transport):
                ssrcs = self._link_ssrcs.setdefault(peer, LinkSsrcs(Ssrc(OWN_SSRC + 1)))
                self._sides[peer] = TrunkSide(transport=transport, ssrcs=ssrcs)
                self._replan_all()
            case TrunkDown(peer=peer):
                for forwarder in self._forwarders.values():
                    forwarder.trunk_lost(peer)
                del self._sides[peer]
                self._replan_all()
            case TrunkAnnounced(peer=peer, conference=conference, sources=sources):
                forwarder = self._forwarder(conference)
                forwarder.offered(peer, sources)
                self._replan(forwarder)
            case TrunkDemanded(peer=peer, conference=conference, wanted=wanted):
                forwarder = self._forwarder(conference)
                forwarder.demanded(peer, wanted)
                self._replan(forwarder)
            case TrunkRtcp():
                self._on_trunk_rtcp(event)
            case _:
                assert_never(event)

    def _on_trunk_rtcp(self, event: TrunkRtcp) -> None:
        try:
            packets = parse_compound_untrusted(event.packet)
        except MalformedError:
            self.dropped["rtcp_malformed"] += 1
            return
        routers = [each.rtcp for each in self._forwarders.values()]
        for packet in packets:
            match packet:
                case Nack(media_ssrc=ssrc, sequences=sequences):
                    known = any(
                        each.leg_nack(event.peer, ssrc, list(sequences)) for each in routers
                    )
                case Pli(media_ssrc=ssrc):
                    known = any(
                        each.leg_keyframe(event.peer, ssrc, event.received_s) for each in routers
                    )
                case _:
                    known = True
            if not known:  # of a source that has just gone, say
                self.dropped["rtcp_unknown_ssrc"] += 1
        self._rouse(self._forwarders.values())

    # From the clients

    def _on_client_rtcp(
        self, participant: Participant, packets: tuple[RtcpPacket, ...], received_s: float
    ) -> None:
        forwarder = self._forwarders.get(participant.conference)
        if forwarder is None:
            return
        for packet in packets:
            match packet:
                case ReceiverReport(reports=reports) if reports:
                    lost = max(block.fraction_lost for block in reports) / 256
                    forwarder.rtcp.path_loss(participant, lost, received_s)
                case Nack(media_ssrc=ssrc, sequences=sequences):
                    forwarder.rtcp.slot_nack(participant, ssrc, list(sequences), received_s)
                case Pli(media_ssrc=ssrc):
                    forwarder.rtcp.slot_keyframe(participant, ssrc, received_s)
                case Fir(entries=entries):
                    for entry in entries:
                        forwarder.rtcp.slot_keyframe(participant, entry.ssrc, received_s)
                case _:
                    pass
        self._rouse([forwarder])

    def _on_client_moved(self, participant: Participant, now: float) -> None:
        forwarder = self._forwarders.get(participant.conference)
        if forwarder is not None:
            forwarder.rtcp.all_slots_keyframe(participant, now)
            self._rouse([forwarder])

    async def _serve(self, participant: Participant) -> None:
        """One participant's supervisor: its end is its own."""
        reason = await participant.run()
        forwarder = self._forwarders.get(participant.conference)
        if forwarder is None or forwarder.participants.get(participant.id) is not participant:
            return
        self._end(participant.conference, participant.id)
        self._replan(forwarder)
        self._tell_focus(
            Gone(
                conference=participant.conference,
                participant=participant.id,
                reason=reason[:500],
            )
        )
        log.info(
            "participant-gone",
            conference=participant.conference,
            participant=participant.id,
            reason=reason,
        )

    def _end(self, conference: ConferenceId, participant: ParticipantId) -> None:
        self._unseated_s.pop((conference, participant), None)
        forwarder = self._forwarders.get(conference)
        if forwarder is not None and participant in forwarder.participants:
            forwarder.leave(participant).close()

    # Time

    def _hurry(self, begun: frozenset[int] = frozenset()) -> None:
        self._begun |= begun
        self._news.set()

    def _rouse(self, forwarders: Iterable[Forwarder]) -> None:
        """If these have become lively, what they await shall not wait for a calm beat."""
        now = monotonic()
        if self._is_calm and any(each.is_lively(now) for each in forwarders):
            self._hurry()

    async def _until_the_next_look(self) -> None:
        """At the next beat, or sooner when there is news."""
        now = monotonic()
        self._is_calm = self._relief.is_settled(now) and not any(
            each.is_lively(now) for each in self._forwarders.values()
        )
        self._news = trio.Event()
        hurried_s = trio.current_time() + HURRIED_LOOK_S
        with trio.move_on_at(next_beat_s(CALM_BEAT_S if self._is_calm else LOOK_S)):
            await self._news.wait()
            await trio.sleep_until(hurried_s)

    def _look(self, now: float) -> None:
        """At those that are due."""
        wanted_bps = sum(forwarder.wanted_bps for forwarder in self._forwarders.values())
        if self._relief.update(self._pump.pressure_level(), wanted_bps, now):
            log.warning("overloaded" if self._relief.small else "overload-over")
            for forwarder in self._forwarders.values():
                forwarder.relieve(self._relief.small, now)
        self._demux.dispatch()
        news = self._gather(now)
        for forwarder in self._forwarders.values():
            if forwarder.is_due(now, news):
                forwarder.look(now, news)

    def _gather(self, now: float) -> News:
        begun, self._begun = self._begun, frozenset()
        waited, self._awaiting = self._awaiting, frozenset(self._pump.awaiting())
        return News(
            changed=begun | self._pump.changed_streams(now),
            reports=self._pump.path_reports(now),
            awaiting=self._awaiting,
            awaiting_anew=self._awaiting - waited,
        )

    async def _report_each_second(self) -> None:
        while True:
            await beat(REPORT_S)
            now = monotonic()
            self._end_unconfirmed(now)
            for forwarder in list(self._forwarders.values()):
                for participant in forwarder.participants.values():
                    participant.on_second(now)
                self._end_unseated(forwarder, now)
                if forwarder.empty:
                    forwarder.close(now)
                    del self._forwarders[forwarder.conference]

    def _end_unconfirmed(self, now: float) -> None:
        """Take for over what a new focus has never spoken of; its people will be unseated."""
        for conference, since_s in list(self._unconfirmed_s.items()):
            if now - since_s > UNSEATED_S:
                del self._unconfirmed_s[conference]
                forwarder = self._forwarders.get(conference)
                if forwarder is not None:
                    forwarder.state = replace(forwarder.state, seats=(), routes=())
                    self._replan(forwarder)

    def _end_unseated(self, forwarder: Forwarder, now: float) -> None:
        """Close whom the focus has forgotten: it seats everybody whom it knows."""
        seated = {seat.participant for seat in forwarder.state.seats if seat.bridge == self._me}
        for participant in list(forwarder.participants):
            key = (forwarder.conference, participant)
            if participant in seated:
                self._unseated_s.pop(key, None)
            elif now - self._unseated_s.setdefault(key, now) > UNSEATED_S:
                self.dropped["unseated_participants"] += 1
                self._end(*key)
                self._replan(forwarder)

    def _forwarder(self, conference: ConferenceId) -> Forwarder:
        if conference not in self._forwarders:
            assert self._trunks is not None  # `run` has begun before anybody can speak to us
            self._forwarders[conference] = Forwarder(
                conference,
                self._me,
                pump=self._pump,
                trunks=self._trunks,
                sides=self._sides,
                tell_focus=self._tell_focus,
                dropped=self.dropped,
                small=self._relief.small,
            )
        return self._forwarders[conference]

    def _replan(self, forwarder: Forwarder) -> None:
        forwarder.replan(monotonic())
        self._rouse([forwarder])

    def _replan_all(self) -> None:
        for forwarder in self._forwarders.values():
            self._replan(forwarder)
