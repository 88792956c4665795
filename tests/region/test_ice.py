import contextlib
import ipaddress
import struct

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from region.ice import (
    IceCredentials,
    IceLite,
    local_ufrag_untrusted,
    parse_stun_untrusted,
)
from region.kernel import unpack_address
from relay.errors import MalformedError

BRIDGE = IceCredentials("bridge", "b" * 24)
BROWSER = IceCredentials("Brow/ser+", "c" * 24)


def packed(host: str, port: int) -> bytes:
    address = ipaddress.ip_address(host)
    mapped = address if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}")
    return mapped.packed + port.to_bytes(2, "big") + b"\0"


HOME = packed("192.0.2.7", 40_000)
AWAY = packed("2001:db8::9", 50_000)


def check(
    number: int = 1,
    *,
    nominate: bool = False,
    username: str | None = "bridge:Brow/ser+",
    password: str | None = BRIDGE.password,
    controlled: bool = False,
) -> bytes:
    request = stun.Message(
        message_method=stun.Method.BINDING,
        message_class=stun.Class.REQUEST,
        transaction_id=number.to_bytes(4, "big") + b"8 more b",
        attributes={"PRIORITY": 1, "ICE-CONTROLLED" if controlled else "ICE-CONTROLLING": 7},
    )
    if username is not None:
        request.attributes["USERNAME"] = username
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    if password is not None:
        request.add_message_integrity(password.encode())
    else:
        request.add_fingerprint()
    return bytes(request)


def raw(*attributes: tuple[int, bytes], kind: int = 0x0001, password: str | None = None) -> bytes:
    """A message of any attributes, which aioice would not make."""
    data = struct.pack("!HHI12s", kind, 0, stun.COOKIE, b"transaction!")
    for attribute, value in attributes:
        data += struct.pack("!HH", attribute, len(value)) + value + bytes(-len(value) % 4)
    if password is not None:
        data = stun.set_body_length(data, len(data) - 20)
        data += struct.pack("!HH", 8, 20) + stun.message_integrity(data, password.encode())
    return stun.set_body_length(data, len(data) - 20)


def error_of(response: bytes | None) -> int | None:
    assert response is not None
    message = parse_stun_untrusted(response)
    assert message.message_class is stun.Class.ERROR
    return message.error_code


def with_peer() -> IceLite:
    return IceLite(BRIDGE, BROWSER)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        local_ufrag_untrusted(parse_stun_untrusted(data))


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(sorted(stun.ATTRIBUTES_BY_TYPE)), st.integers(0, 0xFFFF)),
            st.binary(max_size=24),
        ),
        max_size=5,
    ),
    st.integers(0, 0xFFFF),
)
def test_any_attributes_parse_or_are_malformed(
    attributes: list[tuple[int, bytes]], kind: int
) -> None:
    with contextlib.suppress(MalformedError):
        message = parse_stun_untrusted(raw(*attributes, kind=kind, password=BRIDGE.password))
        with_peer().receive_check(message, HOME, 0.0)
        local_ufrag_untrusted(message)


@given(st.data())
def test_a_damaged_check_is_malformed(data: st.DataObject) -> None:
    good = check()
    # The fingerprint, in the last 8 bytes, protects what is before it.
    position = data.draw(st.integers(0, len(good) - 9))
    bad = bytearray(good)
    bad[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedError):
        parse_stun_untrusted(bytes(bad))
    with pytest.raises(MalformedError):
        parse_stun_untrusted(good[:position])


@pytest.mark.parametrize(
    ("attribute", "value", "raised"),
    [
        (0x0006, b"\xff\xfe\xfd\xfc", UnicodeDecodeError),  # USERNAME
        (0x0024, b"\x01\x02", struct.error),  # PRIORITY
        (0x000C, b"\x01", struct.error),  # CHANNEL-NUMBER
        (0x8029, b"\x01\x02\x03\x04", struct.error),  # ICE-CONTROLLED
        (0x0020, b"\x00\x01\x00\x00", ValueError),  # XOR-MAPPED-ADDRESS
        (0x0009, b"\x00", ValueError),  # ERROR-CODE
        (0x8028, b"\x00\x00\x00\x00", ValueError),  # FINGERPRINT
    ],
)
def test_what_aioice_stumbles_over_is_malformed(
    attribute: int, value: bytes, raised: type[Exception]
) -> None:
    data = raw((attribute, value))
    with pytest.raises(raised):
        stun.parse_message(data)
    with pytest.raises(MalformedError):
        parse_stun_untrusted(data)


