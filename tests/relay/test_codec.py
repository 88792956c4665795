from dataclasses import dataclass
from typing import Annotated, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from relay.codec import Codec
from relay.control import FROM_BRIDGE, FROM_FOCUS
from relay.errors import LocalProtocolError, MalformedError
from relay.trunk_messages import TRUNK_MESSAGES, Bye, TrunkHello, TrunkMessage
from tests.strategies.messages import messages, values


@dataclass(frozen=True, slots=True, kw_only=True)
class Apple:
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pear:
    names: Annotated[tuple[str, ...], Field(max_length=3)]


FRUIT: Codec[Apple | Pear] = Codec(Apple | Pear, max_bytes=100)
CODECS: list[Codec[Any]] = [FRUIT, TRUNK_MESSAGES, FROM_FOCUS, FROM_BRIDGE]

trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.binary(max_size=20)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(codec: Codec[Any], data: bytes) -> None:
    try:
        codec.decode_untrusted(data)
    except MalformedError:
        pass
    else:
        pytest.fail("random bytes were a message")


@given(data=st.data())
def test_a_message_with_any_field_replaced_by_anything_is_decoded_or_malformed(
    data: st.DataObject,
) -> None:
    message = data.draw(messages(TrunkMessage))
    name, body = msgpack.unpackb(TRUNK_MESSAGES.encode(message))
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(trees)
    try:
        decoded = TRUNK_MESSAGES.decode_untrusted(msgpack.packb((name, body)))
    except MalformedError:
        return
    assert type(decoded) is type(message)


@given(message=messages(TrunkMessage), cut=st.integers(min_value=0, max_value=10_000))
def test_a_truncated_message_is_malformed(message: TrunkMessage, cut: int) -> None:
    data = TRUNK_MESSAGES.encode(message)
    with pytest.raises(MalformedError):
        TRUNK_MESSAGES.decode_untrusted(data[: cut % len(data)])


@given(message=messages(TrunkMessage), junk=st.binary(min_size=1, max_size=8))
def test_bytes_behind_a_message_make_it_malformed(message: TrunkMessage, junk: bytes) -> None:
    with pytest.raises(MalformedError):
        TRUNK_MESSAGES.decode_untrusted(TRUNK_MESSAGES.encode(message) + junk)


@given(message=messages(TrunkMessage))
def test_fields_of_a_newer_peer_are_ignored(message: TrunkMessage) -> None:
    name, body = msgpack.unpackb(TRUNK_MESSAGES.encode(message))
    newer = msgpack.packb((name, body | {"colour": "green"}))
    assert TRUNK_MESSAGES.decode_untrusted(newer) == message


@pytest.mark.parametrize(
    "value",
    [
        [],
        ["Apple"],
        ["Apple", {}, 1],
        ["Apple", []],
        ["Apple", {}],
        ["Apple", {"weight": None}],
        ["Apple", {"weight": "heavy"}],
        [1, {"weight": 1}],
        ["Plum", {"weight": 1}],
        ["Pear", {"names": ["a", "b", "c", "d"]}],
        {"Apple": {"weight": 1}},
        "Apple",
    ],
)
def test_what_does_not_fit_its_dataclass_is_malformed(value: object) -> None:
    with pytest.raises(MalformedError):
        FRUIT.decode_untrusted(msgpack.packb(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91" * 5_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xa1\xff",
        b"\x92\xa5Apple\x81\xc0\x01",
        b"\x92\xa5Apple\x81\xd6\xff\xff\xff\xff\xff\x01",
        b"\x92\xa5Apple\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_hostile_msgpack_is_malformed(data: bytes) -> None:
    codec: Codec[Apple | Pear] = Codec(Apple | Pear, max_bytes=10_000)
    with pytest.raises(MalformedError):
        codec.decode_untrusted(data)


def test_a_message_over_the_limit_is_neither_sent_nor_read() -> None:
    heavy = Pear(names=("x" * 200,))
    with pytest.raises(LocalProtocolError):
        FRUIT.encode(heavy)
    roomy: Codec[Apple | Pear] = Codec(Apple | Pear, max_bytes=1_000)
    with pytest.raises(MalformedError):
        FRUIT.decode_untrusted(roomy.encode(heavy))


def test_a_stranger_to_the_union_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        FRUIT.encode(Bye(reason="not fruit"))  # type: ignore[arg-type]


@given(hello=values(TrunkHello))
def test_an_error_does_not_repeat_the_secret_that_was_malformed(hello: TrunkHello) -> None:
    _, body = msgpack.unpackb(TRUNK_MESSAGES.encode(hello))
    body["srtp_key"] = b"tooshortsecret"
    with pytest.raises(MalformedError) as caught:
        TRUNK_MESSAGES.decode_untrusted(msgpack.packb(("TrunkHello", body)))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
