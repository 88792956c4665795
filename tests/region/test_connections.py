"""TCP connections through a running pump: framed packets in, framed packets out, and their ends."""

import contextlib
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest
from aioice import stun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import (
    DTLS,
    NO_TRANSPORT,
    RTCP,
    STUN,
    Pump,
    is_tcp,
    pack_address,
    reference,
    unpack_address,
)
from relay.errors import CapacityError, LocalProtocolError
from tests.region.rig import Rig, running
from tests.region.tcp_rig import CHECK, Client, TcpPeer, framed, wait_for_frames, wait_until
from tests.region.test_consent import PASSWORD, USERNAME, check
from tests.strategies.rtp import rtp

OPUS = 111
SSRC, SLOT = 0x1111, 0x2222
MAX_FRAME = 2_048
MAX_CONNECTIONS = 4_096
UNPROVED_S, SILENT_S = 15, 60


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def stun_frame(number: int, length: int = 20) -> bytes:
    """Something that goes to Python as STUN, and is not to be mistaken for another."""
    return b"\x01" + struct.pack("!I", number) + bytes(length - 5)


def drained(rig: Rig) -> list[bytes]:
    return [datagram.data for datagram in rig.pump.drain(1 << 16)]


def voice(sequence: int, size: int = 40) -> bytes:
    return rtp(
        sequence=sequence, timestamp=sequence, ssrc=SSRC, payload_type=OPUS, payload=bytes(size)
    )


def sequence_of(packet: bytes) -> int:
    return reference.parse_untrusted(packet).sequence


def forward(rig: Rig, sender: int, *receivers: int, slot_ssrc: int = SLOT) -> list[int]:
    """All receivers get the sender's voice; the egresses."""
    stream = rig.pump.add_stream(sender, SSRC, video=False, clock_rate=48_000, csrc=4)
    slots = [rig.pump.add_egress(r, slot_ssrc, video=False, trunk=False) for r in receivers]
    for slot in slots:
        rig.pump.set_source(slot, stream)
    return slots


# Addresses


def test_an_address_says_which_protocol_it_is_of() -> None:
    over_udp, over_tcp = (pack_address("192.0.2.1", 9, tcp=tcp) for tcp in (False, True))
    assert over_udp != over_tcp
    assert unpack_address(over_udp) == unpack_address(over_tcp) == ("192.0.2.1", 9)
    assert (is_tcp(over_udp), is_tcp(over_tcp)) == (False, True)


def test_a_connection_needs_an_address_of_tcp(rig: Rig) -> None:
    with pytest.raises(LocalProtocolError):
        rig.pump.add_connection(0, pack_address("192.0.2.1", 9))
    with pytest.raises(OSError, match="file descriptor"):
        rig.pump.add_connection(-1, pack_address("192.0.2.1", 9, tcp=True))
    assert rig.pump.open_connections == 0


# Checks and what else is Python's


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_nobody_has_bound_goes_to_python_and_the_answer_comes_in_a_frame(host: str) -> None:
    with running(host) as rig:
        client = Client(rig)
        client.send(CHECK)
        wait_for_frames(rig, 1)
        (datagram,) = rig.pump.drain()
        assert (datagram.kind, datagram.transport, datagram.data) == (STUN, NO_TRANSPORT, CHECK)
        assert datagram.address == client.address
        assert is_tcp(datagram.address)
        assert rig.pump.send(datagram.address, b"answer")
        assert client.receive() == b"answer"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_consent_is_renewed_without_python_and_by_the_connections_own_address(host: str) -> None:
    with running(host) as rig:
        peer = TcpPeer(rig)
        wait_for_frames(rig, 1)
        rig.pump.drain()
        rig.pump.answer_checks(peer.transport, USERNAME.encode(), PASSWORD)
        peer.send(check())
        response = stun.parse_message(peer.receive())
        assert response.attributes["XOR-MAPPED-ADDRESS"] == peer.socket.getsockname()[:2]
        assert response.check_message_integrity(PASSWORD)
        assert rig.pump.counters()["consents"] == 1
        assert rig.pump.drain() == []


