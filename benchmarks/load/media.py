"""What people send, as scripts: cycles of frames, drawn once and played by the engine.

Pure: chance is an argument. Rates are what browsers tell encoders (180p, 360p, 720p), sizes vary
as encoders' do, and temporal layers have libvpx's shares (L1T3: 40, 20 and 40 % of the bits).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

FRAMES_PER_S = 30
LAYER_BPS = (150_000, 500_000, 1_500_000)
CAMERA_BPS = sum(LAYER_BPS)
PACE = 2.5
"""libwebrtc's pacer sends at so many times the target rate."""
PACKET_BYTES = 1_150
"""Of a frame in one packet, at most: with all headers that is what libwebrtc makes of 1,200."""

OPUS_BPS = 32_000
OPUS_FRAME_US = 20_000
COMFORT_NOISE_US = 400_000
"""Opus with DTX says so often that it is still silent."""

SCREEN_FRAMES_PER_S = 5

_CAMERA_CYCLE_S, _SCREEN_CYCLE_S = 20, 60
_SPURT_S = (1.0, 7.0)
"""How long somebody speaks at a time."""
_LEAST_CYCLE_S, _LEAST_SPURTS = 60, 2
"""Of speech: who speaks seldom has a longer cycle."""
_TEMPORAL = (0, 2, 1, 2)
_SHARE = (1.6, 0.8, 0.8)
"""Of the mean size, by temporal layer: 40 % in a quarter of the frames, and so on."""
_SPREAD = 0.25
"""Standard deviation of the logarithm of a frame's size."""
_KEYFRAMES = (5.0, 8.0)
"""How much larger than the mean a keyframe is."""
_SILENT = 127
_VOICE = 0x80
"""RFC 6464: the V bit."""
_DESCRIPTOR_BYTES = 6
"""Of VP8, in front of a frame's bytes in each packet."""


