"""When a bridge that cannot keep up asks for small pictures only, and when no longer."""

from itertools import pairwise

from region.relief import LIFTED_AFTER_S, MOST_S, SMALL_FROM, SOON_S, SUSTAINED_S, Relief

NOW = 1_000.0


def press(relief: Relief, began_s: float) -> float:
    """Until pictures become small; when that is."""
    now = began_s
    while not relief.update(SMALL_FROM, now):
        now += 0.1
    assert relief.small
    assert now - began_s < SUSTAINED_S + 0.2
    return now


def lifted_after_s(relief: Relief, began_s: float) -> float:
    """How long they stay small when the pressure is gone as soon as they are."""
    since_s = now = press(relief, began_s)
    while relief.small:
        now += 0.1
        relief.update(0, now)
    return now - since_s


def test_a_little_pressure_changes_no_pictures() -> None:
    relief = Relief()
    assert not relief.update(SMALL_FROM - 1, NOW)
    assert not relief.small


def test_a_moment_of_much_pressure_changes_no_pictures() -> None:
    relief = Relief()
    for look in range(int(SUSTAINED_S / 0.1)):
        assert not relief.update(SMALL_FROM + 1, NOW + 0.1 * look)
    assert not relief.update(SMALL_FROM - 1, NOW + SUSTAINED_S)
    assert not relief.update(SMALL_FROM, NOW + SUSTAINED_S + 0.1)


def test_it_says_once_that_pictures_become_small() -> None:
    relief = Relief()
    small_s = press(relief, NOW)
    assert not relief.update(SMALL_FROM + 2, small_s + 0.1)
    assert relief.small


def test_large_pictures_come_back_a_while_after_the_last_pressure() -> None:
    relief = Relief()
    last_s = press(relief, NOW) + 5
    relief.update(1, last_s)
    assert not relief.update(0, last_s + LIFTED_AFTER_S - 0.1)
    assert relief.update(0, last_s + LIFTED_AFTER_S)
    assert not relief.small


def test_what_comes_back_soon_lasts_twice_as_long_up_to_a_limit() -> None:
    relief = Relief()
    lasted_s = []
    now = NOW
    for _ in range(8):
        lasted_s.append(lifted_after_s(relief, now))
        now += lasted_s[-1] + SOON_S / 2
    assert LIFTED_AFTER_S <= lasted_s[0] < LIFTED_AFTER_S + 0.2
    assert all(later > earlier for earlier, later in pairwise(lasted_s[:5]))
    assert MOST_S <= lasted_s[-1] < MOST_S + 0.2


def test_what_comes_back_late_lasts_as_long_as_the_first() -> None:
    relief = Relief()
    first_s = lifted_after_s(relief, NOW)
    assert abs(lifted_after_s(relief, NOW + first_s + SOON_S + 1) - first_s) < 0.2
