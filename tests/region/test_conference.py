from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from region.conference import (
    LOUDEST_RELAYED,
    MAX_HOPS,
    Knowledge,
    Offered,
    Plan,
    SlotKey,
    plan,
)
from relay.control import Picture, Route
from relay.ids import (
    TOP_LAYER,
    MediaKind,
    ParticipantId,
    SourceKind,
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
    DORA,
    MICROPHONE,
    SCREEN,
    A,
    B,
    C,
    here,
    seat,
    seen_by,
    slots_of,
    sources_of,
    unmuted,
    view,
)
from tests.strategies.conferences import PEOPLE, knowledge

# Whatever a bridge knows


@given(knowledge())
def test_nobody_gets_what_they_send_themselves(knows: Knowledge) -> None:
    for key, source in plan(knows, Plan()).slots.items():
        assert participant_of(source) != key.participant


@given(knowledge())
def test_only_slots_that_were_offered_are_filled_and_with_their_medium(knows: Knowledge) -> None:
    for key, source in plan(knows, Plan()).slots.items():
        assert 0 <= key.number < knows.locals[key.participant].slots(key.media)
        assert kind_of(source).media is key.media


@given(knowledge(), knowledge())
def test_nobody_gets_a_source_twice(before: Knowledge, knows: Knowledge) -> None:
    planned = plan(knows, plan(before, Plan()))
    for person in knows.locals:
        sources = list(slots_of(planned, person).values())
        assert len(sources) == len(set(sources))


@given(knowledge(), knowledge())
def test_what_is_muted_or_unknown_to_the_focus_is_in_no_slot_and_on_no_leg(
    before: Knowledge, knows: Knowledge
) -> None:
    planned = plan(knows, plan(before, Plan()))
    assert set(planned.slots.values()) <= unmuted(knows)
    for leg in planned.legs.values():
        assert leg.keys() <= unmuted(knows)


@given(knowledge(), knowledge())
def test_a_source_keeps_its_slot_while_it_is_shown(before: Knowledge, knows: Knowledge) -> None:
    first = plan(before, Plan())
    second = plan(knows, first)
    for key, source in first.slots.items():
        if key.participant in knows.locals:
            still_there = key.number < knows.locals[key.participant].slots(key.media)
            shown = source in slots_of(second, key.participant).values()
            if still_there and shown:
                assert second.slots[key] == source


@given(knowledge(), knowledge())
def test_the_pictures_of_a_viewer_are_what_is_in_the_video_slots(
    before: Knowledge, knows: Knowledge
) -> None:
    planned = plan(knows, plan(before, Plan()))
    assert planned.pictures.keys() <= knows.locals.keys()
    for person in knows.locals:
        slots = slots_of(planned, person)
        in_slots = [source for (media, _), source in slots.items() if media is MediaKind.VIDEO]
        assert sorted(seen_by(planned, person)) == sorted(in_slots)


