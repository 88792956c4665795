"""Lost packets between a sender, the kernel and a receiver: asked for, kept, sent again."""

import os
import struct
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import Repeats, reference
from region.rtcp import Nack, parse_compound_untrusted
from tests.region.rig import DEADLINE_S, Peer, Rig
from tests.strategies.rtp import DELTA, KEYFRAME, rtp

VP8, VP8_RTX = 96, 97
SSRC, RTX, SLOT, SLOT_RTX = 0x1111, 0x1112, 0x2222, 0x2223


class Call:
    """A sender, a receiver, and the stream between them, both with retransmissions."""

    def __init__(self, rig: Rig) -> None:
        types = {VP8: VP8, VP8_RTX: VP8_RTX}
        self.pump = rig.pump
        self.rig = rig
        self.sender, self.receiver = rig.peer(payload_types=types), rig.peer(payload_types=types)
        self.stream = rig.pump.add_stream(
            self.sender.transport, SSRC, video=True, clock_rate=90_000, csrc=4, rtx_ssrc=RTX
        )
        self.slot = rig.pump.add_egress(
            self.receiver.transport, SLOT, video=True, trunk=False, rtx_ssrc=SLOT_RTX
        )
        rig.pump.set_source(self.slot, self.stream)
        self._rtx_sequence = 0

    def send(self, sequence: int) -> None:
        self.sender.send(packet(sequence))

    def repair(self, sequence: int) -> None:
        original = reference.parse_untrusted(packet(sequence))
        self.sender.send(
            rtp(
                sequence=self._rtx_sequence,
                timestamp=original.timestamp,
                ssrc=RTX,
                payload_type=VP8_RTX,
                payload=struct.pack("!H", sequence % 65_536) + original.payload,
                extensions=((1, b"ab"),),
            )
        )
        self._rtx_sequence += 1

    def length_of(self, sequence: int) -> int:
        """On the wire, when it comes because the receiver asks for it."""
        assert self.pump.retransmit(self.slot, [sequence]).sent == 1
        return len(self.receiver.socket.recv(4096))

    def switched(self, picture: bytes) -> reference.Packet:
        """The first packet of another stream, which the slot carries from now on."""
        other = self.rig.peer(payload_types={VP8: VP8})
        stream = self.pump.add_stream(other.transport, 9, video=True, clock_rate=90_000, csrc=8)
        self.pump.set_source(self.slot, stream)
        other.send(rtp(sequence=500, timestamp=3, ssrc=9, payload=KEYFRAME + picture))
        return self.received()

    def received(self) -> reference.Packet:
        return reference.parse_untrusted(self.receiver.receive())


def packet(sequence: int) -> bytes:
    payload = KEYFRAME if sequence % 50 == 0 else DELTA
    return rtp(
        sequence=sequence,
        timestamp=sequence * 10,
        ssrc=SSRC,
        payload=payload + struct.pack("!I", sequence),
        extensions=((2, b"xyz"),),
    )


def nacks(peer: Peer) -> list[int]:
    """The sequence numbers of the next NACK that comes to the peer."""
    data = peer.inbound.unprotect_rtcp(peer.socket.recv(4096))
    return [
        sequence
        for each in parse_compound_untrusted(data)
        if isinstance(each, Nack)
        for sequence in each.sequences
    ]


def test_a_gap_is_asked_for_and_its_repair_forwarded_as_if_it_had_never_been_lost(
    rig: Rig,
) -> None:
    call = Call(rig)
    for sequence in (0, 1, 4):
        call.send(sequence)
    assert [call.received().sequence for _ in range(3)] == [0, 1, 4]
    assert nacks(call.sender) == [2, 3]
    call.repair(3)
    call.repair(2)
    for expected in (3, 2):
        got = call.received()
        assert got.sequence == expected
        assert got.payload == reference.parse_untrusted(packet(expected)).payload
        assert got.payload_type == VP8
    assert rig.pump.counters()["repaired"] == 2


