"""Transport-wide sequence numbers on what the kernel sends, and the padding of its probes."""

import os
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import NO_STREAM, reference
from relay.errors import LocalProtocolError
from relay.payload import HeaderExtension, PayloadType
from tests.region.rig import DEADLINE_S, Peer, Rig
from tests.strategies.rtp import DELTA, KEYFRAME, rtp

NUMBER_ID, LEVEL_ID = 5, 6
VIDEO, AUDIO, LEG = 0x21, 0x22, 0x23
VIDEO_RTX = 0x31
CAMERA, MICROPHONE = 1, 2
TYPES = {each.value: each.value for each in PayloadType}


class Call:
    """A client's camera and microphone, and a client that gets both, numbered where it is told."""

    def __init__(self, rig: Rig, *, number_id: int = NUMBER_ID, audio: bool = True) -> None:
        self.rig = rig
        ids = {LEVEL_ID: HeaderExtension.AUDIO_LEVEL.value}
        numbers = HeaderExtension.TRANSPORT_SEQUENCE.value
        self.sender = rig.peer(payload_types=TYPES, extensions=ids | {NUMBER_ID: numbers})
        self.receiver = rig.peer(payload_types=TYPES, extensions=ids | {number_id: numbers})
        self._number_id = number_id
        pump = rig.pump
        self.camera = pump.add_stream(
            self.sender.transport, CAMERA, video=True, clock_rate=90_000, csrc=4
        )
        self.microphone = pump.add_stream(
            self.sender.transport, MICROPHONE, video=False, clock_rate=48_000, csrc=8
        )
        self.video = pump.add_egress(
            self.receiver.transport,
            VIDEO,
            video=True,
            trunk=False,
            rtx_ssrc=VIDEO_RTX,
            numbered=True,
        )
        self.audio = pump.add_egress(
            self.receiver.transport, AUDIO, video=False, trunk=False, numbered=audio
        )
        pump.set_source(self.video, self.camera)
        pump.set_source(self.audio, self.microphone)
        self._sequences = {CAMERA: 0, MICROPHONE: 0}
        self.sent = pump.counters()["datagrams_in"]

    def send(self, ssrc: int, payload: bytes = DELTA) -> None:
        sequence = self._sequences[ssrc]
        self._sequences[ssrc] += 1
        if sequence == 0:
            payload = KEYFRAME
        self.sent += 1
        self.sender.send(
            rtp(
                sequence=sequence,
                timestamp=sequence * 960,
                ssrc=ssrc,
                payload_type=PayloadType.VP8 if ssrc == CAMERA else PayloadType.OPUS,
                payload=payload,
                extensions=((NUMBER_ID, b"\xab\xcd"), (LEVEL_ID, b"\x05")),
            )
        )

    def received(self) -> reference.Packet:
        return reference.parse_untrusted(self.receiver.receive())

    def number_of(self, packet: reference.Packet) -> int | None:
        data = dict(packet.extensions).get(self._number_id)
        return None if data is None else int.from_bytes(data)

    def close(self) -> None:
        for peer in (self.sender, self.receiver):
            self.rig.pump.remove_transport(peer.transport)
            peer.socket.close()


@pytest.mark.parametrize("number_id", [NUMBER_ID, 200], ids=["one-byte", "two-byte"])
def test_packets_of_all_slots_are_numbered_one_by_one(rig: Rig, number_id: int) -> None:
    call = Call(rig, number_id=number_id)
    for ssrc in (CAMERA, MICROPHONE, MICROPHONE, CAMERA, MICROPHONE):
        call.send(ssrc)
    got = [call.received() for _ in range(5)]
    assert [call.number_of(each) for each in got] == [0, 1, 2, 3, 4]
    # Which stream leaves first of those that came together is the kernel's to choose.
    assert sorted(each.ssrc for each in got) == sorted([VIDEO, AUDIO, AUDIO, VIDEO, AUDIO])
    # The sender's own number is for us alone.
    assert all(len(each.extensions) == 2 for each in got)
    assert all(dict(each.extensions)[LEVEL_ID] == b"\x05" for each in got)


def test_numbers_begin_anew_after_sixteen_bits(rig: Rig) -> None:
    call = Call(rig)
    call.send(CAMERA)
    call.received()
    for number in range(1, 65_540):
        call.send(MICROPHONE)
        assert call.number_of(call.received()) == number % 65_536


