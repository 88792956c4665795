"""What single streams carry between two looks: rates by kind, and which layer was got.

Pure: it is given what the engine has counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO, SenderStats, StreamStats
from benchmarks.load.watch import HEADERS_BYTES
from benchmarks.rates import Rate, Stream

LAYERS = (Stream.P180, Stream.P360, Stream.P720)
SPEAKING_PACKETS_PER_S = 40
"""A voice that sends less was silent for part of the time."""


@dataclass(slots=True)
class Carried:
    """Of streams of one kind, over the seconds in which they carried nothing else."""

    packets: int = 0
    size_bytes: int = 0
    seconds: float = 0.0

    def add(self, packets: int, size_bytes: int, seconds: float) -> None:
        """What one of them carried in so long."""
        self.packets += packets
        self.size_bytes += size_bytes
        self.seconds += seconds

    @property
    def rate(self) -> Rate:
        """Of one, as whole IPv4 packets."""
        bits = (self.size_bytes + self.packets * HEADERS_BYTES) * 8
        return Rate(packets_s=self.packets / self.seconds, bps=bits / self.seconds)


@dataclass(slots=True)
class Rates:
    """Gathered from looks at all streams, both ways."""

    received: dict[Stream, Carried] = field(default_factory=dict)
    sent: dict[Stream, Carried] = field(default_factory=dict)

    def see_received(self, before: StreamStats, now: StreamStats, seconds: float) -> None:
        """One stream's two looks; a second in which it changed its layer counts for none."""
        packets, size_bytes = now.packets - before.packets, now.bytes - before.bytes
        kind: Stream | None = None
        if now.kind == PAYLOAD_AUDIO:
            kind = Stream.VOICE if packets >= SPEAKING_PACKETS_PER_S * seconds else None
        elif now.kind == PAYLOAD_VIDEO:
            layers = _layers(before, now)
            kind = LAYERS[layers[0]] if len(layers) == 1 else None
        if kind is not None:
            self.received.setdefault(kind, Carried()).add(packets, size_bytes, seconds)

    def see_sent(self, kind: Stream, before: SenderStats, now: SenderStats, seconds: float) -> None:
        """One sender's two looks; not while it paused."""
        packets = now.packets - before.packets
        least = SPEAKING_PACKETS_PER_S * seconds if kind is Stream.VOICE else 1
        if packets >= least:
            self.sent.setdefault(kind, Carried()).add(packets, now.bytes - before.bytes, seconds)

    @property
    def of_received(self) -> Mapping[Stream, Rate]:
        """Of one stream of each kind."""
        return {kind: carried.rate for kind, carried in self.received.items()}

    @property
    def of_sent(self) -> Mapping[Stream, Rate]:
        """Of one stream of each kind."""
        return {kind: carried.rate for kind, carried in self.sent.items()}


def _layers(before: StreamStats, now: StreamStats) -> list[int]:
    pairs = zip(now.layer_packets, before.layer_packets, strict=True)
    return [layer for layer, (after, earlier) in enumerate(pairs) if after > earlier]


def layers_got(before: Iterable[StreamStats], now: Iterable[StreamStats]) -> dict[int, int]:
    """The layer of which most came between two looks at a client, by the sender of the picture.

    A sender is known by its handle in the engine.
    """
    earlier = {stream.ssrc: stream.layer_packets for stream in before}
    got: dict[int, int] = {}
    for stream in now:
        was = earlier.get(stream.ssrc, (0,) * len(LAYERS))
        came = [after - first for after, first in zip(stream.layer_packets, was, strict=True)]
        if stream.kind == PAYLOAD_VIDEO and any(came):
            got[stream.sender] = came.index(max(came))
    return got


@dataclass(slots=True)
class Layers:
    """How often which layer came where another, or the same, was asked for."""

    counted: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    """By the layer that was asked for and the one that came; None where no picture did."""

    def see(self, asked: int, got: int | None) -> None:
        """One picture in one interval."""
        self.counted[asked, got] += 1

    def share(self, asked: int, got: int | None) -> float:
        """Of the pictures asked for in that layer."""
        all_of_it = sum(count for (layer, _), count in self.counted.items() if layer == asked)
        return self.counted[asked, got] / all_of_it if all_of_it else 0.0