def test_what_stays_missing_is_asked_for_again_and_given_up_after_ten_tries(rig: Rig) -> None:
    call = Call(rig)
    rig.pump.set_path(call.sender.transport, rtt_s=0.005)
    call.send(0)
    call.send(2)
    assert [nacks(call.sender) for _ in range(10)] == [[1]] * 10
    end = time.monotonic() + DEADLINE_S
    while rig.pump.stream_stats(call.stream).given_up == 0:
        assert time.monotonic() < end
        os.sched_yield()
    assert rig.pump.counters()["nacked"] == 10
    assert call.sender.has_nothing()


def test_a_late_original_is_no_loss_and_its_retransmission_not_needed(rig: Rig) -> None:
    call = Call(rig)
    for sequence in (0, 2, 1):
        call.send(sequence)
    assert [call.received().sequence for _ in range(3)] == [0, 2, 1]
    call.repair(1)
    rig.wait_for_datagrams(4)
    assert rig.dropped() == {"rtx_unneeded": 1}


def test_an_original_behind_its_own_retransmission_is_dropped(rig: Rig) -> None:
    call = Call(rig)
    call.send(0)
    call.send(2)
    call.repair(1)
    call.send(1)
    rig.wait_for_datagrams(4)
    assert [call.received().sequence for _ in range(3)] == [0, 2, 1]
    assert rig.dropped() == {"duplicate": 1}
    assert call.receiver.has_nothing()


def test_a_receiver_gets_again_what_it_asks_for_on_the_retransmission_ssrc(rig: Rig) -> None:
    call = Call(rig)
    for sequence in range(65_500, 65_550):
        call.send(sequence)
    originals = {each.sequence: each for each in (call.received() for _ in range(50))}
    wanted = [65_534, 65_535, 0, 1]
    assert rig.pump.retransmit(call.slot, wanted).sent == 4
    for number, sequence in enumerate(wanted):
        again = call.received()
        assert (again.ssrc, again.payload_type) == (SLOT_RTX, VP8_RTX)
        assert again.sequence == number
        assert again.timestamp == originals[sequence].timestamp
        assert again.payload == struct.pack("!H", sequence) + originals[sequence].payload


def test_requests_are_bounded_and_refused_ones_counted(rig: Rig) -> None:
    call = Call(rig)
    for sequence in range(200):
        call.send(sequence)
        call.received()
    assert rig.pump.retransmit(call.slot, [5, 5, 199, 7_000]).sent == 2
    assert rig.pump.retransmit(call.slot, list(range(10, 199))).sent == 126
    dropped = rig.dropped()
    assert dropped == {"nack_repeated": 1, "nack_unknown": 1, "nack_limited": 189 - 126}


def test_what_is_sent_again_takes_no_more_of_a_path_than_it_may(rig: Rig) -> None:
    call = Call(rig)
    for sequence in range(200):
        call.send(sequence)
        call.received()
    length = call.length_of(199)
    at_once_s, packets = 0.2, 20  # of the limit's worth
    rig.pump.set_path(call.receiver.transport, repeats_bps=int(packets * length * 8 / at_once_s))
    begin = time.monotonic()
    sent = rig.pump.retransmit(call.slot, list(range(60, 160))).sent
    most = packets * (1 + (time.monotonic() - begin) / at_once_s) + 1
    assert packets <= sent <= most
    assert rig.dropped() == {"nack_limited": 100 - sent}


def test_a_path_that_was_full_of_repeats_has_room_again_later(rig: Rig) -> None:
    call = Call(rig)
    for sequence in range(100):
        call.send(sequence)
        call.received()
    rig.pump.set_path(call.receiver.transport, repeats_bps=20_000)
    rig.pump.retransmit(call.slot, list(range(60)))
    assert rig.dropped()["nack_limited"] > 0
    end = time.monotonic() + DEADLINE_S
    while not rig.pump.retransmit(call.slot, [99]).sent:
        assert time.monotonic() < end
        os.sched_yield()


