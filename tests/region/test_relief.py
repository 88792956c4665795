"""When a bridge that cannot keep up asks for small pictures only, and when no longer."""

from itertools import pairwise

from region.relief import (
    CALM_S,
    CARRIED_S,
    MOST_S,
    SLACK,
    SMALL_FROM,
    SUSTAINED_S,
    TRIED_AFTER_S,
    VAIN_S,
    Relief,
)

NOW, LOOK_S = 1_000.0, 0.2
USUAL_BPS, TOO_MUCH_BPS = 100_000_000, 400_000_000


def looks(relief: Relief, began_s: float, lasts_s: float, *, pressure: int, wanted: int) -> float:
    """At all of them the same; when the last was."""
    count = round(lasts_s / LOOK_S)
    for number in range(1, count + 1):
        relief.update(pressure, wanted, began_s + number * LOOK_S)
    return began_s + count * LOOK_S


def busy() -> tuple[Relief, float]:
    """One that has carried the usual for a while, and when that was."""
    relief = Relief()
    return relief, looks(relief, NOW, CARRIED_S + 1, pressure=0, wanted=USUAL_BPS)


def overloaded() -> tuple[Relief, float]:
    """After that too much was wanted, and pictures are small."""
    relief, now = busy()
    now = looks(relief, now, SUSTAINED_S + 2 * LOOK_S, pressure=SMALL_FROM, wanted=TOO_MUCH_BPS)
    assert relief.small
    return relief, now


def until_large_s(relief: Relief, began_s: float, wanted: int) -> float:
    """How long it takes when there is no pressure any more."""
    now = began_s
    while relief.small:
        now += LOOK_S
        relief.update(0, wanted, now)
    return now - began_s


def test_a_little_pressure_changes_no_pictures() -> None:
    relief, now = busy()
    looks(relief, now, 60.0, pressure=SMALL_FROM - 1, wanted=TOO_MUCH_BPS)
    assert not relief.small


def test_a_moment_of_much_pressure_changes_no_pictures() -> None:
    relief, now = busy()
    for _ in range(5):
        now = looks(relief, now, SUSTAINED_S - LOOK_S, pressure=SMALL_FROM + 1, wanted=USUAL_BPS)
        now = looks(relief, now, LOOK_S, pressure=SMALL_FROM - 1, wanted=USUAL_BPS)
    assert not relief.small


def test_it_says_once_that_pictures_become_small() -> None:
    relief, now = overloaded()
    assert not relief.update(SMALL_FROM + 2, TOO_MUCH_BPS, now + LOOK_S)
    assert relief.small


def test_pictures_are_large_again_as_soon_as_no_more_is_wanted_than_was_carried() -> None:
    relief, now = overloaded()
    now = looks(relief, now, 5.0, pressure=0, wanted=TOO_MUCH_BPS)
    assert relief.small
    assert until_large_s(relief, now, int(USUAL_BPS * SLACK)) < 2 * LOOK_S


def test_the_pressure_has_to_be_over_for_a_moment() -> None:
    relief, now = overloaded()
    now = looks(relief, now, 5.0, pressure=1, wanted=USUAL_BPS)
    assert relief.small
    assert CALM_S <= until_large_s(relief, now, USUAL_BPS) <= CALM_S + 2 * LOOK_S


def test_what_is_too_much_is_tried_again_later_and_each_time_later_up_to_a_limit() -> None:
    relief, now = overloaded()
    waited_s = []
    for _ in range(8):
        waited_s.append(until_large_s(relief, now, TOO_MUCH_BPS))
        now += waited_s[-1]
        now = looks(relief, now, VAIN_S / 2, pressure=SMALL_FROM, wanted=TOO_MUCH_BPS)
        assert relief.small
    assert TRIED_AFTER_S <= waited_s[0] < TRIED_AFTER_S + 2 * LOOK_S
    assert all(later >= earlier for earlier, later in pairwise(waited_s))
    assert waited_s[1] >= 2 * TRIED_AFTER_S
    assert MOST_S <= waited_s[-1] < MOST_S + 2 * LOOK_S


def test_what_can_be_carried_after_all_is_carried_from_then_on() -> None:
    relief, now = overloaded()
    now += until_large_s(relief, now, TOO_MUCH_BPS)
    now = looks(relief, now, VAIN_S + CARRIED_S, pressure=0, wanted=TOO_MUCH_BPS)
    now = looks(relief, now, 2 * SUSTAINED_S, pressure=SMALL_FROM, wanted=2 * TOO_MUCH_BPS)
    assert relief.small
    assert until_large_s(relief, now, TOO_MUCH_BPS) <= CALM_S + 2 * LOOK_S


def test_what_was_wanted_a_moment_before_the_pressure_was_not_carried() -> None:
    relief, now = busy()
    now = looks(relief, now, CARRIED_S - LOOK_S, pressure=0, wanted=TOO_MUCH_BPS)
    now = looks(relief, now, 2 * SUSTAINED_S, pressure=SMALL_FROM, wanted=TOO_MUCH_BPS)
    now = looks(relief, now, 5.0, pressure=0, wanted=TOO_MUCH_BPS)
    assert relief.small


def test_it_is_settled_when_there_has_been_no_pressure_for_a_moment() -> None:
    relief, now = overloaded()
    assert not relief.is_settled(now)
    now = looks(relief, now, LOOK_S, pressure=0, wanted=TOO_MUCH_BPS)
    assert not relief.is_settled(now)
    assert relief.is_settled(looks(relief, now, CALM_S + LOOK_S, pressure=0, wanted=TOO_MUCH_BPS))
