"""What a receiver reports of what arrives: draft-holmer-rmcat-transport-wide-cc-extensions-01."""

import struct
from collections import deque
from collections.abc import Iterable
from itertools import groupby

from benchmarks.ears import Arrival

TICK_US = 250
REFERENCE_TICKS = 256
MAX_QUEUE_US = 300_000
_MASK_32 = 0xFFFFFFFF
_MAX_RUN = 0x1FFF


class Feedback:
    """Of one receiver. With a thin downlink it tells what would have come through that, when."""

    def __init__(self, link_bps: int | None = None) -> None:
        self._link_bps = link_bps
        self._free_us = 0
        """When the link has sent all that waits."""
        self._epoch_us: int | None = None
        self._expected = 0
        """The number that nothing has been told of yet."""
        self._coming: deque[tuple[int, int]] = deque()
        """Numbers, and when they have come through the link."""
        self._told = 0

    def fci(self, arrivals: Iterable[Arrival], now_us: int) -> bytes | None:
        """The FCI of the next feedback, or None when there is nothing to tell."""
        for number, size_bytes, at_us in arrivals:
            if self._epoch_us is None:
                self._epoch_us, self._expected = at_us, number
            self._pass(number, size_bytes, at_us - self._epoch_us & _MASK_32)
        if self._epoch_us is None:
            return None
        come: dict[int, int] = {}
        while self._coming and self._coming[0][1] <= now_us - self._epoch_us & _MASK_32:
            number, at_us = self._coming.popleft()
            if number >= self._expected:
                come[number] = at_us // TICK_US
        return self._built(come) if come else None

    def _pass(self, number: int, size_bytes: int, at_us: int) -> None:
        last = self._coming[-1][0] if self._coming else self._expected
        unwrapped = last + (number - last + 0x8000 & 0xFFFF) - 0x8000
        if self._link_bps is not None:
            if self._free_us - at_us > MAX_QUEUE_US:
                return
            at_us = max(at_us, self._free_us) + size_bytes * 8_000_000 // self._link_bps
            self._free_us = at_us
        self._coming.append((unwrapped, at_us))

    def _built(self, come: dict[int, int]) -> bytes:
        first, last = self._expected, max(come)
        reference = min(come.values()) // REFERENCE_TICKS
        symbols: list[int] = []
        deltas = b""
        before = reference * REFERENCE_TICKS
        for number in range(first, last + 1):
            ticks = come.get(number)
            if ticks is None:
                symbols.append(0)
                continue
            delta, before = ticks - before, ticks
            small = 0 <= delta < 256
            symbols.append(1 if small else 2)
            deltas += struct.pack("!B" if small else "!h", delta)
        chunks = b""
        for symbol, group in groupby(symbols):
            length = sum(1 for _ in group)
            while length:
                run = min(length, _MAX_RUN)
                chunks += struct.pack("!H", symbol << 13 | run)
                length -= run
        self._expected = last + 1
        self._told += 1
        head = struct.pack("!HH", first & 0xFFFF, last + 1 - first)
        head += (reference & 0xFFFFFF).to_bytes(3, "big") + bytes([self._told & 0xFF])
        fci = head + chunks + deltas
        return fci + bytes(-len(fci) % 4)
