from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from region.conference import (
    LOUDEST_RELAYED,
    MAX_HOPS,
    Knowledge,
    Local,
    Offered,
    Plan,
    SlotKey,
    plan,
)
from relay.control import ConferenceState, Route, Seat, SourceState
from relay.ids import (
    BridgeId,
    ConferenceId,
    Generation,
    MediaKind,
    ParticipantId,
    SourceId,
    SourceKind,
    kind_of,
    participant_of,
    source_id,
)
from tests.strategies.conferences import knowledge

A, B, C, D, E = (BridgeId(name) for name in "abcde")
ANNA, BRUNO, CAROL, DORA = (ParticipantId(number) for number in (1, 2, 3, 4))
MICROPHONE, CAMERA, SCREEN = SourceKind.MICROPHONE, SourceKind.CAMERA, SourceKind.SCREEN
BOTH = (MICROPHONE, CAMERA)


def unmuted(knows: Knowledge) -> set[SourceId]:
    return {
        source_id(seat.participant, source.kind)
        for seat in knows.state.seats
        for source in seat.sources
        if not source.muted
    }


def slots_of(planned: Plan, person: ParticipantId) -> dict[tuple[MediaKind, int], SourceId]:
    return {
        (key.media, key.index): source
        for key, source in planned.slots.items()
        if key.participant == person
    }


# Whatever a bridge knows


@given(knowledge())
def test_nobody_gets_what_they_send_themselves(knows: Knowledge) -> None:
    for key, source in plan(knows, Plan()).slots.items():
        assert participant_of(source) != key.participant


@given(knowledge())
def test_only_slots_that_were_offered_are_filled_and_with_their_medium(knows: Knowledge) -> None:
    for key, source in plan(knows, Plan()).slots.items():
        assert 0 <= key.index < knows.locals[key.participant].slots(key.media)
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
    assert set().union(*planned.legs.values()) <= unmuted(knows)


@given(knowledge(), knowledge())
def test_a_source_keeps_its_slot_while_it_is_shown(before: Knowledge, knows: Knowledge) -> None:
    first = plan(before, Plan())
    second = plan(knows, first)
    for key, source in first.slots.items():
        if key.participant in knows.locals:
            still_there = key.index < knows.locals[key.participant].slots(key.media)
            shown = source in slots_of(second, key.participant).values()
            if still_there and shown:
                assert second.slots[key] == source


