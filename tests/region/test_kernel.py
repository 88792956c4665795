"""The packet kernel through its sockets: what comes out for what goes in."""

import socket
import struct
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pylibsrtp import Error as SrtpError

from region.kernel import (
    DTLS,
    NO_STREAM,
    NO_TRANSPORT,
    RTCP,
    STUN,
    Pump,
    pack_address,
    reference,
    unpack_address,
)
from region.kernel.reference_codecs import begins_keyframe
from region.kernel.reference_egress import Egress, Stream
from relay.errors import LocalProtocolError, MalformedError
from relay.ids import VideoCodec
from relay.payload import HeaderExtension, PayloadType
from tests.region.rig import Rig, running
from tests.strategies.rtp import DELTA, KEYFRAME, near_wrap, rtp, rtp_packets

VP8, OPUS = 96, 111
SSRC, SLOT, SOURCE = 0x1111, 0x2222, 0x3333
STUN_DATAGRAM = b"\x00\x01\x00\x00" + bytes(16)


def carried(data: bytes) -> reference.Packet:
    return reference.parse_untrusted(data)


def test_an_address_survives_packing() -> None:
    for host in ("127.0.0.1", "203.0.113.9", "::1", "2001:db8::5"):
        assert unpack_address(pack_address(host, 4567)) == (host, 4567)


def test_a_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="literal"):
        pack_address("localhost", 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_packet_reaches_the_slot_with_the_sources_csrc(host: str) -> None:
    with running(host) as rig:
        sender, receiver = rig.peer(), rig.peer(payload_types={100: VP8})
        stream = rig.pump.add_stream(
            sender.transport, SSRC, video=True, clock_rate=90_000, csrc=SOURCE
        )
        slot = rig.pump.add_egress(receiver.transport, SLOT, video=True, trunk=False)
        rig.pump.set_source(slot, stream)
        sender.send(rtp(sequence=7, timestamp=9, ssrc=SSRC, payload=KEYFRAME, marker=True))
        expected = rtp(
            sequence=7,
            timestamp=9,
            ssrc=SLOT,
            payload_type=100,
            payload=KEYFRAME,
            marker=True,
            csrcs=(SOURCE,),
        )
        assert receiver.receive() == expected


def test_a_dual_stack_socket_serves_both_families() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("::", 0))
        pump = Pump(bound.fileno())
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.bind((host, 0))
                client.settimeout(5)
                assert pump.send(pack_address(*client.getsockname()[:2]), b"hello")
                assert client.recv(10) == b"hello"


def test_a_trunk_leg_keeps_the_numbers_and_carries_no_csrc(rig: Rig) -> None:
    sender, trunk = rig.peer(), rig.peer()
    stream = rig.pump.add_stream(
        sender.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
    )
    leg = rig.pump.add_egress(trunk.transport, SLOT, video=False, trunk=True)
    rig.pump.set_source(leg, stream)
    for sequence in (65_534, 65_535, 0, 1):
        sender.send(rtp(sequence=sequence, timestamp=5, ssrc=SSRC, payload_type=OPUS))
        assert trunk.receive() == rtp(sequence=sequence, timestamp=5, ssrc=SLOT, payload_type=OPUS)


def test_extension_ids_are_translated_and_unknown_ones_dropped(rig: Rig) -> None:
    sender = rig.peer(extensions={3: 1, 9: 2})
    receiver = rig.peer(extensions={20: 1, 5: 2})
    stream = rig.pump.add_stream(
        sender.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
    )
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    sender.send(
        rtp(
            sequence=1,
            timestamp=1,
            ssrc=SSRC,
            payload_type=OPUS,
            extensions=((3, b"\x85"), (4, b"no"), (9, b"\x01")),
        )
    )
    # An id above 14 needs the two-byte form.
    assert carried(receiver.receive()).extensions == ((20, b"\x85"), (5, b"\x01"))


def test_one_stream_fans_out_to_all_who_want_it_and_to_nobody_else(rig: Rig) -> None:
    sender, idle = rig.peer(), rig.peer()
    receivers = [rig.peer() for _ in range(20)]
    stream = rig.pump.add_stream(
        sender.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
    )
    rig.pump.add_egress(idle.transport, SLOT, video=False, trunk=False)
    for receiver in receivers:
        slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
        rig.pump.set_source(slot, stream)
    for sequence in range(10):
        sender.send(rtp(sequence=sequence, timestamp=sequence, ssrc=SSRC, payload_type=OPUS))
    for receiver in receivers:
        assert [carried(receiver.receive()).sequence for _ in range(10)] == list(range(10))
    assert idle.has_nothing()
    assert rig.pump.counters()["packets_out"] == 200
    assert rig.pump.transport_stats(idle.transport).packets_out == 0


