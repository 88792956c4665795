from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from focus.placement import Candidate, NoLiveBridge, Placed, UnknownRegion, Wish, place
from relay.ids import BridgeId, Region

FRANKFURT, SINGAPORE, SAO_PAULO = Region("frankfurt"), Region("singapore"), Region("sao-paulo")
KNOWN = frozenset({FRANKFURT, SINGAPORE, SAO_PAULO})


def candidate(bridge: str, seats: int = 0) -> Candidate:
    return Candidate(bridge=BridgeId(bridge), region=Region(bridge.rpartition("-")[0]), seats=seats)


THREE = (candidate("frankfurt-1"), candidate("singapore-1"), candidate("sao-paulo-1"))


def placed(wish: Wish, candidates: tuple[Candidate, ...] = THREE) -> str:
    result = place(wish, candidates, KNOWN)
    assert isinstance(result, Placed)
    return result.bridge


def test_an_explicit_region_wins_over_measurements() -> None:
    assert placed(Wish(region=SINGAPORE, rtts_ms={FRANKFURT: 3.0})) == "singapore-1"


def test_an_explicit_region_without_a_live_bridge_gives_way_to_measurements() -> None:
    wish = Wish(region=SINGAPORE, rtts_ms={FRANKFURT: 30.0, SAO_PAULO: 20.0})
    assert placed(wish, (THREE[0], THREE[2])) == "sao-paulo-1"


def test_an_unknown_region_is_an_error_that_lists_the_regions() -> None:
    result = place(Wish(region=Region("atlantis")), THREE, KNOWN)
    assert result == UnknownRegion(regions=(FRANKFURT, SAO_PAULO, SINGAPORE))


def test_the_smallest_round_trip_decides_without_an_explicit_region() -> None:
    wish = Wish(rtts_ms={FRANKFURT: 180.0, SINGAPORE: 12.0, SAO_PAULO: 300.0})
    assert placed(wish) == "singapore-1"


def test_of_regions_that_are_equally_near_for_a_browser_the_emptiest_is_taken() -> None:
    busy = (candidate("frankfurt-1", 2), candidate("singapore-1", 1), candidate("sao-paulo-1"))
    assert placed(Wish(rtts_ms={FRANKFURT: 1.0, SINGAPORE: 2.0, SAO_PAULO: 9.0}), busy) == (
        "singapore-1"
    )
    assert placed(Wish(rtts_ms={FRANKFURT: 1.0, SINGAPORE: 2.5, SAO_PAULO: 9.0}), busy) == (
        "frankfurt-1"
    )


def test_local_trials_spread_over_the_regions() -> None:
    near = Wish(rtts_ms=dict.fromkeys(KNOWN, 1.0))
    bridges = list(THREE)
    chosen = []
    for _ in range(3):
        chosen.append(placed(near, tuple(bridges)))
        bridges = [
            replace(one, seats=one.seats + 1) if one.bridge == chosen[-1] else one
            for one in bridges
        ]
    assert chosen == ["frankfurt-1", "sao-paulo-1", "singapore-1"]


def test_measurements_of_regions_without_live_bridges_do_not_count() -> None:
    assert placed(Wish(rtts_ms={SINGAPORE: 1.0, FRANKFURT: 90.0}), THREE[:1]) == "frankfurt-1"


def test_without_any_measurement_the_emptiest_region_is_taken() -> None:
    busy = (candidate("frankfurt-1", 4), candidate("singapore-1", 2), candidate("sao-paulo-1", 3))
    assert placed(Wish(), busy) == "singapore-1"


def test_within_a_region_the_bridge_with_the_fewest_seats_is_taken() -> None:
    bridges = (candidate("frankfurt-1", 7), candidate("frankfurt-2", 6), candidate("singapore-1"))
    assert placed(Wish(rtts_ms={FRANKFURT: 5.0}), bridges) == "frankfurt-2"


def test_no_live_bridge_is_said_before_anything_else() -> None:
    assert place(Wish(region=Region("atlantis")), (), frozenset()) == NoLiveBridge()


@given(st.integers(1, 60))
def test_a_burst_of_joins_spreads_over_the_bridges_of_a_region(joins: int) -> None:
    bridges = [candidate(f"frankfurt-{number}") for number in (1, 2, 3)]
    for _ in range(joins):
        chosen = placed(Wish(region=FRANKFURT), tuple(bridges))
        bridges = [
            replace(one, seats=one.seats + 1) if one.bridge == chosen else one for one in bridges
        ]
    seats = [one.seats for one in bridges]
    assert sum(seats) == joins
    assert max(seats) - min(seats) <= 1
