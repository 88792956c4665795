"""One step in the making: what is known and changes, and what has to be done for it.

Sans-IO, and no rules: those are `focus.core`'s. Here is what they are made of: writing members
down, giving seats, telling bridges and participants.
"""

from collections import Counter
from dataclasses import replace
from functools import cached_property

from focus.conference import Conference, Member
from focus.events import CloseBridge, Effect, ToBridge, ToParticipant
from focus.notices import (
    CodecChanged,
    Failed,
    FailureCode,
    Moved,
    Notice,
    PersonChanged,
    SpeakerChanged,
)
from focus.offers import PendingOffer
from focus.placement import Candidate, NoLiveBridge, Placed, Placement, UnknownRegion, Wish, place
from focus.registry import Bridge
from focus.state import State
from relay.control import Mesh
from relay.ids import BridgeId, ConferenceId, Generation, ParticipantId, VideoCodec


class Turn:
    """A state that is being changed; lives for the length of one step."""

    def __init__(self, state: State) -> None:
        self.before = state
        self.registry = state.registry
        self.conferences = dict(state.conferences)
        self.offers = state.offers
        self.generation = state.generation
        self.effects: list[Effect] = []
        self.touched: dict[ConferenceId, None] = {}
        """Conferences that bridges must be told anew, in order."""

    @cached_property
    def _taken(self) -> Counter[BridgeId]:
        """Seats granted on each bridge; `put` keeps it up."""
        return State(conferences=self.conferences).seats_taken()

    def end(self) -> tuple[State, tuple[Effect, ...]]:
        """The state as it is now, and all that has to be done; the turn is over."""
        for name in self.touched:
            nobody = Conference(conference=name)
            conference = self.conferences.get(name, nobody).settled()
            if conference.members:
                self.conferences[name] = conference
            knew = self.before.conferences.get(name, nobody).bridges
            self.generation = Generation(self.generation + 1)
            codec, live = self.codec(conference), knew & self.registry.bridges.keys()
            for bridge, told in conference.states(self.generation, codec, live).items():
                self.effects.append(ToBridge(bridge=bridge, message=told))
        state = replace(
            self.before,
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
                    self.tell_speaker(name, participant, seat.bridge)
                case NoLiveBridge() | UnknownRegion():
                    self.no_bridge(name, participant)
            self.tell_others(name, participant, PersonChanged(person=member.person))

    def put(self, name: ConferenceId, member: Member) -> None:
        """Writes a new or changed member down, for the bridges to be told."""
        conference = self.conferences.get(name, Conference(conference=name))
        self.touch(name)
        before = conference.members.get(member.participant)
        if before is not None and before.seat is not None:
            self._taken[before.seat.bridge] -= 1
        if member.seat is not None:
            self._taken[member.seat.bridge] += 1
        self.conferences[name] = conference.with_members([member])

    def touch(self, name: ConferenceId) -> None:
        """Remembers that bridges have to be told of this conference."""
        self.touched[name] = None

    def note(self, name: ConferenceId, member: Member) -> None:
        """Writes a member down that bridges need not be told of."""
        self.conferences[name] = self.conferences[name].with_members([member])

    def change(self, name: ConferenceId, before: Member, after: Member) -> None:
        """Writes `after` down; when its sources look different, everybody is told."""
        if before.sources != after.sources:
            self.put(name, after)
            self.tell_others(name, after.participant, PersonChanged(person=after.person))
        else:
            self.note(name, after)

    def forget_speakers(self, bridge: BridgeId) -> None:
        """Forgets whom that bridge took for a speaker: it is gone."""
        for name, conference in [*self.conferences.items()]:
            if bridge in conference.speakers:
                self.conferences[name] = conference.with_speaker(bridge, None)

    def codec(self, conference: Conference) -> VideoCodec:
        """What its pictures are to be encoded with."""
        return conference.codec(self.before.codecs)

    def settle_codec(self, name: ConferenceId, before: Conference) -> None:
        """Tells everybody of a conference when its codec is another than it was as `before`."""
        conference = self.conferences[name]
        codec = self.codec(conference)
        if codec is self.codec(before):
            return
        self.touch(name)
        for participant in conference.members:
            self.tell(name, participant, CodecChanged(codec=codec))

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

    def tell_speaker(
        self, name: ConferenceId, participant: ParticipantId, bridge: BridgeId
    ) -> None:
        """Tells somebody who is new on a bridge who is speaking, if anybody is."""
        speaker = self.conferences[name].speakers.get(bridge)
        if speaker is not None:
            self.tell(name, participant, SpeakerChanged(participant=speaker))

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
        self,
        conference: ConferenceId,
        participant: ParticipantId,
        code: FailureCode,
        why: str,
        attempt: int | None = None,
    ) -> None:
        """Tells a participant that what it asked for did not happen; an offer by its attempt."""
        self.tell(conference, participant, Failed(code=code, message=why, attempt=attempt))

    def no_bridge(
        self, conference: ConferenceId, participant: ParticipantId, attempt: int | None = None
    ) -> None:
        """Tells a participant that it has no seat at the moment."""
        why = "no bridge is up at the moment; you get a seat as soon as one is"
        self.fail(conference, participant, FailureCode.NO_BRIDGE, why, attempt)

    def refuse(self, offer: PendingOffer, why: str) -> None:
        """Tells a participant that its offer came to nothing."""
        code = FailureCode.OFFER_REFUSED
        self.fail(offer.conference, offer.participant, code, why, offer.attempt)
