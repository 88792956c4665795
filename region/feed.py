"""A source as it arrives on this bridge: which of its encodings live, and what each layer costs.

Pure; it is shown the kernel's counters now and then, and knows neither kernel nor trunk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp

from region.allocation import Rates, nominal_rates
from region.encodings import Encoding
from region.kernel import ALIVE_S, StreamStats
from relay.ids import (
    SPATIAL_LAYERS,
    TEMPORAL_LAYERS,
    Layer,
    SourceId,
    SourceKind,
    VideoCodec,
    kind_of,
)
from relay.payload import PayloadType

SCREEN_ALIVE_S = 5.0
"""Of a screen nothing comes while nothing on it moves, or one picture a second."""
_SMOOTHING_S = 2.0
"""Rates follow so slowly: pictures differ in size, keyframes most."""
_LEAST_INTERVAL_S = 0.35
"""A rate over less than that says more of bursts than of a rate."""


@dataclass(slots=True)
class _Measured:
    """One encoding's counters at the last look, and its rates by layer."""

    at_s: float | None = None
    layer_bytes: tuple[int, ...] = ()
    layer_bps: list[float] = field(default_factory=list)
    encoding: Encoding = field(default_factory=lambda: Encoding(alive=False))
    carries: tuple[int, int] | None = None
    """By which the encoding is known: its payload type and spatial layers."""


class Feed:
    """A source's streams in the pump, the lowest encoding first."""

    def __init__(self, source: SourceId, streams: Sequence[int]) -> None:
        self.source = source
        self.streams = tuple(streams)
        self._measured = [_Measured() for _ in self.streams]
        self.encodings = tuple(each.encoding for each in self._measured)
        """As of the last look."""
        self.alive = False
        """Whether anything arrives, as of the last look."""
        self._is_screen = kind_of(source) is SourceKind.SCREEN
        self._rates_bps: dict[VideoCodec, Rates] = {}
        """As of the last look: every receiver asks for them."""

    @property
    def answers(self) -> bool:
        """Whether a keyframe can be had: a screen on which nothing moves sends none by itself."""
        return self.alive or self._is_screen

    @property
    def codec(self) -> VideoCodec | None:
        """Of what is alive, the newest; None when nothing is."""
        if self._scalable is not None:
            return self._scalable.codec
        codecs = [each.codec for each in self.encodings if each.alive]
        return codecs[-1] if codecs else None

    @property
    def _scalable(self) -> Encoding | None:
        """The one that has all layers, while there is such."""
        for each in self.encodings:
            if each.alive and each.codec is not None and each.codec.scalable:
                return each
        return None

    def look(self, stats: Sequence[StreamStats], now: float) -> bool:
        """The counters of each stream as they are now; whether an encoding has changed."""
        alive_s = SCREEN_ALIVE_S if self._is_screen else ALIVE_S
        is_other = False
        for measured, each in zip(self._measured, stats, strict=True):
            alive = each.packets > 0 and now - each.last_packet_s < alive_s
            if alive != measured.encoding.alive or measured.carries != (
                each.payload_type,
                each.spatial_layers,
            ):
                is_other |= _tell_apart(measured, each, alive)
            if _measure(measured, each, now):
                self._rates_bps.clear()
        if is_other:
            self._rates_bps.clear()
            self.encodings = tuple(each.encoding for each in self._measured)
            self.alive = any(each.alive for each in self.encodings)
        return is_other

    def rates_bps(self, codec: VideoCodec) -> Rates:
        """What each layer costs: measured where it comes, else what one of `codec` may cost."""
        if codec not in self._rates_bps:
            self._rates_bps[codec] = self._rates(codec)
        return self._rates_bps[codec]

    def _rates(self, codec: VideoCodec) -> Rates:
        layers = self._spatial_layers(codec)
        rates = nominal_rates(self.codec or codec, kind_of(self.source), layers)
        for layer, bps, comes in self._measured_bps():
            # What is not asked for does not come, and that does not make it free.
            rates[layer] = bps if comes else max(bps, rates.get(layer, 0))
        return Rates(rates)

    def _spatial_layers(self, codec: VideoCodec) -> int:
        """How many there could be: a camera that is asked for less now has more."""
        if len(self.streams) > 1 and kind_of(self.source) is SourceKind.CAMERA:
            return SPATIAL_LAYERS
        if self._scalable is not None:
            return self._scalable.spatial_layers
        return 1 if codec.scalable else len(self.streams)

    def _measured_bps(self) -> Iterator[tuple[Layer, int, bool]]:
        """Layers of what is alive, what comes up to them, and whether anything of themselves."""
        for index, measured in enumerate(self._measured):
            if not measured.encoding.alive or not measured.layer_bps:
                continue
            scalable = measured.encoding.spatial_layers > 1
            for spatial in range(min(measured.encoding.spatial_layers, SPATIAL_LAYERS)):
                total_bps = 0.0
                for temporal in range(TEMPORAL_LAYERS):
                    layer_bps = measured.layer_bps[spatial * TEMPORAL_LAYERS + temporal]
                    total_bps += layer_bps
                    layer = Layer(spatial if scalable else index, temporal)
                    yield layer, int(total_bps), layer_bps > 0


def _tell_apart(measured: _Measured, stats: StreamStats, alive: bool) -> bool:
    """Whether the encoding is another one than before."""
    measured.carries = stats.payload_type, stats.spatial_layers
    codec = PayloadType(stats.payload_type).codec if stats.payload_type >= 0 else None
    spatial_layers = max(1, stats.spatial_layers)
    before = measured.encoding
    measured.encoding = Encoding(alive=alive, codec=codec, spatial_layers=spatial_layers)
    if not alive:
        measured.at_s, measured.layer_bps = None, []
    return measured.encoding != before


def _measure(measured: _Measured, stats: StreamStats, now: float) -> bool:
    """Whether the rates of what is alive are known anew."""
    if not measured.encoding.alive:
        return False
    if measured.at_s is not None:
        elapsed_s = now - measured.at_s
        if elapsed_s < _LEAST_INTERVAL_S:
            return False
        rates = [
            8 * (total - before) / elapsed_s
            for total, before in zip(stats.layer_bytes, measured.layer_bytes, strict=True)
        ]
        old = measured.layer_bps or rates
        smoothing = 1 - exp(-elapsed_s / _SMOOTHING_S)
        measured.layer_bps = [
            was + smoothing * (is_now - was) for was, is_now in zip(old, rates, strict=True)
        ]
    measured.at_s, measured.layer_bytes = now, stats.layer_bytes
    return True
