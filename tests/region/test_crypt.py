"""Encrypted media, by each way that this processor has, with libsrtp at the other end."""

import itertools
import os
import struct
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy

from region.kernel import reference
from region.kernel.session_keys import session_keys
from relay.errors import LocalProtocolError
from tests.region.encrypted import (
    CYCLE,
    IDS,
    OPUS,
    SLOT,
    SOURCE,
    SSRC,
    Call,
    packet,
)
from tests.region.rig import (
    KEY_BYTES,
    LIBSRTP,
    WAYS,
    Rig,
    protect,
    running,
    session,
)
from tests.strategies.rtp import near_wrap, rtp

TAG_BYTES = 16

SLOW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


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


def test_the_legs_of_a_trunk_come_and_go_and_those_that_stay_go_on(rig: Rig, way: str) -> None:
    sender, trunk = rig.peer(way=way), rig.peer(way=way)
    stream = rig.pump.add_stream(
        sender.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
    )
    numbers, kept = itertools.count(), dict[int, int]()
    for ssrc in range(SLOT, SLOT + 300):
        leg = rig.pump.add_egress(trunk.transport, ssrc, video=False, trunk=True)
        rig.pump.set_source(leg, stream)
        kept[ssrc] = leg
        sender.send(packet(next(numbers)))
        received = sorted(reference.parse_untrusted(trunk.receive()).ssrc for _ in kept)
        assert received == list(kept)
        if len(kept) > 20:
            rig.pump.remove_egress(kept.pop(list(kept)[10]))
    assert rig.dropped() == {}


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
