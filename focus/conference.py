"""A conference: who is in it, where they sit, and what its bridges have to know of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from focus.codecs import common_codec
from focus.notices import Person
from focus.placement import Placed, Wish
from focus.routes import routes_at
from relay.control import ConferenceState, Seat, SourceState, View
from relay.ids import (
    BridgeId,
    ConferenceId,
    Generation,
    Layer,
    ParticipantId,
    SourceKind,
    VideoCodec,
)

MAX_PARTICIPANTS = 500
"""In one conference: each of them is told of each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A participant of a conference."""

    participant: ParticipantId
    name: str
    wish: Wish
    view: View
    """What it looks at, as its bridge is told."""
    seat: Placed | None
    """None while there is no live bridge."""
    offered: bool = False
    """Whether the bridge of this seat was handed an offer."""
    kinds: tuple[SourceKind, ...] = ()
    """What the last offer that a bridge accepted carries."""
    muted: frozenset[SourceKind] = frozenset({SourceKind.SCREEN})
    """May name kinds that are not offered yet: a browser mutes before it has its answer."""
    decodes: frozenset[VideoCodec] | None = None
    """What its slots can show; None without such slots, or before the first answer."""
    layers: Mapping[SourceKind, tuple[Layer, ...]] = field(default_factory=dict)
    """What is wanted of its sources, as it was last told; of this transport."""

    @property
    def sources(self) -> tuple[SourceState, ...]:
        """Its sources as everybody is told them."""
        return tuple(SourceState(kind=kind, muted=kind in self.muted) for kind in self.kinds)

    @property
    def person(self) -> Person:
        """This member as the others see it."""
        return Person(
            participant=self.participant,
            name=self.name,
            region=self.seat.region if self.seat else None,
            bridge=self.seat.bridge if self.seat else None,
            sources=self.sources,
        )

    def sits_on(self, bridge: BridgeId) -> bool:
        """Whether its seat is on that bridge."""
        return self.seat is not None and self.seat.bridge == bridge

    def moved_to(self, seat: Placed | None) -> "Member":
        """The member on another seat, or again on its old one, without a transport yet."""
        return replace(self, seat=seat, offered=False, layers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Conference:
    """The members of one conference, in the order in which they joined."""

    conference: ConferenceId
    members: Mapping[ParticipantId, Member] = field(default_factory=dict)
    speakers: Mapping[BridgeId, ParticipantId] = field(default_factory=dict)
    """Who is speaking, as the people of each bridge should see it."""

    def with_members(self, members: Iterable[Member]) -> "Conference":
        """The conference with these members new or changed."""
        changed = {member.participant: member for member in members}
        return replace(self, members={**self.members, **changed})

    def without(self, participant: ParticipantId) -> "Conference":
        """The conference when that participant has left."""
        rest = {name: member for name, member in self.members.items() if name != participant}
        return replace(self, members=rest)

    def with_speaker(self, bridge: BridgeId, speaker: ParticipantId | None) -> "Conference":
        """The conference when the people of that bridge should see this one speak, or nobody."""
        others = {name: it for name, it in self.speakers.items() if name != bridge}
        return replace(self, speakers=others if speaker is None else {**others, bridge: speaker})

    def settled(self) -> "Conference":
        """The conference without speakers who have left, or for bridges that nobody sits on."""
        if not self.speakers:
            return self
        bridges = self.bridges
        heard = {
            bridge: speaker
            for bridge, speaker in self.speakers.items()
            if bridge in bridges and speaker in self.members
        }
        return replace(self, speakers=heard)

    def codec(self, preferences: tuple[VideoCodec, ...]) -> VideoCodec:
        """The first of `preferences` that everybody with slots for pictures decodes."""
        return common_codec(preferences, (member.decodes for member in self.members.values()))

    @property
    def bridges(self) -> frozenset[BridgeId]:
        """The bridges that have seats in it."""
        return frozenset(member.seat.bridge for member in self.members.values() if member.seat)

    @property
    def seats(self) -> tuple[Seat, ...]:
        """Everybody who sits somewhere."""
        return tuple(
            Seat(
                participant=member.participant,
                bridge=member.seat.bridge,
                sources=member.sources,
            )
            for member in self.members.values()
            if member.seat
        )

    def states(
        self, generation: Generation, codec: VideoCodec, also: frozenset[BridgeId]
    ) -> dict[BridgeId, ConferenceState]:
        """What each bridge is told; those of `also` without seats (any more) that it is over."""
        bridges, seats = self.bridges, self.seats
        return {
            bridge: ConferenceState(
                conference=self.conference,
                generation=generation,
                seats=seats if bridge in bridges else (),
                routes=routes_at(bridge, bridges) if bridge in bridges else (),
                codec=codec,
            )
            for bridge in sorted(bridges | also)
        }
