"""The end of what a bridge carries is where most turns go wrong."""

import pytest

from benchmarks.cases.search import mostly


@pytest.mark.parametrize(
    ("turns", "outcome", "made"),
    [
        ("WW", True, 2),
        ("BB", False, 2),
        ("WBW", True, 3),
        ("BWB", False, 3),
        ("BWW", True, 3),
    ],
)
async def test_two_turns_of_three_decide_and_a_third_is_made_where_they_differ(
    turns: str, outcome: bool, made: int
) -> None:
    left = list(turns)

    async def turn() -> bool:
        return left.pop(0) == "W"

    assert await mostly(turn) is outcome
    assert len(turns) - len(left) == made
    assert not left


async def test_one_turn_may_decide() -> None:
    async def turn() -> bool:
        return True

    assert await mostly(turn, 1)
