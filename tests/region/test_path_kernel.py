"""What the kernel makes of transport-wide feedback on what it has sent."""

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from region.kernel.report import Path, PathReport, Usage
from relay.errors import MalformedError
from tests.region.arrivals import ArrivalRecorder
from tests.region.sent import KEPT, KEPT_US, SentPackets, Told, answer
from tests.region.twcc import (
    REFERENCE_MODULUS_TICKS,
    TICK_US,
    Feedback,
    build_feedback,
    parse_feedback_untrusted,
)
from tests.strategies.twcc import ARRIVED, MALFORMED, fates, feedbacks

NOW_S = 1.0


def path_with(packets: int, *, at_s: float = NOW_S) -> Path:
    path = Path()
    for _ in range(packets):
        path.sent(1_000, at_s)
    return path


def told(path: Path, fci: bytes, now_s: float = NOW_S + 0.05) -> Told:
    """What is news in this feedback."""
    assert path.feedback(fci, now_s)
    report = path.read(now_s)
    assert report.heard == bool(report.acked_packets or report.lost_packets)
    return Told(report.acked_packets, report.lost_packets, report.never_sent)


def test_packets_are_numbered_one_by_one() -> None:
    path = Path()
    assert [path.sent(100, NOW_S) for _ in range(65_537)] == [*range(65_536), 0]


def test_what_arrived_is_told_once() -> None:
    path = path_with(2)
    assert told(path, answer((0, 8_000), (1, 8_000))) == (2, 0, 0)
    assert told(path, answer((0, 8_000), (1, 8_000))) == (0, 0, 0)


def test_a_loss_is_told_once_and_taken_back_when_the_packet_arrives_after_all() -> None:
    path = path_with(2)
    only_the_second = answer((1, 8_000), base=0)
    assert told(path, only_the_second) == (1, 1, 0)
    assert told(path, only_the_second) == (0, 0, 0)
    assert told(path, answer((0, 9_000), (1, 8_000))) == (1, -1, 0)


def test_packets_that_were_never_sent_are_counted_and_have_no_effect() -> None:
    path = Path()
    assert told(path, answer((5, 8_000))) == (0, 0, 1)
    path.sent(1_000, NOW_S)
    assert told(path, answer((0, 8_000), (1, 8_000), (9, 8_000))) == (1, 0, 2)
    assert told(path, answer((65_535, 8_000))) == (0, 0, 1)


def test_losses_of_packets_that_were_never_sent_are_nothing() -> None:
    path = path_with(1)
    assert told(path, answer(base=0xFFFF, statuses=0xFFFF)) == (0, 1, 0)


def test_what_was_sent_too_long_ago_is_forgotten() -> None:
    path = path_with(1, at_s=1.0)
    path.sent(1_000, 1.0 + KEPT_US / 1e6 + 0.001)
    assert told(path, answer(base=0, statuses=1)) == (0, 0, 0)
    assert told(path, answer((0, 0), (1, 0))) == (1, 0, 0)


def test_only_so_many_packets_are_remembered() -> None:
    path = path_with(KEPT + 10)
    assert told(path, answer(base=0, statuses=KEPT + 10)) == (0, KEPT, 0)


def test_reading_begins_anew() -> None:
    path = path_with(2)
    assert path.feedback(answer((1, 8_000), base=0, statuses=3), NOW_S + 0.05)
    assert path.read(NOW_S + 0.05).heard
    report = path.read(NOW_S + 0.1)
    assert not report.heard
    assert (report.acked_packets, report.lost_packets, report.never_sent) == (0, 0, 0)
    assert (report.rtt_s, report.probe) == (None, None)


def test_a_path_of_which_nothing_is_known_says_so() -> None:
    assert Path().read(NOW_S) == PathReport(
        usage=Usage.NORMAL,
        heard=False,
        acked_bps=None,
        sent_bps=None,
        queue_s=0.0,
        acked_packets=0,
        lost_packets=0,
        rtt_s=None,
        unanswered_s=None,
        never_sent=0,
        probe=None,
    )


