"""Transport-wide feedback as a value: when each packet of a transport arrived, or that none did.

Bridges have the kernel's (`region/kernel/feedback.pxd`, `arrivals.pxd`), of which this is the
oracle. draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1: the feedback control information
of RTPFB (205) with format 15, behind both SSRCs.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import NamedTuple

from relay.errors import LocalProtocolError, MalformedError

TICK_US = 250
"""Arrival times are told in such ticks."""
REFERENCE_TICKS = 256
"""The reference time counts 64 ms."""
REFERENCE_MODULUS_TICKS = REFERENCE_TICKS << 24
"""Reference times begin anew after 12 days."""
MAX_STATUSES = 0xFFFF

_HEADER_BYTES = 8
_MAX_RUN = 0x1FFF
_ONE_BIT_STATUSES = 14
_TWO_BIT_STATUSES = 7
_MAX_SMALL_TICKS = 0xFF
_LARGE_TICKS = range(-0x8000, 0x8000)
# §3.1: the FCI is filled up with zeros to 32 bits.
_MAX_PADDING_BYTES = 3


class _Status(IntEnum):
    """§3.1.1; 3 is reserved."""

    LOST = 0
    SMALL = 1
    LARGE = 2


class Arrival(NamedTuple):
    """One packet that arrived."""

    offset: int
    """Its sequence number less the feedback's first."""
    ticks: int
    """When it arrived, since the feedback's reference time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """§3.1: the fate of `statuses` packets from `base_sequence` on."""

    base_sequence: int
    statuses: int
    """1 to 65,535; those of them without an arrival had not arrived."""
    reference_ticks: int
    """By the clock of whoever reports; a multiple of REFERENCE_TICKS, modulo 2^32."""
    count: int
    """Feedbacks before this one, modulo 256."""
    arrivals: tuple[Arrival, ...]
    """By ascending offset."""


def parse_feedback_untrusted(fci: bytes) -> Feedback:
    """The feedback in `fci`; time and memory are bounded by its length, not by what it claims."""
    if len(fci) < _HEADER_BYTES:
        raise MalformedError("feedback without its header")
    base, statuses, reference = struct.unpack_from("!HHI", fci)
    if not statuses:
        raise MalformedError("feedback on no packet")
    received: list[tuple[int, int]] = []
    position = _HEADER_BYTES
    offset = 0
    while offset < statuses:
        if position + 2 > len(fci):
            raise MalformedError("feedback with fewer chunks than packets")
        offset = _read_chunk_untrusted(
            fci[position] << 8 | fci[position + 1], offset, statuses, received, len(fci)
        )
        position += 2
    arrivals, position = _read_arrivals_untrusted(fci, position, received)
    if len(fci) - position > _MAX_PADDING_BYTES:
        raise MalformedError("feedback longer than its packets")
    return Feedback(
        base_sequence=base,
        statuses=statuses,
        reference_ticks=(reference >> 8) * REFERENCE_TICKS,
        count=reference & 0xFF,
        arrivals=arrivals,
    )


def _read_chunk_untrusted(
    chunk: int, offset: int, statuses: int, received: list[tuple[int, int]], limit: int
) -> int:
    """Append what the chunk says of arrived packets; the offset behind what it covers."""
    if not chunk & 0x8000:
        # §3.1.3: a run; what is received costs a byte at least, so a longer run is a lie.
        status, length = chunk >> 13, chunk & _MAX_RUN
        end = min(offset + length, statuses)
        if not length:
            raise MalformedError("feedback with an empty run")
        if status != _Status.LOST:
            if len(received) + end - offset > limit:
                raise MalformedError("feedback with fewer deltas than packets")
            received.extend((each, status) for each in range(offset, end))
        return end
    # §3.1.4: a vector of one-bit or two-bit statuses, the first in the highest bits.
    if chunk & 0x4000:
        bits, length = 2, _TWO_BIT_STATUSES
    else:
        bits, length = 1, _ONE_BIT_STATUSES
    end = min(offset + length, statuses)
    shift = _ONE_BIT_STATUSES
    for each in range(offset, end):
        shift -= bits
        status = chunk >> shift & (1 << bits) - 1
        if status:
            received.append((each, status))
    return end


def _read_arrivals_untrusted(
    fci: bytes, position: int, received: list[tuple[int, int]]
) -> tuple[tuple[Arrival, ...], int]:
    """§3.1.5: each delta counts from the arrival before it, the first from the reference time."""
    arrivals = []
    ticks = 0
    try:
        for offset, status in received:
            if status == _Status.SMALL:
                ticks += fci[position]
                position += 1
            elif status == _Status.LARGE:
                ticks += struct.unpack_from("!h", fci, position)[0]
                position += 2
            else:
                raise MalformedError("feedback with a reserved status")
            arrivals.append(Arrival(offset, ticks))
    except (IndexError, struct.error):
        raise MalformedError("feedback with fewer deltas than packets") from None
    return tuple(arrivals), position


def build_feedback(feedback: Feedback) -> bytes:
    """The FCI, filled up to 32 bits; LocalProtocolError when a field does not fit its place."""
    deltas = bytearray()
    runs: list[list[int]] = []
    before_ticks = 0
    next_offset = 0
    for offset, ticks in feedback.arrivals:
        delta = ticks - before_ticks
        if offset < next_offset or offset >= feedback.statuses:
            raise LocalProtocolError(f"arrival at {offset} of {feedback.statuses}")
        if 0 <= delta <= _MAX_SMALL_TICKS:
            status = _Status.SMALL
            deltas.append(delta)
        elif delta in _LARGE_TICKS:
            status = _Status.LARGE
            deltas += struct.pack("!h", delta)
        else:
            raise LocalProtocolError(f"{delta} ticks between two arrivals")
        if offset > next_offset:
            runs.append([_Status.LOST, offset - next_offset])
        if runs and runs[-1][0] == status:
            runs[-1][1] += 1
        else:
            runs.append([status, 1])
        before_ticks, next_offset = ticks, offset + 1
    if next_offset < feedback.statuses:
        runs.append([_Status.LOST, feedback.statuses - next_offset])
    reference, remainder = divmod(feedback.reference_ticks, REFERENCE_TICKS)
    if remainder or not feedback.statuses:
        raise LocalProtocolError("feedback on no packet or from between two reference times")
    try:
        header = struct.pack(
            "!HHHBB",
            feedback.base_sequence,
            feedback.statuses,
            reference >> 8,
            reference & 0xFF,
            feedback.count,
        )
    except struct.error as error:
        raise LocalProtocolError(f"feedback field out of range: {error}") from None
    fci = header + b"".join(_chunks(runs)) + deltas
    return fci + bytes(-len(fci) % 4)


def _chunks(runs: list[list[int]]) -> Iterator[bytes]:
    """Chunks for (status, length) runs, which it uses up; never more than one a status."""
    at = 0
    while at < len(runs):
        status, length = runs[at]
        if length >= _ONE_BIT_STATUSES or at + 1 == len(runs):
            length = min(length, _MAX_RUN)
            yield struct.pack("!H", status << 13 | length)
            at = _used_up(runs, at, length)
            continue
        statuses = list(islice(_spread(runs, at), _ONE_BIT_STATUSES))
        if _Status.LARGE not in statuses:
            bits, room, chunk = 1, _ONE_BIT_STATUSES, 0b10
        else:
            bits, room, chunk = 2, _TWO_BIT_STATUSES, 0b11
            if length >= room:
                yield struct.pack("!H", status << 13 | length)
                at = _used_up(runs, at, length)
                continue
        statuses = statuses[:room]
        for each in statuses:
            chunk = chunk << bits | each
        yield struct.pack("!H", chunk << bits * (room - len(statuses)))
        at = _used_up(runs, at, len(statuses))


def _spread(runs: list[list[int]], at: int) -> Iterator[int]:
    for index in range(at, len(runs)):
        status, length = runs[index]
        # Nobody looks further than one vector.
        yield from [status] * min(length, _ONE_BIT_STATUSES)


def _used_up(runs: list[list[int]], at: int, length: int) -> int:
    while length:
        taken = min(length, runs[at][1])
        runs[at][1] -= taken
        length -= taken
        at += not runs[at][1]
    return at
