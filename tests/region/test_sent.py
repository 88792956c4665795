from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from region.sent import KEPT_US, MAX_KEPT, ClusterId, PacketResult, SentHistory, SentPacket
from region.twcc import REFERENCE_MODULUS_TICKS, Arrival, Feedback, parse_feedback_untrusted
from tests.region.arrivals import ArrivalRecorder
from tests.strategies.twcc import fates

PROBE = ClusterId(3)


def packet(sequence: int, sent_us: int = 0, cluster: ClusterId | None = None) -> SentPacket:
    return SentPacket(sequence, 1_000 + sequence % 7, sent_us, cluster)


def feedback(base: int, statuses: int, *arrivals: tuple[int, int], reference: int = 0) -> Feedback:
    return Feedback(
        base_sequence=base,
        statuses=statuses,
        reference_ticks=reference,
        count=0,
        arrivals=tuple(Arrival(*arrival) for arrival in arrivals),
    )


def summary(results: list[PacketResult]) -> list[tuple[int, int | None]]:
    return [(result.sequence, result.received_us) for result in results]


def test_a_packet_that_arrived_is_told_with_what_was_sent() -> None:
    history = SentHistory()
    history.record([packet(5, 100, PROBE)])
    assert history.on_feedback(feedback(5, 1, (0, 8))) == [
        PacketResult(5, 1_005, 100, 2_000, PROBE, False)
    ]


def test_a_packet_is_told_once() -> None:
    history = SentHistory()
    history.record([packet(5)])
    assert history.on_feedback(feedback(5, 1, (0, 8)))
    assert history.on_feedback(feedback(5, 1, (0, 8))) == []
    assert history.never_sent == 0


def test_a_loss_is_told_once_and_the_packet_again_when_it_arrives_after_all() -> None:
    history = SentHistory()
    history.record([packet(5), packet(6)])
    assert summary(history.on_feedback(feedback(5, 2, (1, 4)))) == [(5, None), (6, 1_000)]
    assert history.on_feedback(feedback(5, 2, (1, 4))) == []
    (late,) = history.on_feedback(feedback(5, 2, (0, 8), (1, 4)))
    assert (late.sequence, late.received_us, late.was_lost) == (5, 2_000, True)


def test_packets_that_were_never_sent_are_ignored_and_counted() -> None:
    history = SentHistory()
    assert history.on_feedback(feedback(5, 1, (0, 8))) == []
    history.record([packet(5)])
    assert summary(history.on_feedback(feedback(5, 3, (0, 8), (1, 8), (2, 8)))) == [(5, 2_000)]
    assert history.never_sent == 3


def test_losses_of_packets_that_were_never_sent_are_nothing() -> None:
    history = SentHistory()
    history.record([packet(5)])
    assert summary(history.on_feedback(feedback(4, 0xFFFF))) == [(5, None)]


def test_what_was_sent_too_long_ago_is_forgotten() -> None:
    history = SentHistory()
    history.record([packet(5, 0), packet(6, KEPT_US + 1)])
    assert summary(history.on_feedback(feedback(5, 2, (0, 0), (1, 0)))) == [(6, 0)]


def test_memory_is_bounded() -> None:
    history = SentHistory()
    history.record([packet(sequence) for sequence in range(MAX_KEPT + 10)])
    assert len(history.on_feedback(feedback(0, MAX_KEPT + 10))) == MAX_KEPT


def test_the_receivers_clock_goes_on_when_its_reference_time_begins_anew() -> None:
    history = SentHistory()
    history.record([packet(5), packet(6)])
    last = REFERENCE_MODULUS_TICKS - 256
    (before,) = history.on_feedback(feedback(5, 1, (0, 0), reference=last))
    (after,) = history.on_feedback(feedback(6, 1, (0, 0), reference=0))
    assert before.received_us is not None
    assert after.received_us == before.received_us + 64_000


@given(fates, st.integers(0, 0xFFFF), st.integers(1, 60_000), st.integers(1, 4))
def test_results_are_what_the_network_did(
    network: list[int | tuple[int, int] | None], first: int, interval_us: int, kept: int
) -> None:
    """Loss, reordering, duplication; of our own recorder's feedbacks one in `kept` is lost."""
    history, recorder = SentHistory(), ArrivalRecorder()
    arrivals: list[tuple[int, int]] = []
    for index, fate in enumerate(network):
        sequence, sent_us = first + index & 0xFFFF, 1_000_000 + index * 1_000
        history.record([packet(sequence, sent_us)])
        took = (fate,) if isinstance(fate, int) else fate or ()
        arrivals += [(sent_us + took_us, sequence) for took_us in took]
    arrivals.sort()
    arrived_us: dict[int, int] = {}
    told: dict[int, list[PacketResult]] = {}
    messages = 0
    for _, each in groupby(arrivals, key=lambda arrival: arrival[0] // interval_us):
        batch = [(sequence, time_us) for time_us, sequence in each]
        for sequence, time_us in batch:
            arrived_us.setdefault(sequence, time_us // 250 * 250)
        recorder.arrived(batch)
        for message in recorder.feedback():
            messages += 1
            if kept == 1 or messages % kept:
                for result in history.on_feedback(parse_feedback_untrusted(message)):
                    told.setdefault(result.sequence, []).append(result)
    assert history.never_sent == recorder.ignored == 0
    lost, late = (None, False), True
    for sequence, results in told.items():
        fates_told = [(result.received_us, result.was_lost) for result in results]
        time = arrived_us.get(sequence)
        assert fates_told in ([lost], [(time, False)], [lost, (time, late)])
    if kept == 1:
        assert arrived_us.keys() == {
            sequence for sequence, results in told.items() if results[-1].received_us is not None
        }
