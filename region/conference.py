"""Who receives what: a bridge's part of one conference, as a pure function of what it knows.

The shell keeps a `Knowledge` up to date from the focus, the trunks and its own transports,
asks for a `Plan` of who gets whom, and makes the kernel and the trunks agree with it. How
good each picture is that somebody gets, the receiver's bandwidth decides; what then has to
come from each sender and each trunk, `demands` says. Nothing is remembered here but the last
slots, so that a source stays in the slot it has.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from region.encodings import merged
from relay.control import ConferenceState, Picture, Route
from relay.ids import (
    TOP_LAYER,
    BridgeId,
    Layer,
    MediaKind,
    ParticipantId,
    SourceId,
    SourceKind,
    kind_of,
    participant_of,
    source_id,
)

MAX_HOPS = 3
"""Origin → at most two transit bridges → destination; what comes farther is a loop."""
LOUDEST_RELAYED = 5
"""Of its own microphones, a bridge announces this many, the loudest, to other bridges."""

Layers = tuple[Layer, ...]
"""Of one source: the wanted spatial layers, ascending, each with its highest temporal one."""


class SlotKey(NamedTuple):
    """One of a participant's receive-only slots, counted from 0 for each medium."""

    participant: ParticipantId
    media: MediaKind
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A participant whose transport is on this bridge, and its `relay.control.View`."""

    sources: frozenset[SourceId]
    audio_slots: int
    video_slots: int
    pictures: tuple[Picture, ...] | None = None
    """Those it asked for, first the most wanted; None for everybody's."""
    last_n: int | None = None
    """At most so many cameras."""
    height_px: int = 360
    """Of pictures where it did not ask for any."""

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
    demanded: Mapping[BridgeId, Mapping[SourceId, Layers]]
    """What each live trunk's peer demanded last."""
    speakers: tuple[SourceId, ...]
    """Microphones of those who spoke, the last first: `Speakers.ranking`, which pictures follow."""
    voices: tuple[SourceId, ...]
    """Microphones, the loudest first: `Speakers.voices`; those that are left out are silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What shall flow where."""

    slots: Mapping[SlotKey, SourceId] = field(default_factory=dict)
    """Slots with a source in them; all others are empty."""
    pictures: Mapping[ParticipantId, tuple[Picture, ...]] = field(default_factory=dict)
    """What is in each viewer's video slots, first the most wanted: what its bandwidth is for."""
    upstreams: Mapping[SourceId, BridgeId] = field(default_factory=dict)
    """Over which trunk each usable remote source comes."""
    announced: Mapping[BridgeId, Mapping[SourceId, Offered]] = field(default_factory=dict)
    """What each peer is told that it may demand."""
    legs: Mapping[BridgeId, Mapping[SourceId, Layers]] = field(default_factory=dict)
    """What crosses the trunk to each peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What has to come here, for those who are here and those to whom it is passed on."""

    peers: Mapping[BridgeId, Mapping[SourceId, Layers]]
    """What is wanted from each peer that announces anything; what is not in it is not."""
    own: Mapping[SourceId, Layers]
    """What anybody anywhere wants of each source of a participant here; empty for nothing."""


def plan(knowledge: Knowledge, previous: Plan) -> Plan:
    """What shall flow now, with as few slots changed since `previous` as can be."""
    unmuted = _unmuted(knowledge.state)
    upstreams = _upstreams(knowledge)
    own = _own(knowledge)
    flowing = (own | upstreams.keys()) & unmuted
    audible = _audible(flowing, knowledge.voices)
    gallery = _Gallery(flowing, knowledge)
    slots: dict[SlotKey, SourceId] = {}
    pictures: dict[ParticipantId, tuple[Picture, ...]] = {}
    for participant, local in knowledge.locals.items():
        others = (source for source in audible if participant_of(source) != participant)
        seen = tuple(islice(gallery.shown_to(participant, local), local.video_slots))
        if seen:
            pictures[participant] = seen
        for media, sources in (
            (MediaKind.AUDIO, list(islice(others, local.audio_slots))),
            (MediaKind.VIDEO, [picture.source for picture in seen]),
        ):
            count = local.slots(media)
            slots |= _seated(participant, media, count, sources, previous.slots)
    announced = _announced(knowledge, own, own & unmuted, upstreams)
    return Plan(
        slots=slots,
        pictures=pictures,
        upstreams=upstreams,
        announced=announced,
        legs={
            peer: {
                source: layers
                for source, layers in knowledge.demanded.get(peer, {}).items()
                if source in sources and source in unmuted
            }
            for peer, sources in announced.items()
        },
    )


def demands(
    planned: Plan, knowledge: Knowledge, targets: Iterable[tuple[SourceId, Layer]]
) -> Demands:
    """What `planned` needs, where each of `targets` is a picture and how good a slot shows it.

    A slot that still shows something else than it shall has two targets: the one goes on until
    the other has come. Pictures that pause are in none.
    """
    unmuted = _unmuted(knowledge.state)
    wanted: dict[SourceId, list[Layer]] = {}
    for source, layer in targets:
        wanted.setdefault(source, []).append(layer)
    for leg in planned.legs.values():
        for source, layers in leg.items():
            wanted.setdefault(source, []).extend(layers)
    for source in _listened_to(knowledge, planned):
        wanted.setdefault(source, []).append(TOP_LAYER)
    scalable = knowledge.state.codec.scalable
    short = {
        source: (TOP_LAYER,)
        if kind_of(source) is SourceKind.MICROPHONE
        else merged(layers, scalable=scalable)
        for source, layers in wanted.items()
        if source in unmuted
    }
    peers: dict[BridgeId, dict[SourceId, Layers]] = {peer: {} for peer in knowledge.offered}
    for source in short.keys() & planned.upstreams.keys():
        peers[planned.upstreams[source]][source] = short[source]
    return Demands(peers=peers, own={source: short.get(source, ()) for source in _own(knowledge)})