def test_a_slot_that_takes_no_part_has_no_numbers_and_makes_no_gaps(rig: Rig) -> None:
    call = Call(rig, audio=False)
    for ssrc in (CAMERA, MICROPHONE, CAMERA):
        call.send(ssrc)
    got = [call.received() for _ in range(3)]
    numbers: dict[int, list[int | None]] = {each.ssrc: [] for each in got}
    for each in got:
        numbers[each.ssrc].append(call.number_of(each))
    assert numbers == {VIDEO: [0, 1], AUDIO: [None]}


def test_a_receiver_that_reports_nothing_gets_no_numbers(rig: Rig) -> None:
    call = Call(rig)
    rig.pump.set_extensions(call.receiver.transport, {LEVEL_ID: 1})
    call.send(CAMERA)
    assert call.received().extensions == ((LEVEL_ID, b"\x05"),)


def test_what_is_sent_again_gets_a_number_of_its_own(rig: Rig) -> None:
    call = Call(rig)
    for _ in range(3):
        call.send(CAMERA)
        call.received()
    assert rig.pump.retransmit(call.video, [1]).sent == 1
    again = call.received()
    assert again.ssrc == VIDEO_RTX
    assert call.number_of(again) == 3
    call.send(CAMERA)
    assert call.number_of(call.received()) == 4


def test_each_transport_counts_for_itself(rig: Rig) -> None:
    call, other = (
        Call(rig),
        rig.peer(
            payload_types=TYPES, extensions={NUMBER_ID: HeaderExtension.TRANSPORT_SEQUENCE.value}
        ),
    )
    leg = rig.pump.add_egress(other.transport, LEG, video=False, trunk=True, numbered=True)
    call.send(CAMERA)
    call.send(MICROPHONE)
    assert [call.number_of(call.received()) for _ in range(2)] == [0, 1]
    rig.pump.set_source(leg, call.microphone)
    call.send(MICROPHONE)
    assert call.number_of(call.received()) == 2
    assert reference.parse_untrusted(other.receive()).extensions == ((NUMBER_ID, b"\0\0"),)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sends=st.lists(st.sampled_from(("camera", "microphone", "again")), max_size=60))
def test_whatever_is_sent_in_whatever_order_has_the_next_number(rig: Rig, sends: list[str]) -> None:
    call = Call(rig)
    call.send(CAMERA)
    assert call.number_of(call.received()) == 0
    videos, number = 1, 0
    for each in sends:
        if each == "again":
            if not rig.pump.retransmit(call.video, [number % videos]).sent:
                continue
        else:
            call.send(CAMERA if each == "camera" else MICROPHONE)
            videos += each == "camera"
        number += 1
        assert call.number_of(call.received()) == number
    assert call.receiver.has_nothing()
    call.close()


# Probes

RATE_BPS = 2_000_000
CLUSTER = 7


def arrived(peer: Peer, total_bytes: int) -> list[bytes]:
    """What comes until it is so much."""
    got: list[bytes] = []
    while sum(map(len, got)) < total_bytes:
        got.append(peer.receive())
    return got


def probed(rig: Rig, count: int) -> None:
    """Until so many packets of probes have left."""
    end = time.monotonic() + DEADLINE_S
    while rig.pump.counters()["probed"] < count:
        assert time.monotonic() < end, rig.pump.counters()
        os.sched_yield()


def test_a_probe_repeats_what_the_receiver_had_with_numbers_of_its_own(rig: Rig) -> None:
    call = Call(rig)
    originals = {}
    for _ in range(4):
        call.send(CAMERA, payload=DELTA + os.urandom(900))
        got = call.received()
        originals[got.sequence] = got
    rig.pump.probe(call.receiver.transport, RATE_BPS, 0.02, CLUSTER)
    parsed = [
        reference.parse_untrusted(each)
        for each in arrived(call.receiver, int(RATE_BPS * 0.02 / 8) - 200)
    ]
    assert len(parsed) >= 5
    assert [call.number_of(each) for each in parsed] == [*range(4, 4 + len(parsed))]
    assert {(each.ssrc, each.payload_type) for each in parsed} == {(VIDEO_RTX, PayloadType.VP8_RTX)}
    repeated = [each for each in parsed if not each.padding]
    assert repeated
    for each in repeated:
        (number,) = struct.unpack_from("!H", each.payload)
        assert each.payload[2:] == originals[number].payload
        assert each.timestamp == originals[number].timestamp