@given(knowledge())
def test_no_slot_stays_empty_while_somebody_could_be_in_it(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    here = {source for local in knows.locals.values() for source in local.sources}
    available = (here | set(planned.upstreams)) & unmuted(knows)
    for person, local in knows.locals.items():
        others = {source for source in available if participant_of(source) != person}
        if local.pictures is not None:
            asked = {picture.source for picture in local.pictures}
            others = {each for each in others if kind_of(each) is MICROPHONE or each in asked}
        count = {kind: sum(kind_of(source) is kind for source in others) for kind in SourceKind}
        if local.last_n is not None:
            count[CAMERA] = min(count[CAMERA], local.last_n)
        filled = [media for media, _ in slots_of(planned, person)]
        assert filled.count(MediaKind.AUDIO) == min(local.audio_slots, count[MICROPHONE])
        assert filled.count(MediaKind.VIDEO) == min(
            local.video_slots, count[CAMERA] + count[SCREEN]
        )


@given(knowledge(), knowledge())
def test_no_camera_is_shown_while_a_screen_that_was_asked_for_is_not(
    before: Knowledge, knows: Knowledge
) -> None:
    planned = plan(knows, plan(before, Plan()))
    here = {source for local in knows.locals.values() for source in local.sources}
    available = (here | set(planned.upstreams)) & unmuted(knows)
    for person, local in knows.locals.items():
        asked = available
        if local.pictures is not None:
            asked = available & {picture.source for picture in local.pictures}
        screens = {each for each in asked if kind_of(each) is SCREEN}
        screens -= {source_id(person, SCREEN)}
        seen = seen_by(planned, person)
        if any(kind_of(each) is CAMERA for each in seen):
            assert screens <= set(seen)
        kinds = [kind_of(each) for each in seen]
        assert kinds == sorted(kinds, reverse=True)


@given(knowledge())
def test_a_picture_is_as_high_as_it_was_asked_for_the_first_time(knows: Knowledge) -> None:
    for person, pictures in plan(knows, Plan()).pictures.items():
        local = knows.locals[person]
        for picture in pictures:
            if local.pictures is None:
                assert picture == Picture(source=picture.source, height_px=local.height_px)
            else:
                asked = [each for each in local.pictures if each.source == picture.source]
                assert picture == asked[0]


@given(knowledge())
def test_only_what_comes_the_way_of_the_routes_is_used(knows: Knowledge) -> None:
    for source, peer in plan(knows, Plan()).upstreams.items():
        offered = knows.offered[peer][source]
        assert offered.origin != knows.me
        assert offered.hops <= MAX_HOPS
        assert offered.origin in {
            seat.bridge for seat in knows.state.seats if seat.participant == participant_of(source)
        }
        assert peer in {
            route.upstream for route in knows.state.routes if route.origin == offered.origin
        }


@given(knowledge())
def test_a_leg_carries_only_what_was_announced_and_as_it_was_demanded(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    for peer, leg in planned.legs.items():
        assert leg.items() <= knows.demanded.get(peer, {}).items()
        assert leg.keys() <= planned.announced.get(peer, {}).keys()


@given(knowledge())
def test_announced_sources_are_own_ones_or_one_hop_farther_than_they_came(
    knows: Knowledge,
) -> None:
    planned = plan(knows, Plan())
    for sources in planned.announced.values():
        for source, announced in sources.items():
            assert 1 <= announced.hops <= MAX_HOPS
            if announced.origin == knows.me:
                assert announced.hops == 1
                assert any(source in local.sources for local in knows.locals.values())
            else:
                came = knows.offered[planned.upstreams[source]][source]
                assert announced == Offered(origin=came.origin, hops=came.hops + 1)


@given(knowledge(), knowledge())
def test_knowing_nothing_new_changes_nothing(before: Knowledge, knows: Knowledge) -> None:
    once = plan(knows, plan(before, Plan()))
    assert plan(knows, once) == once


@given(
    knowledge(),
    knowledge(),
    st.sets(st.sampled_from(["state", "offered", "demanded", "speakers", "voices"])),
    st.sets(st.sampled_from(PEOPLE)),
)
def test_who_is_not_concerned_keeps_what_a_plan_for_everybody_would_give_them(
    before: Knowledge, later: Knowledge, news: set[str], people: set[ParticipantId]
) -> None:
    same = {person: local for person, local in before.locals.items() if person in people}
    new = {name: getattr(later, name) for name in news}
    knows = replace(before, **new, locals=later.locals | same)
    first = plan(before, Plan())
    second = plan(knows, first)
    assert second == plan(knows, replace(first, basis=None))
    for person in knows.locals:
        slots = [
            {at: source for at, source in slots_of(planned, person).items() if at[0] is media}
            for media in MediaKind
            for planned in (first, second)
        ]
        heard, seen = slots[0] == slots[1], slots[2] == slots[3]
        seen &= first.pictures.get(person) == second.pictures.get(person)
        assert (person in second.heard_anew, person in second.seen_anew) == (not heard, not seen)


# One bridge, by example


def test_two_people_on_a_bridge_get_each_other() -> None:
    planned = plan(here((seat(ANNA, A, *BOTH), seat(BRUNO, A, *BOTH))), Plan())
    assert slots_of(planned, ANNA) == {
        (MediaKind.AUDIO, 0): source_id(BRUNO, MICROPHONE),
        (MediaKind.VIDEO, 0): source_id(BRUNO, CAMERA),
    }
    assert set(slots_of(planned, BRUNO).values()) == sources_of(ANNA, *BOTH)


def test_a_newcomer_takes_the_slot_that_a_leaver_had_and_others_stay() -> None:
    before = (seat(ANNA, A), seat(BRUNO, A, CAMERA), seat(CAROL, A, CAMERA))
    after = (seat(ANNA, A), seat(CAROL, A, CAMERA), seat(DORA, A, CAMERA))
    planned = plan(here(after), plan(here(before), Plan()))
    assert slots_of(planned, ANNA) == {
        (MediaKind.VIDEO, 0): source_id(DORA, CAMERA),
        (MediaKind.VIDEO, 1): source_id(CAROL, CAMERA),
    }


def test_a_muted_picture_gives_its_slot_to_the_next_and_takes_another_when_it_is_back() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA), seat(CAROL, A, CAMERA))
    muted = (seat(ANNA, A), seat(BRUNO, A, CAMERA, muted=(CAMERA,)), seat(CAROL, A, CAMERA))
    first = plan(here(people, video_slots=1), Plan())
    second = plan(here(muted, video_slots=1), first)
    assert slots_of(first, ANNA) == {(MediaKind.VIDEO, 0): source_id(BRUNO, CAMERA)}
    assert slots_of(second, ANNA) == {(MediaKind.VIDEO, 0): source_id(CAROL, CAMERA)}


