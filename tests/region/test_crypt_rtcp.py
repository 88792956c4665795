"""Encrypted RTCP, by each way that this processor has, with libsrtp at the other end."""

import os
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi

from region.kernel.session_keys import RTCP_LABEL, session_keys
from tests.region.rig import KEY_BYTES, WINDOW, Peer, Rig, session, set_keys

OURS, THEIRS, OTHER = 1, 7, 8
"""SSRCs."""
TAG_BYTES, WORD_BYTES, CLEAR_BYTES = 16, 4, 8
LAST_INDEX = 0x7FFFFFFF
AUTHENTICATED_ALONE = 2
"""libsrtp's sec_serv_auth."""


def compound(body: bytes = b"", *, ssrc: int = THEIRS) -> bytes:
    """A request, which Python gets as it is."""
    return struct.pack("!BBHI", 0x81, 206, 1 + len(body) // 4, ssrc) + body


def words(most: int) -> st.SearchStrategy[bytes]:
    return st.integers(0, most).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n))


def comes(rig: Rig, peer: Peer, packet: bytes) -> bool:
    """Whether the pump hands on what that was before it was encrypted; it is sent."""
    return handed_on(rig, peer, peer.outbound.protect_rtcp(packet)) == [packet]


def handed_on(rig: Rig, peer: Peer, wire: bytes) -> list[bytes]:
    before = rig.pump.counters()["datagrams_in"]
    peer.send_raw(wire)
    rig.wait_for_datagrams(before + 1)
    return [each.data for each in rig.pump.drain()]


def give_known_key(rig: Rig, peer: Peer, way: str) -> bytes:
    """The master key of what this peer sends from now on."""
    inbound, outbound = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
    set_keys(rig.pump, peer.transport, inbound, outbound, way)
    return inbound


def sealed(master: bytes, index: int, packet: bytes) -> bytes:
    """By RFC 7714 §9.1 and §9.2."""
    key, salt = session_keys(master, RTCP_LABEL)
    nonce = struct.pack("!HIHI", 0, THEIRS, 0, index)
    nonce = bytes(a ^ b for a, b in zip(nonce, salt, strict=True))
    word = struct.pack("!I", 0x80000000 | index)
    clear, plain = packet[:CLEAR_BYTES], packet[CLEAR_BYTES:]
    return clear + AESGCM(key).encrypt(nonce, plain, clear + word) + word


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(words(330), min_size=1, max_size=5))
def test_compounds_of_any_size_come_out_as_they_went_in(
    rig: Rig, way: str, bodies: list[bytes]
) -> None:
    peer = rig.peer(way=way)
    for body in bodies:
        assert comes(rig, peer, compound(body))
        ours = compound(body, ssrc=OURS)
        assert rig.pump.send_rtcp(peer.transport, ours)
        assert peer.inbound.unprotect_rtcp(peer.socket.recv(4096)) == ours
    rig.pump.remove_transport(peer.transport)
    assert rig.dropped() == {}


def test_each_of_several_senders_on_a_transport_has_numbers_of_its_own(rig: Rig, way: str) -> None:
    peer = rig.peer(way=way)
    for ssrc in (THEIRS, OTHER, THEIRS, OTHER):
        assert comes(rig, peer, compound(ssrc=ssrc))
        assert rig.pump.send_rtcp(peer.transport, compound(ssrc=ssrc))
        assert peer.inbound.unprotect_rtcp(peer.socket.recv(4096)) == compound(ssrc=ssrc)


def test_a_replayed_compound_is_dropped_and_a_late_one_is_not(rig: Rig, way: str) -> None:
    peer = rig.peer(way=way)
    wires = [peer.outbound.protect_rtcp(compound(bytes([each] * 4))) for each in range(4)]
    for at in (0, 3, 1, 2):
        assert len(handed_on(rig, peer, wires[at])) == 1
    for wire in wires:
        assert handed_on(rig, peer, wire) == []
    assert rig.dropped() == {"replay": 4}


def test_what_is_older_than_is_remembered_is_dropped(rig: Rig, way: str) -> None:
    peer = rig.peer(way=way)
    old = peer.outbound.protect_rtcp(compound())
    for _ in range(WINDOW):
        peer.outbound.protect_rtcp(compound())
    assert comes(rig, peer, compound())
    assert handed_on(rig, peer, old) == []
    assert rig.dropped() == {"replay": 1}


