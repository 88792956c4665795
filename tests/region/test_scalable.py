"""Scalable streams through the kernel: who gets which layers can decode all that they get."""

import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel.reference import parse_untrusted
from region.kernel.reference_codecs import parse_picture_untrusted
from relay.payload import HeaderExtension, PayloadType
from tests.region.playing import Call, Passed, assert_decodable, assert_one_stream
from tests.region.rig import DEADLINE_S, Rig
from tests.strategies import vp8
from tests.strategies.calls import SENDER_IDS, SSRC, Arrives, Limit, Source, Step, schedules
from tests.strategies.descriptors import L1T3, L3T1, L3T3, L3T3_KEY, Frame, Scalability
from tests.strategies.rtp import rtp
from tests.strategies.scalable import Camera, Encoder, cameras

SLOW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture
def call(rig: Rig) -> Call:
    call = Call(rig, 1)
    call.play([Source(0)])
    return call


def camera(mode: Scalability, *, number: int = 65_530) -> Camera:
    return Camera(
        encoder=Encoder(mode, number=number),
        payload_type=PayloadType.AV1,
        sequence=65_500,
        timestamp=2**32 - 5_000,
    )


def take(call: Call, source: Camera, units: int, shape: int = 0) -> list[Frame]:
    """So many temporal units; the frames that passed."""
    before = len(call.passed)
    for _ in range(units):
        call.play(Arrives(0, packet) for packet in source.take(shape))
    return [source.frames[each.packet] for each in call.passed[before:]]


def layers(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    return [(each.spatial, each.temporal) for each in frames]


def test_a_limit_leaves_out_the_layers_above_it_and_no_trace_of_them(call: Call) -> None:
    source = camera(L3T3)
    call.play([Limit(1, 1)])
    frames = take(call, source, 5)
    assert layers(frames) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 0)]
    assert [each.left.sequence for each in call.passed] == [*range(65_500, 65_506)]
    assert [each.left.marker for each in call.passed] == [False, True] * 3
    # References stay what they were, so numbers do.
    assert [int.from_bytes(each.descriptor[1:3]) for each in call.passed] == [
        each.number % 2**16 for each in frames
    ]


def test_a_layer_of_a_full_structure_is_left_out_at_once(call: Call) -> None:
    source = camera(L3T3)
    take(call, source, 4)
    call.play([Limit(0, 2)])
    assert layers(take(call, source, 3)) == [(0, 0), (0, 2), (0, 1)]
    assert not call.awaits_a_keyframe()


def test_a_spatial_layer_more_waits_for_a_keyframe(call: Call) -> None:
    source = camera(L3T3)
    call.play([Limit(0, 2)])
    take(call, source, 4)
    assert not call.awaits_a_keyframe()
    call.play([Limit(2, 2)])
    assert {each.spatial for each in take(call, source, 4)} == {0}
    assert call.awaits_a_keyframe()
    assert {each.spatial for each in take(call, source, 1, shape=62)} == {0, 1, 2}
    assert not call.awaits_a_keyframe()


def test_that_a_slot_begins_to_wait_for_a_layer_is_news(call: Call) -> None:
    source = camera(L3T3)
    call.play([Limit(0, 2)])
    take(call, source, 4)
    call.rig.pump.changed_streams(time.monotonic())
    call.rig.pump.news()
    call.play([Limit(2, 2)])
    assert not call.awaits_a_keyframe()  # until it sees that it cannot begin at once
    end = time.monotonic() + DEADLINE_S
    while call.rig.pump.news() is None:
        assert time.monotonic() < end
        take(call, source, 1)
        time.sleep(0.01)
    assert call.awaits_a_keyframe()


def test_who_waited_for_a_layer_waits_no_more_when_it_gets_another_camera(rig: Rig) -> None:
    call = Call(rig, 2)
    call.play([Source(0), Limit(0, 2)])
    source = camera(L3T3)
    take(call, source, 2)
    call.play([Limit(2, 2)])
    take(call, source, 2)
    assert call.awaits_a_keyframe()
    without = vp8.Camera(encoder=vp8.Encoder(picture_id=0, tl0picidx=0), sequence=0, timestamp=0)
    call.play([Source(1), *(Arrives(1, packet) for packet in without.take())])
    assert not call.awaits_a_keyframe()


