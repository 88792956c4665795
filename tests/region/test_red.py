"""Redundant audio (RFC 2198) through the kernel: whole to who takes it, plain Opus to others."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import reference
from region.kernel.reference_codecs import red_primary_untrusted, red_renumbered_untrusted
from relay.errors import MalformedError
from relay.payload import PayloadType
from tests.region.rig import Peer, Rig
from tests.strategies.rtp import rtp

SSRC, SLOT, SOURCE = 0x1111, 0x2222, 0x3333
OPUS, RED = 111, 63
"""The sender's numbers."""
THEIR_OPUS, THEIR_RED = 100, 101


class Call:
    """A microphone, and listeners with and without redundancy."""

    def __init__(self, rig: Rig) -> None:
        self._pump = rig.pump
        types = {OPUS: PayloadType.OPUS.value, RED: PayloadType.OPUS_RED.value}
        theirs = {THEIR_OPUS: PayloadType.OPUS.value, THEIR_RED: PayloadType.OPUS_RED.value}
        self.microphone = rig.peer(payload_types=types)
        self.red = rig.peer(payload_types=theirs)
        self.plain = rig.peer(payload_types={THEIR_OPUS: PayloadType.OPUS.value})
        self.stream = rig.pump.add_stream(
            self.microphone.transport, SSRC, video=False, clock_rate=48_000, csrc=SOURCE
        )
        for peer in (self.red, self.plain):
            slot = rig.pump.add_egress(peer.transport, SLOT, video=False, trunk=False)
            rig.pump.set_source(slot, self.stream)

    def close(self) -> None:
        for peer in (self.microphone, self.red, self.plain):
            self._pump.remove_transport(peer.transport)
            peer.socket.close()


def redundant(*blocks: bytes, number: int = OPUS) -> bytes:
    """RFC 2198 §3: the last block is the primary one."""
    headers = b""
    for back, block in enumerate(reversed(blocks[:-1]), start=1):
        field = 960 * back << 10 | len(block)
        headers = bytes([0x80 | number]) + field.to_bytes(3) + headers
    return headers + bytes([number]) + b"".join(blocks)


def packet(payload: bytes) -> bytes:
    return rtp(
        sequence=7,
        timestamp=5_000,
        ssrc=SSRC,
        payload_type=RED,
        payload=payload,
        marker=True,
    )


def expected(sent: bytes, payload: bytes, payload_type: int) -> bytes:
    parsed = reference.parse_untrusted(sent)
    return reference.build(
        replace(parsed, payload=payload),
        payload_type=payload_type,
        sequence=parsed.sequence,
        timestamp=parsed.timestamp,
        ssrc=SLOT,
        csrc=SOURCE,
        extension_ids={},
    )


def test_who_takes_redundancy_gets_it_in_its_own_numbers(rig: Rig) -> None:
    call = Call(rig)
    sent = packet(redundant(b"before last", b"last", b"now"))
    call.microphone.send(sent)
    theirs = redundant(b"before last", b"last", b"now", number=THEIR_OPUS)
    assert call.red.receive() == expected(sent, theirs, THEIR_RED)


def test_who_takes_none_gets_the_newest_block_as_plain_opus(rig: Rig) -> None:
    call = Call(rig)
    sent = packet(redundant(b"last", b"now"))
    call.microphone.send(sent)
    assert call.plain.receive() == expected(sent, b"now", THEIR_OPUS)


def test_a_sender_may_go_over_from_one_to_the_other(rig: Rig) -> None:
    call = Call(rig)
    call.microphone.send(
        rtp(sequence=6, timestamp=4_040, ssrc=SSRC, payload_type=OPUS, payload=b"plain")
    )
    call.microphone.send(packet(redundant(b"plain", b"now")))
    for peer, second in ((call.red, THEIR_RED), (call.plain, THEIR_OPUS)):
        got = [reference.parse_untrusted(peer.receive()) for _ in range(2)]
        assert [each.payload_type for each in got] == [THEIR_OPUS, second]
        assert [each.sequence for each in got] == [6, 7]


def test_a_trunk_gets_it_whole(rig: Rig) -> None:
    call = Call(rig)
    trunk = rig.peer(payload_types={each.value: each.value for each in PayloadType})
    leg = rig.pump.add_egress(trunk.transport, SLOT, video=False, trunk=True)
    rig.pump.set_source(leg, call.stream)
    call.microphone.send(packet(redundant(b"last", b"now")))
    got = reference.parse_untrusted(trunk.receive())
    assert got.payload_type == PayloadType.OPUS_RED
    assert got.payload == redundant(b"last", b"now", number=PayloadType.OPUS)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xef",
        b"\xef\0\0\x05",
        redundant(b"last", b""),
        redundant(b"last", b"now")[:9],
        redundant(*(bytes([n]) for n in range(12))),
    ],
    ids=["nothing", "half-header", "no-primary", "empty-primary", "cut", "too-many"],
)
def test_what_is_malformed_reaches_nobody(rig: Rig, payload: bytes) -> None:
    call = Call(rig)
    call.microphone.send(packet(payload))
    rig.wait_for_datagrams(1)
    assert rig.dropped() == {"red_malformed": 1}
    assert call.red.has_nothing()
    assert call.plain.has_nothing()


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    payload=st.one_of(
        st.lists(st.binary(max_size=30), min_size=1, max_size=11).map(lambda it: redundant(*it)),
        st.binary(max_size=40),
    ),
    cut=st.integers(0, 4),
)
def test_any_payload_is_taken_apart_as_the_reference_says(
    rig: Rig, payload: bytes, cut: int
) -> None:
    call = Call(rig)
    before = rig.pump.counters()
    sent = packet(payload[: len(payload) - cut])
    call.microphone.send(sent)
    rig.wait_for_datagrams(before["datagrams_in"] + 1)
    payload = reference.parse_untrusted(sent).payload
    try:
        _, primary = red_primary_untrusted(payload)
    except MalformedError:
        assert rig.pump.counters()["dropped_red_malformed"] == before["dropped_red_malformed"] + 1
    else:
        assert_received(call.plain, expected(sent, primary, THEIR_OPUS))
        every_type = dict.fromkeys(range(128), THEIR_OPUS)
        theirs = red_renumbered_untrusted(payload, every_type)
        assert_received(call.red, expected(sent, theirs, THEIR_RED))
    assert call.plain.has_nothing()
    assert call.red.has_nothing()
    call.close()


def assert_received(peer: Peer, data: bytes) -> None:
    assert peer.receive() == data
