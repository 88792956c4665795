"""Who receives what: a bridge's part of one conference, as a pure function of what it knows.

The shell keeps a `Knowledge` up to date from the focus, the trunks and its own transports,
asks for a `Plan` of who gets whom, and makes the kernel and the trunks agree with it. How
good each picture is that somebody gets, the receiver's bandwidth decides; what then has to
come from each sender and each trunk, `region.demands` says. Nothing is remembered here but the
last plan: a source stays in the slot it has, and who is not concerned is not planned for anew.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from relay.control import ConferenceState, Picture, Route
from relay.ids import (
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

    @property
    def own(self) -> set[SourceId]:
        """Sources of the participants here."""
        return {source for local in self.locals.values() for source in local.sources}


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
    unmuted: frozenset[SourceId] = frozenset()
    """What is sent at all."""
    heard_anew: frozenset[ParticipantId] = field(default=frozenset(), compare=False)
    """Whose voices are in other slots than in the plan before, or are others."""
    seen_anew: frozenset[ParticipantId] = field(default=frozenset(), compare=False)
    """The same of pictures; or these are wanted otherwise."""
    basis: "_Basis | None" = field(default=None, compare=False, repr=False)
    """What the next plan need not find out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """What a plan was made of, and each participant's part of it."""

    knowledge: Knowledge
    flowing: set[SourceId]
    gallery: "_Gallery"
    heard: Mapping[ParticipantId, frozenset[SourceId]]
    """Which voices, in whichever slots."""
    voices: Mapping[ParticipantId, Mapping[SlotKey, SourceId]]
    pictures: Mapping[ParticipantId, Mapping[SlotKey, SourceId]]

    def gallery_for(self, flowing: set[SourceId], knowledge: Knowledge) -> "_Gallery | None":
        """Its gallery, if that has the same pictures in the same order."""
        before = self.knowledge
        same = before.state is knowledge.state and before.speakers == knowledge.speakers
        return self.gallery if same and self.flowing == flowing else None


def plan(knowledge: Knowledge, previous: Plan) -> Plan:
    """What shall flow now, with as few slots changed since `previous` as can be."""
    basis = previous.basis
    if basis is not None and basis.knowledge.state is knowledge.state:
        unmuted = previous.unmuted
    else:
        unmuted = _unmuted(knowledge.state)
    upstreams = _upstreams(knowledge)
    own = knowledge.own
    flowing = (own | upstreams.keys()) & unmuted
    audible = _audible(flowing, knowledge.voices)
    gallery = None if basis is None else basis.gallery_for(flowing, knowledge)
    if gallery is None:
        gallery = _Gallery(flowing, knowledge)
    heard: dict[ParticipantId, frozenset[SourceId]] = {}
    voices: dict[ParticipantId, Mapping[SlotKey, SourceId]] = {}
    seen: dict[ParticipantId, tuple[Picture, ...]] = {}
    pictures: dict[ParticipantId, Mapping[SlotKey, SourceId]] = {}
    for participant, local in knowledge.locals.items():
        others = (source for source in audible if participant_of(source) != participant)
        loudest = list(islice(others, local.audio_slots))
        heard[participant] = frozenset(loudest)
        same = basis if basis and basis.knowledge.locals.get(participant) is local else None
        if same is not None and same.heard[participant] == heard[participant]:
            voices[participant] = same.voices[participant]
        else:
            before = basis.voices.get(participant, {}) if basis else {}
            voices[participant] = _seated(participant, MediaKind.AUDIO, local, loudest, before)
        if same is not None and same.gallery is gallery:
            seen[participant] = previous.pictures.get(participant, ())
            pictures[participant] = same.pictures[participant]
            continue
        seen[participant] = tuple(islice(gallery.shown_to(participant, local), local.video_slots))
        shown = [picture.source for picture in seen[participant]]
        before = basis.pictures.get(participant, {}) if basis else {}
        pictures[participant] = _seated(participant, MediaKind.VIDEO, local, shown, before)
    slots: dict[SlotKey, SourceId] = {}
    for seated in (*voices.values(), *pictures.values()):
        slots |= seated
    announced = _announced(knowledge, own, own & unmuted, upstreams)
    return Plan(
        slots=slots,
        pictures={participant: each for participant, each in seen.items() if each},
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
        unmuted=unmuted,
        heard_anew=_changed(voices, basis.voices if basis else {}),
        seen_anew=_changed(pictures, basis.pictures if basis else {})
        | _changed(seen, previous.pictures),
        basis=_Basis(
            knowledge=knowledge,
            flowing=flowing,
            gallery=gallery,
            heard=heard,
            voices=voices,
            pictures=pictures,
        ),
    )


def _unmuted(state: ConferenceState) -> frozenset[SourceId]:
    return frozenset(
        source_id(seat.participant, source.kind)
        for seat in state.seats
        for source in seat.sources
        if not source.muted
    )


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
        if local.last_n is None:
            return others
        if local.pictures is None:
            return self._first(local.last_n, others)
        return self._last(local.last_n, list(others))

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

    def _first(self, count: int, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """What `_last` leaves of all pictures in their order, where few of them are asked for."""
        for each in pictures:
            if each.source not in self._screens:
                if not count:
                    return
                count -= 1
            yield each

    def _last(self, count: int, pictures: list[Picture]) -> Iterator[Picture]:
        """All but cameras of those who have not spoken for longest and are not on the stage."""
        cameras = sorted(
            (each for each in pictures if each.source not in self._screens),
            key=lambda each: (not each.stage, self._places[each.source]),
        )
        left_out = {each.source for each in cameras[count:]}
        return (each for each in pictures if each.source not in left_out)


def _changed(
    now: Mapping[ParticipantId, Collection[object]],
    before: Mapping[ParticipantId, Collection[object]],
) -> frozenset[ParticipantId]:
    """Who has something else than before; what nobody has is the same as nothing."""
    return frozenset(
        participant
        for participant, each in now.items()
        if (was := before.get(participant, ())) is not each and (was or each) and was != each
    )


def _seated(
    participant: ParticipantId,
    media: MediaKind,
    local: Local,
    sources: list[SourceId],
    before: Mapping[SlotKey, SourceId],
) -> dict[SlotKey, SourceId]:
    """Each source in the slot that it had; newcomers in the first free ones."""
    wanted, slots = set(sources), local.slots(media)
    seated = {
        key: source for key, source in before.items() if source in wanted and key.number < slots
    }
    if len(seated) == len(wanted):
        return seated
    staying = set(seated.values())
    newcomers = (source for source in sources if source not in staying)
    keys = (SlotKey(participant, media, number) for number in range(slots))
    free = (key for key in keys if key not in seated)
    return seated | dict(zip(free, newcomers, strict=False))


def _announced(
    knowledge: Knowledge,
    own: set[SourceId],
    own_unmuted: set[SourceId],
    upstreams: Mapping[SourceId, BridgeId],
) -> dict[BridgeId, dict[SourceId, Offered]]:
    routes = [route for route in knowledge.state.routes if route.downstream]
    if not routes:
        return {}
    rank = {source: place for place, source in enumerate(knowledge.voices)}
    microphones = sorted(
        (source for source in own if kind_of(source).media is MediaKind.AUDIO),
        # A muted one is announced only where there is room, ready for when it is not.
        key=lambda source: (source not in own_unmuted, rank.get(source, len(rank)), source),
    )
    silenced = set(microphones[LOUDEST_RELAYED:])
    announced: dict[BridgeId, dict[SourceId, Offered]] = {}
    for route in routes:
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