def test_the_same_host_and_port_by_udp_is_somebody_else(rig: Rig) -> None:
    peer = TcpPeer(rig)
    rig.pump.answer_checks(peer.transport, USERNAME.encode(), PASSWORD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as impostor:
        impostor.bind(peer.socket.getsockname())
        impostor.sendto(check(), rig.address)
        rig.wait_for_datagrams(1)
    wait_for_frames(rig, 1)
    arrived = {is_tcp(each.address): each.transport for each in rig.pump.drain()}
    assert arrived == {True: peer.transport, False: NO_TRANSPORT}


def test_dtls_and_rtcp_pass_both_ways(rig: Rig) -> None:
    peer = TcpPeer(rig)
    report = struct.pack("!BBHI", 0x81, 203, 1, 5)  # a goodbye
    handshake = b"\x16\xfe\xfd" + bytes(40)
    peer.send(handshake, peer.outbound.protect_rtcp(report))
    wait_for_frames(rig, 3)
    arrived = [(each.kind, each.transport, each.data) for each in rig.pump.drain()]
    assert arrived[1:] == [(DTLS, peer.transport, handshake), (RTCP, peer.transport, report)]
    assert rig.pump.send_rtcp(peer.transport, report)
    assert rig.pump.send(peer.address, handshake)
    assert peer.inbound.unprotect_rtcp(peer.receive()) == report
    assert peer.receive() == handshake


# Media


def test_media_crosses_between_tcp_and_udp_in_all_directions(rig: Rig) -> None:
    framer, other, plain = TcpPeer(rig), TcpPeer(rig), rig.peer()
    slots = forward(rig, framer.transport, other.transport, plain.transport)
    back = forward(rig, plain.transport, framer.transport, other.transport, slot_ssrc=SLOT + 1)
    for sequence in range(20):
        framer.send_media(voice(sequence))
        assert sequence_of(other.receive_media()) == sequence
        assert sequence_of(plain.receive()) == sequence
        plain.send(voice(sequence))
        assert sequence_of(framer.receive_media()) == sequence
        assert sequence_of(other.receive_media()) == sequence
    assert [rig.pump.egress_stats(each).packets for each in slots + back] == [20] * 4
    assert rig.pump.counters()["packets_out"] == 80
    stats = rig.pump.transport_stats(other.transport)
    assert stats.packets_out == 40
    assert stats.bytes_out == sum(rig.pump.egress_stats(e).bytes for e in (slots[0], back[1]))
    assert rig.dropped() == {}


def test_what_is_missing_is_asked_for_over_tcp_too(rig: Rig) -> None:
    peer = TcpPeer(rig)
    rig.pump.add_stream(
        peer.transport, SSRC, video=False, clock_rate=48_000, csrc=4, rtx_ssrc=SSRC + 1
    )
    peer.send_media(voice(1), voice(3))
    nack = peer.inbound.unprotect_rtcp(peer.receive())
    assert nack[8:10] == b"\x81\xcd"  # behind an empty report
    assert struct.unpack_from("!H", nack, 20) == (2,)


def test_media_follows_the_selected_address_from_udp_to_tcp_and_back(rig: Rig) -> None:
    sender, receiver, client = rig.peer(), rig.peer(), Client(rig)
    forward(rig, sender.transport, receiver.transport)
    rig.pump.select_address(receiver.transport, client.address)
    sender.send(voice(1))
    assert sequence_of(receiver.inbound.unprotect(client.receive())) == 1
    assert receiver.has_nothing()
    rig.pump.select_address(receiver.transport, receiver.address)
    sender.send(voice(2))
    assert sequence_of(receiver.receive()) == 2
    assert client.has_nothing()


def test_order_is_kept_over_many_packets_in_one_piece(rig: Rig) -> None:
    sender, receiver = TcpPeer(rig), TcpPeer(rig)
    forward(rig, sender.transport, receiver.transport)
    sender.send_media(*(voice(sequence, 1_000) for sequence in range(300)))
    assert [sequence_of(receiver.receive_media()) for _ in range(300)] == list(range(300))
    assert rig.dropped() == {}


# Frames


@pytest.mark.parametrize("length", [20, 300, MAX_FRAME])
def test_a_frame_may_come_in_two_pieces_cut_anywhere(rig: Rig, length: int) -> None:
    client, frames = Client(rig), 0
    for cut in [*range(24), *range(24, length + 2, 97), length + 1]:
        before, cut_frame = stun_frame(2 * cut), stun_frame(2 * cut + 1, length)
        pieces = framed(cut_frame)
        client.send_raw(framed(before) + pieces[:cut])
        frames += 1
        wait_for_frames(rig, frames)  # so what is cut has been read as well
        client.send_raw(pieces[cut:])
        frames += 1
        wait_for_frames(rig, frames)
        assert drained(rig) == [before, cut_frame]
    assert rig.dropped() == {}


def test_a_stream_may_come_byte_by_byte(rig: Rig) -> None:
    sender, receiver = TcpPeer(rig), rig.peer()
    forward(rig, sender.transport, receiver.transport)
    stream = framed(*(sender.outbound.protect(voice(sequence)) for sequence in range(4)))
    for byte in stream:
        sender.send_raw(bytes([byte]))
    assert [sequence_of(receiver.receive()) for _ in range(4)] == [0, 1, 2, 3]


def frames_of(stream: bytes) -> tuple[list[bytes], bool]:
    """What the pump has to make of a stream: its frames, and whether it ends the connection."""
    frames: list[bytes] = []
    while len(stream) >= 2:
        length = int.from_bytes(stream[:2])
        if not 0 < length <= MAX_FRAME:
            return frames, True
        if len(stream) < 2 + length:
            break
        if not frames and stream[2] > 3:
            return frames, True
        frames.append(stream[2 : 2 + length])
        stream = stream[2 + length :]
    return frames, False


_FRAME = st.one_of(
    st.binary(min_size=1, max_size=60).map(lambda data: framed(b"\x01" + data)),
    st.binary(max_size=60).map(framed),
    st.integers(1_900, 2_200).map(lambda length: framed(b"\x02" * length)),
    st.binary(max_size=6),
)


@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(pieces=st.lists(_FRAME, max_size=12), cuts=st.lists(st.integers(0, 4_000), max_size=6))
def test_any_stream_in_any_pieces_is_the_frames_that_it_is(
    rig: Rig, pieces: list[bytes], cuts: list[int]
) -> None:
    stream, client = b"".join(pieces), Client(rig)
    before = rig.pump.counters()
    frames, malformed = frames_of(stream)
    at = 0
    with contextlib.suppress(OSError):  # the pump may close it under our hands
        for cut in [*sorted(cuts), len(stream)]:
            client.send_raw(stream[at:cut])
            at = max(at, cut)
        client.socket.shutdown(socket.SHUT_WR)
    assert client.has_ended()
    client.socket.close()
    after = rig.pump.counters()
    assert after["tcp_frames_in"] - before["tcp_frames_in"] == len(frames)
    assert after["dropped_tcp_framing"] - before["dropped_tcp_framing"] == malformed
    assert rig.pump.open_connections == 0
    assert drained(rig) == [each for each in frames if each[0] < 4 and len(each) >= 8]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\x00\x00",
        framed(CHECK) + b"\x00\x00",
        struct.pack("!H", MAX_FRAME + 1),
        framed(CHECK) + b"\xff\xff",
        framed(b"\x80" + bytes(30)),
        framed(b"\x16\xfe\xfd" + bytes(30)),
    ],
    ids=[
        *("http", "tls", "an empty frame first", "an empty frame later"),
        *("a long frame first", "a long frame later", "media first", "dtls first"),
    ],
)
def test_what_is_no_ice_ends_the_connection_and_is_counted(rig: Rig, garbage: bytes) -> None:
    client = Client(rig)
    client.send_raw(garbage)
    assert client.has_ended()
    assert rig.pump.open_connections == 0
    assert rig.dropped() == {"tcp_framing": 1}


