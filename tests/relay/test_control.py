import math

import msgpack
import pytest
from hypothesis import given

from relay.control import (
    FROM_BRIDGE,
    FROM_FOCUS,
    MAX_SDP_CHARS,
    Allocate,
    Challenge,
    FromBridge,
    FromFocus,
    Heartbeat,
    Hello,
    MidKind,
)
from relay.errors import LocalProtocolError, MalformedError
from relay.ids import ConferenceId, ParticipantId, SourceKind
from tests.strategies.messages import messages


@given(message=messages(FromFocus))
def test_what_the_focus_says_arrives_as_it_was(message: FromFocus) -> None:
    assert FROM_FOCUS.decode_untrusted(FROM_FOCUS.encode(message)) == message


@given(message=messages(FromBridge))
def test_what_a_bridge_says_arrives_as_it_was(message: FromBridge) -> None:
    assert FROM_BRIDGE.decode_untrusted(FROM_BRIDGE.encode(message)) == message


@given(message=messages(FromBridge))
def test_a_bridge_cannot_speak_as_the_focus(message: FromBridge) -> None:
    with pytest.raises(MalformedError):
        FROM_FOCUS.decode_untrusted(FROM_BRIDGE.encode(message))


def test_the_focus_cannot_encode_a_bridges_message() -> None:
    with pytest.raises(LocalProtocolError):
        FROM_FOCUS.encode(
            Heartbeat(participants=1, cpu=0.1, packets_per_s=1.0, trunks=()),  # type: ignore[arg-type]
        )


def test_an_offer_that_is_too_long_is_malformed() -> None:
    allocate = Allocate(
        request=1,
        conference=ConferenceId("garden"),
        participant=ParticipantId(7),
        offer="v=0\r\n" + "a" * MAX_SDP_CHARS,
        sources=(MidKind(mid="0", kind=SourceKind.MICROPHONE),),
    )
    with pytest.raises(MalformedError, match="offer"):
        FROM_FOCUS.decode_untrusted(FROM_FOCUS.encode(allocate))


def test_a_source_kind_that_does_not_exist_is_malformed() -> None:
    body = {"conference": "garden", "participant": 7, "request": 1, "offer": "v=0"}
    data = msgpack.packb(("Allocate", body | {"sources": [{"mid": "0", "kind": 9}]}))
    with pytest.raises(MalformedError, match="sources"):
        FROM_FOCUS.decode_untrusted(data)


def test_the_first_messages_of_both_sides_are_of_their_unions() -> None:
    challenge = Challenge(versions=(1,), nonce=b"n" * 32)
    assert FROM_FOCUS.decode_untrusted(FROM_FOCUS.encode(challenge)) == challenge
    hello = Hello(
        version=1,
        software="octomesh 0",
        certificate_pem=b"pem",
        signature=b"signature",
        media_addresses=(),
        relay_addresses=(),
        ping_password="p" * 22,
    )
    assert FROM_BRIDGE.decode_untrusted(FROM_BRIDGE.encode(hello)) == hello


@pytest.mark.parametrize("figure", [math.nan, math.inf, -1.0])
def test_a_figure_that_is_no_measurement_is_malformed(figure: float) -> None:
    beat = Heartbeat(participants=1, cpu=0.5, packets_per_s=figure, trunks=())
    with pytest.raises(MalformedError, match="packets_per_s"):
        FROM_BRIDGE.decode_untrusted(FROM_BRIDGE.encode(beat))
