"""VP8 with temporal layers as libwebrtc encodes it: descriptors, and which frames need which."""

from dataclasses import dataclass, field
from itertools import count

from hypothesis import strategies as st

from relay.payload import PayloadType
from tests.strategies.calls import SSRC, TICKS
from tests.strategies.rtp import near_wrap, rtp

_LAST, _GOLDEN = 0, 1
_PATTERN: tuple[tuple[int, tuple[int, ...], int | None], ...] = (
    (0, (_LAST,), _LAST),
    (2, (_LAST,), None),
    (1, (_LAST,), _GOLDEN),
    (2, (_LAST, _GOLDEN), None),
    (0, (_LAST,), _LAST),
    (2, (_LAST, _GOLDEN), None),
    (1, (_LAST, _GOLDEN), _GOLDEN),
    (2, (_LAST, _GOLDEN), None),
)
"""Of three temporal layers: the layer, which buffers it refers to, which one it updates."""


def descriptor(
    *,
    begins: bool = True,
    picture_id: int | None = None,
    bits: int = 15,
    tl0picidx: int | None = None,
    temporal: int | None = None,
    sync: bool = False,
    key_index: int | None = None,
) -> bytes:
    """RFC 7741 §4.2, by hand; nothing but the first byte where nothing is given."""
    fields = bytearray()
    flags = 0
    if picture_id is not None:
        flags |= 0x80
        wide = (0x8000 | picture_id % 0x8000).to_bytes(2)
        fields += wide if bits == 15 else bytes([picture_id % 0x80])
    if tl0picidx is not None:
        flags |= 0x40
        fields.append(tl0picidx % 0x100)
    if temporal is not None or key_index is not None:
        flags |= 0x20 * (temporal is not None) | 0x10 * (key_index is not None)
        fields.append((temporal or 0) << 6 | sync << 5 | (key_index or 0) % 32)
    first = 0x10 * begins | 0x80 * bool(flags)
    return bytes([first]) + bytes([flags] if flags else []) + bytes(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame: its packets' payloads, and which frames it needs, by their numbers."""

    number: int
    temporal: int
    keyframe: bool
    references: frozenset[int]
    payloads: tuple[bytes, ...]


@dataclass(slots=True, kw_only=True)
class Encoder:
    """Makes one frame after another; `picture_id` and `tl0picidx` are those of the first."""

    picture_id: int
    tl0picidx: int
    bits: int = 15
    layered: bool = True
    _numbers: "count[int]" = field(default_factory=count)
    _step: int = 0
    _buffers: dict[int, int] = field(default_factory=dict)
    _base_frames: int = -1

    def frame(self, *, packets: int = 1, keyframe: bool = False) -> Frame:
        """The next frame; the first is a keyframe whatever is asked for."""
        number = next(self._numbers)
        keyframe = keyframe or not number
        if keyframe:
            self._step = 0
        temporal, needed, updated = _PATTERN[self._step] if self.layered else _PATTERN[0]
        self._step = (self._step + 1) % len(_PATTERN)
        references = () if keyframe else tuple(self._buffers[each] for each in needed)
        if keyframe:
            self._buffers = {_LAST: number, _GOLDEN: number}
        elif updated is not None:
            self._buffers[updated] = number
        self._base_frames += temporal == 0
        return Frame(
            number=number,
            temporal=temporal,
            keyframe=keyframe,
            references=frozenset(references),
            payloads=tuple(
                descriptor(
                    begins=part == 0,
                    picture_id=self.picture_id + number,
                    bits=self.bits,
                    tl0picidx=self.tl0picidx + self._base_frames if self.layered else None,
                    temporal=temporal if self.layered else None,
                    sync=bool(temporal) and needed == (_LAST,),
                    key_index=1 if self.layered else None,
                )
                + bytes([0 if keyframe else 1])
                + number.to_bytes(2)
                + bytes([part])
                for part in range(packets)
            ),
        )


@dataclass(slots=True, kw_only=True)
class Camera:
    """Its packets, as they leave it."""

    encoder: Encoder
    sequence: int
    timestamp: int
    frames: dict[bytes, Frame] = field(default_factory=dict, repr=False)
    """Of each packet."""

    def take(self, shape: int = 0) -> list[bytes]:
        """The next frame's; `shape` is anything up to 63, and says what happens to it."""
        packets = 1 + shape % 3
        frame = self.encoder.frame(packets=packets, keyframe=shape > 60)
        made = []
        for part, payload in enumerate(frame.payloads):
            data = rtp(
                sequence=self.sequence,
                timestamp=self.timestamp + frame.number * TICKS,
                ssrc=SSRC,
                payload_type=PayloadType.VP8,
                payload=payload,
                marker=part == packets - 1,
            )
            self.sequence += 1
            self.frames[data] = frame
            made.append(data)
        return made


@st.composite
def cameras(draw: st.DrawFn, count: int) -> list[Camera]:
    """So many of one kind, often with numbers that are about to wrap."""
    layered, bits = draw(st.integers(0, 7)) < 7, draw(st.sampled_from((15, 15, 7)))
    return [draw(_cameras(layered, bits)) for _ in range(count)]


@st.composite
def _cameras(draw: st.DrawFn, layered: bool, bits: int) -> Camera:
    return Camera(
        encoder=Encoder(
            picture_id=draw(near_wrap(1 << bits)),
            tl0picidx=draw(near_wrap(1 << 8)),
            bits=bits,
            layered=layered,
        ),
        sequence=draw(near_wrap(1 << 16)),
        timestamp=draw(near_wrap(1 << 32)),
    )
