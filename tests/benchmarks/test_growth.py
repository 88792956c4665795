"""What a soak calls growth."""

from random import Random

import pytest

from benchmarks.soak.growth import Allowance, grows, slope

ALLOWANCE = Allowance(each=100.0, all=10_000.0)
USED = range(0, 1_000, 100)


def test_the_slope_is_the_same_however_far_one_point_is_off() -> None:
    line = [(float(at), 5.0 * at) for at in USED]
    assert slope(line) == 5.0
    line[4] = (line[4][0], 1e9)
    assert slope(line) == pytest.approx(5.0)


def test_points_of_the_same_use_have_no_slope() -> None:
    assert slope([(1.0, 1.0), (1.0, 2.0)]) == 0.0
    assert slope([]) == 0.0


def test_what_is_kept_for_each_use_grows() -> None:
    assert grows([(at, 5e6 + 200 * at) for at in USED], ALLOWANCE)


def test_what_is_kept_for_each_use_grows_under_noise() -> None:
    chance = Random(1)
    noisy = [(at, 5e6 + 200 * at + chance.gauss(0, 10_000)) for at in USED]
    assert grows(noisy, ALLOWANCE)


def test_what_goes_up_and_down_does_not_grow() -> None:
    assert not grows([(at, 5e6 + 50_000 * (at // 100 % 2)) for at in USED], ALLOWANCE)


def test_what_was_filled_once_does_not_grow() -> None:
    assert not grows([(at, min(1e6, 1e4 * at)) for at in USED], ALLOWANCE)


def test_a_little_is_chance_however_steep() -> None:
    assert not grows([(at / 1_000, at) for at in USED], ALLOWANCE)


def test_much_by_much_use_is_allowed() -> None:
    assert not grows([(at * 1_000, 90_000 * at) for at in USED], ALLOWANCE)


def test_too_few_points_prove_nothing() -> None:
    assert not grows([(0, 0), (1, 1e9), (2, 2e9)], ALLOWANCE)
