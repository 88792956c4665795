from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from region.conference import (
    Knowledge,
    Layers,
    Offered,
    Plan,
    plan,
)
from region.demands import Demands, demands
from relay.control import Route
from relay.ids import (
    TOP_LAYER,
    BridgeId,
    Layer,
    MediaKind,
    ParticipantId,
    SourceId,
    VideoCodec,
    kind_of,
    participant_of,
    source_id,
)
from tests.region.seating import (
    ANNA,
    BOTH,
    BRUNO,
    CAMERA,
    CAROL,
    MICROPHONE,
    A,
    B,
    C,
    all_shown,
    everything,
    here,
    seat,
    sources_of,
    unmuted,
)
from tests.strategies.conferences import SOURCES, knowledge
from tests.strategies.layers import layers

targets = st.lists(st.tuples(st.sampled_from(SOURCES), layers), max_size=10)


def wanted_here(
    planned: Plan, aims: Iterable[tuple[SourceId, Layer]]
) -> dict[SourceId, set[Layer]]:
    """Every layer that a slot aims at or a leg carries."""
    wanted: dict[SourceId, set[Layer]] = {}
    for source, layer in aims:
        wanted.setdefault(source, set()).add(layer)
    for leg in planned.legs.values():
        for source, each in leg.items():
            wanted.setdefault(source, set()).update(each)
    return wanted


@given(knowledge(), targets)
def test_pictures_are_demanded_as_they_are_shown_or_passed_on_and_from_where_they_come(
    knows: Knowledge, aims: list[tuple[SourceId, Layer]]
) -> None:
    planned = plan(knows, Plan())
    demanded = demands(planned, knows, aims)
    wanted = wanted_here(planned, aims)
    here = {source for local in knows.locals.values() for source in local.sources}
    assert demanded.own.keys() == here
    assert demanded.peers.keys() == knows.offered.keys()
    for peer, sources in demanded.peers.items():
        assert all(planned.upstreams[source] == peer for source in sources)
    for source in (here | planned.upstreams.keys()) & unmuted(knows):
        if kind_of(source) is not MICROPHONE:
            got = demanded.own.get(source, ()) if source in here else None
            if source in planned.upstreams:
                got = demanded.peers[planned.upstreams[source]].get(source, ())
            assert bool(got) == (source in wanted)


@given(knowledge(), targets)
def test_nothing_muted_and_nothing_that_nobody_wants_is_demanded(
    knows: Knowledge, aims: list[tuple[SourceId, Layer]]
) -> None:
    planned = plan(knows, Plan())
    wanted = wanted_here(planned, aims)
    for source, _ in everything(demands(planned, knows, aims)):
        assert source in unmuted(knows)
        if kind_of(source) is MICROPHONE:
            listeners = {each for each, local in knows.locals.items() if local.audio_slots}
            assert source in wanted or listeners - {participant_of(source)} or planned.legs
        else:
            assert source in wanted


@given(knowledge(), targets)
def test_the_layers_of_a_demand_cover_all_that_is_wanted_and_are_wanted_themselves(
    knows: Knowledge, aims: list[tuple[SourceId, Layer]]
) -> None:
    planned = plan(knows, Plan())
    wanted = wanted_here(planned, aims)
    for source, demanded in everything(demands(planned, knows, aims)):
        spatials = [layer.spatial for layer in demanded]
        if kind_of(source) is MICROPHONE:
            assert demanded == (TOP_LAYER,)
        elif knows.state.codec.scalable:
            assert demanded == (
                Layer(
                    max(layer.spatial for layer in wanted[source]),
                    max(layer.temporal for layer in wanted[source]),
                ),
            )
        else:
            assert spatials == sorted({layer.spatial for layer in wanted[source]})
            assert set(demanded) <= wanted[source]
            for layer in wanted[source]:
                assert layer <= demanded[spatials.index(layer.spatial)]