def test_who_has_proved_nothing_is_heard_by_nobody_but_python(rig: Rig) -> None:
    client = Client(rig)
    client.send(CHECK, b"\x80" + bytes(30), b"\x16" + bytes(30), b"\x60" + bytes(30), b"\x01")
    wait_for_frames(rig, 5)
    assert drained(rig) == [CHECK]
    assert rig.dropped() == {"unknown_address": 2, "unknown_protocol": 1, "malformed": 1}


# Slow receivers


def test_a_receiver_that_never_reads_costs_itself_alone(rig: Rig) -> None:
    sender, plain = rig.peer(), rig.peer()
    slow, quick = TcpPeer(rig, send_bytes=4_096, receive_bytes=4_096), TcpPeer(rig)
    slots = forward(rig, sender.transport, slow.transport, quick.transport, plain.transport)
    total = 400
    for sequence in range(total):
        sender.send(voice(sequence, 1_000))
        assert sequence_of(quick.receive_media()) == sequence
        assert sequence_of(plain.receive()) == sequence
    dropped = rig.dropped()
    assert dropped.keys() == {"tcp_full"}
    assert rig.pump.egress_stats(slots[0]).packets == total - dropped["tcp_full"]
    # What the buffers hold is less than half of it.
    assert dropped["tcp_full"] > total / 2


