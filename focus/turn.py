"""One step in the making: what is known and changes, and what has to be done for it.

Sans-IO, and no rules: those are `focus.core`'s. Here is what they are made of: writing members
down, giving seats, telling bridges and participants.
"""

from collections import Counter
from functools import cached_property

from focus.conference import Conference, Member
from focus.events import CloseBridge, Effect, ToBridge, ToParticipant
from focus.notices import (
    Failed,
    FailureCode,
    Moved,
    Notice,
    PersonChanged,
)
from focus.offers import PendingOffer
from focus.placement import Candidate, NoLiveBridge, Placed, Placement, UnknownRegion, Wish, place
from focus.registry import Bridge
from focus.state import State
from relay.control import Mesh, View
from relay.ids import BridgeId, ConferenceId, Generation, ParticipantId


class Turn:
    """A state that is being changed; lives for the length of one step."""

    def __init__(self, state: State) -> None:
        self.registry = state.registry
        self.conferences = dict(state.conferences)
        self.offers = state.offers
        self.generation = state.generation
        self.effects: list[Effect] = []
        self.touched: dict[ConferenceId, frozenset[BridgeId]] = {}
        """Conferences that bridges must be told anew, and the bridges that knew of them."""

    @cached_property
    def _taken(self) -> Counter[BridgeId]:
        """Seats granted on each bridge; `put` keeps it up."""
        return State(conferences=self.conferences).seats_taken()

    def end(self) -> tuple[State, tuple[Effect, ...]]:
        """The state as it is now, and all that has to be done; the turn is over."""
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

    # Seats

    def place(self, wish: Wish) -> Placement:
        """A seat for that wish, not granted yet."""
        candidates = tuple(
            Candidate(bridge=name, region=bridge.region, seats=self._taken[name])
            for name, bridge in self.registry.bridges.items()
        )
        return place(wish, candidates, self.registry.known_regions)

    def reseat(self, stranded: list[tuple[ConferenceId, ParticipantId]]) -> None:
        """Gives each of them a seat as if it joined now, and says so to everybody."""
        for name, participant in stranded:
            member = self.conferences[name].members[participant]
            self.put(name, member.moved_to(None))
        for name, participant in stranded:
            member = self.conferences[name].members[participant]
            match self.place(member.wish):
                case Placed() as seat:
                    member = member.moved_to(seat)
                    self.put(name, member)
                    self.tell(name, participant, Moved(region=seat.region, bridge=seat.bridge))
                case NoLiveBridge() | UnknownRegion():
                    self.fail(
                        name,
                        participant,
                        FailureCode.NO_BRIDGE,
                        "no bridge is up at the moment; you get a seat as soon as one is",
                    )
            self.tell_others(name, participant, PersonChanged(person=member.person))

    def put(self, name: ConferenceId, member: Member) -> None:
        """Writes a new or changed member down, for the bridges to be told."""
        conference = self.conferences.get(name, Conference(conference=name))
        self.touch(conference)
        before = conference.members.get(member.participant)
        if before is not None and before.seat is not None:
            self._taken[before.seat.bridge] -= 1
        if member.seat is not None:
            self._taken[member.seat.bridge] += 1
        self.conferences[name] = conference.with_members([member])

    def touch(self, conference: Conference) -> None:
        """Remembers that bridges have to be told of this conference, before it changes."""
        self.touched.setdefault(conference.conference, conference.bridges)

    def change(self, name: ConferenceId, before: Member, after: Member) -> None:
        """Writes `after` down; when its sources look different, everybody is told."""
        if before.sources != after.sources:
            self.put(name, after)
            self.tell_others(name, after.participant, PersonChanged(person=after.person))
        else:
            self.conferences[name] = self.conferences[name].with_members([after])

    # Telling

    def tell_mesh(self) -> None:
        """Tells every bridge which others there are."""
        self.generation = Generation(self.generation + 1)
        for bridge in sorted(self.registry.bridges):
            mesh = Mesh(generation=self.generation, peers=self.registry.peers_of(bridge))
            self.effects.append(ToBridge(bridge=bridge, message=mesh))

    def close(self, bridge: Bridge, reason: str) -> None:
        """Ends that connection of a bridge."""
        self.effects.append(
            CloseBridge(bridge=bridge.bridge, connection=bridge.connection, reason=reason)
        )

    def send_view(self, conference: ConferenceId, member: Member) -> None:
        """Tells a seated member's bridge which pictures it wants."""
        assert member.seat is not None
        view = View(conference=conference, participant=member.participant, sources=member.view)
        self.effects.append(ToBridge(bridge=member.seat.bridge, message=view))

    def tell(self, conference: ConferenceId, participant: ParticipantId, notice: Notice) -> None:
        """Tells one participant."""
        self.effects.append(
            ToParticipant(conference=conference, participant=participant, notice=notice)
        )

    def tell_others(
        self, conference: ConferenceId, participant: ParticipantId, notice: Notice
    ) -> None:
        """Tells everybody else in its conference."""
        for other in self.conferences[conference].members:
            if other != participant:
                self.tell(conference, other, notice)

    def fail(
        self, conference: ConferenceId, participant: ParticipantId, code: FailureCode, why: str
    ) -> None:
        """Tells a participant that what it asked for did not happen."""
        self.tell(conference, participant, Failed(code=code, message=why))

    def refuse(self, offer: PendingOffer, why: str) -> None:
        """Tells a participant that its offer came to nothing."""
        self.fail(offer.conference, offer.participant, FailureCode.OFFER_REFUSED, why)
