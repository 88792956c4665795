"""What single streams carry between two looks: rates by kind, and which layer was got.

Pure: it is given what the engine has counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.load.counts import SenderStats, StreamStats
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO
from benchmarks.load.watch import HEADERS_BYTES
from benchmarks.rates import Rate, Stream

LAYERS = (Stream.P180, Stream.P360, Stream.P720)
SPEAKING_PACKETS_PER_S = 40
"""A voice that sends less was silent for part of the time."""
AS_ASKED, WHOLE = 0.95, 0.99
"""Of the pictures, those that have to come in the layer asked for; and of the packets of these."""


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


class Got(NamedTuple):
    """What came of a picture between two looks."""

    layer: int
    """That of which most came."""
    packets: int | None
    """None where it was another picture, or in another layer, for part of the time."""


def layers_got(before: Iterable[StreamStats], now: Iterable[StreamStats]) -> dict[int, Got]:
    """What came between two looks at a client, by the sender of the picture.

    A sender is known by its handle in the engine.
    """
    earlier = {stream.ssrc: stream for stream in before}
    got: dict[int, Got] = {}
    for stream in now:
        was = earlier.get(stream.ssrc)
        first = (0,) * len(LAYERS) if was is None else was.layer_packets
        came = [after - each for after, each in zip(stream.layer_packets, first, strict=True)]
        if stream.kind == PAYLOAD_VIDEO and any(came):
            layer = came.index(max(came))
            same = was is not None and was.sender == stream.sender and sum(came) == came[layer]
            packets = stream.packets - was.packets if was is not None and same else None
            got[stream.sender] = Got(layer, packets)
    return got


@dataclass(slots=True)
class Layers:
    """How often which layer came where another, or the same, was asked for; how much of it."""

    counted: Counter[tuple[int, int | None]] = field(default_factory=Counter)
    """By the layer that was asked for and the one that came; None where no picture did."""
    came: int = 0
    """Packets of pictures that came in the layer that was asked for, and in no other."""
    sent: int = 0
    """What their senders sent of these meanwhile."""

    def see(self, asked: int, got: Got | None, sent: int | None = None) -> None:
        """One picture in one interval, of which its sender sent so many packets, if it is known."""
        self.counted[asked, None if got is None else got.layer] += 1
        if got is not None and got.layer == asked and got.packets is not None and sent is not None:
            self.came += got.packets
            self.sent += sent

    @property
    def whole(self) -> float:
        """Share of these pictures' packets that came: what is left out leaves no gap otherwise."""
        return self.came / self.sent if self.sent else 1.0

    @property
    def as_asked(self) -> float:
        """Share of all pictures that came in the layer asked for."""
        good = sum(count for (asked, got), count in self.counted.items() if asked == got)
        return good / max(1, sum(self.counted.values()))

    @property
    def faults(self) -> list[str]:
        """Why these are not the pictures that were asked for, if they are not."""
        found = []
        if self.as_asked < AS_ASKED:
            found.append(f"{self.as_asked:.0%} of the pictures as asked for")
        if self.whole < WHOLE:
            found.append(f"{1 - self.whole:.1%} of the pictures' packets left out")
        return found

    def share(self, asked: int, got: int | None) -> float:
        """Of the pictures asked for in that layer."""
        all_of_it = sum(count for (layer, _), count in self.counted.items() if layer == asked)
        return self.counted[asked, got] / all_of_it if all_of_it else 0.0