def test_a_layer_that_stands_alone_between_keyframes_is_changed_at_one(call: Call) -> None:
    source = camera(L3T3_KEY)
    assert len(take(call, source, 1)) == 3
    assert {each.spatial for each in take(call, source, 4)} == {2}
    call.play([Limit(0, 2)])
    assert {each.spatial for each in take(call, source, 4)} == {2}
    assert call.awaits_a_keyframe()
    assert {each.spatial for each in take(call, source, 6, shape=62)} == {0}
    assert not call.awaits_a_keyframe()


@pytest.mark.parametrize("mode", [L1T3, L3T3, L3T3_KEY], ids=lambda mode: mode.name)
def test_pictures_a_second_change_without_a_keyframe(call: Call, mode: Scalability) -> None:
    source = camera(mode)
    take(call, source, 4)
    call.play([Limit(2, 0)])
    assert {each.temporal for each in take(call, source, 4)} == {0}
    call.play([Limit(2, 2)])
    frames = take(call, source, 8)
    assert {each.temporal for each in frames} == {0, 1, 2}
    assert not call.awaits_a_keyframe()


def test_an_upper_layer_does_not_begin_above_one_that_was_left_out(call: Call) -> None:
    """A frame of layer (1, 1) may say Switch; it needs the one of (0, 1) all the same."""
    source = camera(L3T3)
    call.play([Limit(1, 0)])
    take(call, source, 1)
    call.play([Limit(1, 2)])
    # (0, 2) and (1, 2), then (0, 1) and (1, 1) of a temporal unit that is half over.
    assert layers(take(call, source, 3)) == []
    assert layers(take(call, source, 3)) == [
        *((0, 0), (1, 0)),
        *((0, 2), (1, 2)),
        *((0, 1), (1, 1)),
    ]


@pytest.mark.parametrize("mode", [L3T3, L3T3_KEY], ids=lambda mode: mode.name)
def test_a_receiver_follows_when_the_sender_gives_up_its_upper_layers(
    call: Call, mode: Scalability
) -> None:
    source = camera(mode)
    take(call, source, 8)
    source.encoder.layers(2, 3)
    take(call, source, 4)
    assert call.awaits_a_keyframe() == (mode is L3T3_KEY)
    frames = take(call, source, 4, shape=0 if mode is L3T3 else 62)
    assert max(each.spatial for each in frames) == 1
    assert not call.awaits_a_keyframe()
    source.encoder.layers(3, 3)  # begins at a keyframe
    assert max(each.spatial for each in take(call, source, 4)) == 2


def test_a_late_packet_does_not_bring_back_what_was_sent_when_it_left(call: Call) -> None:
    source = camera(L1T3)
    take(call, source, 4)
    source.encoder.layers(1, 1)
    late = source.take()
    source.encoder.layers(1, 3)
    take(call, source, 1, shape=62)
    call.play(Arrives(0, packet) for packet in late)
    assert {each.temporal for each in take(call, source, 4)} == {0, 1, 2}


def test_frame_numbers_go_on_when_the_slot_gets_another_camera(rig: Rig) -> None:
    call = Call(rig, 2)
    first, second = camera(L3T1), camera(L3T3_KEY, number=77)
    call.play([Source(0)])
    take(call, first, 2)
    call.play([Source(1), *(Arrives(1, packet) for packet in second.take())])
    assert [int.from_bytes(each.descriptor[1:3]) for each in call.passed] == [
        each % 2**16 for each in range(65_530, 65_539)
    ]


def test_what_is_not_understood_passes_without_its_descriptor(call: Call) -> None:
    source = camera(L1T3)
    take(call, source, 2)
    call.play([Limit(0, 0)])
    strange = [
        rtp(
            sequence=source.sequence + index,
            timestamp=9,
            ssrc=SSRC,
            payload_type=PayloadType.AV1,
            payload=b"\x10",
            extensions=((SENDER_IDS[HeaderExtension.DEPENDENCY_DESCRIPTOR], data),),
            two_byte=True,
        )
        for index, data in enumerate((b"", b"\xc0\0", b"\xff\0\x07", b"\xc0\0\x07\x08"))
    ]
    call.play(Arrives(0, packet) for packet in strange)
    assert [each.packet for each in call.passed[2:]] == strange
    assert all(each.left.extensions == () for each in call.passed[2:])


