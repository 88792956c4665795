from hypothesis import given
from hypothesis import strategies as st

from focus.routes import routes_at
from relay.ids import BridgeId

BRIDGES = st.frozensets(st.sampled_from([BridgeId(f"b-{n}") for n in range(6)]), min_size=1)


@given(BRIDGES)
def test_every_origin_reaches_every_other_bridge_once_and_nobody_else(
    seated: frozenset[BridgeId],
) -> None:
    routes = {
        (bridge, route.origin): route for bridge in seated for route in routes_at(bridge, seated)
    }
    assert set(routes) == {(bridge, origin) for bridge in seated for origin in seated}
    for origin in seated:
        arrived: list[BridgeId] = []
        edge = [origin]
        while edge:
            here = edge.pop()
            for there in routes[here, origin].downstream:
                assert routes[there, origin].upstream == here
                arrived.append(there)
                edge.append(there)
        assert sorted(arrived) == sorted(seated - {origin})
        assert routes[origin, origin].upstream is None
