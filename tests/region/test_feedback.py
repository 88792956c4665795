"""Transport-wide feedback from the kernel: what it tells a sender of its packets' arrival."""

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.rtcp import Other, parse_compound_untrusted
from tests.region.rig import Peer, Rig
from tests.region.twcc import Feedback, parse_feedback_untrusted
from tests.strategies.rtp import rtp

SSRC, WIRE_ID = 0x1111, 5
TRANSPORT_SEQUENCE = 3
RTPFB, TRANSPORT_WIDE = 205, 15
TICKS_PER_S = 4_000


def sender(rig: Rig) -> Peer:
    peer = rig.peer(extensions={WIRE_ID: TRANSPORT_SEQUENCE})
    rig.pump.add_stream(peer.transport, SSRC, video=True, clock_rate=90_000, csrc=4)
    return peer


def send(peer: Peer, sequence: int, wide: int) -> None:
    peer.send(
        rtp(
            sequence=sequence,
            timestamp=1,
            ssrc=SSRC,
            extensions=((WIRE_ID, (wide % 65_536).to_bytes(2)),),
        )
    )


def feedback(peer: Peer) -> Feedback:
    (told,) = [
        parse_feedback_untrusted(each.body[8:])
        for each in parse_compound_untrusted(peer.inbound.unprotect_rtcp(peer.socket.recv(4096)))
        if isinstance(each, Other) and (each.packet_type, each.count) == (RTPFB, TRANSPORT_WIDE)
    ]
    return told


def numbers(told: Feedback) -> list[int]:
    return [(told.base_sequence + arrival.offset) % 65_536 for arrival in told.arrivals]


def test_arrivals_and_losses_are_told_within_a_moment(rig: Rig) -> None:
    peer = sender(rig)
    for sequence, wide in enumerate((65_534, 65_535, 1, 4)):
        send(peer, sequence, wide)
    told = feedback(peer)
    assert told.base_sequence == 65_534
    assert told.statuses == 7
    assert numbers(told) == [65_534, 65_535, 1, 4]
    assert told.count == 0


def test_the_next_feedback_begins_where_the_last_ended(rig: Rig) -> None:
    peer = sender(rig)
    send(peer, 0, 10)
    assert numbers(feedback(peer)) == [10]
    send(peer, 1, 13)
    told = feedback(peer)
    assert (told.base_sequence, told.statuses, told.count) == (11, 3, 1)
    assert numbers(told) == [13]


def test_a_packet_that_comes_late_is_told_after_all_and_what_followed_it_again(rig: Rig) -> None:
    peer = sender(rig)
    for sequence, wide in enumerate((0, 2, 3)):
        send(peer, sequence, wide)
    assert numbers(feedback(peer)) == [0, 2, 3]
    send(peer, 3, 1)
    assert numbers(feedback(peer)) == [1, 2, 3]


def test_padding_by_which_a_sender_probes_is_told_too(rig: Rig) -> None:
    """Unless it is, the sender takes its own probes for lost and its estimate falls."""
    types = {96: 96, 97: 97}
    peer = rig.peer(extensions={WIRE_ID: TRANSPORT_SEQUENCE}, payload_types=types)
    rig.pump.add_stream(
        peer.transport, SSRC, video=True, clock_rate=90_000, csrc=4, rtx_ssrc=SSRC + 1
    )
    send(peer, 0, 0)
    for wide in (1, 2):
        peer.send(
            rtp(
                sequence=wide,
                timestamp=1,
                ssrc=SSRC + 1,
                payload_type=97,
                payload=b"",
                padding=200,
                extensions=((WIRE_ID, wide.to_bytes(2)),),
            )
        )
    assert numbers(feedback(peer)) == [0, 1, 2]
    assert rig.dropped() == {"rtx_unneeded": 2}


def test_times_are_those_of_arrival(rig: Rig) -> None:
    peer = sender(rig)
    began = time.monotonic()
    send(peer, 0, 0)
    rig.wait_for_datagrams(1)
    while time.monotonic() < began + 0.03:  # the kernel's clock cannot be moved
        pass
    send(peer, 1, 1)
    rig.wait_for_datagrams(2)
    passed = time.monotonic() - began
    first, second = feedback(peer).arrivals
    assert 0.02 * TICKS_PER_S < second.ticks - first.ticks <= passed * TICKS_PER_S + 1


def test_no_receiver_sees_the_senders_transport_numbers(rig: Rig) -> None:
    peer, receiver = sender(rig), rig.peer(extensions={7: TRANSPORT_SEQUENCE, 8: 1})
    stream = rig.pump.add_stream(peer.transport, 9, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, 10, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    peer.send(
        rtp(sequence=1, timestamp=1, ssrc=9, payload_type=111, extensions=((WIRE_ID, b"ab"),))
    )
    assert not receiver.receive()[0] & 0x10


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    start=st.integers(0, 65_535),
    lost=st.sets(st.integers(1, 899)),
    swapped=st.sets(st.integers(1, 899)),
)
def test_whatever_arrives_is_told_and_nothing_else(
    rig: Rig, start: int, lost: set[int], swapped: set[int]
) -> None:
    peer = sender(rig)
    order = list(range(900))
    for at in sorted(swapped):
        order[at], order[at - 1] = order[at - 1], order[at]
    sent = [each for each in order if each not in lost]
    before = rig.pump.counters()["datagrams_in"]
    for index, each in enumerate(sent):
        send(peer, index, start + each)
        if index % 64 == 63:
            rig.wait_for_datagrams(before + index + 1)
    rig.wait_for_datagrams(before + len(sent))
    told: set[int] = set()
    while len(told) < len(sent):
        message = feedback(peer)
        assert message.statuses <= 448
        told |= {(number - start) % 65_536 for number in numbers(message)}
    assert told == set(sent)
    rig.pump.remove_transport(peer.transport)
    peer.socket.close()
