"""What an engine has counted, between two looks: rates, losses, delays."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.counts import BUCKET_BOUNDS_NS, Totals
from benchmarks.load.engine import Engine

HEADERS_BYTES = 20 + 8
"""In front of an SRTP packet: IPv4 and UDP."""


@dataclass(frozen=True, slots=True)
class Delays:
    """How many packets took how long, from sender to receiver."""

    counts: Sequence[int]
    """By bucket of BUCKET_BOUNDS_NS."""

    @property
    def packets(self) -> int:
        """How many were looked at."""
        return sum(self.counts)

    def quantile_ms(self, share: float) -> float | None:
        """Not more than this many milliseconds for so great a share; None without packets."""
        left = self.packets * share
        if not left:
            return None
        for bound_ns, count in zip(BUCKET_BOUNDS_NS, self.counts, strict=True):
            left -= count
            if left <= 0 and count:
                return bound_ns / 1e6
        return BUCKET_BOUNDS_NS[-1] / 1e6

    def __sub__(self, earlier: "Delays") -> "Delays":
        pairs = zip(self.counts, earlier.counts, strict=True)
        return Delays([now - before for now, before in pairs])

    def __add__(self, other: "Delays") -> "Delays":
        return Delays([a + b for a, b in zip(self.counts, other.counts, strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that was counted up to a moment."""

    at_s: float
    """CLOCK_MONOTONIC."""
    totals: Totals
    audio: Delays
    video: Delays
    engine_cpu_s: float

    @classmethod
    def take(cls, engine: Engine) -> "Snapshot":
        """As of now."""
        audio, video = engine.delays()
        return cls(
            at_s=time.monotonic(),
            totals=engine.totals(),
            audio=Delays(audio),
            video=Delays(video),
            engine_cpu_s=engine.cpu_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of an interval."""

    seconds: float
    counted: Totals
    """What came in it; of `missing` how much more there is than before."""
    audio: Delays
    video: Delays
    engine_cpu: float
    """Share of a core that the load's own thread took."""

    @classmethod
    def between(cls, first: Snapshot, second: Snapshot) -> "Figures":
        """From the first to the second."""
        seconds = second.at_s - first.at_s
        pairs = zip(second.totals, first.totals, strict=True)
        return cls(
            seconds=seconds,
            counted=Totals(*(now - before for now, before in pairs)),
            audio=second.audio - first.audio,
            video=second.video - first.video,
            engine_cpu=(second.engine_cpu_s - first.engine_cpu_s) / seconds,
        )

    @property
    def packets_per_s(self) -> float:
        """Media that was received."""
        return self.counted.packets / self.seconds

    @property
    def bits_per_s(self) -> float:
        """That media as whole IPv4 packets."""
        counted = self.counted
        return (counted.bytes + counted.packets * HEADERS_BYTES) * 8 / self.seconds

    @property
    def sent_packets_per_s(self) -> float:
        """Media that was sent."""
        return self.counted.sent_packets / self.seconds

    @property
    def sent_bits_per_s(self) -> float:
        """That media as whole IPv4 packets."""
        counted = self.counted
        return (counted.sent_bytes + counted.sent_packets * HEADERS_BYTES) * 8 / self.seconds

    @property
    def lost(self) -> int:
        """Packets that have not come, repaired ones not among them."""
        return max(0, self.counted.missing + self.counted.given_up)

    @property
    def loss(self) -> float:
        """Their share of those that should have."""
        expected = self.counted.packets + self.lost
        return self.lost / expected if expected else 0.0

    @property
    def faults(self) -> dict[str, int]:
        """What must not be at all, by name, where it was."""
        counted = self.counted
        found = {
            "duplicates": counted.duplicates,
            "undecryptable": counted.undecryptable,
            "malformed": counted.malformed,
            "not of this load": counted.unmarked,
            "picture ids that jump": counted.picture_jumps,
            "TL0PICIDX that jump": counted.base_jumps,
            "of unknown payload types": counted.unexpected,
        }
        return {name: count for name, count in found.items() if count}

    @property
    def overloaded(self) -> bool:
        """Whether the load itself did not keep up: then the figures are its own and no bridge's."""
        counted = self.counted
        return bool(counted.skipped or counted.unsent or counted.overflowed)
