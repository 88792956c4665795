"""VP8's temporal layers through the kernel: what is left out leaves no trace."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import reference_codecs
from relay.payload import PayloadType
from tests.region.playing import Call, Passed, assert_decodable, assert_one_stream
from tests.region.rig import Rig
from tests.strategies.calls import SSRC, Arrives, Limit, Source, schedules
from tests.strategies.rtp import rtp
from tests.strategies.vp8 import Camera, Encoder, cameras, descriptor

SLOW = settings(
    deadline=None,
    max_examples=80,
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


def camera(*, picture_id: int = 0x7FFE, tl0picidx: int = 254) -> Camera:
    return Camera(
        encoder=Encoder(picture_id=picture_id, tl0picidx=tl0picidx),
        sequence=65_530,
        timestamp=2**32 - 5_000,
    )


def take(call: Call, source: Camera, frames: int, shape: int = 0) -> None:
    for _ in range(frames):
        call.play(Arrives(0, packet) for packet in source.take(shape))


def pictures(passed: Iterable[Passed]) -> list[reference_codecs.Picture]:
    return [reference_codecs.parse_picture_untrusted(each.left.payload) for each in passed]


def test_frames_that_are_left_out_leave_no_gap_in_any_number(call: Call) -> None:
    source = camera()
    call.play([Limit(2, 0)])
    take(call, source, 21)
    got = pictures(call.passed)
    assert [each.temporal for each in got] == [0] * 6
    assert [each.picture_id for each in got] == [0x7FFE, 0x7FFF, 0, 1, 2, 3]
    assert [each.tl0picidx for each in got] == [254, 255, 0, 1, 2, 3]
    assert [each.left.sequence for each in call.passed] == [*range(65_530, 65_536)]
    assert [each.left.timestamp for each in call.passed] == [
        each.came.timestamp for each in call.passed
    ]


def test_fewer_layers_begin_with_the_next_frame(call: Call) -> None:
    source = camera()
    take(call, source, 5)
    call.play([Limit(2, 1)])
    take(call, source, 4)
    assert [each.temporal for each in pictures(call.passed)] == [0, 2, 1, 2, 0, 1, 0]


def test_more_layers_begin_only_with_a_frame_that_needs_the_base_layer_alone(call: Call) -> None:
    source = camera()
    call.play([Limit(2, 0)])
    take(call, source, 4)
    call.play([Limit(2, 2)])
    # The base layer's frame says nothing of the frames behind it, which refer to one left out.
    take(call, source, 4)
    assert [each.temporal for each in pictures(call.passed)] == [0, 0]
    take(call, source, 4)
    assert [each.temporal for each in pictures(call.passed)] == [0, 0, 0, 2, 1, 2]


def test_more_layers_begin_with_a_keyframe(call: Call) -> None:
    source = camera()
    call.play([Limit(2, 0)])
    take(call, source, 4)
    call.play([Limit(2, 2)])
    take(call, source, 1, shape=63)
    take(call, source, 1)
    assert [each.temporal for each in pictures(call.passed)] == [0, 0, 2]


def test_all_packets_of_a_frame_pass_or_none(call: Call) -> None:
    source = camera()
    call.play([Limit(2, 2)])
    first, second, third = source.take(2)
    call.play([Arrives(0, first), Limit(2, 0), Arrives(0, second), Arrives(0, third)])
    parts = source.take(2)
    call.play([Arrives(0, parts[0]), Limit(2, 2), *(Arrives(0, part) for part in parts[1:])])
    assert [each.packet for each in call.passed] == [first, second, third]


def test_what_comes_late_gets_the_number_that_was_left_for_it(call: Call) -> None:
    source = camera()
    call.play([Limit(2, 0)])
    frames = [source.take()[0] for _ in range(9)]
    late = frames.pop(4)  # of the base layer
    call.play(Arrives(0, packet) for packet in [*frames, late])
    assert [each.left.sequence for each in call.passed] == [65_530, 65_532, 65_531]
    assert [each.picture_id for each in pictures(call.passed)] == [0x7FFE, 0, 0x7FFF]


def test_what_comes_late_and_is_left_out_moves_nothing(call: Call) -> None:
    source = camera()
    call.play([Limit(2, 0)])
    frames = [source.take()[0] for _ in range(9)]
    late = frames.pop(3)  # of the top layer
    call.play(Arrives(0, packet) for packet in [*frames, late])
    assert [each.left.sequence for each in call.passed] == [65_530, 65_532, 65_533]


def test_packets_without_layers_always_pass(call: Call) -> None:
    source = camera()
    call.play([Limit(0, 0)])
    take(call, source, 2)
    padding = rtp(
        sequence=source.sequence,
        timestamp=5,
        ssrc=SSRC,
        payload_type=PayloadType.VP8,
        payload=b"",
        padding=200,
    )
    bare = rtp(
        sequence=source.sequence + 1,
        timestamp=6,
        ssrc=SSRC,
        payload_type=PayloadType.VP8,
        payload=descriptor() + b"\x01 without layers",
    )
    call.play([Arrives(0, padding), Arrives(0, bare)])
    assert [each.packet for each in call.passed[1:]] == [padding, bare]


@pytest.mark.parametrize("length", range(8))
def test_a_descriptor_that_ends_too_soon_is_passed_as_it_came(call: Call, length: int) -> None:
    source = camera()
    call.play([Limit(0, 0)])
    take(call, source, 1)
    whole = descriptor(picture_id=5, tl0picidx=6, temporal=2, key_index=1) + b"\x01"
    cut = rtp(
        sequence=source.sequence,
        timestamp=5,
        ssrc=SSRC,
        payload_type=PayloadType.VP8,
        payload=whole[:length],
    )
    call.play([Arrives(0, cut)])
    assert len(call.passed) == (1 if length == len(whole) else 2)


def test_numbers_go_on_when_the_slot_gets_another_camera(rig: Rig) -> None:
    call = Call(rig, 2)
    first, second = camera(), camera(picture_id=900, tl0picidx=7)
    call.play([Source(0)])
    take(call, first, 3)
    call.play([Source(1), Limit(2, 0)])
    call.play(Arrives(1, packet) for _ in range(5) for packet in second.take())
    got = pictures(call.passed)
    assert [each.left.sequence for each in call.passed] == [65_530 + n for n in range(5)]
    assert [each.picture_id for each in got] == [0x7FFE, 0x7FFF, 0, 1, 2]
    assert [each.tl0picidx for each in got] == [254, 254, 254, 255, 0]


def test_frames_are_told_apart_by_short_picture_ids_too(call: Call) -> None:
    source = Camera(encoder=Encoder(picture_id=120, tl0picidx=0, bits=7), sequence=1, timestamp=1)
    for _ in range(3):  # the id that was left out comes again, and is left out again
        call.play([Limit(2, 0)])
        take(call, source, 2)
        call.play([Limit(2, 2)])
        take(call, source, 126)
    numbers = [each.picture_id for each in pictures(call.passed)]
    assert all(after == (before + 1) % 128 for before, after in pairwise(numbers))


def test_a_repeated_packet_carries_the_numbers_with_which_it_left(call: Call) -> None:
    source = camera()
    take(call, source, 4)
    call.play([Limit(2, 0)])
    take(call, source, 20)
    assert call.repeat() == len(call.passed) == 9


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
def test_every_frame_that_passes_has_all_that_it_needs_and_numbers_have_no_gaps(
    rig: Rig, data: st.DataObject
) -> None:
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
    modulus = 1 << made[0].encoder.bits
    for (before, after), (was, now) in zip(
        pairwise(passed), pairwise(pictures(passed)), strict=True
    ):
        assert after.left.sequence == (before.left.sequence + 1) % 2**16
        same = not after.switched and references(before)[0] == references(after)[0]
        assert was.picture_id is not None
        assert now.picture_id == (was.picture_id + (not same)) % modulus
        if was.tl0picidx is not None:
            goes_on = not same and now.temporal == 0
            assert now.tl0picidx == (was.tl0picidx + goes_on) % 256
