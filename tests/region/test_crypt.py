"""Encrypted media, by each way that this processor has, with libsrtp at the other end."""

import itertools
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy

from region.kernel import reference
from region.kernel.transports import session_keys
from relay.errors import LocalProtocolError
from relay.payload import HeaderExtension
from tests.region.rig import (
    KEY_BYTES,
    LIBSRTP,
    WAYS,
    WINDOW,
    Rig,
    protect,
    running,
    session,
    unprotect,
)
from tests.strategies.rtp import near_wrap, rtp

SSRC, OTHER_SSRC, SLOT, OTHER_SLOT, SOURCE = 0x1111, 0x1112, 0x2222, 0x2223, 0x3333
OPUS = 111
TAG_BYTES = 16
IDS = {
    number: number
    for number in range(1, 40)
    if number not in {each.value for each in HeaderExtension}
}
CYCLE = 1 << 16

SLOW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as rig:
        yield rig


class Call:
    """A sender of two sounds, and who hears both."""

    def __init__(self, rig: Rig, way: str) -> None:
        self.rig, self.pump = rig, rig.pump
        self.sender = rig.peer(way=way, extensions=IDS)
        self.receiver = rig.peer(way=way, extensions=IDS)
        self.streams = [
            rig.pump.add_stream(
                self.sender.transport, ssrc, video=False, clock_rate=48_000, csrc=SOURCE
            )
            for ssrc in (SSRC, OTHER_SSRC)
        ]
        self.slots = [self.add_slot(SLOT, 0), self.add_slot(OTHER_SLOT, 1)]
        self._other = itertools.count(1)

    def add_slot(self, ssrc: int, stream: int) -> int:
        slot = self.pump.add_egress(self.receiver.transport, ssrc, video=False, trunk=False)
        self.pump.set_source(slot, self.streams[stream])
        return slot

    def received(self) -> reference.Packet:
        return reference.parse_untrusted(self.receiver.receive())

    def passes(self, sequence: int) -> bool:
        """Whether a packet of this number, and the next of the other sound, come out whole."""
        packets = [packet(sequence), packet(next(self._other), ssrc=OTHER_SSRC)]
        for each in packets:
            self.sender.send(each)
        got = {each.ssrc: each.payload for each in (self.received() for _ in packets)}
        return got == {
            slot: reference.parse_untrusted(each).payload
            for slot, each in zip((SLOT, OTHER_SLOT), packets, strict=True)
        }

    def close(self) -> None:
        for peer in (self.sender, self.receiver):
            self.pump.remove_transport(peer.transport)
            peer.socket.close()


def packet(sequence: int, *, ssrc: int = SSRC, payload: bytes | None = None) -> bytes:
    """By its number without wrap-around, which it carries."""
    return rtp(
        sequence=sequence,
        timestamp=sequence * 960,
        ssrc=ssrc,
        payload_type=OPUS,
        payload=sequence.to_bytes(8) if payload is None else payload,
    )


def forged(wire: bytes, sequence: int) -> bytes:
    """With another number and a tag that is wrong whatever the number."""
    return wire[:2] + struct.pack("!H", sequence) + wire[4:-1] + bytes([wire[-1] ^ 1])


# What goes in comes out


@st.composite
def headers(draw: st.DrawFn) -> dict[str, object]:
    two_byte = draw(st.booleans())
    element = (
        st.tuples(st.integers(1, 40), st.binary(max_size=30))
        if two_byte
        else st.tuples(st.integers(1, 14), st.binary(min_size=1, max_size=16))
    )
    return {
        "marker": draw(st.booleans()),
        "two_byte": two_byte,
        "extensions": tuple(draw(st.lists(element, max_size=12))),
        "csrcs": tuple(draw(st.lists(st.integers(0, 2**32 - 1), max_size=15))),
    }