def test_a_view_chooses_pictures_and_their_order_and_leaves_voices_alone() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, *BOTH), seat(CAROL, A, *BOTH), seat(DORA, A, CAMERA))
    wanted = view((DORA, CAMERA), (CAROL, CAMERA), (BRUNO, CAMERA))
    planned = plan(here(people, views={ANNA: wanted}), Plan())
    assert planned.pictures[ANNA] == wanted[:2]
    assert slots_of(planned, ANNA) == {
        (MediaKind.AUDIO, 0): source_id(BRUNO, MICROPHONE),
        (MediaKind.AUDIO, 1): source_id(CAROL, MICROPHONE),
        (MediaKind.VIDEO, 0): source_id(DORA, CAMERA),
        (MediaKind.VIDEO, 1): source_id(CAROL, CAMERA),
    }


def test_a_picture_that_is_asked_for_twice_is_shown_once_as_at_first() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA))
    camera = source_id(BRUNO, CAMERA)
    large = Picture(source=camera, height_px=720, stage=True)
    small = Picture(source=camera, height_px=90)
    planned = plan(here(people, views={ANNA: (large, small)}), Plan())
    assert planned.pictures[ANNA] == (large,)
    assert list(slots_of(planned, ANNA).values()) == [camera]


def test_an_empty_view_is_no_picture_at_all() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA))
    assert slots_of(plan(here(people, views={ANNA: ()}), Plan()), ANNA) == {}


def test_a_shared_screen_comes_before_the_camera_of_who_shares() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA, SCREEN))
    planned = plan(here(people, video_slots=1), Plan())
    assert slots_of(planned, ANNA) == {(MediaKind.VIDEO, 0): source_id(BRUNO, SCREEN)}