def test_video_switches_at_a_keyframe_and_stays_one_stream(rig: Rig) -> None:
    first, second, receiver = rig.peer(), rig.peer(), rig.peer()
    a = rig.pump.add_stream(first.transport, 1, video=True, clock_rate=90_000, csrc=4)
    b = rig.pump.add_stream(second.transport, 2, video=True, clock_rate=90_000, csrc=8)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=True, trunk=False)
    rig.pump.set_source(slot, a)
    first.send(rtp(sequence=100, timestamp=1_000, ssrc=1, payload=KEYFRAME))
    assert carried(receiver.receive()).sequence == 100
    rig.pump.set_source(slot, b)
    second.send(rtp(sequence=9_000, timestamp=77, ssrc=2, payload=DELTA))
    rig.wait_for_datagrams(2)
    first.send(rtp(sequence=101, timestamp=1_000, ssrc=1, payload=DELTA))
    assert carried(receiver.receive()).sequence == 101  # the old one until the keyframe
    assert rig.pump.egress_stats(slot).stream == a
    second.send(rtp(sequence=9_001, timestamp=78, ssrc=2, payload=KEYFRAME))
    switched = receiver.receive()
    assert struct.unpack_from("!I", switched, 12)[0] == 8
    assert carried(switched).sequence == 102
    assert carried(switched).timestamp > 1_000
    first.send(rtp(sequence=102, timestamp=2_000, ssrc=1, payload=KEYFRAME))
    second.send(rtp(sequence=8_999, timestamp=77, ssrc=2, payload=DELTA + b"late"))
    second.send(rtp(sequence=9_002, timestamp=78, ssrc=2, payload=DELTA))
    assert carried(receiver.receive()).sequence == 103
    assert rig.dropped() == {"awaiting_keyframe": 1, "before_switch": 1}
    assert rig.pump.egress_stats(slot).stream == b


def test_removed_streams_and_transports_leave_silent_slots(rig: Rig) -> None:
    sender, receiver = rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    rig.pump.remove_stream(stream)
    assert rig.pump.egress_stats(slot).stream == NO_STREAM
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=OPUS))
    rig.wait_for_datagrams(1)
    rig.pump.remove_transport(sender.transport)
    sender.send(rtp(sequence=2, timestamp=1, ssrc=SSRC, payload_type=OPUS))
    rig.wait_for_datagrams(2)
    assert rig.dropped() == {"unknown_ssrc": 1, "unknown_address": 1}
    assert receiver.has_nothing()
    with pytest.raises(LocalProtocolError):
        rig.pump.transport_stats(sender.transport)


def test_a_transport_that_goes_takes_its_slots_with_it(rig: Rig) -> None:
    sender, receiver, other = rig.peer(), rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    for peer in (receiver, other):
        rig.pump.set_source(
            rig.pump.add_egress(peer.transport, SLOT, video=False, trunk=False), stream
        )
    rig.pump.remove_transport(receiver.transport)
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=OPUS))
    assert carried(other.receive()).sequence == 1
    assert rig.pump.counters()["packets_out"] == 1


def test_media_follows_the_selected_address(rig: Rig) -> None:
    sender, receiver, elsewhere = rig.peer(), rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    rig.pump.remove_transport(elsewhere.transport)
    rig.pump.select_address(receiver.transport, elsewhere.address)
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=OPUS))
    assert receiver.inbound.unprotect(elsewhere.socket.recv(4096))
    assert receiver.has_nothing()


def test_a_transport_keeps_eight_addresses_and_the_selected_one_always(rig: Rig) -> None:
    peer = rig.peer()
    stream = rig.pump.add_stream(peer.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    for port in range(20_000, 20_020):
        rig.pump.bind_address(peer.transport, pack_address("127.0.0.1", port))
    peer.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=OPUS))
    rig.wait_for_datagrams(1)
    assert rig.pump.stream_stats(stream).packets == 1


