"""What turns say of memory."""

from collections.abc import Mapping, Sequence

from benchmarks.cases.memory import lines


def turns(*each_mb: float) -> Sequence[Mapping[str, float]]:
    return [{"people": 30, "rest_mb": 70.0, "full_mb": 100.0, "each_mb": each} for each in each_mb]


def test_memory_is_the_median_of_turns_and_its_ratio_that_of_the_rounds() -> None:
    _, each = lines({"octomesh": turns(1.0, 4.0, 1.2), "Janus": turns(1.0, 1.0, 1.0)})
    assert (each.ours, each.theirs, each.ratio) == (1.2, 1.0, 1.2)
    assert each.reached


def test_memory_beside_nobody_is_a_median_too() -> None:
    rest, each = lines({"octomesh": turns(1.0, 4.0, 2.0)})
    assert (rest.ours, each.ours, each.theirs) == (70.0, 2.0, None)
    assert not each.reached


def test_what_memory_must_reach_stands_once() -> None:
    found = {name: turns(1.0) for name in ("octomesh", "Janus", "mediasoup")}
    assert [line.target is not None for line in lines(found)] == [True, False, True, False]
