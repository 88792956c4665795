"""Who receives what: a bridge's part of one conference, as a pure function of what it knows.

The shell keeps a `Knowledge` up to date from the focus, the trunks and its own transports,
asks for a `Plan`, and makes the kernel and the trunks agree with it. Nothing is remembered
here but the last slots, so that a source stays in the slot it has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relay.control import ConferenceState, Route
from relay.ids import (
    BridgeId,
    MediaKind,
    ParticipantId,
    SourceId,
    kind_of,
    participant_of,
    source_id,
)

MAX_HOPS = 3
"""Origin → at most two transit bridges → destination; what comes farther is a loop."""
LOUDEST_RELAYED = 5
"""Of its own microphones, a bridge announces this many, the loudest, to other bridges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotKey:
    """One of a participant's receive-only slots, counted from 0 for each medium."""

    participant: ParticipantId
    media: MediaKind
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A participant whose transport is on this bridge."""

    sources: frozenset[SourceId]
    audio_slots: int
    video_slots: int
    view: tuple[SourceId, ...] | None = None
    """The pictures it asked for, first the most wanted; None for everybody's."""

    def slots(self, media: MediaKind) -> int:
        """How many slots of this medium it offered."""
        return self.audio_slots if media is MediaKind.AUDIO else self.video_slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A source that a trunk's peer announced."""

    origin: BridgeId
    hops: int
    """Trunks that it has crossed with this one: 1 from the origin itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """All that the bridge `me` knows of one conference."""

    me: BridgeId
    state: ConferenceState
    locals: Mapping[ParticipantId, Local]
    offered: Mapping[BridgeId, Mapping[SourceId, Offered]]
    """What each live trunk's peer announced last."""
    demanded: Mapping[BridgeId, frozenset[SourceId]]
    """What each live trunk's peer demanded last."""
    speakers: tuple[SourceId, ...]
    """Microphones, the loudest first; those that are left out are silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall flow where."""

    slots: Mapping[SlotKey, SourceId] = field(default_factory=dict)
    """Slots with a source in them; all others are empty."""
    upstreams: Mapping[SourceId, BridgeId] = field(default_factory=dict)
    """Over which trunk each usable remote source comes."""
    announced: Mapping[BridgeId, Mapping[SourceId, Offered]] = field(default_factory=dict)
    """What each peer is told that it may demand."""
    legs: Mapping[BridgeId, frozenset[SourceId]] = field(default_factory=dict)
    """What crosses the trunk to each peer."""
    demands: Mapping[BridgeId, frozenset[SourceId]] = field(default_factory=dict)
    """What is wanted from each peer."""


def plan(knowledge: Knowledge, previous: Plan) -> Plan:
    """What shall flow now, with as few slots changed since `previous` as can be."""
    unmuted = _unmuted(knowledge.state)
    upstreams = _upstreams(knowledge)
    own = {source for local in knowledge.locals.values() for source in local.sources}
    available = own | set(upstreams)
    slots: dict[SlotKey, SourceId] = {}
    for participant, local in knowledge.locals.items():
        wanted = {
            MediaKind.AUDIO: _audible(participant, available & unmuted, knowledge.speakers),
            MediaKind.VIDEO: _visible(participant, available & unmuted, local, knowledge.state),
        }
        for media, sources in wanted.items():
            count = local.slots(media)
            slots |= _seated(participant, media, count, sources[:count], previous.slots)
    announced = _announced(knowledge, own, own & unmuted, upstreams)
    legs = {
        peer: knowledge.demanded.get(peer, frozenset()) & unmuted & frozenset(sources)
        for peer, sources in announced.items()
    }
    return Plan(
        slots=slots,
        upstreams=upstreams,
        announced=announced,
        legs=legs,
        demands=_demands(
            upstreams,
            {*slots.values(), *_heard(knowledge, set(upstreams) & unmuted)},
            legs.values(),
            knowledge.offered,
        ),
    )


def _unmuted(state: ConferenceState) -> set[SourceId]:
    return {
        source_id(seat.participant, source.kind)
        for seat in state.seats
        for source in seat.sources
        if not source.muted
    }


def _upstreams(knowledge: Knowledge) -> dict[SourceId, BridgeId]:
    """Remote sources that came the way the focus routed them; all others could be loops."""
    seats = {seat.participant: seat.bridge for seat in knowledge.state.seats}
    routes = {route.origin: route for route in knowledge.state.routes}
    usable: dict[SourceId, BridgeId] = {}
    for peer, sources in knowledge.offered.items():
        for source, offered in sources.items():
            route = routes.get(offered.origin)
            if (
                route is not None
                and route.upstream == peer
                and seats.get(participant_of(source)) == offered.origin != knowledge.me
                and offered.hops <= MAX_HOPS
            ):
                usable[source] = peer
    return usable


