"""At which load delays are compared, and which comparisons are worth something."""

import json
import math
from dataclasses import replace

import pytest

from benchmarks.cases.delay import (
    LOOKS,
    MOST_PER_S,
    NEAR,
    NEAR_ENOUGH,
    NOTHING_CAME_MS,
    TRIES,
    Turns,
    lines,
    rate_for,
    turn_at,
)
from benchmarks.cases.result import Line


def turns(
    peer: str = "octomesh",
    *,
    share: float = 0.5,
    cores: tuple[float, ...] = (0.5,),
    ms: float = 0.1,
    lost: float = 0.0,
) -> Turns:
    """With one turn for each figure of `cores`."""
    each = [
        {"p50": ms, "p99": ms, "cores": used, "lost": lost, "packets_in_per_s": 1_000.0}
        for used in cores
    ]
    return Turns(peer=peer, share=share, turns=each, is_janus=peer == "Janus")


def verdicts(found: list[Line]) -> list[bool | None]:
    """Of both quantiles: ours alone, and ours beside each other one."""
    return [line.reached for line in found]


# The rate


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("bend", [0.6, 1.0, 1.4])
async def test_a_rate_is_found_at_which_the_share_is_used(share: float, bend: float) -> None:
    looked: list[float] = []

    async def look(per_s: float) -> float:
        looked.append(per_s)
        return float((per_s / 5_000) ** bend)

    rate = await rate_for(share, 100.0, look, LOOKS)
    assert (rate / 5_000) ** bend == pytest.approx(share, rel=NEAR)
    assert looked[-2:] == [rate, rate]


async def test_one_look_that_is_near_by_chance_does_not_end_the_search() -> None:
    chance = iter([0.5, 0.25])

    async def look(per_s: float) -> float:
        return next(chance, per_s / 4_000)

    assert await rate_for(0.5, 1_000.0, look, LOOKS) == pytest.approx(2_000)


async def test_a_search_without_end_gives_the_nearest_rate() -> None:
    found = [0.1, 0.9, 0.3, 0.55, 0.2, *[1.0] * (LOOKS - 5)]
    looked: list[float] = []

    async def look(per_s: float) -> float:
        looked.append(per_s)
        return found[len(looked) - 1]

    rate = await rate_for(0.5, 100.0, look, LOOKS)
    assert len(looked) == LOOKS
    assert rate == looked[found.index(0.55)]


async def test_a_rate_has_an_end_where_nothing_is_used() -> None:
    async def look(per_s: float) -> float:
        return 0.0

    assert await rate_for(0.5, 100.0, look, LOOKS) <= MOST_PER_S


async def test_a_turn_that_used_another_share_is_taken_again_at_a_mended_rate() -> None:
    played: list[float] = []

    async def turn(per_s: float) -> dict[str, float]:
        played.append(per_s)
        return {"cores": per_s / 2_000, "packets_in_per_s": per_s}

    near = await turn_at(0.5, 1_000 * (1 + NEAR_ENOUGH / 2), turn, TRIES)
    assert played == [near["packets_in_per_s"]]
    played.clear()
    mended = await turn_at(0.5, 800.0, turn, TRIES)
    assert played == [800.0, pytest.approx(1_000)]
    assert mended["cores"] == pytest.approx(0.5)


async def test_of_turns_none_of_which_is_near_the_nearest_counts() -> None:
    used = [0.2, 0.6, 0.9, 0.1]

    async def turn(per_s: float) -> dict[str, float]:
        return {"cores": used.pop(0)}

    assert await turn_at(0.5, 1_000.0, turn, 4) == {"cores": 0.6}
    assert used == []


# What is compared


def test_delays_at_the_share_that_was_wanted_are_compared() -> None:
    found = lines(turns(cores=(0.3, 0.47, 0.5)), turns("Janus", ms=0.2, cores=(0.53,) * 3))
    assert verdicts(found) == [True, True, True, True]
    assert found[0].note == "in fact 47%"
    assert found[1].note == "in fact 47%, Janus 53%"


@pytest.mark.parametrize("cores", [0.4, 0.6])
def test_delays_of_ours_at_another_share_reach_nothing(cores: float) -> None:
    found = lines(turns(cores=(cores,)), turns("Janus", ms=0.2))
    assert verdicts(found) == [False] * 4


@pytest.mark.parametrize("cores", [0.4, 0.6])
def test_delays_of_another_at_another_share_are_compared_with_nothing(cores: float) -> None:
    found = lines(turns(), turns("Janus", ms=0.2, cores=(cores,)))
    assert verdicts(found) == [True, False] * 2


def test_what_ours_loses_reaches_nothing_and_what_another_loses_is_told() -> None:
    found = lines(turns(lost=0.002), turns("Janus", ms=0.2))
    assert verdicts(found) == [False] * 4
    assert found[0].note == "in fact 50%, octomesh lost 0.20%"
    found = lines(turns(), turns("Janus", ms=0.2, lost=0.5))
    assert verdicts(found) == [True] * 4
    assert found[1].note == "in fact 50%, Janus 50%, Janus lost 50.00%"


def test_where_nothing_came_nothing_is_reached_and_all_are_numbers() -> None:
    nothing = turns(ms=NOTHING_CAME_MS)
    found = lines(nothing, turns("Janus", ms=2 * NOTHING_CAME_MS))
    assert verdicts(found) == [False] * 4
    assert "nothing came of octomesh" in found[0].note
    assert math.isfinite(json.loads(json.dumps(found[0].as_json(), allow_nan=False))["ours"])
    other = replace(nothing, peer="Janus", is_janus=True)
    assert verdicts(lines(turns(), other)) == [True, False] * 2