def test_a_slow_receiver_gets_whole_packets_in_order_however_it_reads(rig: Rig) -> None:
    sender, slow = rig.peer(), TcpPeer(rig, send_bytes=4_096, receive_bytes=4_096)
    (slot,) = forward(rig, sender.transport, slow.transport)
    sequences = count()
    got: list[int] = []
    for _ in range(20):  # the ring goes round several times
        before = rig.pump.counters()["datagrams_in"]
        for _ in range(60):
            sender.send(voice(next(sequences), 700))
        rig.wait_for_datagrams(before + 60)
        got += [sequence_of(slow.receive_media()) for _ in range(25)]
    sent = rig.pump.egress_stats(slot).packets
    got += [sequence_of(slow.receive_media()) for _ in range(sent - len(got))]
    assert got == sorted(set(got))
    assert rig.dropped() == {"tcp_full": 1_200 - sent}
    # All is as at the beginning.
    sender.send(voice(next(sequences)))
    assert sequence_of(slow.receive_media()) == 1_200
    assert slow.has_nothing()


def test_a_datagram_that_a_full_connection_does_not_take_is_reported(rig: Rig) -> None:
    client = Client(rig, send_bytes=4_096, receive_bytes=4_096)
    sent = 0
    while rig.pump.send(client.address, struct.pack("!I", sent) + bytes(1_000)):
        sent += 1
        assert sent < 1_000
    assert rig.dropped() == {"tcp_full": 1}
    for number in range(sent):
        assert client.receive() == struct.pack("!I", number) + bytes(1_000)
    assert not rig.pump.send(client.address, bytes(70_000))
    assert client.has_nothing()


def test_a_reader_that_has_gone_while_much_waited_takes_nothing_with_it(rig: Rig) -> None:
    sender, plain = rig.peer(), rig.peer()
    slow = TcpPeer(rig, send_bytes=4_096, receive_bytes=4_096)
    forward(rig, sender.transport, slow.transport, plain.transport)
    for sequence in range(100):
        sender.send(voice(sequence, 1_000))
        assert sequence_of(plain.receive()) == sequence
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    slow.socket.close()
    wait_until(lambda: rig.pump.open_connections == 0)
    sender.send(voice(100))
    assert sequence_of(plain.receive()) == 100


# Ends


def test_sending_to_who_has_gone_is_no_signal_to_the_process() -> None:
    """By a pump that does not run, and so has not read of it."""
    heard: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _: heard.append(number))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.0.0.1", 0))
            pump, address = Pump(bound.fileno()), pack_address("192.0.2.1", 9, tcp=True)
            ours, theirs = socket.socketpair()
            pump.add_connection(theirs.detach(), address)
            ours.close()
            assert [pump.send(address, b"who is there?") for _ in range(3)] == [False] * 3
            assert pump.counters()["dropped_send"] == 3
    finally:
        signal.signal(signal.SIGPIPE, before)
    assert heard == []


def test_the_peers_end_is_the_connections_end_and_the_path_is_gone(rig: Rig) -> None:
    sender, peer = rig.peer(), TcpPeer(rig)
    forward(rig, sender.transport, peer.transport)
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.has_ended()
    assert rig.pump.open_connections == 0
    sender.send(voice(1))
    rig.wait_for_datagrams(1)
    assert rig.dropped() == {"no_path": 1}
    assert not rig.pump.send(peer.address, b"who is there?")
    assert not rig.pump.send_rtcp(peer.transport, struct.pack("!BBHI", 0x80, 201, 1, 5))


def test_a_reset_is_an_end_too(rig: Rig) -> None:
    peer = TcpPeer(rig)
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()
    wait_until(lambda: rig.pump.open_connections == 0)


