"""What two looks at an engine say of the time between them."""

from itertools import pairwise

import pytest

from benchmarks.load.roster import BUCKET_BOUNDS_NS, Totals
from benchmarks.load.watch import HEADERS_BYTES, Delays, Figures, Snapshot

NOTHING = Totals(*(0 for _ in Totals._fields))


def delays(*of_ms: float) -> Delays:
    counts = [0] * len(BUCKET_BOUNDS_NS)
    for each in of_ms:
        counts[max(i for i, bound in enumerate(BUCKET_BOUNDS_NS) if bound <= each * 1e6)] += 1
    return Delays(counts)


def snapshot(at_s: float, *, video: Delays | None = None, **totals: int) -> Snapshot:
    return Snapshot(
        at_s=at_s,
        totals=NOTHING._replace(**totals),
        audio=delays(),
        video=video or delays(),
        engine_cpu_s=at_s / 10,
    )


def between(seconds: float = 2.0, **totals: int) -> Figures:
    return Figures.between(snapshot(5), snapshot(5 + seconds, **totals))


def test_no_bucket_is_wider_than_a_twentieth() -> None:
    steps = pairwise(BUCKET_BOUNDS_NS)
    assert all(low < high <= low * 1.05 for low, high in steps)
    assert BUCKET_BOUNDS_NS[0] <= 10_000
    assert BUCKET_BOUNDS_NS[-1] >= 10_000_000_000


@pytest.mark.parametrize(("share", "ms"), [(0.01, 0.1), (0.5, 1.0), (0.75, 2.0), (1.0, 50.0)])
def test_a_quantile_is_as_long_as_so_many_took_at_most(share: float, ms: float) -> None:
    found = delays(0.1, 1.0, 2.0, 50.0).quantile_ms(share)
    assert found == pytest.approx(ms, rel=0.04)


def test_nothing_has_no_quantiles() -> None:
    assert delays().quantile_ms(0.5) is None


def test_delays_of_an_interval_are_those_that_came_in_it() -> None:
    figures = Figures.between(
        snapshot(0, video=delays(1.0, 5.0)), snapshot(1, video=delays(1.0, 5.0, 20.0))
    )
    assert figures.video.packets == 1
    assert figures.video.quantile_ms(0.5) == pytest.approx(20, rel=0.04)


def test_rates_are_per_second() -> None:
    figures = between(packets=200, bytes=200_000, sent_packets=20, sent_bytes=20_000)
    assert (figures.packets_per_s, figures.sent_packets_per_s) == (100, 10)
    assert figures.bits_per_s == (200_000 + 200 * HEADERS_BYTES) * 8 / 2
    assert figures.sent_bits_per_s == figures.bits_per_s / 10
    assert figures.engine_cpu == pytest.approx(0.1)


def test_what_is_missing_and_what_is_given_up_is_lost() -> None:
    figures = between(packets=90, missing=4, given_up=6)
    assert (figures.lost, figures.loss) == (10, pytest.approx(0.1))
    assert between().loss == 0


def test_what_came_after_all_is_not_lost() -> None:
    figures = Figures.between(snapshot(0, missing=5), snapshot(1, packets=10, missing=0))
    assert (figures.lost, figures.loss) == (0, 0.0)


def test_only_faults_that_were_found_are_named() -> None:
    assert between(duplicates=2, picture_jumps=1).faults == {
        "duplicates": 2,
        "picture ids that jump": 1,
    }
    assert between(packets=5, reordered=3, recovered=2).faults == {}


def test_a_load_that_leaves_out_frames_is_overloaded() -> None:
    assert between(skipped=1).overloaded
    assert not between(packets=1).overloaded