@given(knowledge())
def test_no_slot_stays_empty_while_somebody_could_be_in_it(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    here = {source for local in knows.locals.values() for source in local.sources}
    available = (here | set(planned.upstreams)) & unmuted(knows)
    for person, local in knows.locals.items():
        for media in MediaKind:
            candidates = {
                source
                for source in available
                if kind_of(source).media is media and participant_of(source) != person
            }
            if media is MediaKind.VIDEO and local.view is not None:
                candidates &= set(local.view)
            filled = [key for key, _ in slots_of(planned, person).items() if key[0] is media]
            assert len(filled) == min(local.slots(media), len(candidates))


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
def test_a_leg_carries_only_what_was_announced_and_demanded(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    for peer, leg in planned.legs.items():
        assert leg <= knows.demanded.get(peer, frozenset())
        assert leg <= set(planned.announced.get(peer, {}))


@given(knowledge())
def test_what_is_demanded_is_what_slots_and_legs_need_and_from_one_upstream_each(
    knows: Knowledge,
) -> None:
    planned = plan(knows, Plan())
    needed = set(planned.slots.values()).union(*planned.legs.values())
    if any(local.audio_slots for local in knows.locals.values()):
        # All voices come: whose is the loudest is known only of those that do.
        needed |= {
            source
            for source in planned.upstreams
            if kind_of(source) is MICROPHONE and source in unmuted(knows)
        }
    demanded = [(source, peer) for peer, sources in planned.demands.items() for source in sources]
    assert sorted(demanded) == sorted(
        (source, peer) for source, peer in planned.upstreams.items() if source in needed
    )


@given(knowledge())
def test_a_slot_or_leg_holds_only_what_is_here_or_demanded(knows: Knowledge) -> None:
    planned = plan(knows, Plan())
    here = {source for local in knows.locals.values() for source in local.sources}
    arriving = here.union(*planned.demands.values())
    assert set(planned.slots.values()) <= arriving
    assert set().union(*planned.legs.values()) <= arriving


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


# One bridge, by example


def seat(
    person: ParticipantId,
    bridge: BridgeId,
    *kinds: SourceKind,
    muted: tuple[SourceKind, ...] = (),
) -> Seat:
    return Seat(
        participant=person,
        bridge=bridge,
        sources=tuple(SourceState(kind=kind, muted=kind in muted) for kind in kinds),
    )


def sources_of(person: ParticipantId, *kinds: SourceKind) -> frozenset[SourceId]:
    return frozenset(source_id(person, kind) for kind in kinds)


def here(
    seats: tuple[Seat, ...],
    *,
    routes: tuple[Route, ...] = (),
    audio_slots: int = 2,
    video_slots: int = 2,
    views: Mapping[ParticipantId, tuple[SourceId, ...]] | None = None,
    offered: Mapping[BridgeId, Mapping[SourceId, Offered]] | None = None,
    demanded: Mapping[BridgeId, frozenset[SourceId]] | None = None,
    speakers: tuple[SourceId, ...] = (),
) -> Knowledge:
    """What bridge A knows, where everybody on A has a transport."""
    return Knowledge(
        me=A,
        state=state_of(seats, routes),
        locals={
            each.participant: Local(
                sources=sources_of(each.participant, *(source.kind for source in each.sources)),
                audio_slots=audio_slots,
                video_slots=video_slots,
                view=(views or {}).get(each.participant),
            )
            for each in seats
            if each.bridge == A
        },
        offered=offered or {},
        demanded=demanded or {},
        speakers=speakers,
    )


def state_of(seats: tuple[Seat, ...], routes: tuple[Route, ...]) -> ConferenceState:
    return ConferenceState(
        conference=ConferenceId("garden"), generation=Generation(1), seats=seats, routes=routes
    )


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
    wanted = (source_id(DORA, CAMERA), source_id(CAROL, CAMERA), source_id(BRUNO, CAMERA))
    planned = plan(here(people, views={ANNA: wanted}), Plan())
    assert slots_of(planned, ANNA) == {
        (MediaKind.AUDIO, 0): source_id(BRUNO, MICROPHONE),
        (MediaKind.AUDIO, 1): source_id(CAROL, MICROPHONE),
        (MediaKind.VIDEO, 0): source_id(DORA, CAMERA),
        (MediaKind.VIDEO, 1): source_id(CAROL, CAMERA),
    }


def test_an_empty_view_is_no_picture_at_all() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA))
    assert slots_of(plan(here(people, views={ANNA: ()}), Plan()), ANNA) == {}


def test_a_shared_screen_comes_before_the_camera_of_who_shares() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA, SCREEN))
    planned = plan(here(people, video_slots=1), Plan())
    assert slots_of(planned, ANNA) == {(MediaKind.VIDEO, 0): source_id(BRUNO, SCREEN)}


def test_few_audio_slots_carry_the_loudest() -> None:
    people = (seat(ANNA, A), *(seat(each, A, MICROPHONE) for each in (BRUNO, CAROL, DORA)))
    speakers = (source_id(DORA, MICROPHONE), source_id(CAROL, MICROPHONE))
    planned = plan(here(people, speakers=speakers), Plan())
    assert set(slots_of(planned, ANNA).values()) == set(speakers)


def test_a_bridge_announces_its_loudest_microphones_and_all_its_pictures() -> None:
    crowd = [ParticipantId(number) for number in range(10, 18)]
    people = tuple(seat(each, A, *BOTH) for each in crowd)
    loudest = tuple(source_id(each, MICROPHONE) for each in crowd[-LOUDEST_RELAYED:])
    route = Route(origin=A, upstream=None, downstream=(B,))
    planned = plan(here(people, routes=(route,), speakers=loudest), Plan())
    pictures = {source_id(each, CAMERA) for each in crowd}
    assert set(planned.announced[B]) == pictures | set(loudest)


