"""What a person sends: a voice that speaks in words, a camera's encodings in small pictures."""

import random
import struct
import time
from dataclasses import dataclass

from benchmarks.client import OPUS, VP8
from region.rtcp import SenderReport
from relay.ids import Ssrc

COMFORT_NOISE_S = 0.4
"""Opus with DTX says so often that it is still silent."""
_TEMPORAL_LAYERS = (0, 2, 1, 2)
_NTP_EPOCH_S = 2_208_988_800


@dataclass(slots=True)
class Outgoing:
    """One RTP stream of a person."""

    ssrc: int
    payload_type: int
    clock_rate: int
    sequence: int
    packets: int = 0
    octets: int = 0

    def report(self, now: float) -> SenderReport:
        ntp = int((time.time() + _NTP_EPOCH_S) * 2**32) & 0xFFFFFFFFFFFFFFFF
        return SenderReport(
            ssrc=Ssrc(self.ssrc),
            ntp=ntp,
            timestamp_ticks=self.ticks(now),
            packets=self.packets,
            octets=self.octets,
        )

    def ticks(self, now: float) -> int:
        return int(now * self.clock_rate) & 0xFFFFFFFF

    def packet(self, now: float, extensions: bytes, payload: bytes) -> bytes:
        """RFC 3550 §5.1, RFC 8285 §4.2."""
        self.sequence = self.sequence + 1 & 0xFFFF
        self.packets += 1
        self.octets += len(payload)
        extensions += bytes(-len(extensions) % 4)
        return (
            struct.pack(
                *("!BBHIIHH", 0x90, 0x80 | self.payload_type, self.sequence, self.ticks(now)),
                *(self.ssrc, 0xBEDE, len(extensions) // 4),
            )
            + extensions
            + payload
        )


class Voice(Outgoing):
    """A microphone: words with pauses between them during a turn, comfort noise otherwise."""

    def __init__(self, ssrc: int, chance: random.Random) -> None:
        super().__init__(ssrc, OPUS, 48_000, chance.randrange(2**15))
        self._chance = chance
        self._loud_dbov = chance.randrange(20, 40)
        self._sent_s = 0.0
        self._turn_until_s = 0.0
        self._word_until_s = 0.0
        self._pause_until_s = 0.0

    def speaks(self, now: float) -> bool:
        return now < self._turn_until_s

    def speak(self, now: float, duration_s: float) -> None:
        self._turn_until_s = now + duration_s

    def due(self, now: float) -> int | None:
        """The level to send a packet with, or None."""
        if not self.speaks(now):
            if now - self._sent_s < COMFORT_NOISE_S:
                return None
            self._sent_s = now
            return 127
        self._sent_s = now
        if now > self._pause_until_s:
            self._word_until_s = now + self._chance.uniform(0.2, 1.5)
            self._pause_until_s = self._word_until_s + self._chance.uniform(0.05, 0.35)
        loud = now < self._word_until_s
        level = self._chance.gauss(self._loud_dbov if loud else 75, 4)
        return min(127, max(0, int(level)))


class Encoding(Outgoing):
    """One of a camera's three: one packet a picture, in three temporal layers."""

    def __init__(self, ssrc: int, size_bytes: int, chance: random.Random) -> None:
        super().__init__(ssrc, VP8, 90_000, chance.randrange(2**15))
        self.keyframe = True
        """Whether the next picture is one."""
        self._size_bytes = size_bytes
        self._picture = chance.randrange(2**15)
        self._base = 0

    def payload(self) -> bytes:
        """RFC 7741 §4.2: picture id of 15 bits, TL0PICIDX, TID; then as much of VP8 as counts."""
        self._picture = self._picture + 1 & 0x7FFF
        temporal = 0 if self.keyframe else _TEMPORAL_LAYERS[self.packets % 4]
        if temporal == 0:
            self._base = self._base + 1 & 0xFF
        descriptor = struct.pack(
            "!BBHBB", 0x90, 0xE0, 0x8000 | self._picture, self._base, temporal << 6 | 0x20
        )
        start = b"\x10\x00\x00\x9d\x01\x2a\x80\x02\x68\x01" if self.keyframe else b"\x11\x00\x00"
        self.keyframe = False
        return descriptor + start + bytes(self._size_bytes - len(start))