class Frame(NamedTuple):
    """One frame of a cycle."""

    offset_us: int
    size_bytes: int
    temporal: int = 0
    keyframe: bool = False
    level: int = 0
    """RFC 6464, the V bit and −dBov, of sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A cycle of frames, and how the sender deals with them."""

    frames: tuple[Frame, ...]
    cycle_us: int
    keyframe_bytes: int = 0
    """Of a keyframe that is asked for; 0 for as many as the frame would have."""
    packet_bytes: int = PACKET_BYTES
    """Of a frame in one packet, at most."""

    @property
    def rate_bps(self) -> float:
        """Of the frames alone, on average."""
        return sum(frame.size_bytes for frame in self.frames) * 8e6 / self.cycle_us

    @property
    def packets_per_s(self) -> float:
        """On average."""
        packets = sum(max(1, -(-each.size_bytes // self.packet_bytes)) for each in self.frames)
        return packets * 1e6 / self.cycle_us


@dataclass(frozen=True, slots=True)
class Turns:
    """When somebody speaks, again and again."""

    spurts: tuple[tuple[int, int], ...]
    """Begin and end of each in µs, of whole frames of Opus."""
    cycle_us: int

    @classmethod
    def draw(cls, chance: Random, talking: float = 0.2) -> "Turns":
        """So great a share of the time, exactly but for a frame a spurt; 0 for never."""
        mean_s = sum(_SPURT_S) / 2
        cycle_s = max(_LEAST_CYCLE_S, _LEAST_SPURTS * mean_s / talking if talking else 0.0)
        count = round(cycle_s * talking / mean_s)
        spurts = _parts(chance, count, cycle_s * talking)
        silences = _parts(chance, count, cycle_s * (1 - talking))
        ends: list[tuple[int, int]] = []
        at_s = 0.0
        for silence_s, spurt_s in zip(silences, spurts, strict=True):
            ends.append((_frame_us(at_s + silence_s), _frame_us(at_s + silence_s + spurt_s)))
            at_s += silence_s + spurt_s
        return cls(tuple(ends), max(_frame_us(cycle_s), ends[-1][1] if ends else 0))


def _parts(chance: Random, count: int, whole: float) -> list[float]:
    """Of different sizes, which are this much together."""
    sizes = [chance.uniform(*_SPURT_S) for _ in range(count)]
    return [size * whole / sum(sizes) for size in sizes]


def _frame_us(at_s: float) -> int:
    """Where the next frame of Opus begins."""
    return math.ceil(round(at_s * 1e6) / OPUS_FRAME_US) * OPUS_FRAME_US


def camera(layer: int, chance: Random) -> Script:
    """One of a camera's three VP8 encodings, the lowest 0; their frames are at the same times."""
    mean = LAYER_BPS[layer] / 8 / FRAMES_PER_S
    count = _CAMERA_CYCLE_S * FRAMES_PER_S
    frames = tuple(
        Frame(
            offset_us=number * 1_000_000 // FRAMES_PER_S,
            size_bytes=round(mean * _SHARE[temporal] * _varied(chance)),
            temporal=temporal,
        )
        for number in range(count)
        for temporal in (_TEMPORAL[number % len(_TEMPORAL)],)
    )
    return Script(
        frames=frames,
        cycle_us=_CAMERA_CYCLE_S * 1_000_000,
        keyframe_bytes=round(mean * chance.uniform(*_KEYFRAMES)),
    )


def microphone(chance: Random, *, talking: float = 0.2) -> Script:
    """Somebody who speaks so great a share of the time, in spurts, and is silent otherwise."""
    return voice(chance, Turns.draw(chance, talking))


def voice(chance: Random, turns: Turns) -> Script:
    """Somebody who speaks in these turns, and is silent otherwise."""
    return Script(frames=tuple(_spoken(chance, turns)), cycle_us=turns.cycle_us)


def _spoken(chance: Random, turns: Turns) -> Iterator[Frame]:
    mean_bytes = OPUS_BPS / 8 * OPUS_FRAME_US / 1e6
    loud_dbov = chance.randrange(20, 40)
    silent_from_us = 0
    for begin_us, end_us in (*turns.spurts, (turns.cycle_us, turns.cycle_us)):
        for at_us in range(silent_from_us, begin_us, COMFORT_NOISE_US):
            yield Frame(offset_us=at_us, size_bytes=1, level=_SILENT)
        for at_us in range(begin_us, end_us, OPUS_FRAME_US):
            level = min(_SILENT, max(0, round(chance.gauss(loud_dbov, 4))))
            size = round(mean_bytes * _varied(chance))
            yield Frame(offset_us=at_us, size_bytes=size, level=_VOICE | level)
        silent_from_us = end_us


def screen(chance: Random) -> Script:
    """Slides: mostly nothing moves, now and then all of it changes."""
    frames = []
    next_change = 0
    for number in range(_SCREEN_CYCLE_S * SCREEN_FRAMES_PER_S):
        changes = number == next_change
        if changes:
            next_change += round(chance.uniform(4, 15) * SCREEN_FRAMES_PER_S)
        mean = 60_000 if changes else 500
        frames.append(
            Frame(
                offset_us=number * 1_000_000 // SCREEN_FRAMES_PER_S,
                size_bytes=round(mean * _varied(chance)),
            )
        )
    return Script(frames=tuple(frames), cycle_us=_SCREEN_CYCLE_S * 1_000_000, keyframe_bytes=90_000)


def plain(packets_per_s: int, payload_bytes: int) -> Script:
    """Packets of one size, evenly spaced; `payload_bytes` of RTP payload each."""
    size = payload_bytes - _DESCRIPTOR_BYTES
    return Script(
        frames=tuple(
            Frame(offset_us=number * 1_000_000 // packets_per_s, size_bytes=size)
            for number in range(packets_per_s)
        ),
        cycle_us=1_000_000,
        packet_bytes=size,
    )


def bursts(
    frames_per_s: int, packets: int, payload_bytes: int, *, differing: bool = False
) -> Script:
    """Frames of so many packets of `payload_bytes`; or half of them are a byte smaller."""
    size = payload_bytes - _DESCRIPTOR_BYTES
    frame_bytes = packets * size - (packets // 2 if differing else 0)
    return Script(
        frames=tuple(
            Frame(offset_us=number * 1_000_000 // frames_per_s, size_bytes=frame_bytes)
            for number in range(frames_per_s)
        ),
        cycle_us=1_000_000,
        packet_bytes=size,
    )


def _varied(chance: Random) -> float:
    """Log-normal, 1 on average."""
    return math.exp(chance.gauss(-(_SPREAD**2) / 2, _SPREAD))
