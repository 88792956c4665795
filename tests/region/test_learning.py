"""Streams whose SSRCs are learnt: by MID and RID of the first authentic packet (RFC 8852)."""

import pytest

from region.kernel import NO_STREAM
from relay.payload import HeaderExtension, PayloadType
from tests.region.rig import Peer, Rig
from tests.strategies.rtp import rtp

MID, RID, REPAIRED = 1, 2, 3
EXTENSIONS = {
    MID: HeaderExtension.MID,
    RID: HeaderExtension.RID,
    REPAIRED: HeaderExtension.REPAIRED_RID,
}
VP8, RTX = PayloadType.VP8, PayloadType.VP8_RTX


def sender(rig: Rig) -> Peer:
    return rig.peer(payload_types={VP8: VP8, RTX: RTX}, extensions=dict(EXTENSIONS))


def expect(rig: Rig, peer: Peer, *, mid: bytes, rid: bytes, repairable: bool = False) -> int:
    return rig.pump.add_stream(
        peer.transport,
        0,
        video=False,
        clock_rate=90_000,
        csrc=4,
        mid=mid,
        rid=rid,
        repairable=repairable,
    )


def named(
    ssrc: int,
    sequence: int,
    names: dict[int, bytes],
    payload_type: int = VP8,
    payload: bytes = b"x",
) -> bytes:
    return rtp(
        sequence=sequence,
        timestamp=sequence,
        ssrc=ssrc,
        payload_type=payload_type,
        payload=payload,
        extensions=tuple(names.items()),
    )


def test_each_rid_of_a_section_becomes_the_stream_that_expects_it(rig: Rig) -> None:
    peer, receiver = sender(rig), rig.peer()
    low = expect(rig, peer, mid=b"1", rid=b"q")
    high = expect(rig, peer, mid=b"1", rid=b"f")
    slot = rig.pump.add_egress(receiver.transport, 99, video=False, trunk=False)
    rig.pump.set_source(slot, high)
    peer.send(named(700, 1, {MID: b"1", RID: b"q"}))
    peer.send(named(701, 5, {MID: b"1", RID: b"f"}))
    peer.send(named(701, 6, {}))
    for sequence in (5, 6):
        assert receiver.receive()[2:4] == sequence.to_bytes(2)
    assert receiver.has_nothing()
    assert rig.pump.stream_stats(low).ssrc == 700
    assert rig.pump.stream_stats(high).ssrc == 701
    assert rig.pump.counters()["learnt"] == 2


def test_a_section_without_rids_is_known_by_its_mid_alone(rig: Rig) -> None:
    peer = sender(rig)
    stream = expect(rig, peer, mid=b"video0", rid=b"")
    peer.send(named(7, 1, {MID: b"video0"}))
    rig.wait_for_datagrams(1)
    assert rig.pump.stream_stats(stream).ssrc == 7


@pytest.mark.parametrize(
    "names",
    [{}, {MID: b"2", RID: b"q"}, {MID: b"1", RID: b"x"}, {MID: b"1"}, {RID: b"q"}],
    ids=["nameless", "other-mid", "other-rid", "no-rid", "no-mid"],
)
def test_what_nobody_announced_is_dropped(rig: Rig, names: dict[int, bytes]) -> None:
    peer = sender(rig)
    stream = expect(rig, peer, mid=b"1", rid=b"q")
    peer.send(named(7, 1, names))
    rig.wait_for_datagrams(1)
    assert rig.dropped() == {"unknown_ssrc": 1}
    assert rig.pump.stream_stats(stream).ssrc == 0


def test_a_name_on_a_forged_packet_teaches_nothing(rig: Rig) -> None:
    peer = sender(rig)
    stream = expect(rig, peer, mid=b"1", rid=b"q")
    forged = bytearray(peer.outbound.protect(named(7, 1, {MID: b"1", RID: b"q"})))
    forged[-1] ^= 1
    peer.send_raw(bytes(forged))
    rig.wait_for_datagrams(1)
    assert rig.dropped() == {"authentication": 1}
    assert rig.pump.stream_stats(stream).ssrc == 0
    peer.send(named(8, 1, {MID: b"1", RID: b"q"}))
    rig.wait_for_datagrams(2)
    assert rig.pump.stream_stats(stream).ssrc == 8


def test_a_name_is_taken_once(rig: Rig) -> None:
    peer = sender(rig)
    stream = expect(rig, peer, mid=b"1", rid=b"q")
    for ssrc in (7, 8):
        peer.send(named(ssrc, 1, {MID: b"1", RID: b"q"}))
    rig.wait_for_datagrams(2)
    assert rig.pump.stream_stats(stream).ssrc == 7
    assert rig.dropped() == {"unknown_ssrc": 1}


def test_retransmissions_are_learnt_by_the_repaired_rid(rig: Rig) -> None:
    peer, receiver = sender(rig), rig.peer()
    stream = expect(rig, peer, mid=b"1", rid=b"q", repairable=True)
    slot = rig.pump.add_egress(receiver.transport, 99, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    peer.send(named(7, 1, {MID: b"1", RID: b"q"}))
    peer.send(named(7, 3, {}, payload=b"three"))
    again = (2).to_bytes(2) + b"two"
    peer.send(named(9, 50, {MID: b"1", REPAIRED: b"q"}, payload_type=RTX, payload=again))
    got = [receiver.receive() for _ in range(3)]
    assert [packet[2:4] for packet in got] == [n.to_bytes(2) for n in (1, 3, 2)]
    assert got[2].endswith(b"two")
    assert rig.pump.stream_stats(stream).rtx_ssrc == 9


def test_a_stream_that_was_never_named_can_be_removed(rig: Rig) -> None:
    peer = sender(rig)
    for _ in range(40):  # more than may wait at once
        rig.pump.remove_stream(expect(rig, peer, mid=b"1", rid=b"q"))
    stream = expect(rig, peer, mid=b"1", rid=b"q")
    peer.send(named(7, 1, {MID: b"1", RID: b"q"}))
    rig.wait_for_datagrams(1)
    assert rig.pump.stream_stats(stream).ssrc == 7
    rig.pump.remove_stream(stream)
    peer.send(named(7, 2, {}))
    rig.wait_for_datagrams(2)
    assert rig.dropped() == {"unknown_ssrc": 1}
    slot = rig.pump.add_egress(peer.transport, 99, video=False, trunk=False)
    rig.pump.set_source(slot, NO_STREAM)