@given(knowledge())
def test_voices_come_wherever_somebody_listens(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    demanded = dict(everything(demands(planned, knows, ())))
    for key, source in planned.slots.items():
        if key.media is MediaKind.AUDIO:
            assert demanded[source] == (TOP_LAYER,)
    for leg in planned.legs.values():
        for source in leg:
            assert source in demanded


@given(knowledge())
def test_a_slot_or_leg_holds_only_what_is_here_or_demanded(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    here = {source for local in knows.locals.values() for source in local.sources}
    demanded = demands(planned, knows, all_shown(planned))
    arriving = here.union(*demanded.peers.values())
    assert set(planned.slots.values()) <= arriving
    assert set().union(*planned.legs.values()) <= arriving


# By example


def test_a_remote_source_without_a_free_slot_is_not_demanded() -> None:
    people = (seat(ANNA, A), seat(BRUNO, B, CAMERA), seat(CAROL, B, CAMERA))
    offered = {
        B: {
            source: Offered(origin=B, hops=1)
            for person in (BRUNO, CAROL)
            for source in sources_of(person, CAMERA)
        }
    }
    route = Route(origin=B, upstream=B, downstream=())
    knows = here(people, routes=(route,), offered=offered, video_slots=1)
    planned = plan(knows, Plan())
    shown = demands(planned, knows, all_shown(planned))
    assert shown.peers == {B: {source_id(BRUNO, CAMERA): (TOP_LAYER,)}}
    paused = demands(planned, knows, ())
    assert paused.peers == {B: {}}


def test_what_a_slot_still_shows_is_demanded_beside_what_it_shall_show() -> None:
    people = (seat(ANNA, A), seat(BRUNO, B, CAMERA), seat(CAROL, B, CAMERA))
    offered = {B: {source_id(each, CAMERA): Offered(origin=B, hops=1) for each in (BRUNO, CAROL)}}
    route = Route(origin=B, upstream=B, downstream=())
    knows = here(people, routes=(route,), offered=offered, video_slots=1)
    old, new = (source_id(CAROL, CAMERA), Layer(1, 2)), (source_id(BRUNO, CAMERA), Layer(0, 1))
    assert demands(plan(knows, Plan()), knows, [new, old]).peers == {
        B: {new[0]: (new[1],), old[0]: (old[1],)}
    }


def test_a_sender_here_learns_what_anybody_anywhere_wants() -> None:
    camera, microphone = source_id(ANNA, CAMERA), source_id(ANNA, MICROPHONE)
    people = (seat(ANNA, A, *BOTH), seat(BRUNO, A), seat(CAROL, A))
    route = Route(origin=A, upstream=None, downstream=(B, C))
    far: dict[BridgeId, dict[SourceId, Layers]] = {
        B: {camera: (Layer(0, 1), Layer(2, 0))},
        C: {camera: (Layer(0, 2),)},
    }
    aims = [(camera, Layer(1, 2)), (camera, Layer(1, 0))]
    for codec, layers_wanted in (
        (VideoCodec.VP8, (Layer(0, 2), Layer(1, 2), Layer(2, 0))),
        (VideoCodec.AV1, (Layer(2, 2),)),
    ):
        knows = here(people, routes=(route,), demanded=far, codec=codec)
        assert demands(plan(knows, Plan()), knows, aims).own == {
            camera: layers_wanted,
            microphone: (TOP_LAYER,),
        }


def test_who_is_alone_or_heard_and_seen_by_nobody_may_stop_sending() -> None:
    alone = here((seat(ANNA, A, *BOTH),))
    nothing: dict[SourceId, Layers] = {source_id(ANNA, CAMERA): (), source_id(ANNA, MICROPHONE): ()}
    assert demands(plan(alone, Plan()), alone, ()).own == nothing
    deaf = here((seat(ANNA, A, *BOTH), seat(BRUNO, A)), audio_slots=0)
    assert demands(plan(deaf, Plan()), deaf, ()).own == nothing


def test_all_microphones_here_are_heard_once_somebody_elsewhere_listens_to_one() -> None:
    crowd = [ParticipantId(number) for number in range(10, 18)]
    people = tuple(seat(each, A, MICROPHONE) for each in crowd)
    route = Route(origin=A, upstream=None, downstream=(B,))
    far = {B: {source_id(crowd[0], MICROPHONE): (TOP_LAYER,)}}
    knows = here(people, routes=(route,), demanded=far, audio_slots=0)
    assert demands(plan(knows, Plan()), knows, ()).own == {
        source_id(each, MICROPHONE): (TOP_LAYER,) for each in crowd
    }


def test_voices_behind_no_slot_come_too_so_that_they_can_be_heard_when_they_speak() -> None:
    crowd = [ParticipantId(number) for number in range(10, 18)]
    voices = frozenset(source_id(each, MICROPHONE) for each in crowd)
    people = (seat(ANNA, A), *(seat(each, B, MICROPHONE) for each in crowd))
    offered = {B: {voice: Offered(origin=B, hops=1) for voice in voices}}
    route = Route(origin=B, upstream=B, downstream=())
    knows = here(people, routes=(route,), offered=offered)
    assert demands(plan(knows, Plan()), knows, ()).peers == {B: dict.fromkeys(voices, (TOP_LAYER,))}
    deaf = here(people, routes=(route,), offered=offered, audio_slots=0)
    assert demands(plan(deaf, Plan()), deaf, ()).peers == {B: {}}


def test_who_moved_here_is_not_taken_from_elsewhere_any_more() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA))
    stale = {B: {source_id(BRUNO, CAMERA): Offered(origin=B, hops=1)}}
    route = Route(origin=B, upstream=B, downstream=())
    knows = here(people, routes=(route,), offered=stale)
    planned = plan(knows, Plan())
    assert planned.upstreams == {}
    assert demands(planned, knows, all_shown(planned)).peers == {B: {}}


def test_a_plan_for_nobody_is_empty_and_peers_are_told_that_nothing_is_wanted() -> None:
    knows = here((), offered={B: {source_id(BRUNO, CAMERA): Offered(origin=B, hops=1)}})
    planned = plan(knows, Plan())
    assert planned == Plan()
    assert demands(planned, knows, ()) == Demands(peers={B: {}}, own={})
