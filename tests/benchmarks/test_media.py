"""Scripts are what people send: their rates, their layers, their silence."""

from itertools import pairwise
from random import Random

import pytest

from benchmarks.load import media
from benchmarks.load.media import Script

SEEDS = range(5)


def offsets(script: Script) -> list[int]:
    return [frame.offset_us for frame in script.frames]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_an_encoding_has_the_rate_that_browsers_give_it(layer: int, seed: int) -> None:
    script = media.camera(layer, Random(seed))
    assert script.rate_bps == pytest.approx(media.LAYER_BPS[layer], rel=0.05)
    assert len(script.frames) == script.cycle_us // 1_000_000 * media.FRAMES_PER_S


def test_the_encodings_of_a_camera_have_their_frames_at_the_same_times() -> None:
    chance = Random(1)
    low, middle, high = (media.camera(layer, chance) for layer in range(3))
    assert offsets(low) == offsets(middle) == offsets(high)
    assert low.cycle_us == middle.cycle_us == high.cycle_us


def test_temporal_layers_have_their_shares_of_the_bits() -> None:
    frames = media.camera(2, Random(1)).frames
    assert [frame.temporal for frame in frames[:8]] == [0, 2, 1, 2, 0, 2, 1, 2]
    total = sum(frame.size_bytes for frame in frames)
    shares = [sum(it.size_bytes for it in frames if it.temporal == t) / total for t in range(3)]
    assert shares == pytest.approx([0.4, 0.2, 0.4], abs=0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_keyframe_is_several_times_as_large_as_a_frame(seed: int) -> None:
    script = media.camera(1, Random(seed))
    mean = sum(frame.size_bytes for frame in script.frames) / len(script.frames)
    assert 4.5 < script.keyframe_bytes / mean < 8.5


@pytest.mark.parametrize("make", [media.screen, media.microphone])
@pytest.mark.parametrize("seed", SEEDS)
def test_frames_follow_each_other_within_the_cycle(make: object, seed: int) -> None:
    assert callable(make)
    script = make(Random(seed))
    assert all(one < other for one, other in pairwise(offsets(script)))
    assert script.frames[0].offset_us >= 0
    assert script.frames[-1].offset_us < script.cycle_us


@pytest.mark.parametrize("seed", SEEDS)
def test_who_speaks_sends_fifty_packets_a_second_and_who_is_silent_hardly_any(seed: int) -> None:
    steps = pairwise(media.microphone(Random(seed), talking=0.5).frames)
    for frame, following in steps:
        step_us = following.offset_us - frame.offset_us
        if frame.level & 0x80:
            assert step_us == media.OPUS_FRAME_US
            assert frame.size_bytes > 20
        else:
            assert frame.level == 127
            assert step_us <= media.COMFORT_NOISE_US


def spoken_us(script: Script) -> int:
    return sum(media.OPUS_FRAME_US for frame in script.frames if frame.level & 0x80)


@pytest.mark.parametrize("talking", [0.0, 0.0026, 0.0074, 0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_people_speak_as_much_as_they_are_told_to(talking: float, seed: int) -> None:
    script = media.microphone(Random(seed), talking=talking)
    assert spoken_us(script) / script.cycle_us == pytest.approx(talking, rel=0.02)
    assert script.cycle_us >= 60_000_000


def test_plain_packets_are_of_one_size_and_evenly_spaced() -> None:
    script = media.plain(300, 1_150)
    assert script.packets_per_s == 300
    assert {frame.size_bytes for frame in script.frames} == {1_144}
    steps = {two - one for one, two in pairwise(offsets(script))}
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(("differing", "less"), [(False, 0), (True, 4)])
def test_bursts_are_frames_of_so_many_packets(differing: bool, less: int) -> None:
    script = media.bursts(30, 8, 1_150, differing=differing)
    assert script.packets_per_s == 240
    assert {frame.size_bytes for frame in script.frames} == {8 * 1_144 - less}


def test_the_same_chance_makes_the_same_script() -> None:
    assert media.camera(0, Random(3)) == media.camera(0, Random(3))
    assert media.microphone(Random(3)) != media.microphone(Random(4))
