"""Scalable streams as libwebrtc encodes them: which frames there are, and which need which."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from relay.payload import HeaderExtension, PayloadType
from tests.strategies.calls import SENDER_IDS, SSRC, TICKS
from tests.strategies.descriptors import L1T3, MODES, Frame, Scalability, write
from tests.strategies.rtp import near_wrap, rtp
from tests.strategies.vp8 import descriptor


class Encoder:
    """Makes one temporal unit after another."""

    def __init__(self, mode: Scalability, *, number: int = 0, offset: int = 0) -> None:
        self.mode = mode
        self._number = number
        self._offset = offset
        """Of the templates' ids."""
        self._step = 0
        self._last: dict[tuple[int, int], int] = {}
        self._chains: list[int | None] = [None] * mode.spatial
        self._layers = (mode.spatial, mode.temporal)
        self._restart = True
        self._tells_active = False

    @property
    def targets(self) -> int:
        """How many decode targets there are."""
        return self.mode.spatial * self.mode.temporal

    def layers(self, spatial: int, temporal: int) -> None:
        """Send so many layers from now on; more spatial ones begin at a keyframe."""
        layers = min(spatial, self.mode.spatial), min(temporal, self.mode.temporal)
        self._restart |= layers[0] > self._layers[0]
        self._tells_active |= layers != self._layers
        self._layers = layers

    def unit(self, *, keyframe: bool = False, spatial: int = 3) -> list[Frame]:
        """The next one; its upper spatial layers may be left out where nothing builds on them."""
        restarts = keyframe or self._restart
        if restarts:
            self._step = 0
            self._last.clear()
            self._restart = False
        steps = {1: (0,), 2: (0, 1), 3: (0, 2, 1, 2)}[self.mode.temporal]
        temporal = steps[self._step]
        self._step = (self._step + 1) % len(steps)
        if temporal >= self._layers[1]:
            return []
        sent = self._layers[0] if temporal == 0 else min(spatial, self._layers[0])
        frames: list[Frame] = []
        for layer in range(sent):
            below = frames[-1].number if frames else None
            frames.append(self._frame(layer, temporal, below, restarts))
        self._tells_active = False
        return frames

    def _frame(self, spatial: int, temporal: int, below: int | None, restarts: bool) -> Frame:
        number, self._number = self._number, self._number + 1
        references: list[int] = []
        if not restarts:
            sources = ((spatial, 1), (spatial, 0)) if temporal == 2 else ((spatial, 0),)
            references.append(next(self._last[each] for each in sources if each in self._last))
        if below is not None and (restarts or self.mode.inter_layer):
            references.append(below)
        keyframe = restarts and spatial == 0
        if keyframe:
            self._chains = [None] * self.mode.spatial
        chains = tuple(0 if last is None else number - last for last in self._chains)
        for chain in range(self.mode.spatial):
            if temporal == 0 and self._is_below(spatial, chain, restarts):
                self._chains[chain] = number
        if temporal == 0:
            self._last[spatial, 0] = number
            self._last.pop((spatial, 1), None)
        elif temporal == 1:
            self._last[spatial, 1] = number
        full = self._layers == (self.mode.spatial, self.mode.temporal)
        return Frame(
            number=number,
            spatial=spatial,
            temporal=temporal,
            indications="".join(
                self._indication(spatial, temporal, to_spatial, to_temporal, restarts)
                for to_spatial in range(self.mode.spatial)
                for to_temporal in range(self.mode.temporal)
            ),
            references=tuple(references),
            chains=chains,
            keyframe=keyframe,
            active=None if full and not self._tells_active else self._active(),
        )

    def _is_below(self, spatial: int, upper: int, restarts: bool) -> bool:
        """Whether what shows the upper layer needs frames of this one."""
        return spatial <= upper if restarts or self.mode.inter_layer else spatial == upper

    def _indication(
        self, spatial: int, temporal: int, to_spatial: int, to_temporal: int, restarts: bool
    ) -> str:
        if not self._is_below(spatial, to_spatial, restarts) or temporal > to_temporal:
            return "-"
        if restarts:
            return "S"
        if spatial < to_spatial:
            return "R"
        return "D" if temporal == to_temporal > 0 else "S"

    def _active(self) -> int:
        return sum(
            1 << spatial * self.mode.temporal + temporal
            for spatial in range(self._layers[0])
            for temporal in range(self._layers[1])
        )

    def describe(self, frame: Frame, *, begins: bool = True, ends: bool = True) -> bytes:
        """The descriptor of one of the frame's packets."""
        return write(self.mode.templates, frame, begins=begins, ends=ends, offset=self._offset)


