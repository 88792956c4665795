"""The kernel's trend line, by what a receiver tells of the arrival of single packets."""

from random import Random

import pytest

from region.kernel.report import Path, Usage
from tests.region.sent import answer
from tests.region.twcc import TICK_US

STEP_US = 10_000
FAR_CLOCK_US = 5_000_000


def tell(path: Path, number: int, received_us: int, now_us: int) -> Usage:
    assert path.feedback(answer((number, FAR_CLOCK_US + received_us)), now_us / 1e6)
    return path.read(now_us / 1e6).usage


def feed(
    path: Path, count: int, growth_us: int, *, start_us: int = 0, delay_us: int = 0
) -> list[Usage]:
    """Packets 10 ms apart, each delayed by so much more than the one before."""
    usages = []
    for index in range(count):
        sent_us = start_us + index * STEP_US
        number = path.sent(1_000, sent_us / 1e6)
        usages.append(tell(path, number, sent_us + delay_us + index * growth_us, sent_us))
    return usages


def test_a_constant_delay_is_normal() -> None:
    assert set(feed(Path(), 200, 0)) == {Usage.NORMAL}


def test_a_growing_delay_is_overuse_within_half_a_second() -> None:
    path = Path()
    feed(path, 100, 0)
    usages = feed(path, 50, 2_000, start_us=100 * STEP_US)
    assert Usage.OVER in usages
    assert Usage.UNDER not in usages


def test_a_shrinking_delay_is_underuse() -> None:
    path = Path()
    feed(path, 100, 0, delay_us=500_000)
    assert feed(path, 50, -2_000, start_us=100 * STEP_US, delay_us=500_000)[-1] is Usage.UNDER


def test_the_clocks_may_drift() -> None:
    assert set(feed(Path(), 2_000, 1)) == {Usage.NORMAL}


def test_what_was_learned_is_forgotten_after_a_pause() -> None:
    path = Path()
    assert feed(path, 100, 2_000)[-1] is Usage.OVER
    later_us = 100 * STEP_US + 3_000_000
    number = path.sent(1_000, later_us / 1e6)
    assert tell(path, number, later_us, later_us) is Usage.NORMAL


def test_packets_of_one_burst_are_one_group() -> None:
    path = Path()
    usages = set()
    for frame in range(200):
        for each in range(10):
            sent_us = frame * 33_000 + each * 100
            number = path.sent(1_000, sent_us / 1e6)
            usages.add(tell(path, number, sent_us + each * 2_000, sent_us))
    assert usages == {Usage.NORMAL}


def test_what_the_path_held_back_and_let_go_at_once_is_one_group() -> None:
    """A radio that pauses for 50 ms five times a second is not congested."""
    path = Path()
    usages = set()
    for sent_us in range(0, 10_000_000, STEP_US):
        phase_us = sent_us % 200_000
        number = path.sent(1_000, sent_us / 1e6)
        received_us = sent_us + max(0, 50_000 - phase_us) + phase_us // 1_000
        usages.add(tell(path, number, received_us, sent_us))
    assert usages == {Usage.NORMAL}


def test_a_packet_that_was_overtaken_by_a_group_changes_nothing() -> None:
    path, other = Path(), Path()
    path.sent(1_000, 0.0)
    overtaken = other.sent(1_000, 0.0)
    start = {"start_us": STEP_US}
    feed(path, 50, 2_000, **start)
    feed(other, 50, 2_000, **start)
    now_us = 51 * STEP_US
    tell(other, overtaken, now_us + 50 * 2_000, now_us)
    back = {"start_us": now_us, "delay_us": 100_000}
    assert feed(path, 50, -1_000, **back) == feed(other, 50, -1_000, **back)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_counts_not_that_of_numbers(seed: int) -> None:
    """One path is told eight packets together, the other one by one as they arrived."""
    random = Random(seed)
    together, one_by_one = Path(), Path()
    usages = set()
    sent_us = 0
    for turn in range(500):
        queue_us = 20_000 * abs(turn % 40 - 20)
        arrivals = []
        for _ in range(8):
            sent_us += random.choice((1_000, 6_000, 12_000))
            number = together.sent(1_000, sent_us / 1e6)
            assert one_by_one.sent(1_000, sent_us / 1e6) == number
            arrivals.append((number, sent_us + queue_us + random.randrange(30_000)))
        assert together.feedback(answer(*arrivals), sent_us / 1e6)
        usage = together.read(sent_us / 1e6).usage
        for arrival in sorted(arrivals, key=lambda arrival: arrival[1] // TICK_US):
            assert one_by_one.feedback(answer(arrival), sent_us / 1e6)
            last = one_by_one.read(sent_us / 1e6).usage
        assert usage is last
        usages.add(usage)
    assert usages == set(Usage)


def test_packets_that_follow_each_other_closely_are_many_groups() -> None:
    path = Path()
    usages = set()
    for sent_us in range(0, 400_000, 2_000):
        number = path.sent(1_000, sent_us / 1e6)
        usages.add(tell(path, number, sent_us + sent_us // 4, sent_us))
    assert Usage.OVER in usages


def test_the_threshold_rises_with_noise() -> None:
    """What is overuse on a quiet path is not on one that has been noisy."""
    quiet, noisy = Path(), Path()
    feed(quiet, 600, 0)
    for wave in range(20):
        feed(noisy, 15, 800, start_us=wave * 30 * STEP_US)
        feed(noisy, 15, -800, start_us=(wave * 30 + 15) * STEP_US, delay_us=15 * 800)
    first = [
        feed(path, 60, 400, start_us=600 * STEP_US).index(Usage.OVER) for path in (quiet, noisy)
    ]
    assert first[0] < first[1]
