"""Checks that only renew a client's consent: answered by the pump, exactly as aioice expects."""

import os
from collections.abc import Iterator

import pytest
from aioice import stun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import STUN
from tests.region.rig import Peer, Rig, running

USERNAME, PASSWORD = "abcd:wxyz", b"p" * 32
CONTROLLING = {"ICE-CONTROLLING": 77, "PRIORITY": 1_853_824_767}


@pytest.fixture(params=["127.0.0.1", "::1"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with running(request.param) as rig:
        yield rig


def client(rig: Rig) -> Peer:
    peer = rig.peer()
    rig.pump.answer_checks(peer.transport, USERNAME.encode(), PASSWORD)
    return peer


def check(
    *,
    username: str = USERNAME,
    password: bytes = PASSWORD,
    fingerprint: bool = True,
    transaction: bytes | None = None,
    **attributes: object,
) -> bytes:
    message = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        transaction_id=transaction or os.urandom(12),
        attributes={"USERNAME": username, **(attributes or CONTROLLING)},
    )
    if fingerprint:
        message.add_message_integrity(password)
        return bytes(message)
    data = bytes(message)
    integrity = stun.message_integrity(data, password)
    data += b"\x00\x08\x00\x14" + integrity
    return stun.set_body_length(data, len(data) - stun.HEADER_LENGTH)


def went_to_python(rig: Rig, peer: Peer, datagram: bytes) -> bool:
    before = rig.pump.counters()["datagrams_in"]
    peer.send_raw(datagram)
    rig.wait_for_datagrams(before + 1)
    return [each.data for each in rig.pump.drain() if each.kind == STUN] == [datagram]


@pytest.mark.parametrize("fingerprint", [True, False])
def test_a_plain_check_is_answered_as_rfc_8489_says(rig: Rig, fingerprint: bool) -> None:
    peer = client(rig)
    request = check(fingerprint=fingerprint)
    peer.send_raw(request)
    response = stun.parse_message(peer.socket.recv(2048))
    assert response.message_class is stun.Class.RESPONSE
    assert response.transaction_id == request[8:20]
    assert response.check_message_integrity(PASSWORD)
    assert response.attributes["XOR-MAPPED-ADDRESS"] == peer.socket.getsockname()[:2]
    assert "FINGERPRINT" in response.attributes
    assert rig.pump.drain() == []
    assert rig.pump.counters()["consents"] == 1
    assert rig.pump.transport_stats(peer.transport).last_consent_s > 0


@pytest.mark.parametrize(
    "request_",
    [
        check(password=b"q" * 32),
        check(username="abcd:wxyy"),
        check(username="abcd:wxyzz"),
        check(**{"ICE-CONTROLLED": 5, "PRIORITY": 1}),
        check(**{**CONTROLLING, "REALM": "x"}),
        check()[:-8] + b"\x80\x28\x00\x04\0\0\0\0",
        check()[:-1],
        check() + b"\0\0\0\0",
        b"\x00\x01\x00\x00" + check()[4:],
        b"\x01\x01" + check()[2:],
    ],
    ids=[
        "wrong password",
        "other user",
        "longer user",
        "role conflict",
        "unknown attribute",
        "wrong fingerprint",
        "truncated",
        "longer than it says",
        "shorter than it says",
        "a response",
    ],
)
def test_anything_else_is_left_to_python(rig: Rig, request_: bytes) -> None:
    peer = client(rig)
    assert went_to_python(rig, peer, request_)
    assert peer.has_nothing()
    assert rig.pump.counters()["consents"] == 0


def test_a_replayed_check_does_not_renew_consent(rig: Rig) -> None:
    peer = client(rig)
    request = check()
    peer.send_raw(request)
    peer.socket.recv(2048)
    assert rig.pump.saw_check(peer.transport, request[8:20])
    assert not rig.pump.saw_check(peer.transport, os.urandom(12))
    assert went_to_python(rig, peer, request)
    assert rig.pump.counters()["consents"] == 1


def test_a_check_from_another_address_is_left_to_python(rig: Rig) -> None:
    peer, elsewhere = client(rig), rig.peer()
    rig.pump.remove_transport(elsewhere.transport)
    rig.pump.bind_address(peer.transport, elsewhere.address)
    assert went_to_python(rig, elsewhere, check())


def test_a_transport_without_credentials_leaves_all_to_python(rig: Rig) -> None:
    assert went_to_python(rig, rig.peer(), check())


@pytest.mark.parametrize("length", [1, 22, 55, 56, 63, 64])
def test_passwords_of_all_lengths_agree(rig: Rig, length: int) -> None:
    peer, password = rig.peer(), os.urandom(length).hex().encode()[:length]
    rig.pump.answer_checks(peer.transport, USERNAME.encode(), password)
    peer.send_raw(check(password=password))
    assert stun.parse_message(peer.socket.recv(2048)).check_message_integrity(password)


@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(position=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.integers(0, 40))
def test_no_altered_check_is_ever_answered(rig: Rig, position: int, flip: int, cut: int) -> None:
    peer = client(rig)
    altered = bytearray(check())
    altered[position % len(altered)] ^= flip
    del altered[len(altered) - cut :]
    before = rig.pump.counters()
    peer.send_raw(bytes(altered))
    rig.wait_for_datagrams(before["datagrams_in"] + 1)
    assert rig.pump.counters()["consents"] == before["consents"]
    rig.pump.drain()
    rig.pump.remove_transport(peer.transport)
    peer.socket.close()
