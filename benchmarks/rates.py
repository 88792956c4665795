"""What one stream carries: the kinds of streams that a person sends and gets, and their rates.

Pure. Measured rates come from `benchmarks.capacity`; `STATED` stands in where none are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from region.allocation import nominal_rates
from relay.ids import SPATIAL_LAYERS, TOP_LAYER, Layer, SourceKind, VideoCodec

FRAMES_S = 30
PAYLOAD_BYTES = 1_150
"""Of a packet at most."""
HEADER_BYTES = 20 + 8 + 28 + 16
"""Of a packet: IPv4, UDP, RTP with its extensions, SRTP's authentication tag (AES-GCM)."""
VOICE_BPS = 32_000
VOICE_PACKETS_S = 50


class Stream(StrEnum):
    """A kind of RTP stream: a camera's encoding by the height of its picture, or a voice."""

    P180 = "180p"
    P360 = "360p"
    P720 = "720p"
    VOICE = "voice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Packets and bits per second; the bits are those of whole IP packets, headers and all."""

    packets_s: float
    bps: float

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(packets_s=self.packets_s + other.packets_s, bps=self.bps + other.bps)

    def __mul__(self, factor: float) -> "Rate":
        return Rate(packets_s=self.packets_s * factor, bps=self.bps * factor)


NOTHING = Rate(packets_s=0.0, bps=0.0)


def total(rates: Iterable[Rate]) -> Rate:
    """All of them together."""
    return sum(rates, start=NOTHING)


def _picture(spatial: int) -> Rate:
    """Of equally large frames, so much as the layer may cost at most."""
    bps = nominal_rates(VideoCodec.VP8, SourceKind.CAMERA, SPATIAL_LAYERS)[
        Layer(spatial, TOP_LAYER.temporal)
    ]
    packets_s = FRAMES_S * ceil(bps / 8 / FRAMES_S / PAYLOAD_BYTES)
    return _on_the_wire(bps, packets_s)


def _on_the_wire(payload_bps: float, packets_s: float) -> Rate:
    return Rate(packets_s=packets_s, bps=payload_bps + packets_s * HEADER_BYTES * 8)


STATED: Mapping[Stream, Rate] = {
    Stream.P180: _picture(0),
    Stream.P360: _picture(1),
    Stream.P720: _picture(2),
    Stream.VOICE: _on_the_wire(VOICE_BPS, VOICE_PACKETS_S),
}
"""Not measured: VP8's layers at the most that octomesh's client gives them, 30 pictures a
second, and Opus in packets of 20 ms."""