def test_replayed_and_forged_media_is_dropped_and_counted(rig: Rig) -> None:
    sender, receiver = rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    wire = sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=OPUS, payload=b"abc"))
    sender.send_raw(wire)
    forged = sender.outbound.protect(
        rtp(sequence=3, timestamp=1, ssrc=SSRC, payload_type=OPUS, payload=b"abc")
    )
    sender.send_raw(forged[:-1] + bytes([forged[-1] ^ 1]))
    sender.send_raw(forged[:14])
    sender.send(rtp(sequence=2, timestamp=1, ssrc=SSRC, payload_type=OPUS))
    assert [carried(receiver.receive()).sequence for _ in range(2)] == [1, 2]
    rig.wait_for_datagrams(5)
    assert rig.dropped() == {"replay": 1, "authentication": 1, "unprotect": 1}
    assert rig.pump.counters()["packets_in"] == 2


def test_what_was_not_announced_is_dropped_and_counted(rig: Rig) -> None:
    sender = rig.peer()
    rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC + 1, payload_type=OPUS))
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=99))
    sender.send_raw(b"\x50" + bytes(20))
    sender.send_raw(b"\x80\x60")
    sender.send_raw(b"\x80\x60" + bytes(3_000))
    rig.wait_for_datagrams(5)
    assert rig.dropped() == {
        "unknown_ssrc": 1,
        "unknown_payload": 1,
        "unknown_protocol": 1,
        "malformed": 1,
        "oversize": 1,
    }


def test_stun_dtls_and_rtcp_go_to_python(rig: Rig) -> None:
    peer = rig.peer()
    report = struct.pack("!BBHI", 0x81, 203, 1, 77)  # a goodbye
    peer.send_raw(STUN_DATAGRAM)
    peer.send_raw(b"\x16" + bytes(20))
    peer.send_raw(peer.outbound.protect_rtcp(report))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(STUN_DATAGRAM, rig.address)
        stranger.sendto(b"\x16" + bytes(20), rig.address)
        rig.wait_for_datagrams(5)
        got = [(each.kind, each.transport, each.data) for each in rig.pump.drain()]
    assert got == [
        (STUN, peer.transport, STUN_DATAGRAM),
        (DTLS, peer.transport, b"\x16" + bytes(20)),
        (RTCP, peer.transport, report),
        (STUN, NO_TRANSPORT, STUN_DATAGRAM),
    ]
    assert rig.dropped() == {"unknown_address": 1}
    assert rig.pump.drain() == []


def test_a_flood_of_strangers_does_not_push_out_the_known(rig: Rig) -> None:
    peer = rig.peer()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for burst in range(6):
            for _ in range(100):
                stranger.sendto(STUN_DATAGRAM, rig.address)
            rig.wait_for_datagrams(100 * (burst + 1))
    peer.send_raw(STUN_DATAGRAM)
    rig.wait_for_datagrams(601)
    assert rig.pump.drain(1)[0].transport == peer.transport
    assert rig.dropped()["queue_full"] == 600 - 256


def test_rtcp_from_python_reaches_the_peer_protected(rig: Rig) -> None:
    peer = rig.peer()
    packet = struct.pack("!BBHII", 0x81, 206, 2, 1, 2)
    assert rig.pump.send_rtcp(peer.transport, packet)
    assert peer.inbound.unprotect_rtcp(peer.socket.recv(4096)) == packet


def test_rtcp_senders_of_one_transport_are_bounded(rig: Rig) -> None:
    peer = rig.peer()
    for ssrc in range(20):
        peer.send_raw(peer.outbound.protect_rtcp(struct.pack("!BBHI", 0x81, 203, 1, ssrc)))
    rig.wait_for_datagrams(20)
    assert len(rig.pump.drain()) == 16
    assert rig.dropped() == {"rtcp_ssrcs": 4}


def test_stream_counters_follow_rfc_3550(rig: Rig) -> None:
    sender = rig.peer(extensions={1: 1})
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    for sequence in (65_533, 65_535, 0, 2):
        sender.send(
            rtp(
                sequence=sequence,
                timestamp=5,
                ssrc=SSRC,
                payload_type=OPUS,
                extensions=((1, b"\x8a"),),
            )
        )
    rig.wait_for_datagrams(4)
    stats = rig.pump.stream_stats(stream)
    assert stats.packets == 4
    assert stats.base_sequence == 65_533
    assert stats.highest_sequence == 65_538
    assert stats.last_timestamp == 5
    assert 10 < stats.level < 127


def test_removed_handles_are_refused(rig: Rig) -> None:
    for call in (
        lambda: rig.pump.remove_transport(99),
        lambda: rig.pump.remove_stream(99),
        lambda: rig.pump.remove_egress(99),
        lambda: rig.pump.set_source(99, NO_STREAM),
        lambda: rig.pump.add_stream(99, 1, video=True, clock_rate=1, csrc=1),
        lambda: rig.pump.add_egress(99, 1, video=True, trunk=False),
        lambda: rig.pump.stream_stats(99),
        lambda: rig.pump.egress_stats(99),
        lambda: rig.pump.select_address(99, pack_address("127.0.0.1", 1)),
    ):
        with pytest.raises(LocalProtocolError):
            call()