def test_a_source_that_the_peer_does_not_demand_takes_no_leg() -> None:
    route = Route(origin=A, upstream=None, downstream=(B, C))
    demanded = {B: sources_of(ANNA, MICROPHONE)}
    knows = here((seat(ANNA, A, *BOTH),), routes=(route,), demanded=demanded)
    assert plan(knows, Plan()).legs == {B: sources_of(ANNA, MICROPHONE), C: frozenset()}


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
    assert plan(knows, Plan()).demands == {B: sources_of(BRUNO, CAMERA)}


def test_voices_behind_no_slot_come_too_so_that_they_can_be_heard_when_they_speak() -> None:
    crowd = [ParticipantId(number) for number in range(10, 18)]
    voices = frozenset(source_id(each, MICROPHONE) for each in crowd)
    people = (seat(ANNA, A), *(seat(each, B, MICROPHONE) for each in crowd))
    offered = {B: {voice: Offered(origin=B, hops=1) for voice in voices}}
    route = Route(origin=B, upstream=B, downstream=())
    planned = plan(here(people, routes=(route,), offered=offered), Plan())
    assert planned.demands == {B: voices}
    deaf = here(people, routes=(route,), offered=offered, audio_slots=0)
    assert plan(deaf, Plan()).demands == {B: frozenset()}


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


def test_who_moved_here_is_not_taken_from_elsewhere_any_more() -> None:
    people = (seat(ANNA, A), seat(BRUNO, A, CAMERA))
    stale = {B: {source_id(BRUNO, CAMERA): Offered(origin=B, hops=1)}}
    route = Route(origin=B, upstream=B, downstream=())
    planned = plan(here(people, routes=(route,), offered=stale), Plan())
    assert planned.upstreams == {}
    assert planned.demands == {B: frozenset()}


def test_a_plan_for_nobody_is_empty_but_for_peers_without_demand() -> None:
    offered = {B: {source_id(BRUNO, CAMERA): Offered(origin=B, hops=1)}}
    assert plan(here((), offered=offered), Plan()) == Plan(demands={B: frozenset()})


def test_slots_of_a_kind_are_told_apart() -> None:
    key = SlotKey(participant=ANNA, media=MediaKind.AUDIO, index=0)
    people = (seat(ANNA, A), seat(BRUNO, A, *BOTH))
    assert plan(here(people), Plan()).slots[key] == source_id(BRUNO, MICROPHONE)


# Several bridges


class Net:
    """Bridges that tell each other what they plan, round by round."""

    def __init__(
        self, seats: tuple[Seat, ...], routes: Mapping[BridgeId, tuple[Route, ...]]
    ) -> None:
        self.seats = seats
        self.routes = routes
        self.plans = {bridge: Plan() for bridge in routes}

    def settle(self, rounds: int = 20) -> bool:
        """Whether they come to rest."""
        for _ in range(rounds):
            planned = {bridge: self._plan(bridge) for bridge in self.plans}
            if planned == self.plans:
                return True
            self.plans = planned
        return False

    def _plan(self, me: BridgeId) -> Plan:
        others = [(peer, self.plans[peer]) for peer in self.plans if peer != me]
        knows = Knowledge(
            me=me,
            state=state_of(self.seats, self.routes[me]),
            locals={
                each.participant: Local(
                    sources=sources_of(each.participant, *(one.kind for one in each.sources)),
                    audio_slots=5,
                    video_slots=5,
                )
                for each in self.seats
                if each.bridge == me
            },
            offered={peer: planned.announced.get(me, {}) for peer, planned in others},
            demanded={peer: planned.demands.get(me, frozenset()) for peer, planned in others},
            speakers=(),
        )
        return plan(knows, self.plans[me])

    def hops_from_origin(self, source: SourceId, bridge: BridgeId) -> int | None:
        """Over how many trunks the source really comes; None when it does not."""
        (origin,) = {
            each.bridge for each in self.seats if each.participant == participant_of(source)
        }
        hops, seen = 0, {bridge}
        while bridge != origin:
            upstream = self.plans[bridge].upstreams.get(source)
            if upstream is None or source not in self.plans[upstream].legs.get(bridge, ()):
                return None
            bridge, hops = upstream, hops + 1
            if bridge in seen:
                return None
            seen.add(bridge)
        return hops