def test_the_oldest_unanswered_packet_is_the_first_since_the_path_was_heard_from() -> None:
    path = Path()
    path.sent(100, 1.0)
    path.sent(100, 2.0)
    assert path.read(2.5).unanswered_s == pytest.approx(1.0)
    assert path.feedback(answer((0, 0)), 2.5)
    assert path.read(2.5).unanswered_s is None
    path.sent(100, 3.0)
    path.sent(100, 4.0)
    assert path.feedback(answer((0, 0)), 4.0)  # no news
    assert path.read(4.0).unanswered_s == pytest.approx(3.0)


def test_the_round_trip_leaves_out_what_the_receiver_waits() -> None:
    path = Path()
    for sent_s in (1.0, 1.04):
        path.sent(100, sent_s)
    assert path.feedback(answer((0, 7_020_000), (1, 7_070_000)), 1.09)
    # The first took 40 ms to and fro; the second waited for 10 ms on its way.
    assert path.read(1.1).rtt_s == pytest.approx(0.04)


def test_the_shortest_round_trip_of_all_feedbacks_is_told() -> None:
    path = Path()
    for _ in range(3):
        path.sent(100, 1.0)
    for number, now_s in enumerate((1.07, 1.03, 1.05)):
        assert path.feedback(answer((number, 0)), now_s)
    assert path.read(1.1).rtt_s == pytest.approx(0.03)


def test_a_receiver_that_claims_to_have_waited_for_ever_gets_no_negative_round_trip() -> None:
    path = path_with(2)
    assert path.feedback(answer((0, 1_000_000), (1, 3_000_000)), NOW_S + 0.01)
    assert path.read(NOW_S + 0.01).rtt_s == 0.0


def test_the_receivers_clock_goes_on_when_its_reference_time_begins_anew() -> None:
    path = Path()
    last_us = REFERENCE_MODULUS_TICKS * TICK_US - 64_000
    for turn in range(100):
        number = path.sent(1_000, 1.0 + turn * 0.064)
        assert path.feedback(answer((number, last_us + turn * 64_000)), 1.05 + turn * 0.064)
    report = path.read(7.5)
    assert (report.usage, report.queue_s) == (Usage.NORMAL, 0.0)
    assert report.acked_bps == pytest.approx(8 * 8_000 / 0.5)


def test_feedback_on_earlier_arrivals_may_come_later() -> None:
    path = path_with(2)
    for number, received_us in ((1, 500_000), (0, 420_000)):
        assert path.feedback(answer((number, received_us)), NOW_S + 0.1)
        assert path.read(NOW_S + 0.1).queue_s == 0.0


def overused(path: Path) -> None:
    """Packets 10 ms apart, each delayed by 2 ms more than the one before."""
    for turn in range(60):
        now_s = 1.0 + turn * 0.01
        number = path.sent(1_000, now_s)
        assert path.feedback(answer((number, turn * 12_000)), now_s + 0.2)


def test_overuse_that_ended_before_it_was_read_is_told_once() -> None:
    path = Path()
    overused(path)
    for turn in range(60, 160):
        now_s = 1.0 + turn * 0.01
        number = path.sent(1_000, now_s)
        assert path.feedback(answer((number, 720_000 + (turn - 60) * 10_000)), now_s + 0.2)
    assert path.read(3.0).usage is Usage.OVER
    assert path.read(3.0).usage is not Usage.OVER


def test_overuse_that_lasts_is_told_each_time() -> None:
    path = Path()
    overused(path)
    assert path.read(2.0).usage is Usage.OVER
    assert path.read(2.0).usage is Usage.OVER


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_feedback_changes_nothing(what: str) -> None:
    path = path_with(2)
    before = path.read(NOW_S)
    assert not path.feedback(MALFORMED[what], NOW_S + 0.01)
    assert path.read(NOW_S) == before
    assert told(path, answer((0, 8_000), (1, 8_000))) == (2, 0, 0)