def test_a_second_stream_of_the_same_ssrc_is_refused(rig: Rig) -> None:
    peer = rig.peer()
    rig.pump.add_stream(peer.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    with pytest.raises(LocalProtocolError, match="already"):
        rig.pump.add_stream(peer.transport, SSRC, video=False, clock_rate=48_000, csrc=8)


def test_tables_change_under_load_without_losing_a_packet(rig: Rig) -> None:
    sender, receiver = rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    total, done = 2_000, threading.Event()

    def churn() -> None:
        while not done.is_set():
            transport = rig.pump.add_transport()
            extra = rig.pump.add_egress(transport, 1, video=False, trunk=False)
            rig.pump.set_source(extra, stream)
            rig.pump.remove_transport(transport)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for sequence in range(total):
            sender.send(rtp(sequence=sequence, timestamp=1, ssrc=SSRC, payload_type=OPUS))
            assert carried(receiver.receive()).sequence == sequence
    finally:
        done.set()
        thread.join()
    assert rig.pump.egress_stats(slot).packets == total


# The oracle

_RIG_SETTINGS = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_RIG_SETTINGS
@given(data=st.data())
def test_any_packet_is_rewritten_as_the_reference_says(rig: Rig, data: st.DataObject) -> None:
    local = {each.value for each in HeaderExtension if not each.forwarded}
    ids = {number: (number * 7) % 29 + 1 for number in range(1, 30, 2) if number not in local}
    sender = rig.peer(extensions={number: number for number in ids})
    receiver = rig.peer(extensions={ids[number]: number for number in ids})
    trunk = rig.peer(extensions={number: number for number in ids})
    stream = rig.pump.add_stream(
        sender.transport, SSRC, video=False, clock_rate=90_000, csrc=SOURCE
    )
    for peer, is_trunk in ((receiver, False), (trunk, True)):
        egress = rig.pump.add_egress(peer.transport, SLOT, video=False, trunk=is_trunk)
        rig.pump.set_source(egress, stream)
    for sequence in range(3):
        packet = data.draw(rtp_packets(ssrc=SSRC, sequence=sequence))
        parsed = carried(packet)
        sender.send(packet)
        for peer, extension_ids, csrc in (
            (receiver, ids, SOURCE),
            (trunk, {number: number for number in ids}, None),
        ):
            assert peer.receive() == reference.build(
                parsed,
                payload_type=VP8,
                sequence=sequence,
                timestamp=parsed.timestamp,
                ssrc=SLOT,
                csrc=csrc,
                extension_ids=extension_ids,
            )
    for peer in (sender, receiver, trunk):
        rig.pump.remove_transport(peer.transport)
        peer.socket.close()


@_RIG_SETTINGS
@given(
    packet=st.binary(min_size=12, max_size=200).map(
        lambda data: bytes([data[0] & 0x3F | 0x80, VP8]) + data[2:8] + SSRC.to_bytes(4) + data[12:]
    )
)
def test_hostile_plaintext_is_refused_exactly_where_the_reference_refuses(
    rig: Rig, packet: bytes
) -> None:
    """libsrtp refuses some malformed headers on the sender's side already; those never leave."""
    sender, receiver = rig.peer(), rig.peer()
    stream = rig.pump.add_stream(
        sender.transport, SSRC, video=False, clock_rate=90_000, csrc=SOURCE
    )
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    rig.pump.set_source(slot, stream)
    before = rig.pump.counters()
    try:
        wire = sender.outbound.protect(packet)
    except SrtpError:
        wire = None
    if wire is not None:
        sender.send_raw(wire)
        rig.wait_for_datagrams(before["datagrams_in"] + 1)
        after = rig.pump.counters()
        try:
            parsed = carried(packet)
        except MalformedError:
            assert after["dropped_malformed"] == before["dropped_malformed"] + 1
            assert receiver.has_nothing()
        else:
            assert carried(receiver.receive()).payload == parsed.payload
    for peer in (sender, receiver):
        rig.pump.remove_transport(peer.transport)
        peer.socket.close()


@_RIG_SETTINGS
@given(
    payload_type=st.sampled_from([PayloadType.of(codec) for codec in VideoCodec]),
    payload=st.binary(max_size=12),
)
@example(payload_type=PayloadType.H264, payload=bytes.fromhex("18 0002 0605 0003 674200"))
@example(payload_type=PayloadType.VP8, payload=b"\x90\x00")
@example(payload_type=PayloadType.VP9, payload=bytes.fromhex("a8 8123 02 00"))
def test_a_slot_begins_where_the_reference_sees_a_keyframe(
    rig: Rig, payload_type: PayloadType, payload: bytes
) -> None:
    types = {payload_type.value: payload_type.value}
    sender, receiver = rig.peer(payload_types=types), rig.peer(payload_types=types)
    stream = rig.pump.add_stream(sender.transport, SSRC, video=True, clock_rate=90_000, csrc=SOURCE)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=True, trunk=False)
    rig.pump.set_source(slot, stream)
    sent = rig.pump.counters()["datagrams_in"] + 1
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=payload_type, payload=payload))
    rig.wait_for_datagrams(sent)
    if begins_keyframe(payload_type, payload):
        assert carried(receiver.receive()).payload == payload
    else:
        assert receiver.has_nothing()
    for peer in (sender, receiver):
        rig.pump.remove_transport(peer.transport)
        peer.socket.close()