def test_what_came_before_the_end_is_heard(rig: Rig) -> None:
    client = Client(rig)
    client.send_raw(framed(*map(stun_frame, range(100))) + b"\x00")
    client.socket.close()
    wait_until(lambda: rig.pump.open_connections == 0)
    assert drained(rig) == list(map(stun_frame, range(100)))


def test_a_transport_takes_its_connections_with_it(rig: Rig) -> None:
    peer, spare, stranger = TcpPeer(rig), Client(rig), Client(rig)
    rig.pump.bind_address(peer.transport, spare.address)
    rig.pump.remove_transport(peer.transport)
    assert peer.has_ended()
    assert spare.has_ended()
    assert stranger.has_nothing()
    assert rig.pump.open_connections == 1


def test_python_may_close_a_connection(rig: Rig) -> None:
    client = Client(rig)
    rig.pump.close_connection(client.address)
    rig.pump.close_connection(client.address)
    assert client.has_ended()


def test_a_peer_that_connects_again_from_its_port_has_to_prove_itself_again(rig: Rig) -> None:
    sender, peer = rig.peer(), TcpPeer(rig)
    forward(rig, sender.transport, peer.transport)
    with socket.socket() as ours, socket.create_server(("127.0.0.1", 0)) as listener:
        ours.connect(listener.getsockname())
        accepted, _ = listener.accept()
        rig.pump.add_connection(accepted.fileno(), peer.address)
        accepted.detach()
        assert peer.has_ended()
        assert rig.pump.open_connections == 1
        sender.send(voice(1))
        rig.wait_for_datagrams(1)
        assert rig.dropped() == {"no_path": 1}
        # The address is still the selected one: with a check from there media flows again.
        rig.pump.bind_address(peer.transport, peer.address)
        sender.send(voice(2))
        ours.settimeout(5)
        assert sequence_of(peer.inbound.unprotect(ours.recv(4_096)[2:])) == 2


def test_an_address_without_a_connection_is_not_bound(rig: Rig) -> None:
    sender, receiver = rig.peer(), rig.peer()
    forward(rig, sender.transport, receiver.transport)
    gone = pack_address("127.0.0.1", 1, tcp=True)
    rig.pump.bind_address(receiver.transport, gone)
    rig.pump.select_address(receiver.transport, gone)
    sender.send(voice(1))
    assert sequence_of(receiver.receive()) == 1
    with pytest.raises(LocalProtocolError):
        rig.pump.bind_address(99, gone)


def test_a_connection_that_another_transport_takes_over_is_no_path_of_the_first(rig: Rig) -> None:
    sender, first, second = rig.peer(), TcpPeer(rig), rig.peer()
    forward(rig, sender.transport, first.transport)
    rig.pump.bind_address(second.transport, first.address)
    sender.send(voice(1))
    rig.wait_for_datagrams(1)
    assert rig.dropped() == {"no_path": 1}
    rig.pump.remove_transport(first.transport)
    assert first.has_nothing()
    rig.pump.remove_transport(second.transport)
    assert first.has_ended()


def test_of_nine_connections_the_oldest_unselected_one_is_nobodys_again(rig: Rig) -> None:
    peer = TcpPeer(rig)
    others = [Client(rig) for _ in range(8)]
    for each in others:
        rig.pump.bind_address(peer.transport, each.address)
    now_s = time.monotonic()
    rig.pump.close_silent_connections(now_s + UNPROVED_S + 1)
    assert others[0].has_ended()
    assert peer.has_nothing()
    assert rig.pump.open_connections == 8


# Silence


def test_who_proves_nothing_is_closed_after_fifteen_seconds_whatever_he_says(rig: Rig) -> None:
    began_s = time.monotonic()
    client = Client(rig)
    made_s = time.monotonic()
    client.send(CHECK)
    wait_for_frames(rig, 1)
    rig.pump.close_silent_connections(began_s + UNPROVED_S - 0.1)
    assert client.has_nothing()
    rig.pump.close_silent_connections(made_s + UNPROVED_S + 0.1)
    assert client.has_ended()
    assert rig.dropped() == {"tcp_silent": 1}