def _own(knowledge: Knowledge) -> set[SourceId]:
    return {source for local in knowledge.locals.values() for source in local.sources}


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


def _audible(flowing: set[SourceId], voices: Sequence[SourceId]) -> list[SourceId]:
    """Microphones: the loudest first, then the silent by number."""
    rank = {source: place for place, source in enumerate(voices)}
    return sorted(
        (source for source in flowing if kind_of(source).media is MediaKind.AUDIO),
        key=lambda source: (rank.get(source, len(rank)), source),
    )


class _Gallery:
    """All pictures that there are: screens first, then by who spoke last, then by arrival."""

    def __init__(self, flowing: set[SourceId], knowledge: Knowledge) -> None:
        spoke = {participant_of(each): place for place, each in enumerate(knowledge.speakers)}
        arrival = {seat.participant: place for place, seat in enumerate(knowledge.state.seats)}
        self._screens = {each for each in flowing if kind_of(each) is SourceKind.SCREEN}

        def order(source: SourceId) -> tuple[bool, int, int]:
            person = participant_of(source)
            return source not in self._screens, spoke.get(person, len(spoke)), arrival[person]

        pictures = (each for each in flowing if kind_of(each).media is MediaKind.VIDEO)
        self._places = {source: place for place, source in enumerate(sorted(pictures, key=order))}
        self._everybody: dict[int, list[Picture]] = {}

    def shown_to(self, viewer: ParticipantId, local: Local) -> Iterator[Picture]:
        """Other people's pictures: screens, the stage, then as asked for, or all in order."""
        wanted = self._at(local.height_px) if local.pictures is None else self._of(local.pictures)
        others = (each for each in wanted if participant_of(each.source) != viewer)
        return others if local.last_n is None else self._last(local.last_n, list(others))

    def _at(self, height_px: int) -> list[Picture]:
        if height_px not in self._everybody:
            self._everybody[height_px] = [
                Picture(source=source, height_px=height_px) for source in self._places
            ]
        return self._everybody[height_px]

    def _of(self, asked: Iterable[Picture]) -> list[Picture]:
        pictures: dict[SourceId, Picture] = {}
        for picture in asked:
            if picture.source in self._places:
                pictures.setdefault(picture.source, picture)
        return sorted(
            pictures.values(), key=lambda each: (each.source not in self._screens, not each.stage)
        )

    def _last(self, count: int, pictures: list[Picture]) -> Iterator[Picture]:
        """All but cameras of those who have not spoken for longest and are not on the stage."""
        cameras = sorted(
            (each for each in pictures if each.source not in self._screens),
            key=lambda each: (not each.stage, self._places[each.source]),
        )
        left_out = {each.source for each in cameras[count:]}
        return (each for each in pictures if each.source not in left_out)


def _listened_to(knowledge: Knowledge, planned: Plan) -> set[SourceId]:
    """Microphones that must come so that the loudest can be told: all, where anybody listens.

    A bridge announces only its loudest, so who is behind no slot and on no leg today may speak
    next; of those here that goes for listeners elsewhere, too.
    """
    listeners = {each for each, local in knowledge.locals.items() if local.audio_slots}
    own = _own(knowledge)
    elsewhere = any(
        source in own and kind_of(source) is SourceKind.MICROPHONE
        for leg in planned.legs.values()
        for source in leg
    )

    def is_needed(source: SourceId) -> bool:
        others = len(listeners) - (participant_of(source) in listeners)
        return others > 0 or (elsewhere and source in own)

    voices = (
        source
        for source in own | planned.upstreams.keys()
        if kind_of(source) is SourceKind.MICROPHONE
    )
    return {source for source in voices if is_needed(source)}


def _seated(
    participant: ParticipantId,
    media: MediaKind,
    count: int,
    sources: list[SourceId],
    previous: Mapping[SlotKey, SourceId],
) -> dict[SlotKey, SourceId]:
    """Each source in the slot that it had; newcomers in the first free ones."""
    keys = [SlotKey(participant, media, number) for number in range(count)]
    wanted = set(sources)
    seated = {key: previous[key] for key in keys if previous.get(key) in wanted}
    staying = set(seated.values())
    newcomers = (source for source in sources if source not in staying)
    free = (key for key in keys if key not in seated)
    return seated | dict(zip(free, newcomers, strict=False))


def _announced(
    knowledge: Knowledge,
    own: set[SourceId],
    own_unmuted: set[SourceId],
    upstreams: Mapping[SourceId, BridgeId],
) -> dict[BridgeId, dict[SourceId, Offered]]:
    rank = {source: place for place, source in enumerate(knowledge.voices)}
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