def test_few_audio_slots_carry_the_loudest() -> None:
    people = (seat(ANNA, A), *(seat(each, A, MICROPHONE) for each in (BRUNO, CAROL, DORA)))
    loudest = (source_id(DORA, MICROPHONE), source_id(CAROL, MICROPHONE))
    dominated = (source_id(BRUNO, MICROPHONE),)
    planned = plan(here(people, voices=loudest, speakers=dominated), Plan())
    assert set(slots_of(planned, ANNA).values()) == set(loudest)


def test_few_video_slots_show_screens_then_who_spoke_last_then_who_came_first() -> None:
    crowd = [ParticipantId(number) for number in range(10, 15)]
    first, second, third, fourth, fifth = crowd
    people = (
        seat(ANNA, A),
        *(seat(each, A, CAMERA) for each in crowd[:-1]),
        seat(fifth, A, CAMERA, SCREEN),
    )
    speakers = (source_id(fourth, MICROPHONE), source_id(third, MICROPHONE))
    planned = plan(here(people, video_slots=5, speakers=speakers), Plan())
    shown = [(fifth, SCREEN), *((each, CAMERA) for each in (fourth, third, first, second))]
    assert seen_by(planned, ANNA) == [source_id(*each) for each in shown]


def test_who_speaks_next_takes_the_slot_of_who_has_been_silent_for_longest() -> None:
    people = (seat(ANNA, A), *(seat(each, A, CAMERA) for each in (BRUNO, CAROL, DORA)))
    spoke = [source_id(each, MICROPHONE) for each in (CAROL, BRUNO, DORA)]
    first = plan(here(people, speakers=(spoke[0], spoke[1])), Plan())
    second = plan(here(people, speakers=(spoke[2], spoke[0], spoke[1])), first)
    assert slots_of(first, ANNA) == {
        (MediaKind.VIDEO, 0): source_id(CAROL, CAMERA),
        (MediaKind.VIDEO, 1): source_id(BRUNO, CAMERA),
    }
    assert slots_of(second, ANNA) == {
        (MediaKind.VIDEO, 0): source_id(CAROL, CAMERA),
        (MediaKind.VIDEO, 1): source_id(DORA, CAMERA),
    }


def test_a_shared_screen_keeps_its_slot_whoever_speaks_and_whatever_is_asked_for() -> None:
    people = (
        seat(ANNA, A),
        seat(BRUNO, A, CAMERA, SCREEN),
        seat(CAROL, A, CAMERA),
        seat(DORA, A, CAMERA),
    )
    screen = source_id(BRUNO, SCREEN)
    planned = plan(here(people), Plan())
    ((_, slot),) = [key for key, source in slots_of(planned, ANNA).items() if source == screen]
    everybody = [(DORA, CAMERA), (CAROL, CAMERA), (BRUNO, CAMERA), (BRUNO, SCREEN)]
    asked = view(*everybody, stage=source_id(DORA, CAMERA))
    for speaker in (CAROL, DORA, BRUNO):
        speakers = (source_id(speaker, MICROPHONE),)
        for views in ({}, {ANNA: asked}):
            planned = plan(here(people, speakers=speakers, views=views, last_n=9), planned)
            assert slots_of(planned, ANNA)[MediaKind.VIDEO, slot] == screen


def test_screens_and_then_the_stage_come_before_what_else_a_view_asks_for() -> None:
    people = (
        seat(ANNA, A),
        seat(BRUNO, A, CAMERA, SCREEN),
        *(seat(each, A, CAMERA) for each in (CAROL, DORA)),
    )
    stage = source_id(DORA, CAMERA)
    wanted = view((CAROL, CAMERA), (BRUNO, CAMERA), (DORA, CAMERA), (BRUNO, SCREEN), stage=stage)
    planned = plan(here(people, views={ANNA: wanted}, video_slots=4), Plan())
    assert planned.pictures[ANNA] == (wanted[3], wanted[2], wanted[0], wanted[1])


