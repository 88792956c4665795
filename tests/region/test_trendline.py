from region.trendline import Trendline, Usage

STEP_US = 10_000


def feed(
    trendline: Trendline, count: int, growth_us: int, *, start_us: int = 0, delay_us: int = 0
) -> list[Usage]:
    """Packets 10 ms apart, each delayed by so much more than the one before."""
    usages = []
    for index in range(count):
        sent_us = start_us + index * STEP_US
        trendline.add(sent_us, 5_000_000 + sent_us + delay_us + index * growth_us)
        usages.append(trendline.usage)
    return usages


def test_a_constant_delay_is_normal() -> None:
    assert set(feed(Trendline(), 200, 0)) == {Usage.NORMAL}


def test_a_growing_delay_is_overuse_within_half_a_second() -> None:
    trendline = Trendline()
    feed(trendline, 100, 0)
    usages = feed(trendline, 50, 2_000, start_us=100 * STEP_US)
    assert Usage.OVER in usages
    assert Usage.UNDER not in usages


def test_a_shrinking_delay_is_underuse() -> None:
    trendline = Trendline()
    feed(trendline, 100, 0, delay_us=500_000)
    assert feed(trendline, 50, -2_000, start_us=100 * STEP_US, delay_us=500_000)[-1] is Usage.UNDER


def test_the_clocks_may_drift() -> None:
    assert set(feed(Trendline(), 2_000, 1)) == {Usage.NORMAL}


def test_what_was_learned_is_forgotten_after_a_pause() -> None:
    trendline = Trendline()
    assert feed(trendline, 100, 2_000)[-1] is Usage.OVER
    trendline.add(100 * STEP_US + 3_000_000, 9_000_000)
    assert trendline.usage is Usage.NORMAL


def test_packets_of_one_burst_are_one_group() -> None:
    trendline = Trendline()
    for frame in range(200):
        for each in range(10):
            sent_us = frame * 33_000 + each * 100
            trendline.add(sent_us, sent_us + each * 2_000)
    assert trendline.usage is Usage.NORMAL


def test_what_the_path_held_back_and_let_go_at_once_is_one_group() -> None:
    """A radio that pauses for 50 ms five times a second is not congested."""
    trendline = Trendline()
    usages = set()
    for sent_us in range(0, 10_000_000, STEP_US):
        phase_us = sent_us % 200_000
        trendline.add(sent_us, sent_us + max(0, 50_000 - phase_us) + phase_us // 1_000)
        usages.add(trendline.usage)
    assert usages == {Usage.NORMAL}


def test_a_packet_that_was_overtaken_by_a_group_changes_nothing() -> None:
    trendline, other = Trendline(), Trendline()
    feed(trendline, 50, 2_000)
    feed(other, 50, 2_000)
    other.add(0, 5_000_000 + 50 * (STEP_US + 2_000))
    start = {"start_us": 50 * STEP_US, "delay_us": 100_000}
    assert feed(trendline, 50, -1_000, **start) == feed(other, 50, -1_000, **start)


def test_the_threshold_rises_with_noise() -> None:
    """What is overuse on a quiet path is not on one that has been noisy."""
    quiet, noisy = Trendline(), Trendline()
    feed(quiet, 600, 0)
    for wave in range(20):
        feed(noisy, 15, 800, start_us=wave * 30 * STEP_US)
        feed(noisy, 15, -800, start_us=(wave * 30 + 15) * STEP_US, delay_us=15 * 800)
    first = [
        feed(trendline, 60, 400, start_us=600 * STEP_US).index(Usage.OVER)
        for trendline in (quiet, noisy)
    ]
    assert first[0] < first[1]
