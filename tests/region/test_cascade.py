"""Several bridges that tell each other what they plan."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from region.conference import (
    MAX_HOPS,
    Knowledge,
    Local,
    Plan,
    plan,
)
from region.demands import Demands, demands
from relay.control import Route, Seat
from relay.ids import (
    TOP_LAYER,
    BridgeId,
    Layer,
    MediaKind,
    SourceId,
    participant_of,
    source_id,
)
from tests.region.seating import (
    ANNA,
    BRUNO,
    CAMERA,
    CAROL,
    DORA,
    A,
    B,
    C,
    D,
    E,
    all_shown,
    everything,
    seat,
    slots_of,
    sources_of,
    state_of,
)
from tests.strategies.layers import layers


class Net:
    """Bridges that tell each other what they plan, round by round."""

    def __init__(
        self, seats: tuple[Seat, ...], routes: Mapping[BridgeId, tuple[Route, ...]]
    ) -> None:
        self.seats = seats
        self.routes = routes
        self.aims: Mapping[BridgeId, Layer] = {}
        """How good the people on a bridge can see, where it is not the best."""
        self.plans = {bridge: Plan() for bridge in routes}
        self.demands = {bridge: Demands(peers={}, own={}) for bridge in routes}

    def settle(self, rounds: int = 20) -> bool:
        """Whether they come to rest."""
        for _ in range(rounds):
            knows = {bridge: self._knowledge(bridge) for bridge in self.plans}
            planned = {bridge: plan(each, self.plans[bridge]) for bridge, each in knows.items()}
            demanded = {
                bridge: demands(
                    planned[bridge],
                    each,
                    all_shown(planned[bridge], self.aims.get(bridge, TOP_LAYER)),
                )
                for bridge, each in knows.items()
            }
            if planned == self.plans and demanded == self.demands:
                return True
            self.plans, self.demands = planned, demanded
        return False

    def _knowledge(self, me: BridgeId) -> Knowledge:
        others = [peer for peer in self.plans if peer != me]
        return Knowledge(
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
            offered={peer: self.plans[peer].announced.get(me, {}) for peer in others},
            demanded={peer: self.demands[peer].peers.get(me, {}) for peer in others},
            speakers=(),
            voices=(),
        )

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
    routes: dict[BridgeId, tuple[Route, ...]] = {}
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
    assert net.plans[B].legs == {C: {camera: (TOP_LAYER,)}}
    assert net.plans[B].slots == {}


def test_a_source_passes_no_third_bridge_in_transit() -> None:
    net = Net((seat(ANNA, A, CAMERA), seat(BRUNO, E)), chain(A, B, C, D, E))
    assert net.settle()
    assert net.plans[E].slots == {}
    assert all(not each.legs.get(B) for each in net.plans.values())


def test_a_bridge_in_transit_is_sent_nothing_that_nobody_behind_it_wants() -> None:
    net = Net((seat(ANNA, A, CAMERA),), chain(A, B, C))
    assert net.settle()
    assert net.plans[A].legs == {B: {}}
    assert net.demands[A].own == {source_id(ANNA, CAMERA): ()}


def test_a_source_crosses_a_trunk_once_for_all_who_are_behind_it() -> None:
    seats = (seat(ANNA, A, CAMERA), seat(BRUNO, B), seat(CAROL, B), seat(DORA, C))
    net = Net(seats, chain(A, B, C))
    assert net.settle()
    camera = source_id(ANNA, CAMERA)
    assert net.plans[A].legs == {B: {camera: (TOP_LAYER,)}}
    assert net.plans[B].legs == {C: {camera: (TOP_LAYER,)}}
    for bridge, person in ((B, BRUNO), (B, CAROL), (C, DORA)):
        assert camera in slots_of(net.plans[bridge], person).values()


def test_only_layers_that_somebody_behind_it_sees_cross_a_trunk() -> None:
    seats = (seat(ANNA, A, CAMERA), seat(BRUNO, B), seat(CAROL, C), seat(DORA, D))
    net = Net(seats, chain(A, B, C, D))
    net.aims = {B: Layer(2, 1), C: Layer(0, 2), D: Layer(0, 0)}
    assert net.settle()
    camera = source_id(ANNA, CAMERA)
    assert net.plans[A].legs == {B: {camera: (Layer(0, 2), Layer(2, 1))}}
    assert net.plans[B].legs == {C: {camera: (Layer(0, 2),)}}
    assert net.plans[C].legs == {D: {camera: (Layer(0, 0),)}}
    assert net.demands[A].own == {camera: (Layer(0, 2), Layer(2, 1))}
    net.aims = {B: Layer(0, 0), C: Layer(0, 0), D: Layer(0, 0)}
    assert net.settle()
    assert net.demands[A].own == {camera: (Layer(0, 0),)}


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
@given(any_routes(), any_routes(), st.dictionaries(st.sampled_from([A, B, C, D]), layers))
def test_whatever_the_routes_bridges_settle_and_nothing_goes_in_circles(
    before: dict[BridgeId, tuple[Route, ...]],
    after: dict[BridgeId, tuple[Route, ...]],
    aims: dict[BridgeId, Layer],
) -> None:
    seats = (seat(ANNA, A, CAMERA), seat(BRUNO, B, CAMERA), seat(CAROL, C), seat(DORA, D))
    net = Net(seats, before)
    assert net.settle()
    net.routes, net.aims = after, aims
    assert net.settle()
    wanted = {layer for bridge in net.plans for layer in (aims.get(bridge, TOP_LAYER),)}
    for demanded in net.demands.values():
        # Nor does a demand go round and keep itself alive when nobody sees that layer any more.
        assert {layer for _, each in everything(demanded) for layer in each} <= wanted
    for bridge, planned in net.plans.items():
        here = {source_id(each.participant, CAMERA) for each in seats if each.bridge == bridge}
        for source in set(planned.slots.values()) - here:
            hops = net.hops_from_origin(source, bridge)
            assert hops is not None
            assert hops <= MAX_HOPS