def _audible(
    listener: ParticipantId, available: set[SourceId], speakers: tuple[SourceId, ...]
) -> list[SourceId]:
    """Other people's microphones: the loudest first, then the silent by number."""
    rank = {source: place for place, source in enumerate(speakers)}
    return sorted(
        (
            source
            for source in available
            if kind_of(source).media is MediaKind.AUDIO and participant_of(source) != listener
        ),
        key=lambda source: (rank.get(source, len(rank)), source),
    )


def _heard(knowledge: Knowledge, usable: set[SourceId]) -> set[SourceId]:
    """Remote microphones that must come so that the loudest can be told: all that are announced.

    Their own bridges announce the loudest only; who is behind no slot today may speak next.
    """
    if not any(local.audio_slots for local in knowledge.locals.values()):
        return set()
    return {source for source in usable if kind_of(source).media is MediaKind.AUDIO}


def _visible(
    viewer: ParticipantId, available: set[SourceId], local: Local, state: ConferenceState
) -> list[SourceId]:
    """Other people's pictures: those asked for in their order, or all in the order of arrival."""
    pictures = {
        source
        for source in available
        if kind_of(source).media is MediaKind.VIDEO and participant_of(source) != viewer
    }
    if local.view is not None:
        return [source for source in dict.fromkeys(local.view) if source in pictures]
    arrival = {seat.participant: place for place, seat in enumerate(state.seats)}
    return sorted(pictures, key=lambda source: (arrival[participant_of(source)], -source))


def _seated(
    participant: ParticipantId,
    media: MediaKind,
    count: int,
    sources: list[SourceId],
    previous: Mapping[SlotKey, SourceId],
) -> dict[SlotKey, SourceId]:
    """Each source in the slot that it had; newcomers in the first free ones."""
    keys = [SlotKey(participant=participant, media=media, index=index) for index in range(count)]
    seated = {key: previous[key] for key in keys if previous.get(key) in sources}
    newcomers = [source for source in sources if source not in seated.values()]
    free = [key for key in keys if key not in seated]
    return seated | dict(zip(free, newcomers, strict=False))


def _announced(
    knowledge: Knowledge,
    own: set[SourceId],
    own_unmuted: set[SourceId],
    upstreams: Mapping[SourceId, BridgeId],
) -> dict[BridgeId, dict[SourceId, Offered]]:
    rank = {source: place for place, source in enumerate(knowledge.speakers)}
    microphones = sorted(
        (source for source in own if kind_of(source).media is MediaKind.AUDIO),
        # A muted one is announced only where there is room, ready for when it is not.
        key=lambda source: (source not in own_unmuted, rank.get(source, len(rank)), source),
    )
    silenced = set(microphones[LOUDEST_RELAYED:])
    announced: dict[BridgeId, dict[SourceId, Offered]] = {}
    for route in knowledge.state.routes:
        passing = _passing(knowledge, route, own - silenced, upstreams)
        for peer in route.downstream:
            announced.setdefault(peer, {}).update(passing)
    return announced


def _passing(
    knowledge: Knowledge, route: Route, own: set[SourceId], upstreams: Mapping[SourceId, BridgeId]
) -> dict[SourceId, Offered]:
    """The sources of one origin that go on downstream, one hop farther."""
    if route.origin == knowledge.me:
        return {source: Offered(origin=knowledge.me, hops=1) for source in sorted(own)}
    passing = {}
    for source, peer in sorted(upstreams.items()):
        offered = knowledge.offered[peer][source]
        if offered.origin == route.origin and offered.hops < MAX_HOPS:
            passing[source] = Offered(origin=route.origin, hops=offered.hops + 1)
    return passing


def _demands(
    upstreams: Mapping[SourceId, BridgeId],
    seen_here: Iterable[SourceId],
    passed_on: Iterable[frozenset[SourceId]],
    peers: Iterable[BridgeId],
) -> dict[BridgeId, frozenset[SourceId]]:
    wanted = set(seen_here).union(*passed_on)
    demands: dict[BridgeId, set[SourceId]] = {peer: set() for peer in peers}
    for source in wanted & set(upstreams):
        demands[upstreams[source]].add(source)
    return {peer: frozenset(sources) for peer, sources in demands.items()}
