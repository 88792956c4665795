"""What arrives of one stream: order, gaps, duplicates, jitter, and the block of a receiver report.

RFC 3550 appendices A.1, A.3 and A.8. A number is missing from when a later one arrives until it
comes itself, is restored from a retransmission, or is WINDOW behind.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from benchmarks.load.clock cimport ticks_of
from region.kernel.repair cimport Gaps
from region.kernel.wire cimport store16, store32

cdef enum:
    WINDOW = 1024
    WORDS = 16  # of 64 bits
    LAYERS = 3
    REPORT_BLOCK_BYTES = 24

cdef enum Arrival:
    AHEAD  # the newest so far
    LATE  # it was missing
    DUPLICATE

cdef struct Stream:
    uint32_t ssrc
    uint8_t kind
    bint started
    int64_t first, highest  # sequence numbers, without their wrapping
    uint64_t seen[WORDS]
    uint32_t missing
    uint32_t opened  # by the packet that came last: numbers that are missing since then
    uint64_t packets, bytes  # that were new; as they came, with SRTP's tag
    uint64_t duplicates, reordered, recovered, given_up
    uint64_t undecryptable, malformed, unmarked, padding
    uint64_t picture_jumps, base_jumps, keyframes
    uint64_t layer_packets[LAYERS]
    uint64_t layer_bytes[LAYERS]
    uint32_t csrc, sender  # of the packet that came last
    uint8_t layer
    # What the checks of the next packet compare with.
    int64_t checked
    uint16_t picture
    uint8_t base
    bint awaiting  # a keyframe, without which nothing can be shown
    int64_t began_ns, asked_ns
    uint32_t chance  # which packets are decrypted, where not all are
    # Of receiver reports.
    int64_t transit
    uint32_t jitter  # in ticks, times 16
    int64_t reported_expected, reported_packets
    uint32_t last_report  # the middle of the last sender report's NTP time
    int64_t last_report_ns
    Gaps *gaps
    bint gappy


cdef inline bint is_seen(const Stream *stream, int64_t number) noexcept nogil:
    return stream.seen[(number & (WINDOW - 1)) >> 6] >> (number & 63) & 1


cdef inline void see(Stream *stream, int64_t number) noexcept nogil:
    stream.seen[(number & (WINDOW - 1)) >> 6] |= <uint64_t>1 << (number & 63)


cdef inline void enter(Stream *stream, int64_t number, bint here) noexcept nogil:
    """The window goes on by one; what leaves it without having come is given up."""
    if not is_seen(stream, number):
        stream.given_up += 1
        stream.missing -= 1
    if here:
        see(stream, number)
    else:
        stream.seen[(number & (WINDOW - 1)) >> 6] &= ~(<uint64_t>1 << (number & 63))
        stream.missing += 1


cdef inline Arrival take(Stream *stream, uint16_t sequence) noexcept nogil:
    cdef int ahead, i
    stream.opened = 0
    if not stream.started:
        stream.started = True
        stream.first = stream.highest = sequence
        memset(stream.seen, 0xFF, sizeof(stream.seen))
        return AHEAD
    ahead = <int16_t>(sequence - <uint16_t>stream.highest)
    if ahead <= 0:
        if ahead <= -WINDOW or is_seen(stream, stream.highest + ahead):
            return DUPLICATE
        see(stream, stream.highest + ahead)
        stream.missing -= 1
        return LATE
    if ahead > WINDOW:
        stream.given_up += stream.missing + <uint64_t>(ahead - 1)
        stream.missing = 0
        memset(stream.seen, 0xFF, sizeof(stream.seen))
    else:
        for i in range(1, ahead):
            enter(stream, stream.highest + i, False)
        stream.opened = ahead - 1
        enter(stream, stream.highest + ahead, True)
    stream.highest += ahead
    return AHEAD


cdef inline void note_jitter(
    Stream *stream, uint32_t timestamp, int64_t arrived_ns, int clock_rate
) noexcept nogil:
    cdef int64_t transit = ticks_of(arrived_ns, clock_rate) - timestamp
    cdef int32_t change = <int32_t>(transit - stream.transit)
    if stream.packets:
        if change < 0:
            change = -change
        stream.jitter += <uint32_t>change - (stream.jitter + 8 >> 4)
    stream.transit = transit


cdef inline void write_block(Stream *stream, uint8_t *out, int64_t now_ns) noexcept nogil:
    """RFC 3550 section 6.4.1; what it tells is told from here on."""
    cdef int64_t expected = stream.highest - stream.first + 1
    cdef int64_t lost = expected - <int64_t>stream.packets
    cdef int64_t of = expected - stream.reported_expected
    cdef int64_t recently = of - (<int64_t>stream.packets - stream.reported_packets)
    store32(out, stream.ssrc)
    out[4] = <uint8_t>min(recently * 256 // of, <int64_t>255) if of > 0 and recently > 0 else 0
    lost = max(min(lost, <int64_t>0x7FFFFF), <int64_t>0)
    out[5] = <uint8_t>(lost >> 16)
    store16(out + 6, <uint16_t>lost)
    store32(out + 8, <uint32_t>stream.highest)
    store32(out + 12, stream.jitter >> 4)
    store32(out + 16, stream.last_report)
    store32(
        out + 20,
        <uint32_t>((now_ns - stream.last_report_ns) * 65_536 // 1_000_000_000)
        if stream.last_report
        else 0,
    )
    stream.reported_expected = expected
    stream.reported_packets = <int64_t>stream.packets