def test_a_proved_connection_is_closed_after_a_minute_of_silence(rig: Rig) -> None:
    peer = TcpPeer(rig)
    wait_for_frames(rig, 1)
    began_s = time.monotonic()
    rig.pump.close_silent_connections(began_s + UNPROVED_S + 1)
    assert peer.has_nothing()
    peer.send(CHECK)
    wait_for_frames(rig, 2)
    rig.pump.close_silent_connections(began_s + SILENT_S - 0.1)
    assert peer.has_nothing()
    rig.pump.close_silent_connections(time.monotonic() + SILENT_S + 0.1)
    assert peer.has_ended()


# Numbers


def test_a_thousand_idle_connections_are_in_nobodys_way(rig: Rig, many_files: None) -> None:
    idle = [Client(rig) for _ in range(1_000)]
    sender, receiver = TcpPeer(rig), TcpPeer(rig)
    forward(rig, sender.transport, receiver.transport)
    for sequence in range(100):
        sender.send_media(voice(sequence))
        assert sequence_of(receiver.receive_media()) == sequence
    assert rig.pump.open_connections == 1_002
    idle[500].send(CHECK)
    wait_for_frames(rig, 103)
    assert rig.pump.drain()[-1].address == idle[500].address
    for each in idle:
        each.socket.close()
    wait_until(lambda: rig.pump.open_connections == 2)


def test_the_oldest_unproved_connection_makes_room_for_the_newest(
    rig: Rig, many_files: None
) -> None:
    proved, oldest = TcpPeer(rig), Client(rig)

    def add(number: int) -> None:
        """Of something that never has anything to read, and is one file, not two."""
        file = os.eventfd(0)
        try:
            rig.pump.add_connection(file, pack_address("198.51.100.1", number, tcp=True))
        except BaseException:
            os.close(file)
            raise

    for number in range(MAX_CONNECTIONS - 2):
        add(number)
    assert oldest.has_nothing()
    add(60_000)
    assert oldest.has_ended()
    assert rig.dropped() == {"tcp_evicted": 1}
    for number in [*range(MAX_CONNECTIONS - 2), 60_000]:
        if number % 8 == 0:
            transport = rig.pump.add_transport()
        rig.pump.bind_address(transport, pack_address("198.51.100.1", number, tcp=True))
    with pytest.raises(CapacityError):
        add(60_001)
    assert proved.has_nothing()
    assert rig.pump.open_connections == MAX_CONNECTIONS


def test_unproved_connections_are_counted_by_host(rig: Rig) -> None:
    for host, port in (
        *(("192.0.2.1", 1), ("192.0.2.1", 2), ("192.0.2.2", 1)),
        *(("2001:db8::1", 1), ("2001:db8::2", 1), ("2001:db8:0:1::1", 1)),
    ):
        rig.pump.add_connection(os.eventfd(0), pack_address(host, port, tcp=True))

    def counted(host: str) -> int:
        return rig.pump.unproved_connections(pack_address(host, 9, tcp=True))

    assert [counted(f"192.0.2.{end}") for end in (1, 2, 3)] == [2, 1, 0]
    assert [counted(f"2001:db8::{end}") for end in ("7", "1:0:0:0:7")] == [2, 1]
    rig.pump.bind_address(rig.pump.add_transport(), pack_address("192.0.2.1", 1, tcp=True))
    assert counted("192.0.2.1") == 1


def test_connections_come_and_go_while_media_flows_to_them(rig: Rig) -> None:
    sender, steady, moving = rig.peer(), rig.peer(), rig.peer()
    forward(rig, sender.transport, steady.transport, moving.transport)
    done = threading.Event()
    rounds = count()

    def churn() -> None:
        while not done.is_set():
            client = Client(rig)
            rig.pump.select_address(moving.transport, client.address)
            client.send(CHECK)
            match next(rounds) % 4:
                case 0:
                    client.socket.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                case 1:
                    rig.pump.close_connection(client.address)
                case 2:
                    rig.pump.close_silent_connections(time.monotonic() + SILENT_S + 1)
            client.socket.close()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for sequence in range(2_000):
            sender.send(voice(sequence, 500))
            assert sequence_of(steady.receive()) == sequence
    finally:
        done.set()
        thread.join()
    assert next(rounds) > 10
    wait_until(lambda: rig.pump.open_connections == 0)