def test_a_repeated_packet_carries_the_numbers_with_which_it_left(rig: Rig) -> None:
    call = Call(rig, 2)
    first, second = camera(L3T3), camera(L3T3, number=5)
    call.play([Source(0)])
    take(call, first, 1)
    call.play([Source(1), Limit(1, 2)])
    call.play(Arrives(1, packet) for _ in range(3) for packet in second.take())
    assert call.repeat() == len(call.passed) == 9


def test_what_tells_its_layers_twice_has_both_numbers_rewritten(rig: Rig) -> None:
    """VP8 as Chromium sends it where descriptors are agreed on."""
    call = Call(rig, 2)
    first, second = camera(L1T3), camera(L1T3, number=77)
    first.payload_type = second.payload_type = PayloadType.VP8
    call.play([Source(0), Limit(2, 0)])
    take(call, first, 9)
    call.play([Source(1), *(Arrives(1, packet) for _ in range(5) for packet in second.take())])
    described = [int.from_bytes(each.descriptor[1:3]) for each in call.passed]
    assert described == [65_530, 65_534, 2, 3, 7]
    pictures = [parse_picture_untrusted(each.left.payload).picture_id for each in call.passed]
    assert pictures == [each % 2**15 for each in range(65_530, 65_535)]


@SLOW
@given(data=st.data())
def test_a_slot_agrees_with_the_reference_whatever_is_lost_late_or_switched(
    rig: Rig, data: st.DataObject
) -> None:
    made = data.draw(cameras(data.draw(st.integers(1, 3))))
    call = Call(rig, len(made))
    try:
        assert_one_stream(call.play(data.draw(schedules(made, impaired=True))))
        call.repeat()
    finally:
        call.close()


@SLOW
@given(data=st.data())
def test_every_frame_that_passes_has_all_that_it_needs(rig: Rig, data: st.DataObject) -> None:
    made = data.draw(cameras(2))
    call = Call(rig, 2)
    try:
        passed = call.play(data.draw(schedules(made, impaired=False)))
    finally:
        call.close()

    def references(each: Passed) -> tuple[int, Iterable[int]]:
        frame = made[each.stream].frames[each.packet]
        return frame.number, frame.references

    assert_one_stream(passed)
    assert_decodable(passed, references)
    for before, after in pairwise(passed):
        assert after.left.sequence == (before.left.sequence + 1) % 2**16
        step = references(after)[0] - references(before)[0]
        was, now = (int.from_bytes(each.descriptor[1:3]) for each in (before, after))
        assert (now - was) % 2**16 == (1 if after.switched else step)


@st.composite
def damaged(draw: st.DrawFn, packets: list[bytes]) -> list[Step]:
    """The packets, with bits of some descriptors turned over or cut off; but never the number's."""
    steps: list[Step] = [Source(0)]
    for packet in packets:
        parsed = parse_untrusted(packet)
        ((number, data),) = parsed.extensions
        harm = draw(st.integers(0, 7))
        if harm == 0:
            data = data[: draw(st.integers(0, len(data)))]
        elif harm <= 2:
            places = st.integers(0, len(data) - 1).filter(lambda at: at not in (1, 2))
            changed = bytearray(data)
            for at in draw(st.lists(places, max_size=4)):
                changed[at] ^= 1 << draw(st.integers(0, 7))
            data = bytes(changed)
        made = rtp(
            sequence=parsed.sequence,
            timestamp=parsed.timestamp,
            ssrc=SSRC,
            payload_type=parsed.payload_type,
            payload=parsed.payload,
            marker=parsed.marker,
            extensions=((number, data),),
            two_byte=True,
        )
        steps.append(Arrives(0, made))
        if harm == 7:
            steps.append(Limit(draw(st.integers(0, 3)), draw(st.integers(0, 3))))
    return steps


@SLOW
@given(data=st.data())
def test_a_damaged_descriptor_is_understood_as_far_as_the_reference_understands_it(
    rig: Rig, data: st.DataObject
) -> None:
    (source,) = data.draw(cameras(1))
    shapes = data.draw(st.lists(st.integers(0, 63), max_size=12))
    packets = [packet for shape in shapes for packet in source.take(shape)]
    call = Call(rig, 1)
    try:
        call.play(data.draw(damaged(packets)))
    finally:
        call.close()