@_RIG_SETTINGS
@given(data=st.data())
def test_slots_of_sound_switch_at_any_packet_and_agree_with_the_reference(
    rig: Rig, data: st.DataObject
) -> None:
    senders = [rig.peer() for _ in range(3)]
    receiver = rig.peer()
    streams = [
        rig.pump.add_stream(peer.transport, SSRC, video=False, clock_rate=48_000, csrc=4 * index)
        for index, peer in enumerate(senders)
    ]
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False)
    model, inputs = Egress(video=False), [Stream() for _ in senders]
    sequences = [data.draw(near_wrap(1 << 16)) for _ in senders]
    sent = rig.pump.counters()["datagrams_in"]
    last: reference.Packet | None = None
    for _ in range(data.draw(st.integers(5, 40))):
        if data.draw(st.integers(0, 3)) == 0:
            wanted = data.draw(st.sampled_from([None, 0, 1, 2]))
            rig.wait_for_datagrams(sent)
            rig.pump.set_source(slot, NO_STREAM if wanted is None else streams[wanted])
            model.set_source(None if wanted is None else inputs[wanted])
            continue
        index = data.draw(st.integers(0, 2))
        sequences[index] += data.draw(st.sampled_from([1, 1, 1, 2, 5]))
        packet = rtp(
            sequence=sequences[index],
            timestamp=sequences[index] * 960,
            ssrc=SSRC,
            payload_type=OPUS,
        )
        seen = inputs[index].observe(carried(packet))
        joins = model.joins(inputs[index], seen)
        senders[index].send(packet)
        sent += 1
        arrived: list[reference.Packet] = []

        def joined_timestamp(arrived: list[reference.Packet] = arrived) -> int:
            arrived.append(carried(receiver.receive()))
            return arrived[0].timestamp

        expected = model.forward(inputs[index], seen, joined_timestamp=joined_timestamp)
        if expected is not None:
            got = arrived[0] if arrived else carried(receiver.receive())
            assert (got.sequence, got.timestamp) == (expected.sequence, expected.timestamp)
            if joins and last is not None:
                assert got.sequence == (last.sequence + 1) % 65_536
                assert 1 <= (got.timestamp - last.timestamp) % 2**32 < 48_000 * 60
            last = got
    rig.wait_for_datagrams(sent)
    assert receiver.has_nothing()
    for peer in (*senders, receiver):
        rig.pump.remove_transport(peer.transport)
        peer.socket.close()


@_RIG_SETTINGS
@given(datagrams=st.lists(st.binary(max_size=100), max_size=20))
def test_garbage_from_a_known_address_moves_counters_and_nothing_else(
    rig: Rig, datagrams: list[bytes]
) -> None:
    peer = rig.peer()
    before = rig.pump.counters()
    for datagram in datagrams:
        peer.send_raw(datagram)
    rig.wait_for_datagrams(before["datagrams_in"] + len(datagrams))
    after = rig.pump.counters()
    queued = len(rig.pump.drain(1_000))
    dropped = sum(after[name] - before[name] for name in after if name.startswith("dropped_"))
    assert dropped + queued == len(datagrams)
    assert after["packets_out"] == before["packets_out"]
    rig.pump.remove_transport(peer.transport)
    peer.socket.close()