@pytest.mark.parametrize("form", ARRIVED)
def test_every_form_of_feedback_is_understood(form: str) -> None:
    fci, arrived = ARRIVED[form]
    assert told(path_with(20), fci).acked == arrived


_sends = st.tuples(st.integers(1, 40), st.sampled_from((0, 1_000, 100_000, 1_500_000)))
_patches = st.none() | st.tuples(st.integers(0, 2_000), st.binary(min_size=1, max_size=3))
_steps = st.lists(
    st.tuples(_sends, feedbacks(), st.integers(-100, 100) | st.integers(0, 0xFFFF), _patches),
    max_size=12,
)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from((0, 10, 4_090, 65_530)), _steps)
def test_whatever_feedback_says_the_kernel_and_the_oracle_understand_the_same(
    first: int,
    steps: list[tuple[tuple[int, int], Feedback, int, tuple[int, bytes] | None]],
) -> None:
    path, oracle = Path(), SentPackets()
    now_us = 1_000_000
    number = 0
    for _ in range(first):
        number = path.sent(0, now_us / 1e6)
        assert number == oracle.sent(now_us)
    for (packets, pause_us), feedback, back, patch in steps:
        now_us += pause_us
        for _ in range(packets):
            now_us += 1_000
            number = path.sent(500, now_us / 1e6)
            assert number == oracle.sent(now_us)
        fci = build_feedback(replace(feedback, base_sequence=number - back & 0xFFFF))
        if patch is not None:
            at = patch[0] % len(fci)
            fci = fci[:at] + patch[1] + fci[at + len(patch[1]) :]
        try:
            expected = oracle.on_feedback(parse_feedback_untrusted(fci))
        except MalformedError:
            assert not path.feedback(fci, now_us / 1e6)
            assert not path.read(now_us / 1e6).heard
        else:
            assert told(path, fci, now_us / 1e6) == expected


@given(st.binary(max_size=100))
def test_bytes_are_feedback_to_the_kernel_when_they_are_to_the_oracle(data: bytes) -> None:
    path = path_with(3)
    try:
        parse_feedback_untrusted(data)
    except MalformedError:
        assert not path.feedback(data, NOW_S)
    else:
        assert path.feedback(data, NOW_S)


@given(fates, st.integers(1, 60_000), st.integers(1, 4))
def test_what_is_told_is_what_the_network_did(
    network: list[int | tuple[int, int] | None], interval_us: int, kept: int
) -> None:
    """Loss, reordering, duplication; of the receiver's feedbacks one in `kept` is lost."""
    path, recorder = Path(), ArrivalRecorder()
    arrivals: list[tuple[int, int]] = []
    for index, fate in enumerate(network):
        sent_us = 1_000_000 + index * 1_000
        number = path.sent(1_000, sent_us / 1e6)
        took = (fate,) if isinstance(fate, int) else fate or ()
        arrivals += [(sent_us + took_us, number) for took_us in took]
    arrivals.sort()
    acked = lost = messages = 0
    for _, each in groupby(arrivals, key=lambda arrival: arrival[0] // interval_us):
        recorder.arrived([(number, time_us) for time_us, number in each])
        for message in recorder.feedback():
            messages += 1
            if kept == 1 or messages % kept:
                news = told(path, message)
                acked += news.acked
                lost += news.lost
                assert news.never_sent == 0
    arrived = {number for _, number in arrivals}
    assert 0 <= acked <= len(arrived)
    assert 0 <= lost <= len(network) - acked
    if kept == 1:
        assert acked == len(arrived)
        # Nothing is told of what is before the first or behind the last that arrived.
        between = range(min(arrived, default=0), max(arrived, default=0))
        assert lost == len(set(between) - arrived)