@pytest.mark.parametrize(
    "data",
    [
        raw(kind=0x8001),
        raw(kind=0x0005),
        check()[:4] + b"\x21\x12\xa4\x43" + check()[8:],
        check() + bytes(4),
        raw() + b"x",
        stun.set_body_length(raw() + struct.pack("!HH", 0x8022, 4), 4),
        raw((0x8022, bytes(2_000))),
        raw((0x8028, struct.pack("!I", stun.message_fingerprint(raw()))), (0x8022, b"late")),
    ],
    ids=[
        "no zero bits",
        "unknown method",
        "wrong cookie",
        "longer than its length",
        "not of words",
        "attribute past the end",
        "too long",
        "something after the fingerprint",
    ],
)
def test_a_message_against_the_rules_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_stun_untrusted(data)


def test_a_request_names_whom_it_is_for() -> None:
    assert local_ufrag_untrusted(parse_stun_untrusted(check())) == "bridge"


@pytest.mark.parametrize("username", [None, "", "bridge", "bridge:", ":peer", "a b c:peer", "x:y"])
def test_a_username_that_is_no_pair_is_malformed(username: str | None) -> None:
    with pytest.raises(MalformedError):
        local_ufrag_untrusted(parse_stun_untrusted(check(username=username)))


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::9"])
def test_a_valid_check_is_answered_with_the_address_it_came_from(host: str) -> None:
    reply = with_peer().receive_check(parse_stun_untrusted(check()), packed(host, 4_321), 0.0)
    assert reply.valid
    assert reply.response is not None
    response = parse_stun_untrusted(reply.response)
    assert response.message_class is stun.Class.RESPONSE
    assert response.transaction_id == parse_stun_untrusted(check()).transaction_id
    assert response.attributes["XOR-MAPPED-ADDRESS"] == (host, 4_321)
    assert response.check_message_integrity(BRIDGE.password.encode())
    assert "FINGERPRINT" in response.attributes


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (check(password=None), 400),
        (check(username=None), 400),
        (check(password="x" * 24), 401),
        (check(username="bridge:other"), 401),
        (check(username="bri:Brow/ser+"), 401),
    ],
)
def test_a_check_without_proof_is_refused_without_integrity(request_: bytes, code: int) -> None:
    ice = with_peer()
    reply = ice.receive_check(parse_stun_untrusted(request_), HOME, 0.0)
    assert (reply.valid, reply.nominated, reply.selected) == (False, False, None)
    assert error_of(reply.response) == code
    assert reply.response is not None
    assert "MESSAGE-INTEGRITY" not in parse_stun_untrusted(reply.response).attributes
    assert ice.last_check_s is None


def test_a_peer_that_wants_to_be_controlled_is_told_of_the_conflict() -> None:
    reply = with_peer().receive_check(parse_stun_untrusted(check(controlled=True)), HOME, 0.0)
    assert not reply.valid
    assert error_of(reply.response) == 487
    assert reply.response is not None
    assert parse_stun_untrusted(reply.response).check_message_integrity(BRIDGE.password.encode())


def test_an_unknown_required_attribute_is_refused_by_name() -> None:
    data = raw(
        (0x0006, b"bridge:Brow/ser+"),
        (0x7ABC, b"what"),
        (0xC057, b"fine"),
        (0x0033, b""),
        password=BRIDGE.password,
    )
    reply = with_peer().receive_check(parse_stun_untrusted(data), HOME, 0.0)
    assert not reply.valid
    assert error_of(reply.response) == 420
    assert reply.response is not None
    response = parse_stun_untrusted(reply.response)
    assert response.check_message_integrity(BRIDGE.password.encode())
    assert "FINGERPRINT" in response.attributes
    # UNKNOWN-ATTRIBUTES is 0x000A; 4 bytes of two types.
    assert struct.pack("!HHHH", 0x000A, 4, 0x7ABC, 0x0033) in reply.response


def test_what_follows_the_integrity_is_not_looked_at() -> None:
    data = raw((0x0006, b"bridge:Brow/ser+"), password=BRIDGE.password)
    data += struct.pack("!HH", 0x7ABC, 0)
    data = stun.set_body_length(data, len(data) - 20)
    assert with_peer().receive_check(parse_stun_untrusted(data), HOME, 0.0).valid


@pytest.mark.parametrize("kind", [stun.Class.INDICATION, stun.Class.RESPONSE, stun.Class.ERROR])
def test_only_requests_are_answered(kind: stun.Class) -> None:
    message = stun.Message(message_method=stun.Method.BINDING, message_class=kind)
    message.attributes["USERNAME"] = "bridge:Brow/ser+"
    message.add_message_integrity(BRIDGE.password.encode())
    reply = with_peer().receive_check(parse_stun_untrusted(bytes(message)), HOME, 0.0)
    assert (reply.response, reply.valid) == (None, False)


