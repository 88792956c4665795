"""Gaps in an incoming stream: which packets are missing, and when to ask for them again.

RFC 4585 section 6.2.1 (generic NACK). A gap is asked for at once, then each round trip, and
given up after MAX_TRIES or when it would come too late to be of use.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from region.kernel.wire cimport store16, store32

cdef enum:
    MAX_MISSING = 128  # of one stream; a longer gap is an interruption, not a loss
    MAX_TRIES = 10
    GIVE_UP_NS = 1_000_000_000

cdef struct Missing:
    int64_t since_ns
    int64_t due_ns
    uint16_t sequence
    uint8_t tries

cdef struct Gaps:
    Missing missing[MAX_MISSING]
    int count
    uint32_t given_up  # packets that never came


cdef inline void gaps_open(Gaps *gaps, uint16_t first, int count, int64_t now_ns) noexcept nogil:
    """`count` packets from `first` on did not come before a later one did."""
    cdef int i
    if count > MAX_MISSING:
        gaps.given_up += gaps.count + count
        gaps.count = 0
        return
    if gaps.count + count > MAX_MISSING:  # the oldest make room
        i = gaps.count + count - MAX_MISSING
        gaps.given_up += i
        gaps_drop_first(gaps, i)
    for i in range(count):
        gaps.missing[gaps.count].sequence = <uint16_t>(first + i)
        gaps.missing[gaps.count].since_ns = now_ns
        gaps.missing[gaps.count].due_ns = now_ns
        gaps.missing[gaps.count].tries = 0
        gaps.count += 1


cdef inline void gaps_drop_first(Gaps *gaps, int count) noexcept nogil:
    cdef int i
    gaps.count -= count
    for i in range(gaps.count):
        gaps.missing[i] = gaps.missing[i + count]


cdef inline bint gaps_fill(Gaps *gaps, uint16_t sequence) noexcept nogil:
    """A packet came late: whether it was missing."""
    cdef int i, j
    for i in range(gaps.count):
        if gaps.missing[i].sequence == sequence:
            gaps.count -= 1
            for j in range(i, gaps.count):
                gaps.missing[j] = gaps.missing[j + 1]
            return True
    return False


cdef inline int gaps_due(
    Gaps *gaps, uint16_t *wanted, int64_t now_ns, int64_t retry_ns
) noexcept nogil:
    """Those to be asked for now, in order; drops those that are to be given up."""
    cdef int i, kept = 0, due = 0
    cdef Missing *missing
    for i in range(gaps.count):
        missing = &gaps.missing[i]
        if missing.due_ns <= now_ns:
            if missing.tries >= MAX_TRIES or now_ns - missing.since_ns > GIVE_UP_NS:
                gaps.given_up += 1
                continue
            missing.tries += 1
            missing.due_ns = now_ns + retry_ns
            wanted[due] = missing.sequence
            due += 1
        gaps.missing[kept] = missing[0]
        kept += 1
    gaps.count = kept
    return due


cdef inline int write_nack(
    uint8_t *out, uint32_t sender_ssrc, uint32_t media_ssrc, const uint16_t *wanted, int count
) noexcept nogil:
    """An empty receiver report and a generic NACK; its length, at most 20 + 4 × count."""
    cdef int at = 20, i = 0
    cdef uint16_t first, bits
    store32(out, 0x80C90001)  # RFC 3550 section 6.4.2: no block
    store32(out + 4, sender_ssrc)
    store16(out + 8, 0x81CD)  # RFC 4585 section 6.1: RTPFB, FMT 1
    store32(out + 12, sender_ssrc)
    store32(out + 16, media_ssrc)
    while i < count:
        first = wanted[i]
        bits = 0
        i += 1
        while i < count and 1 <= <uint16_t>(wanted[i] - first) <= 16:
            bits |= <uint16_t>(1 << (<uint16_t>(wanted[i] - first) - 1))
            i += 1
        store16(out + at, first)
        store16(out + at + 2, bits)
        at += 4
    store16(out + 10, <uint16_t>((at - 8) // 4 - 1))
    return at
