"""Sender reports in the kernel: to all that receive the stream, in the terms of what they get."""

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import Datagram
from region.kernel.reference import parse_untrusted
from region.rtcp import (
    Pli,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    build_compound,
    parse_compound_untrusted,
)
from relay.ids import Ssrc
from tests.region.rig import Peer, Rig, running
from tests.region.sent import answer
from tests.strategies.rtp import DELTA, KEYFRAME, rtp

SSRC, SLOT, LEG = Ssrc(0x1111), Ssrc(0x2222), Ssrc(0x4444)
OURS = ReceiverReport(ssrc=Ssrc(1))
NTP = 0x0123_4567_89AB_CDEF
OPUS, WIRE_ID, TRANSPORT_SEQUENCE = 111, 5, 3
MORE_THAN_ENOUGH_S = 0.06
"""Between two reports of one stream."""
BLOCK = ReportBlock(
    ssrc=SLOT,
    fraction_lost=10,
    packets_lost=1,
    highest_sequence=7,
    jitter_ticks=0,
    last_sr=0,
    delay_since_last_sr=0,
)


def report(ssrc: Ssrc = SSRC, *, timestamp: int = 90_000, ntp: int = NTP) -> SenderReport:
    return SenderReport(ssrc=ssrc, ntp=ntp, timestamp_ticks=timestamp, packets=7, octets=900)


def tell(peer: Peer, *packets: RtcpPacket) -> None:
    peer.send_raw(peer.outbound.protect_rtcp(build_compound(*packets)))


def told(peer: Peer) -> tuple[RtcpPacket, ...]:
    return parse_compound_untrusted(peer.inbound.unprotect_rtcp(peer.socket.recv(4096)))


def handed_on(rig: Rig) -> list[tuple[RtcpPacket, ...]]:
    return [parse_compound_untrusted(each.data) for each in rig.pump.drain() if _is_rtcp(each)]


def _is_rtcp(datagram: Datagram) -> bool:
    return datagram.data[1] >= 192


def speaking(rig: Rig, *receivers: Peer) -> tuple[Peer, int]:
    """Somebody who says something to them, and the stream."""
    sender = rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    for receiver in receivers:
        slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
        rig.pump.set_source(slot, stream)
    return sender, stream


def test_a_report_reaches_everybody_who_gets_the_stream_and_nobody_else(rig: Rig) -> None:
    ana, ben, idle = rig.peer(), rig.peer(), rig.peer()
    sender, stream = speaking(rig, ana, ben)
    leg = rig.pump.add_egress(ben.transport, LEG, video=False, trunk=True)
    rig.pump.set_source(leg, stream)
    sender.send(rtp(sequence=5, timestamp=1_000, ssrc=SSRC, payload_type=OPUS, payload=b"x" * 50))
    for peer, count in ((ana, 1), (ben, 2)):
        for _ in range(count):
            peer.receive()
    tell(sender, report())
    mine = SenderReport(ssrc=SLOT, ntp=NTP, timestamp_ticks=90_000, packets=1, octets=50)
    assert told(ana) == (OURS, mine)
    assert {told(ben) for _ in range(2)} == {
        (OURS, mine),
        (OURS, SenderReport(ssrc=LEG, ntp=NTP, timestamp_ticks=90_000, packets=1, octets=50)),
    }
    assert idle.has_nothing()
    assert handed_on(rig) == []
    assert rig.pump.counters()["rtcp_taken"] == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_it_tells_the_same_moment_by_the_slots_own_clock_over_a_switch(
    at: int, newest: int, ntp: int
) -> None:
    with running() as rig:
        first, second, receiver = rig.peer(), rig.peer(), rig.peer()
        a, b = (
            rig.pump.add_stream(each.transport, SSRC, video=True, clock_rate=90_000, csrc=csrc)
            for each, csrc in ((first, 4), (second, 8))
        )
        slot = rig.pump.add_egress(receiver.transport, SLOT, video=True, trunk=False)
        rig.pump.set_source(slot, a)
        first.send(rtp(sequence=1, timestamp=1_000, ssrc=SSRC, payload=KEYFRAME))
        receiver.receive()
        rig.pump.set_source(slot, b)
        second.send(rtp(sequence=9, timestamp=newest, ssrc=SSRC, payload=KEYFRAME))
        shown = parse_untrusted(receiver.receive()).timestamp
        tell(second, report(timestamp=at, ntp=ntp))
        ours, theirs = told(receiver)
        assert ours == OURS
        assert isinstance(theirs, SenderReport)
        assert (theirs.ssrc, theirs.ntp, theirs.packets) == (SLOT, ntp, 2)
        assert (theirs.timestamp_ticks - shown) % 2**32 == (at - newest) % 2**32