@SLOW
@given(
    made=st.lists(st.tuples(headers(), st.integers(0, 1_400)), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_packets_of_any_size_come_out_as_they_went_in(
    rig: Rig, way: str, made: list[tuple[dict[str, object], int]], seed: int
) -> None:
    call, random = Call(rig, way), Random(seed)
    for sequence, (header, size) in enumerate(made):
        data = rtp(
            sequence=sequence,
            timestamp=sequence,
            ssrc=SSRC,
            payload_type=OPUS,
            payload=random.randbytes(size),
            **header,  # type: ignore[arg-type]
        )
        call.sender.send(data)
        assert call.receiver.receive() == reference.build(
            reference.parse_untrusted(data),
            payload_type=OPUS,
            sequence=sequence,
            timestamp=sequence,
            ssrc=SLOT,
            csrc=SOURCE,
            extension_ids=IDS,
        )
    call.close()


@pytest.mark.parametrize(
    ("profile", "key_bytes"),
    [
        (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 44),
        (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
        (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 30),
    ],
)
def test_other_profiles_come_out_as_they_went_in_too(
    rig: Rig, profile: int, key_bytes: int
) -> None:
    call = Call(rig, LIBSRTP)
    for peer in (call.sender, call.receiver):
        inbound, outbound = os.urandom(key_bytes), os.urandom(key_bytes)
        rig.pump.set_srtp(
            peer.transport,
            session(inbound, inbound=True, profile=profile),
            session(outbound, inbound=False, profile=profile),
        )
        peer.outbound = session(inbound, inbound=False, profile=profile)
        peer.inbound = session(outbound, inbound=True, profile=profile)
    assert all(call.passes(sequence) for sequence in range(10))


# Numbers


@dataclass(slots=True)
class Window:
    """RFC 3711 §3.3.1 and §3.3.2: which packets of an SSRC a receiver takes."""

    newest: int | None = None
    taken: set[int] = field(default_factory=set)

    def takes(self, index: int) -> bool:
        if index in self.taken or (self.newest is not None and index <= self.newest - WINDOW):
            return False
        self.taken.add(index)
        self.newest = index if self.newest is None else max(index, self.newest)
        return True


@dataclass(frozen=True, slots=True)
class Forgery:
    sequence: int


Arrival = int | Forgery

_near = st.integers(1, 3) | st.integers(-5, 0) | st.sampled_from([1, 1, 5, -1_030, -1_024, -1_023])
_forgeries = st.builds(Forgery, st.integers(0, CYCLE - 1))


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Indices as they arrive, over two wrap-arounds or more, and forgeries between them."""
    first = newest = draw(near_wrap(CYCLE))
    order: list[Arrival] = [first]
    while newest < first + 2 * CYCLE + 100:
        newest += draw(st.integers(12_000, 16_000))
        order.append(newest)
        for step in draw(st.lists(_near | _forgeries, max_size=8)):
            if isinstance(step, Forgery):
                order.append(step)
            elif newest + step >= first:
                order.append(newest + step)
                newest = max(newest, newest + step)
    return order


@st.composite
def impairments(draw: st.DrawFn) -> list[tuple[bool, bool, bool]]:
    """Of each packet in turn: lost, doubled, overtaken by the next."""
    each = st.tuples(*[st.integers(0, 7).map(lambda n: n == 7)] * 3)
    return draw(st.lists(each, max_size=60))


def impaired(indices: Sequence[int], how: Sequence[tuple[bool, bool, bool]]) -> Iterator[int]:
    """Never two in a row are lost, and never the first."""
    order = list(indices)
    lost_before = True
    for at, (_, _, overtaken) in enumerate(how[: len(order) - 1]):
        if overtaken and at:
            order[at], order[at + 1] = order[at + 1], order[at]
    for each, (lost, doubled, _) in itertools.zip_longest(
        order, how[: len(order)], fillvalue=(False, False, False)
    ):
        if lost and not lost_before:
            lost_before = True
            continue
        lost_before = False
        yield from [each] * (1 + doubled)


@SLOW
@given(order=arrivals(), how=impairments())
def test_numbers_wrap_whatever_is_lost_late_doubled_or_forged(
    way: str, order: list[Arrival], how: list[tuple[bool, bool, bool]]
) -> None:
    indices = [each for each in order if not isinstance(each, Forgery)]
    with running() as rig:
        call = Call(rig, way)
        wires = {each: protect(call.sender.outbound, packet(each)) for each in sorted({*indices})}
        for each in order:
            call.sender.send_raw(
                forged(wires[indices[0]], each.sequence)
                if isinstance(each, Forgery)
                else wires[each]
            )
        window = Window()
        taken = [each for each in indices if window.takes(each)]
        left = {each: call.receiver.socket.recv(4_096) for each in taken}
        rig.wait_for_datagrams(len(order))
        assert call.receiver.has_nothing()
        dropped = rig.dropped()
        assert set(dropped) <= {"replay", "authentication"}
        assert sum(dropped.values()) == len(order) - len(taken)
        # And from there on to libsrtp.
        window = Window()
        for each in impaired(taken, how):
            if window.takes(each):
                data = unprotect(call.receiver.inbound, left[each])
                assert reference.parse_untrusted(data).payload == each.to_bytes(8)
            else:
                with pytest.raises(SrtpError, match="replay"):
                    unprotect(call.receiver.inbound, left[each])


@pytest.mark.parametrize("first", [0, 40_000, 65_535])
def test_numbers_may_jump_by_half_of_them_less_one(rig: Rig, way: str, first: int) -> None:
    call = Call(rig, way)
    for index in range(first, first + 6 * CYCLE, CYCLE // 2 - 1):
        call.sender.send(packet(index))
        assert call.received().payload == index.to_bytes(8)
    assert rig.dropped() == {}


# What is dropped


def test_a_replayed_packet_is_dropped(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    assert call.passes(1)
    wires = [call.sender.send(packet(sequence)) for sequence in (2, 3)]
    assert [call.received().sequence for _ in wires] == [2, 3]
    for wire in wires:
        call.sender.send_raw(wire)
    assert call.passes(4)
    assert rig.dropped() == {"replay": 2}


def test_a_packet_is_too_old_when_it_is_a_window_behind_the_newest(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    wires = [protect(call.sender.outbound, packet(index)) for index in range(WINDOW + 3)]
    call.sender.send_raw(wires[0])
    assert call.received().sequence == 0
    call.sender.send_raw(wires[WINDOW + 2])
    assert call.received().sequence == WINDOW + 2
    call.sender.send_raw(wires[2])
    call.sender.send_raw(wires[3])
    assert call.received().sequence == 3
    assert call.passes(WINDOW + 3)
    assert rig.dropped() == {"replay": 1}


@pytest.mark.parametrize("length", range(TAG_BYTES + 12))
def test_a_packet_without_room_for_header_and_tag_is_dropped(
    rig: Rig, way: str, length: int
) -> None:
    call = Call(rig, way)
    assert call.passes(1)
    wire = protect(call.sender.outbound, packet(2))
    call.sender.send_raw(wire[:length])
    call.sender.send_raw(wire)
    assert call.received().sequence == 2
    assert call.passes(3)
    assert rig.dropped() == {"malformed" if length < 12 else "unprotect": 1}


@pytest.mark.parametrize(
    ("first", "behind"),
    [
        (0x85, b""),
        (0x8F, bytes(40)),
        (0x90, b"\xbe\xde"),
        (0x90, b"\xbe\xde\x00\x01"),
        (0x90, b"\xbe\xde\x00\x10" + bytes(60)),
        (0x90, b"\xbe\xde\xff\xff" + bytes(60)),
        (0x9F, bytes(60) + b"\x10\x00\x00\x01" + bytes(3)),
    ],
)
def test_a_packet_whose_header_reaches_past_its_end_is_dropped(
    rig: Rig, way: str, first: int, behind: bytes
) -> None:
    call = Call(rig, way)
    assert call.passes(1)
    head = packet(2)[:12]
    # The tag is there, but for where the header reaches beyond the datagram itself.
    call.sender.send_raw(bytes([first]) + head[1:] + behind + bytes(TAG_BYTES))
    assert call.passes(2)
    assert rig.dropped() == {"unprotect": 1}


def drops_of(data: bytes, bit: int) -> set[str]:
    """How a packet may be counted of which that bit was turned; nothing where Python gets it."""
    byte = bit // 8
    if data[0] < 4 or 20 <= data[0] < 64:
        return set()
    if not 128 <= data[0] < 192:
        return {"unknown_protocol"}
    if 192 <= data[1] < 224:  # taken for RTCP
        return {"authentication", "replay", "unprotect"}
    if 2 <= byte < 4:
        return {"authentication", "replay"}
    if 8 <= byte < 12:
        return {"unknown_ssrc"}
    reaches = byte == 0 or byte in (14, 15)  # how long the header is
    return {"authentication", "unprotect"} if reaches else {"authentication"}


@SLOW
@given(data=st.data(), size=st.integers(0, 300), sequence=near_wrap(CYCLE), marker=st.booleans())
def test_a_packet_is_dropped_whichever_bit_was_turned(
    way: str, data: st.DataObject, size: int, sequence: int, marker: bool
) -> None:
    plain = rtp(
        sequence=sequence + 1,
        timestamp=7,
        ssrc=SSRC,
        payload_type=OPUS,
        payload=bytes(size),
        marker=marker,
        extensions=((1, b"\x05"), (2, b"abc")),
    )
    with running() as rig:
        call = Call(rig, way)
        assert call.passes(sequence)
        wire = protect(call.sender.outbound, plain)
        bit = data.draw(st.integers(0, 8 * len(wire) - 1))
        turned = bytearray(wire)
        turned[bit // 8] ^= 1 << bit % 8
        call.sender.send_raw(bytes(turned))
        rig.wait_for_datagrams(3)
        allowed = drops_of(bytes(turned), bit)
        dropped = rig.dropped()
        assert len(rig.pump.drain()) == (not allowed)
        assert sum(dropped.values()) == bool(allowed)
        assert set(dropped) <= allowed
        call.sender.send_raw(wire)
        assert call.received().payload == bytes(size)
        assert call.passes(sequence + 2)
        assert rig.dropped() == dropped


@pytest.mark.parametrize("ahead", [1, 2_000, CYCLE // 2 - 1])
def test_a_forged_number_far_ahead_does_not_move_the_window(rig: Rig, way: str, ahead: int) -> None:
    call = Call(rig, way)
    assert call.passes(1)
    wire = protect(call.sender.outbound, packet(2))
    assert call.passes(3)
    for _ in range(3):
        call.sender.send_raw(forged(wire, 3 + ahead))
    assert call.passes(4)
    call.sender.send_raw(wire)
    assert call.received().sequence == 2
    assert rig.dropped() == {"authentication": 3}


def test_a_forged_first_packet_leaves_no_trace(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    wire = protect(call.sender.outbound, packet(5))
    for sequence in (5, 40_000, 65_535):
        call.sender.send_raw(forged(wire, sequence))
    call.sender.send_raw(wire)
    assert call.received().sequence == 5
    assert call.passes(6)
    assert rig.dropped() == {"authentication": 3}


# Keys


@pytest.mark.parametrize(("before", "after"), [*itertools.product(WAYS, WAYS)])
def test_with_new_keys_all_begins_anew(rig: Rig, before: str, after: str) -> None:
    call = Call(rig, before)
    for index in (65_530, CYCLE + 10, CYCLE + 5):
        assert call.passes(index)
    old = protect(call.sender.outbound, packet(CYCLE + 11))
    call.sender.renew_keys(after)
    call.receiver.renew_keys(after)
    call.sender.send_raw(old)
    # Numbers of which some were used with the old keys, and the first cycle again.
    for index in (9, 10, 5, 11):
        assert call.passes(index)
    assert rig.dropped() == {"authentication": 1}


def test_a_slot_that_comes_again_goes_on_with_the_index_of_its_ssrc(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    for index in (65_534, 65_535, CYCLE, CYCLE + 1):
        assert call.passes(index)
    rig.pump.remove_egress(call.slots[0])
    call.add_slot(SLOT, 0)
    # The receiver is in the second cycle, and a slot that began anew would not be.
    for index in (CYCLE + 2, CYCLE + 3):
        assert call.passes(index)
    assert rig.dropped() == {}


def test_a_slot_that_comes_again_sends_no_number_that_was_sent(rig: Rig, way: str) -> None:
    call = Call(rig, way)
    for index in (1, 2, 3):
        assert call.passes(index)
    rig.pump.remove_egress(call.slots[0])
    rig.pump.remove_stream(call.streams[0])
    call.streams[0] = rig.pump.add_stream(
        call.sender.transport, 7, video=False, clock_rate=48_000, csrc=SOURCE
    )
    call.add_slot(SLOT, 0)
    for index in (2, 3, 4):
        call.sender.send(packet(index, ssrc=7, payload=b"other"))
    got = call.received()
    assert (got.ssrc, got.sequence, got.payload) == (SLOT, 4, b"other")
    assert rig.dropped() == {"protect": 2}


_changes = st.sampled_from(["remove first", "remove second", "add first", "add second", "stream"])
_sends = st.tuples(st.integers(0, 1), st.integers(-3, 3) | st.integers(-1_100, 1_100))


@SLOW
@given(
    steps=st.lists(_changes | _sends | _sends, max_size=60),
    firsts=st.tuples(near_wrap(CYCLE), near_wrap(CYCLE)),
)
def test_whatever_comes_and_goes_no_number_of_an_ssrc_is_sent_twice(
    way: str, steps: list[str | tuple[int, int]], firsts: tuple[int, int]
) -> None:
    """Or libsrtp, which has seen all of them, would take one for a replay."""
    newest = [first + CYCLE for first in firsts]
    with running() as rig:
        call, sent = Call(rig, way), 0
        for slot in call.slots:
            rig.pump.remove_egress(slot)
        slots = [call.add_slot(SLOT, 0), call.add_slot(SLOT, 1)]
        present = [True, True]
        for step in steps:
            rig.wait_for_datagrams(sent)
            match step:
                case "stream":
                    rig.pump.remove_stream(call.streams[0])
                    call.streams[0] = rig.pump.add_stream(
                        call.sender.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
                    )
                    if present[0]:
                        rig.pump.set_source(slots[0], call.streams[0])
                case str():
                    which = int(step.endswith("second"))
                    if step.startswith("remove") and present[which]:
                        rig.pump.remove_egress(slots[which])
                    elif step.startswith("add") and not present[which]:
                        slots[which] = call.add_slot(SLOT, which)
                    present[which] = step.startswith("add")
                case which, ahead:
                    index = newest[which] + ahead
                    newest[which] = max(newest[which], index)
                    ssrc = (SSRC, OTHER_SSRC)[which]
                    try:
                        wire = protect(call.sender.outbound, packet(index, ssrc=ssrc))
                    except SrtpError:  # it was sent before
                        continue
                    call.sender.send_raw(wire)
                    sent += 1
        rig.wait_for_datagrams(sent)
        left = rig.pump.transport_stats(call.receiver.transport).packets_out
        for _ in range(left):
            call.received()
        assert call.receiver.has_nothing()


@given(master=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), sequence=st.integers(0, 32_767))
def test_session_keys_open_what_libsrtp_has_sealed(master: bytes, sequence: int) -> None:
    key, salt = session_keys(master)
    plain = packet(sequence, payload=b"some sound")
    wire = protect(session(master, inbound=False), plain)
    # RFC 7714 §8.1; the rollover counter is 0.
    nonce = struct.pack("!HIIH", 0, SSRC, 0, sequence)
    nonce = bytes(a ^ b for a, b in zip(nonce, salt, strict=True))
    assert AESGCM(key).decrypt(nonce, wire[12:], wire[:12]) == b"some sound"


@pytest.mark.parametrize("length", [0, 27, 29])
def test_a_master_key_of_another_length_is_refused(rig: Rig, length: int) -> None:
    with pytest.raises(LocalProtocolError, match="28 bytes"):
        session_keys(bytes(length))
    call = Call(rig, LIBSRTP)
    good = os.urandom(KEY_BYTES)
    for keys in ((bytes(length), good), (good, bytes(length))):
        with pytest.raises(LocalProtocolError, match="28 bytes"):
            rig.pump.set_srtp(
                call.sender.transport,
                session(good, inbound=True),
                session(good, inbound=False),
                keys=keys,
            )
    assert call.passes(1)