def test_a_probe_of_what_is_forgotten_is_padding_alone(rig: Rig) -> None:
    call = Call(rig)
    call.send(CAMERA)
    call.received()
    rig.pump.remove_stream(call.camera)
    call.camera = rig.pump.add_stream(
        call.sender.transport, CAMERA, video=True, clock_rate=90_000, csrc=4
    )
    rig.pump.set_source(call.video, call.camera)
    call.send(CAMERA, payload=KEYFRAME)
    call.received()
    rig.pump.probe(call.receiver.transport, RATE_BPS, 0.005, CLUSTER)
    parsed = [reference.parse_untrusted(each) for each in arrived(call.receiver, 1_000)]
    padding = [each for each in parsed if each.padding]
    assert padding
    for each in padding:
        assert each.payload[-1] == len(each.payload)
        assert each.ssrc == VIDEO_RTX


def test_a_probe_comes_where_a_picture_has_just_paused(rig: Rig) -> None:
    """When layers change, what is probed beside them must not depend on who is left out."""
    call = Call(rig)
    call.send(CAMERA, payload=DELTA)
    call.received()
    rig.pump.set_source(call.video, NO_STREAM)
    rig.pump.probe(call.receiver.transport, RATE_BPS, 0.01, CLUSTER)
    parsed = [reference.parse_untrusted(each) for each in arrived(call.receiver, 1_000)]
    assert any(each.padding for each in parsed)
    assert {each.ssrc for each in parsed} == {VIDEO_RTX}


def test_a_probe_has_an_end(rig: Rig) -> None:
    call = Call(rig)
    call.send(CAMERA, payload=DELTA)
    call.received()
    rig.pump.probe(call.receiver.transport, RATE_BPS, 0.01, CLUSTER)
    size = 0
    while size < RATE_BPS * 0.01 / 8:
        size += len(call.receiver.receive()) + 16  # the tag of AES-GCM
    for number in range(50):  # whatever the pump is woken by
        call.send(MICROPHONE)
        assert reference.parse_untrusted(call.receiver.receive()).ssrc == AUDIO, number


def test_five_packets_are_sent_however_short_a_probe_is(rig: Rig) -> None:
    call = Call(rig)
    call.send(CAMERA, payload=DELTA)
    call.received()
    rig.pump.probe(call.receiver.transport, 1_000_000, 0.000_1, CLUSTER)
    probed(rig, 5)
    assert [call.received().ssrc for _ in range(5)] == [VIDEO_RTX] * 5


def test_a_path_reports_on_its_probe(rig: Rig) -> None:
    call = Call(rig)
    call.send(CAMERA, payload=DELTA + bytes(500))
    call.received()
    rig.pump.probe(call.receiver.transport, RATE_BPS, 0.01, CLUSTER)
    probed(rig, 5)
    reports = rig.pump.path_reports(time.monotonic())
    assert reports[call.receiver.transport].unanswered_s is not None
    assert reports[call.receiver.transport].probe is None  # nobody has reported


@pytest.mark.parametrize("what", ["not-numbered", "not-sent", "no-retransmissions"])
def test_nothing_is_sent_where_nothing_can_be_measured(rig: Rig, what: str) -> None:
    call = Call(rig)
    if what == "not-numbered":
        rig.pump.set_extensions(call.receiver.transport, {})
    if what == "no-retransmissions":
        types = {PayloadType.VP8.value: 96, PayloadType.OPUS.value: 111}
        rig.pump.set_payload_types(call.receiver.transport, types)
    if what != "not-sent":
        call.send(CAMERA)
        call.received()
    rig.pump.probe(call.receiver.transport, RATE_BPS, 0.01, CLUSTER)
    call.send(MICROPHONE)
    assert call.received().ssrc == AUDIO
    call.send(MICROPHONE)
    assert call.received().ssrc == AUDIO
    assert rig.pump.counters()["probed"] == 0


@pytest.mark.parametrize(
    ("rate_bps", "duration_s", "cluster"),
    [(0, 0.1, 1), (10**10, 0.1, 1), (RATE_BPS, 0.0, 1), (RATE_BPS, 2.0, 1), (RATE_BPS, 0.1, 0)],
)
def test_a_probe_out_of_bounds_is_refused(
    rig: Rig, rate_bps: int, duration_s: float, cluster: int
) -> None:
    call = Call(rig)
    with pytest.raises(LocalProtocolError):
        rig.pump.probe(call.receiver.transport, rate_bps, duration_s, cluster)


def test_a_transport_that_is_gone_cannot_be_probed(rig: Rig) -> None:
    with pytest.raises(LocalProtocolError):
        rig.pump.probe(99, RATE_BPS, 0.1, CLUSTER)
