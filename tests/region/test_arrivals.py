from hypothesis import given
from hypothesis import strategies as st

from tests.region.arrivals import MAX_FCI_BYTES, MAX_PENDING, ArrivalRecorder
from tests.region.twcc import Feedback, parse_feedback_untrusted


def told(recorder: ArrivalRecorder) -> list[Feedback]:
    messages = recorder.feedback()
    assert all(len(message) <= MAX_FCI_BYTES for message in messages)
    return [parse_feedback_untrusted(message) for message in messages]


def times(feedbacks: list[Feedback]) -> dict[int, int]:
    """Arrival in µs by sequence number."""
    return {
        feedback.base_sequence + offset & 0xFFFF: (feedback.reference_ticks + ticks) * 250
        for feedback in feedbacks
        for offset, ticks in feedback.arrivals
    }


def test_nothing_arrived_nothing_is_told() -> None:
    assert ArrivalRecorder().feedback() == []


def test_arrivals_are_told_once_with_their_times() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(10, 1_000_000), (11, 1_000_500), (12, 1_100_000)])
    assert times(told(recorder)) == {10: 1_000_000, 11: 1_000_500, 12: 1_100_000}
    assert told(recorder) == []


def test_a_gap_is_told_as_loss() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(10, 0), (13, 0)])
    (feedback,) = told(recorder)
    assert (feedback.base_sequence, feedback.statuses) == (10, 4)
    assert [arrival.offset for arrival in feedback.arrivals] == [0, 3]


def test_a_gap_between_two_feedbacks_is_told_by_the_second() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(10, 0)])
    told(recorder)
    recorder.arrived([(13, 0)])
    (feedback,) = told(recorder)
    assert (feedback.base_sequence, feedback.statuses) == (11, 3)


def test_a_late_packet_is_told_with_all_behind_it() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(10, 0), (12, 1_000), (13, 2_000)])
    told(recorder)
    recorder.arrived([(11, 3_000)])
    (feedback,) = told(recorder)
    assert times([feedback]) == {11: 3_000, 12: 1_000, 13: 2_000}


def test_a_packet_that_comes_after_its_neighbours_were_forgotten_is_ignored() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(10, 0), (12, 1_000)])
    told(recorder)
    recorder.arrived([(13, 1_000_000)])
    told(recorder)
    recorder.arrived([(11, 1_001_000)])
    assert told(recorder) == []
    assert recorder.ignored == 1


def test_a_duplicate_is_told_with_its_first_time() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(10, 1_000), (10, 5_000)])
    assert times(told(recorder)) == {10: 1_000}


def test_sequence_numbers_wrap() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(0xFFFF, 0), (1, 1_000), (0, 2_000)])
    (feedback,) = told(recorder)
    assert times([feedback]) == {0xFFFF: 0, 1: 1_000, 0: 2_000}


def test_a_clock_beyond_what_reference_times_can_tell_begins_anew() -> None:
    recorder = ArrivalRecorder()
    cycle_us = (1 << 32) * 250
    recorder.arrived([(1, cycle_us - 250), (2, cycle_us + 64_000)])
    assert times(told(recorder)) == {1: cycle_us - 250, 2: cycle_us + 64_000}
    recorder.arrived([(3, cycle_us + 128_000)])
    assert times(told(recorder)) == {3: 128_000}


def test_packets_before_the_first_that_arrived_are_told_too() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(2, 0), (0, 0), (0xFFFF, 250)])
    assert times(told(recorder)) == {0xFFFF: 250, 0: 0, 2: 0}


def test_many_arrivals_are_several_feedbacks_that_count_up() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(sequence, sequence * 70_000) for sequence in range(1_000)])
    feedbacks = told(recorder)
    assert len(feedbacks) > 1
    assert [feedback.count for feedback in feedbacks] == list(range(len(feedbacks)))
    assert times(feedbacks) == {sequence: sequence * 70_000 for sequence in range(1_000)}


def test_a_long_pause_begins_another_feedback() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(1, 0), (2, 60_000_000)])
    assert times(told(recorder)) == {1: 0, 2: 60_000_000}


def test_jumps_of_a_hostile_sender_cost_little() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(index * 30_000 & 0xFFFF, index) for index in range(2_000)])
    assert sum(map(len, recorder.feedback())) < 2_000 * 20


def test_a_flood_between_two_feedbacks_is_bounded() -> None:
    recorder = ArrivalRecorder()
    recorder.arrived([(index & 0xFFFF, index) for index in range(MAX_PENDING + 100)])
    assert recorder.ignored == 100
    assert len(times(told(recorder))) == MAX_PENDING


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3_000)), max_size=40)),
)
def test_every_packet_is_told_with_its_first_arrival(
    first: int, batches: list[list[tuple[int, int]]]
) -> None:
    recorder = ArrivalRecorder()
    expected: dict[int, int] = {}
    seen: dict[int, int] = {}
    now_us = 64_000
    for batch in batches:
        packets = []
        for offset, later_us in batch:
            now_us += later_us % 60
            packets.append((first + offset & 0xFFFF, now_us))
            expected.setdefault(first + offset & 0xFFFF, now_us // 250 * 250)
        recorder.arrived(packets)
        for sequence, time_us in times(told(recorder)).items():
            assert seen.setdefault(sequence, time_us) == time_us
    assert seen == expected


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 20_000_000)), max_size=200))
def test_whatever_arrives_can_be_told(packets: list[tuple[int, int]]) -> None:
    recorder = ArrivalRecorder()
    recorder.arrived(packets)
    pairs = {(sequence, time_us // 250 * 250) for sequence, time_us in packets}
    assert set(times(told(recorder)).items()) <= pairs
