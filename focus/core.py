"""The focus's rules: a state and an event in, the next state and what is to be done out.

Sans-IO. A participant with a seat sits on a live bridge; one without was told so and gets a
seat when a bridge appears. An offer has one outcome: an answer, a failure, or the `Moved` (or
the newer offer) that makes it void.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import assert_never

from focus.conference import MAX_PARTICIPANTS, Conference, Member
from focus.events import (
    BridgeAnswered,
    BridgeLost,
    BridgeRefused,
    BridgeUp,
    CloseBridge,
    Effect,
    Event,
    HeartbeatReceived,
    Join,
    Leave,
    MuteChanged,
    OfferReceived,
    ParticipantGone,
    Tick,
    ToBridge,
    ToParticipant,
    ViewChanged,
)
from focus.notices import (
    Answer,
    Failed,
    FailureCode,
    Joined,
    Moved,
    Notice,
    PersonChanged,
    PersonLeft,
)
from focus.offers import OFFER_TIMEOUT_S, PendingOffer
from focus.placement import (
    Candidate,
    NoLiveBridge,
    Placed,
    Placement,
    UnknownRegion,
    Wish,
    place,
)
from focus.registry import Bridge
from focus.state import State
from relay.control import Allocate, Mesh, MidKind, Release, View
from relay.errors import LocalProtocolError
from relay.ids import BridgeId, ConferenceId, Generation, ParticipantId


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """What `event` makes of `state`, and what has to be done for it, in that order."""
    turn = _Turn(state)
    turn.take(event)
    return turn.end()


class _Turn:
    """One step in the making; lives for the length of `step` alone."""

    def __init__(self, state: State) -> None:
        self.registry = state.registry
        self.conferences = dict(state.conferences)
        self.offers = state.offers
        self.generation = state.generation
        self.effects: list[Effect] = []
        self.touched: dict[ConferenceId, frozenset[BridgeId]] = {}
        """Conferences that bridges must be told anew, and the bridges that knew of them."""

    def take(self, event: Event) -> None:
        match event:
            case BridgeUp():
                self._bridge_up(event.bridge)
            case BridgeLost():
                if self.registry.is_current(event.bridge, event.connection):
                    self._lose([self.registry.bridges[event.bridge]])
            case HeartbeatReceived():
                if self.registry.is_current(event.bridge, event.connection):
                    self.registry = self.registry.with_heartbeat(event.bridge, event.heartbeat)
            case BridgeAnswered() | BridgeRefused():
                self._bridge_decided(event)
            case ParticipantGone():
                self._transport_ended(event)
            case Join():
                self._join(event)
            case OfferReceived():
                self._offer(event)
            case MuteChanged():
                self._mute(event)
            case ViewChanged():
                self._view(event)
            case Leave():
                self._leave(event)
            case Tick():
                self._tick(event.now)
            case _:
                assert_never(event)

    @cached_property
    def _taken(self) -> Counter[BridgeId]:
        """Seats granted on each bridge; `_put` keeps it up."""
        return State(conferences=self.conferences).seats_taken()

    def end(self) -> tuple[State, tuple[Effect, ...]]:
        for name, knew in self.touched.items():
            conference = self.conferences.get(name, Conference(conference=name))
            self.generation = Generation(self.generation + 1)
            live = knew & self.registry.bridges.keys()
            for bridge, told in conference.states(self.generation, live).items():
                self.effects.append(ToBridge(bridge=bridge, message=told))
        state = State(
            registry=self.registry,
            conferences=self.conferences,
            offers=self.offers,
            generation=self.generation,
        )
        return state, tuple(self.effects)

    # Bridges

    def _bridge_up(self, bridge: Bridge) -> None:
        replaced = self.registry.bridges.get(bridge.bridge)
        self.registry = self.registry.with_bridge(bridge)
        stranded = [
            (conference.conference, member.participant)
            for conference in self.conferences.values()
            for member in conference.members.values()
            if member.seat is None or member.sits_on(bridge.bridge)
        ]
        if replaced is not None:
            # It may be a new process, without the transports that the old one had.
            self._close(replaced, "another connection of this bridge replaced this one")
            self.offers = self.offers.void_at(bridge.bridge)
        self._tell_mesh()
        self._reseat(stranded)

    def _lose(self, lost: Iterable[Bridge]) -> None:
        stranded = []
        for bridge in lost:
            self.registry = self.registry.without(bridge.bridge)
            self.offers = self.offers.void_at(bridge.bridge)
            stranded += [
                (conference.conference, member.participant)
                for conference in self.conferences.values()
                for member in conference.members.values()
                if member.sits_on(bridge.bridge)
            ]
        self._tell_mesh()
        self._reseat(stranded)

    def _close(self, bridge: Bridge, reason: str) -> None:
        self.effects.append(
            CloseBridge(bridge=bridge.bridge, connection=bridge.connection, reason=reason)
        )

    def _tell_mesh(self) -> None:
        self.generation = Generation(self.generation + 1)
        for bridge in sorted(self.registry.bridges):
            mesh = Mesh(generation=self.generation, peers=self.registry.peers_of(bridge))
            self.effects.append(ToBridge(bridge=bridge, message=mesh))

    def _tick(self, now: float) -> None:
        self.registry = self.registry.aged(now)
        silent = self.registry.silent()
        for bridge in silent:
            self._close(bridge, "heartbeats are missing")
        if silent:
            self._lose(silent)
        for request in self.offers.expired(now):
            offer = self.offers.pending[request]
            self.offers = self.offers.without(request)
            self._refuse(offer, "the bridge did not answer in time; try again")

    # Seats

    def _place(self, wish: Wish) -> Placement:
        candidates = tuple(
            Candidate(bridge=name, region=bridge.region, seats=self._taken[name])
            for name, bridge in self.registry.bridges.items()
        )
        return place(wish, candidates, self.registry.known_regions)

    def _reseat(self, stranded: list[tuple[ConferenceId, ParticipantId]]) -> None:
        """Gives each of them a seat as if it joined now, and says so to everybody."""
        for name, participant in stranded:
            member = self.conferences[name].members[participant]
            self._put(name, member.moved_to(None))
        for name, participant in stranded:
            member = self.conferences[name].members[participant]
            match self._place(member.wish):
                case Placed() as seat:
                    member = member.moved_to(seat)
                    self._put(name, member)
                    self._tell(name, participant, Moved(region=seat.region, bridge=seat.bridge))
                case NoLiveBridge() | UnknownRegion():
                    self._fail(
                        name,
                        participant,
                        FailureCode.NO_BRIDGE,
                        "no bridge is up at the moment; you get a seat as soon as one is",
                    )
            self._tell_others(name, participant, PersonChanged(person=member.person))

    def _put(self, name: ConferenceId, member: Member) -> None:
        """Writes a new or changed member down, for the bridges to be told."""
        conference = self.conferences.get(name, Conference(conference=name))
        self._touch(conference)
        before = conference.members.get(member.participant)
        if before is not None and before.seat is not None:
            self._taken[before.seat.bridge] -= 1
        if member.seat is not None:
            self._taken[member.seat.bridge] += 1
        self.conferences[name] = conference.with_members([member])

    def _touch(self, conference: Conference) -> None:
        self.touched.setdefault(conference.conference, conference.bridges)

    # Participants

    def _join(self, event: Join) -> None:
        conference = self.conferences.get(event.conference)
        members = conference.members if conference else {}
        if event.participant in members:
            raise LocalProtocolError(f"participant {event.participant} has joined already")
        if len(members) >= MAX_PARTICIPANTS:
            full = f"this room is full: it has {MAX_PARTICIPANTS} people"
            self._fail(event.conference, event.participant, FailureCode.ROOM_FULL, full)
            return
        match self._place(event.wish):
            case Placed() as seat:
                member = Member(
                    participant=event.participant, name=event.name, wish=event.wish, seat=seat
                )
            case NoLiveBridge():
                why = "no bridge is up at the moment; try again in a few seconds"
                self._fail(event.conference, event.participant, FailureCode.NO_BRIDGE, why)
                return
            case UnknownRegion(regions=regions):
                why = f"there is no region {event.wish.region}; there are {', '.join(regions)}"
                self._fail(event.conference, event.participant, FailureCode.UNKNOWN_REGION, why)
                return
        people = tuple(other.person for other in members.values())
        self._put(event.conference, member)
        joined = Joined(conference=event.conference, you=member.person, people=people)
        self._tell(event.conference, event.participant, joined)
        self._tell_others(event.conference, event.participant, PersonChanged(person=member.person))

    def _leave(self, event: Leave) -> None:
        member = self._member(event)
        if member is None:
            return
        conference = self.conferences[event.conference]
        self._touch(conference)
        self.offers = self.offers.void_of(event.conference, event.participant)
        if member.seat is not None:
            release = Release(conference=event.conference, participant=event.participant)
            self.effects.append(ToBridge(bridge=member.seat.bridge, message=release))
        self._tell_others(
            event.conference, event.participant, PersonLeft(participant=event.participant)
        )
        rest = conference.without(event.participant)
        if rest.members:
            self.conferences[event.conference] = rest
        else:
            del self.conferences[event.conference]

    def _mute(self, event: MuteChanged) -> None:
        member = self._member(event)
        if member is None:
            return
        kind = frozenset({event.kind})
        changed = replace(member, muted=member.muted | kind if event.muted else member.muted - kind)
        self._change(event.conference, member, changed)

    def _view(self, event: ViewChanged) -> None:
        member = self._member(event)
        if member is None or member.view == event.sources:
            return
        member = replace(member, view=event.sources)
        conference = self.conferences[event.conference]
        self.conferences[event.conference] = conference.with_members([member])
        if member.offered:
            self._send_view(event.conference, member)

    def _change(self, name: ConferenceId, before: Member, after: Member) -> None:
        """Writes `after` down; when its sources look different, everybody is told."""
        if before.sources != after.sources:
            self._put(name, after)
            self._tell_others(name, after.participant, PersonChanged(person=after.person))
        else:
            self.conferences[name] = self.conferences[name].with_members([after])

    # Offers

    def _offer(self, event: OfferReceived) -> None:
        member = self._member(event)
        if member is None:
            return
        kinds = tuple(sorted(event.sources.values()))
        if len(set(kinds)) != len(kinds):
            why = "an offer has one source of each kind at most"
            self._fail(event.conference, event.participant, FailureCode.BAD_REQUEST, why)
            return
        if member.seat is None:
            why = "no bridge is up at the moment; you get a seat as soon as one is"
            self._fail(event.conference, event.participant, FailureCode.NO_BRIDGE, why)
            return
        offer = PendingOffer(
            conference=event.conference,
            participant=event.participant,
            bridge=member.seat.bridge,
            attempt=event.attempt,
            kinds=kinds,
            deadline_s=event.now + OFFER_TIMEOUT_S,
        )
        self.offers, request = self.offers.with_offer(offer)
        allocate = Allocate(
            request=request,
            conference=event.conference,
            participant=event.participant,
            offer=event.sdp,
            sources=tuple(MidKind(mid=mid, kind=kind) for mid, kind in event.sources.items()),
        )
        self.effects.append(ToBridge(bridge=member.seat.bridge, message=allocate))
        member = replace(member, offered=True)
        conference = self.conferences[event.conference]
        self.conferences[event.conference] = conference.with_members([member])
        if member.view is not None:
            self._send_view(event.conference, member)

    def _bridge_decided(self, event: BridgeAnswered | BridgeRefused) -> None:
        offer = self.offers.pending.get(event.request)
        if (
            offer is None
            or offer.bridge != event.bridge
            or not self.registry.is_current(event.bridge, event.connection)
        ):
            return  # superseded, timed out, or not that bridge's to answer
        self.offers = self.offers.without(event.request)
        if isinstance(event, BridgeRefused):
            self._refuse(offer, event.reason)
            return
        member = self.conferences[offer.conference].members[offer.participant]
        self._change(offer.conference, member, replace(member, kinds=offer.kinds))
        answer = Answer(attempt=offer.attempt, sdp=event.answer)
        self._tell(offer.conference, offer.participant, answer)

    def _transport_ended(self, event: ParticipantGone) -> None:
        member = self._member(event)
        if (
            member is None
            or not member.sits_on(event.bridge)
            or not member.offered
            or not self.registry.is_current(event.bridge, event.connection)
            or self.offers.of(event.conference, event.participant)
        ):
            return  # of an older transport than the one it has or is about to have
        self._reseat([(event.conference, event.participant)])

    # Telling

    def _member(
        self, event: OfferReceived | MuteChanged | ViewChanged | Leave | ParticipantGone
    ) -> Member | None:
        conference = self.conferences.get(event.conference)
        return conference.members.get(event.participant) if conference else None

    def _send_view(self, conference: ConferenceId, member: Member) -> None:
        assert member.seat is not None
        view = View(conference=conference, participant=member.participant, sources=member.view)
        self.effects.append(ToBridge(bridge=member.seat.bridge, message=view))

    def _tell(self, conference: ConferenceId, participant: ParticipantId, notice: Notice) -> None:
        self.effects.append(
            ToParticipant(conference=conference, participant=participant, notice=notice)
        )

    def _tell_others(
        self, conference: ConferenceId, participant: ParticipantId, notice: Notice
    ) -> None:
        for other in self.conferences[conference].members:
            if other != participant:
                self._tell(conference, other, notice)

    def _fail(
        self, conference: ConferenceId, participant: ParticipantId, code: FailureCode, why: str
    ) -> None:
        self._tell(conference, participant, Failed(code=code, message=why))

    def _refuse(self, offer: PendingOffer, why: str) -> None:
        self._fail(offer.conference, offer.participant, FailureCode.OFFER_REFUSED, why)