def chain(*bridges: BridgeId) -> dict[BridgeId, tuple[Route, ...]]:
    """Routes for what the first of them sends, along the line."""
    routes = {}
    for at, bridge in enumerate(bridges):
        upstream = bridges[at - 1] if at else None
        downstream = bridges[at + 1 : at + 2]
        routes[bridge] = (Route(origin=bridges[0], upstream=upstream, downstream=downstream),)
    return routes


def test_a_source_passes_two_bridges_in_transit() -> None:
    net = Net((seat(ANNA, A, CAMERA), seat(BRUNO, D)), chain(A, B, C, D))
    assert net.settle()
    camera = source_id(ANNA, CAMERA)
    assert slots_of(net.plans[D], BRUNO) == {(MediaKind.VIDEO, 0): camera}
    assert net.hops_from_origin(camera, D) == 3
    assert net.plans[B].legs == {C: frozenset({camera})}
    assert net.plans[B].slots == {}


def test_a_source_passes_no_third_bridge_in_transit() -> None:
    net = Net((seat(ANNA, A, CAMERA), seat(BRUNO, E)), chain(A, B, C, D, E))
    assert net.settle()
    assert net.plans[E].slots == {}
    assert all(not each.legs.get(B) for each in net.plans.values())


def test_a_bridge_in_transit_is_sent_nothing_that_nobody_behind_it_wants() -> None:
    net = Net((seat(ANNA, A, CAMERA),), chain(A, B, C))
    assert net.settle()
    assert all(leg == frozenset() for leg in net.plans[A].legs.values())


def test_a_source_crosses_a_trunk_once_for_all_who_are_behind_it() -> None:
    seats = (seat(ANNA, A, CAMERA), seat(BRUNO, B), seat(CAROL, B), seat(DORA, C))
    net = Net(seats, chain(A, B, C))
    assert net.settle()
    camera = source_id(ANNA, CAMERA)
    assert net.plans[A].legs == {B: frozenset({camera})}
    assert net.plans[B].legs == {C: frozenset({camera})}
    for bridge, person in ((B, BRUNO), (B, CAROL), (C, DORA)):
        assert camera in slots_of(net.plans[bridge], person).values()


@st.composite
def any_routes(draw: st.DrawFn) -> dict[BridgeId, tuple[Route, ...]]:
    """Whatever the focus may say, loops included."""
    bridges = (A, B, C, D)
    return {
        me: tuple(
            Route(
                origin=origin,
                upstream=draw(
                    st.none() | st.sampled_from([each for each in bridges if each != me])
                ),
                downstream=tuple(
                    draw(st.sets(st.sampled_from([each for each in bridges if each != me])))
                ),
            )
            for origin in bridges
        )
        for me in bridges
    }


@settings(max_examples=40)  # each is some twenty rounds of four bridges
@given(any_routes(), any_routes())
def test_whatever_the_routes_bridges_settle_and_nothing_goes_in_circles(
    before: dict[BridgeId, tuple[Route, ...]], after: dict[BridgeId, tuple[Route, ...]]
) -> None:
    seats = (seat(ANNA, A, CAMERA), seat(BRUNO, B, CAMERA), seat(CAROL, C), seat(DORA, D))
    net = Net(seats, before)
    assert net.settle()
    net.routes = after
    assert net.settle()
    for bridge, planned in net.plans.items():
        here = {source_id(each.participant, CAMERA) for each in seats if each.bridge == bridge}
        for source in set(planned.slots.values()) - here:
            hops = net.hops_from_origin(source, bridge)
            assert hops is not None
            assert hops <= MAX_HOPS
