"""What a sender writes into each payload, so that whoever receives it knows what it is and how old.

    magic u32 | sender u32 | layer u8, temporal u8, keyframe u8, 0 | packet u32 | sent_ns u64

All little-endian; `sent_ns` is CLOCK_REALTIME. Of VP8 it stands behind descriptor and frame header,
of Opus behind the TOC byte.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    MAGIC = 0x6D746F6F  # "ootm"
    MARK_BYTES = 24
    DESCRIPTOR_BYTES = 6  # of VP8: flags, extension, picture id of 15 bits, TL0PICIDX, TID
    VIDEO_MARK_AT = DESCRIPTOR_BYTES + 10  # a keyframe's header is the longest
    AUDIO_MARK_AT = 1
    MIN_VIDEO_BYTES = VIDEO_MARK_AT + MARK_BYTES
    MIN_AUDIO_BYTES = AUDIO_MARK_AT + MARK_BYTES

    # Delays by powers of two, each divided by 32: a bucket is at most 1/32 wide.
    FIRST_POWER = 13  # 8.2 µs; what is shorter counts as that
    LAST_POWER = 34  # to 34 s
    DIVISIONS = 32
    BUCKETS = (LAST_POWER - FIRST_POWER) * DIVISIONS

cdef extern from *:
    """
    #include <stdint.h>
    static inline int highest_bit(uint64_t v) { return 63 - __builtin_clzll(v | 1); }
    """
    int highest_bit(uint64_t) nogil

cdef struct Mark:
    uint32_t magic
    uint32_t sender
    uint8_t layer
    uint8_t temporal
    uint8_t keyframe
    uint8_t spare
    uint32_t packet
    int64_t sent_ns


cdef inline bint read_mark(
    const uint8_t *payload, int length, bint audio, Mark *mark
) noexcept nogil:
    """Whether there is one."""
    cdef int at = AUDIO_MARK_AT if audio else VIDEO_MARK_AT
    if length < at + <int>sizeof(Mark):
        return False
    memcpy(mark, payload + at, sizeof(Mark))
    return mark.magic == MAGIC


cdef inline int bucket_of(int64_t delay_ns) noexcept nogil:
    cdef int power
    if delay_ns < 1 << FIRST_POWER:
        return 0
    power = highest_bit(<uint64_t>delay_ns)
    if power >= LAST_POWER:
        return BUCKETS - 1
    return (
        (power - FIRST_POWER) * DIVISIONS
        + <int>(delay_ns >> (power - 5) & (DIVISIONS - 1))
    )