@dataclass(slots=True, kw_only=True)
class Camera:
    """Its packets, as they leave it."""

    encoder: Encoder
    payload_type: PayloadType
    sequence: int
    timestamp: int
    frames: dict[bytes, Frame] = field(default_factory=dict, repr=False)
    """Of each packet."""
    _units: int = 0

    def take(self, shape: int = 0) -> list[bytes]:
        """The next temporal unit's; `shape` is anything up to 63, and says what happens to it."""
        if 40 <= shape < 52:
            self.encoder.layers(shape % 3 + 1, shape // 3 % 3 + 1)
        left_out = {52: 1, 53: 2}.get(shape, 3)
        frames = self.encoder.unit(keyframe=shape > 60, spatial=left_out)
        self._units += 1
        return [
            self._packet(frame, part, packets, ends_unit=frame is frames[-1])
            for frame in frames
            for packets in [1 + shape % 2]
            for part in range(packets)
        ]

    def _packet(self, frame: Frame, part: int, packets: int, *, ends_unit: bool) -> bytes:
        begins, ends = part == 0, part == packets - 1
        data = rtp(
            sequence=self.sequence,
            timestamp=self.timestamp + self._units * TICKS,
            ssrc=SSRC,
            payload_type=self.payload_type,
            payload=_payload(self.payload_type, frame, begins=begins) + self.sequence.to_bytes(3),
            marker=ends_unit and ends,
            extensions=(
                (
                    SENDER_IDS[HeaderExtension.DEPENDENCY_DESCRIPTOR],
                    self.encoder.describe(frame, begins=begins, ends=ends),
                ),
            ),
            two_byte=True,
        )
        self.sequence += 1
        self.frames[data] = frame
        return data


def _payload(payload_type: PayloadType, frame: Frame, *, begins: bool) -> bytes:
    if payload_type == PayloadType.AV1:  # N: a coded video sequence begins
        return bytes([0x10 | 0x08 * (frame.keyframe and begins)])
    if payload_type == PayloadType.VP8:
        head = descriptor(begins=begins, picture_id=frame.number, temporal=frame.temporal)
        return head + bytes([not frame.keyframe])
    # RFC 9628 §4.2: P, L and B, then the layer.
    first = 0x20 | 0x40 * (not frame.keyframe) | 0x08 * begins
    return bytes([first, frame.temporal << 5 | frame.spatial << 1, 0])


@st.composite
def cameras(draw: st.DrawFn, count: int) -> list[Camera]:
    """So many of one codec, often with numbers that are about to wrap."""
    payload_type = draw(st.sampled_from((PayloadType.AV1, PayloadType.VP9, PayloadType.VP8)))
    modes = (L1T3,) if payload_type is PayloadType.VP8 else MODES
    return [draw(_cameras(payload_type, modes)) for _ in range(count)]


@st.composite
def _cameras(draw: st.DrawFn, payload_type: PayloadType, modes: Sequence[Scalability]) -> Camera:
    return Camera(
        encoder=Encoder(
            draw(st.sampled_from(modes)),
            number=draw(near_wrap(1 << 16)),
            offset=draw(st.integers(0, 63)),
        ),
        payload_type=payload_type,
        sequence=draw(near_wrap(1 << 16)),
        timestamp=draw(near_wrap(1 << 32)),
    )