def test_the_first_valid_check_selects_until_one_nominates() -> None:
    ice = with_peer()
    first = ice.receive_check(parse_stun_untrusted(check(1)), HOME, 0.0)
    assert (first.nominated, first.selected) == (False, HOME)
    second = ice.receive_check(parse_stun_untrusted(check(2)), AWAY, 0.1)
    assert (second.valid, second.selected) == (True, None)
    third = ice.receive_check(parse_stun_untrusted(check(3, nominate=True)), AWAY, 0.2)
    assert (third.nominated, third.selected) == (True, AWAY)
    assert ice.selected == AWAY


def test_an_established_client_moves_with_its_nominated_check_only() -> None:
    ice = with_peer()
    ice.receive_check(parse_stun_untrusted(check(1, nominate=True)), HOME, 0.0)
    again = ice.receive_check(parse_stun_untrusted(check(2, nominate=True)), HOME, 1.0)
    assert again.selected is None
    assert ice.receive_check(parse_stun_untrusted(check(3)), AWAY, 2.0).selected is None
    moved = ice.receive_check(parse_stun_untrusted(check(4, nominate=True)), AWAY, 3.0)
    assert moved.selected == AWAY


def test_a_replayed_check_neither_moves_the_client_nor_shows_consent() -> None:
    ice = with_peer()
    captured = check(1, nominate=True)
    ice.receive_check(parse_stun_untrusted(captured), HOME, 0.0)
    for number in range(2, 300):
        ice.receive_check(parse_stun_untrusted(check(number)), HOME, 1.0)
    reply = ice.receive_check(parse_stun_untrusted(captured), AWAY, 9.0)
    assert (reply.valid, reply.nominated, reply.selected) == (False, False, None)
    assert ice.selected == HOME
    assert ice.silent_for(9.0) == 8.0


def test_a_repeated_request_is_answered_again() -> None:
    ice = with_peer()
    first = ice.receive_check(parse_stun_untrusted(check()), HOME, 0.0)
    second = ice.receive_check(parse_stun_untrusted(check()), HOME, 0.5)
    assert second.response == first.response


def test_silence_is_counted_from_the_last_valid_check() -> None:
    ice = with_peer()
    assert ice.silent_for(5.0) == float("inf")
    ice.receive_check(parse_stun_untrusted(check(1)), HOME, 5.0)
    ice.receive_check(parse_stun_untrusted(check(2, password="x" * 24)), HOME, 7.0)
    assert ice.silent_for(8.0) == 3.0


def test_the_ping_agent_answers_everybody_and_selects_nobody() -> None:
    ping = IceLite(IceCredentials("ping", "p" * 24), remote=None)
    for number, peer in enumerate(["anna", "otto"]):
        data = check(number, username=f"ping:{peer}", password="p" * 24, nominate=True)
        for _ in range(2):
            reply = ping.receive_check(parse_stun_untrusted(data), HOME, 0.0)
            assert reply.valid
            assert reply.selected is None
    refused = ping.receive_check(
        parse_stun_untrusted(check(username="ping:anna", password="q" * 24)), HOME, 0.0
    )
    assert error_of(refused.response) == 401


@pytest.mark.parametrize(("host", "port"), [("198.51.100.1", 1), ("2001:db8::1", 65_535)])
def test_a_packed_address_is_read_back(host: str, port: int) -> None:
    assert unpack_address(packed(host, port)) == (host, port)


def test_a_password_is_not_shown() -> None:
    assert BRIDGE.password not in repr(BRIDGE)


def test_a_check_that_somebody_else_has_answered_before_selects_nothing() -> None:
    agent = with_peer()
    reply = agent.receive_check(parse_stun_untrusted(check()), HOME, 1.0, replayed=True)
    assert reply.response is not None
    assert not reply.valid
    assert agent.selected is None
    assert agent.last_check_s is None


def test_a_path_by_tcp_is_another_than_by_udp_from_the_same_port() -> None:
    agent = IceLite(BRIDGE, BROWSER)
    over_tcp = HOME[:-1] + b"\1"
    first = agent.receive_check(parse_stun_untrusted(check(1)), over_tcp, 1.0)
    assert first.selected == over_tcp
    assert first.response is not None
    told = stun.parse_message(first.response).attributes["XOR-MAPPED-ADDRESS"]
    assert told == ("192.0.2.7", 40_000)
    # The browser has found that UDP passes.
    then = agent.receive_check(parse_stun_untrusted(check(2, nominate=True)), HOME, 2.0)
    assert (then.selected, agent.selected) == (HOME, HOME)
