from hypothesis import given
from hypothesis import strategies as st

from web.rate import TokenBucket


def test_a_burst_passes_at_once_and_the_next_has_to_wait() -> None:
    bucket = TokenBucket(50.0, 100)
    assert [bucket.take(0.0) for _ in range(100)] == [0.0] * 100
    assert bucket.take(0.0) == 1 / 50


def test_silence_fills_the_bucket_again_up_to_the_burst() -> None:
    bucket = TokenBucket(50.0, 10)
    for _ in range(10):
        bucket.take(0.0)
    assert [bucket.take(1_000.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(1_000.0) > 0


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=300))
def test_whoever_waits_as_told_never_exceeds_the_rate(gaps_s: list[float]) -> None:
    bucket, now = TokenBucket(50.0, 20), 0.0
    for sent, gap_s in enumerate(gaps_s, start=1):
        now += gap_s
        now += bucket.take(now)
        assert sent <= 20 + 50.0 * now + 1e-6