def test_what_was_sent_before_a_switch_gives_way_to_what_came_after(rig: Rig) -> None:
    call = Call(rig)
    for sequence in range(3):
        call.send(sequence)
    before = [call.received().sequence for _ in range(3)]
    after = call.switched(bytes(900)).sequence
    rig.pump.set_path(call.receiver.transport, repeats_bps=10_000)  # one of them takes 0.7 s
    assert rig.pump.retransmit(call.slot, [after, *before]).sent == 1
    assert rig.dropped() == {"nack_limited": 3}


def test_what_is_older_than_a_second_is_forgotten(rig: Rig) -> None:
    call = Call(rig)
    call.send(0)
    call.received()
    end = time.monotonic() + 1.05
    while time.monotonic() < end:  # the kernel's clock cannot be moved
        os.sched_yield()
    assert rig.pump.retransmit(call.slot, [0]) == Repeats(sent=0, gone=1)
    assert rig.dropped() == {"nack_forgotten": 1}


def test_a_slot_that_has_switched_still_repeats_what_it_sent_before(rig: Rig) -> None:
    call = Call(rig)
    call.send(0)
    before = call.received()
    after = call.switched(b"new")
    assert rig.pump.retransmit(call.slot, [before.sequence, after.sequence]).sent == 2
    assert call.received().payload[2:] == before.payload
    again = call.received()
    assert again.payload[2:] == after.payload
    assert again.timestamp == after.timestamp


def test_what_is_gone_from_before_a_switch_is_made_up_for_by_the_switch(rig: Rig) -> None:
    call = Call(rig)
    call.send(0)
    before = call.received()
    call.switched(b"new")
    rig.pump.remove_stream(call.stream)
    assert rig.pump.retransmit(call.slot, [before.sequence]) == Repeats(sent=0, gone=0)


def test_nobody_is_sent_what_came_by_a_handle_that_was_given_to_another_stream(rig: Rig) -> None:
    call = Call(rig)
    call.send(0)
    before = call.received()
    rig.pump.remove_stream(call.stream)
    other, its_receiver = (rig.peer(payload_types={VP8: VP8, VP8_RTX: VP8_RTX}) for _ in range(2))
    stream = rig.pump.add_stream(other.transport, 9, video=True, clock_rate=90_000, csrc=8)
    assert stream == call.stream
    slot = rig.pump.add_egress(its_receiver.transport, 10, video=True, trunk=False, rtx_ssrc=11)
    rig.pump.set_source(slot, stream)
    other.send(rtp(sequence=0, timestamp=3, ssrc=9, payload=KEYFRAME + b"secret"))
    its_receiver.receive()
    assert rig.pump.retransmit(call.slot, [before.sequence]).sent == 0
    assert rig.dropped() == {"nack_forgotten": 1}


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_is_lost_and_repaired_arrives_once_and_as_it_was(
    rig: Rig, data: st.DataObject
) -> None:
    call = Call(rig)
    first = data.draw(st.integers(0, 65_535)) // 50 * 50
    before = rig.pump.counters()["datagrams_in"]
    sent, lost = 1, []
    call.send(first)
    for sequence in range(first + 1, first + 60):
        if data.draw(st.booleans()):
            call.send(sequence)
            sent += 1
            for missing in data.draw(st.permutations(lost)) if lost else ():
                if data.draw(st.booleans()):
                    call.repair(missing)
                    lost.remove(missing)
                    sent += 1
        else:
            lost.append(sequence)
    rig.wait_for_datagrams(before + sent)
    arrived = [call.received() for _ in range(sent)]
    numbers = {each.sequence for each in arrived}
    assert len(numbers) == sent
    assert numbers == {each % 65_536 for each in range(first, first + 60) if each not in lost}
    for each in arrived:
        full = next(n for n in range(first, first + 60) if n % 65_536 == each.sequence)
        assert each.payload == reference.parse_untrusted(packet(full)).payload
        assert each.timestamp == full * 10
    rig.pump.remove_transport(call.sender.transport)
    rig.pump.remove_transport(call.receiver.transport)
    call.sender.socket.close()
    call.receiver.socket.close()