def test_last_n_leaves_the_cameras_of_those_who_spoke_last_and_every_screen() -> None:
    people = (
        seat(ANNA, A),
        seat(BRUNO, A, CAMERA, SCREEN),
        *(seat(each, A, CAMERA) for each in (CAROL, DORA)),
    )
    speakers = (source_id(DORA, MICROPHONE), source_id(CAROL, MICROPHONE))
    knows = here(people, video_slots=9, speakers=speakers, last_n=1)
    screen = source_id(BRUNO, SCREEN)
    assert seen_by(plan(knows, Plan()), ANNA) == [screen, source_id(DORA, CAMERA)]
    nothing = here(people, video_slots=9, speakers=speakers, last_n=0)
    assert seen_by(plan(nothing, Plan()), ANNA) == [screen]


def test_last_n_of_a_view_keeps_its_order_and_its_stage() -> None:
    people = (seat(ANNA, A), *(seat(each, A, CAMERA) for each in (BRUNO, CAROL, DORA)))
    speakers = (source_id(DORA, MICROPHONE), source_id(CAROL, MICROPHONE))
    tiles = [(BRUNO, CAMERA), (CAROL, CAMERA), (DORA, CAMERA)]
    knows = here(people, video_slots=9, speakers=speakers, last_n=2, views={ANNA: view(*tiles)})
    assert seen_by(plan(knows, Plan()), ANNA) == [source_id(*each) for each in tiles[1:]]
    staged = {ANNA: view(*tiles, stage=source_id(BRUNO, CAMERA))}
    knows = here(people, video_slots=9, speakers=speakers, last_n=2, views=staged)
    assert seen_by(plan(knows, Plan()), ANNA) == [
        source_id(BRUNO, CAMERA),
        source_id(DORA, CAMERA),
    ]


def test_forty_nine_slots_are_filled() -> None:
    crowd = [ParticipantId(number) for number in range(10, 70)]
    people = (seat(ANNA, A), *(seat(each, A, CAMERA) for each in crowd))
    planned = plan(here(people, video_slots=49), Plan())
    assert seen_by(planned, ANNA) == [source_id(each, CAMERA) for each in crowd[:49]]


def test_a_bridge_announces_its_loudest_microphones_and_all_its_pictures() -> None:
    crowd = [ParticipantId(number) for number in range(10, 18)]
    people = tuple(seat(each, A, *BOTH) for each in crowd)
    loudest = tuple(source_id(each, MICROPHONE) for each in crowd[-LOUDEST_RELAYED:])
    route = Route(origin=A, upstream=None, downstream=(B,))
    planned = plan(here(people, routes=(route,), voices=loudest), Plan())
    pictures = {source_id(each, CAMERA) for each in crowd}
    assert set(planned.announced[B]) == pictures | set(loudest)


def test_a_source_that_the_peer_does_not_demand_takes_no_leg() -> None:
    route = Route(origin=A, upstream=None, downstream=(B, C))
    demanded = {B: {source_id(ANNA, MICROPHONE): (TOP_LAYER,)}}
    knows = here((seat(ANNA, A, *BOTH),), routes=(route,), demanded=demanded)
    assert plan(knows, Plan()).legs == {**demanded, C: {}}


def test_muted_microphones_push_no_silent_one_out_of_the_announcement() -> None:
    crowd = [ParticipantId(number) for number in range(10, 18)]
    silent = crowd[-1]
    people = (
        *(seat(each, A, MICROPHONE, muted=(MICROPHONE,)) for each in crowd[:-1]),
        seat(silent, A, MICROPHONE),
    )
    route = Route(origin=A, upstream=None, downstream=(B,))
    planned = plan(here(people, routes=(route,)), Plan())
    assert source_id(silent, MICROPHONE) in planned.announced[B]


def test_slots_of_a_kind_are_told_apart() -> None:
    key = SlotKey(participant=ANNA, media=MediaKind.AUDIO, number=0)
    people = (seat(ANNA, A), seat(BRUNO, A, *BOTH))
    assert plan(here(people), Plan()).slots[key] == source_id(BRUNO, MICROPHONE)