def test_who_waits_for_a_keyframe_is_told_of_what_it_gets_until_then(rig: Rig) -> None:
    first, second, receiver = rig.peer(), rig.peer(), rig.peer()
    a, b = (
        rig.pump.add_stream(each.transport, SSRC, video=True, clock_rate=90_000, csrc=csrc)
        for each, csrc in ((first, 4), (second, 8))
    )
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=True, trunk=False)
    rig.pump.set_source(slot, a)
    first.send(rtp(sequence=1, timestamp=1_000, ssrc=SSRC, payload=KEYFRAME))
    receiver.receive()
    rig.pump.set_source(slot, b)
    second.send(rtp(sequence=9, timestamp=77, ssrc=SSRC, payload=DELTA))
    tell(second, report())
    tell(first, report(timestamp=1_500))
    assert told(receiver)[1] == SenderReport(
        ssrc=SLOT, ntp=NTP, timestamp_ticks=1_500, packets=1, octets=len(KEYFRAME)
    )
    assert receiver.has_nothing()


def test_when_a_report_came_is_known_for_the_senders_own(rig: Rig) -> None:
    sender, stream = speaking(rig)
    assert rig.pump.stream_stats(stream).report_ntp == 0
    before_s = time.monotonic()
    tell(sender, report())
    rig.wait_for_datagrams(1)
    stats = rig.pump.stream_stats(stream)
    assert stats.report_ntp == 0x4567_89AB
    assert before_s <= stats.reported_s <= time.monotonic()


def test_reports_in_a_row_are_passed_on_once(rig: Rig) -> None:
    receiver = rig.peer()
    sender, _ = speaking(rig, receiver)
    sender.send(rtp(sequence=5, timestamp=1_000, ssrc=SSRC, payload_type=OPUS))
    receiver.receive()
    for number in range(3):
        tell(sender, report(ntp=NTP + number))
    assert told(receiver)[1].ntp == NTP  # type: ignore[union-attr]
    rig.wait_for_datagrams(4)
    assert receiver.has_nothing()
    assert rig.dropped() == {"reports_limited": 2}
    time.sleep(MORE_THAN_ENOUGH_S)
    tell(sender, report(ntp=NTP + 9))
    assert told(receiver)[1].ntp == NTP + 9  # type: ignore[union-attr]


def test_a_report_on_what_is_not_there_concerns_nobody(rig: Rig) -> None:
    receiver = rig.peer()
    sender, _ = speaking(rig, receiver)
    tell(sender, report(Ssrc(0x9999)))
    tell(receiver, report(SSRC))  # another transport's
    rig.wait_for_datagrams(2)
    assert receiver.has_nothing()
    assert rig.dropped() == {}


def test_one_that_ends_too_early_goes_where_malformed_packets_are_counted(rig: Rig) -> None:
    sender, _ = speaking(rig)
    short = bytes.fromhex("80c80005") + build_compound(report())[4:24]
    sender.send_raw(sender.outbound.protect_rtcp(short))
    rig.wait_for_datagrams(1)
    assert [each.data for each in rig.pump.drain()] == [short]


def test_what_comes_with_a_report_is_handed_on(rig: Rig) -> None:
    sender, _ = speaking(rig)
    pli = Pli(sender_ssrc=SSRC, media_ssrc=SLOT)
    tell(sender, report(), pli)
    rig.wait_for_datagrams(1)
    assert handed_on(rig) == [(report(), pli)]


def test_losses_are_told_by_reports_where_nothing_tells_them_better(rig: Rig) -> None:
    receiver = rig.peer(extensions={WIRE_ID: TRANSPORT_SEQUENCE})
    sender = rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False, numbered=True)
    rig.pump.set_source(slot, stream)
    sender.send(rtp(sequence=5, timestamp=1_000, ssrc=SSRC, payload_type=OPUS))
    receiver.receive()
    losses = ReceiverReport(ssrc=Ssrc(9), reports=(BLOCK,))
    tell(receiver, losses)
    rig.wait_for_datagrams(2)
    assert handed_on(rig) == [(losses,)]
    feedback = bytes.fromhex("8fcd0000") + bytes(8) + answer((0, 0))
    feedback = feedback[:2] + (len(feedback) // 4 - 1).to_bytes(2) + feedback[4:]
    receiver.send_raw(receiver.outbound.protect_rtcp(feedback))
    tell(receiver, losses)
    rig.wait_for_datagrams(4)
    assert handed_on(rig) == []