def test_a_compound_is_dropped_whichever_bit_was_turned(rig: Rig, way: str) -> None:
    peer = rig.peer(way=way)
    assert comes(rig, peer, compound())
    wire = peer.outbound.protect_rtcp(compound(b"four"))
    for bit in range(16, 8 * len(wire)):  # without those by which it is taken for something else
        turned = bytearray(wire)
        turned[bit // 8] ^= 1 << bit % 8
        assert handed_on(rig, peer, bytes(turned)) == []
    assert handed_on(rig, peer, wire) == [compound(b"four")]
    dropped = rig.dropped()
    assert dropped.keys() <= {"authentication", "replay", "unprotect"}
    assert sum(dropped.values()) == 8 * len(wire) - 16


@pytest.mark.parametrize("length", range(CLEAR_BYTES, CLEAR_BYTES + TAG_BYTES + WORD_BYTES))
def test_a_compound_without_room_for_tag_and_index_is_dropped(
    rig: Rig, way: str, length: int
) -> None:
    peer = rig.peer(way=way)
    wire = peer.outbound.protect_rtcp(compound(bytes(40)))
    assert handed_on(rig, peer, wire[:length]) == []
    assert handed_on(rig, peer, wire[: length - 1] + b"\xff") == []
    assert handed_on(rig, peer, wire) == [compound(bytes(40))]
    assert sum(rig.dropped().values()) == 2


def test_one_that_is_authenticated_and_not_encrypted_is_taken_once(rig: Rig, way: str) -> None:
    peer = rig.peer()
    key = give_known_key(rig, peer, way)
    policy = Policy(
        key=key,
        ssrc_type=Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    )
    serves = ffi.buffer(ffi.addressof(policy._policy.rtcp))
    serves[-WORD_BYTES:] = AUTHENTICATED_ALONE.to_bytes(WORD_BYTES, "little")
    wire = Session(policy).protect_rtcp(compound(b"open"))
    assert b"open" in wire
    assert handed_on(rig, peer, wire) == [compound(b"open")]
    assert handed_on(rig, peer, wire) == []
    claims = bytearray(wire)
    claims[-WORD_BYTES] |= 0x80  # that it is encrypted
    assert handed_on(rig, peer, bytes(claims)) == []
    assert sum(rig.dropped().values()) == 2


def test_with_new_keys_indices_begin_anew(rig: Rig, way: str) -> None:
    peer = rig.peer(way=way)
    for _ in range(3):
        assert comes(rig, peer, compound())
    old = peer.outbound.protect_rtcp(compound())
    peer.renew_keys(way)
    assert handed_on(rig, peer, old) == []
    assert comes(rig, peer, compound())
    assert rig.pump.send_rtcp(peer.transport, compound(ssrc=OURS))
    assert peer.inbound.unprotect_rtcp(peer.socket.recv(4096)) == compound(ssrc=OURS)
    assert rig.dropped() == {"authentication": 1}


def test_no_two_compounds_of_ours_have_the_same_index(rig: Rig, way: str) -> None:
    peer = rig.peer(way=way)
    for _ in range(3):
        assert rig.pump.send_rtcp(peer.transport, compound(ssrc=OURS))
    ends = [struct.unpack("!I", peer.socket.recv(4096)[-WORD_BYTES:])[0] for _ in range(3)]
    assert ends == [0x80000001, 0x80000002, 0x80000003]


@pytest.mark.parametrize("last", [WINDOW + 1, LAST_INDEX])
def test_a_sender_may_leave_numbers_out_and_never_go_back(rig: Rig, way: str, last: int) -> None:
    peer = rig.peer()
    master = give_known_key(rig, peer, way)
    for index, comes_out in ((1, True), (last, True), (last, False), (1, False), (0, False)):
        got = handed_on(rig, peer, sealed(master, index, compound(b"news")))
        assert got == ([compound(b"news")] if comes_out else [])
    assert rig.dropped() == {"replay": 3}


@given(master=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), before=st.integers(0, 9))
def test_session_keys_seal_as_libsrtp_does(master: bytes, before: int) -> None:
    sealing = session(master, inbound=False)
    for _ in range(before + 1):
        wire = sealing.protect_rtcp(compound(b"some report."))
    assert wire == sealed(master, before + 1, compound(b"some report."))
