"""Transport-wide feedback: whether bytes are that, and the fate of one packet after another.

Knows no transport. draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1: what stands
behind both SSRCs of RTPFB (205) with format 15. Its length bounds the time, not what it claims.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t

from region.kernel.wire cimport load16

cdef enum:
    FEEDBACK_HEADER = 8
    LOST = 0  # section 3.1.1
    SMALL = 1
    LARGE = 2
    RESERVED = 3
    NO_MORE = 4
    MAX_RUN = 0x1FFF
    ONE_BIT_STATUSES = 14
    TWO_BIT_STATUSES = 7
    MAX_FILL = 3  # section 3.1: zeros to 32 bits

cdef struct Fates:
    # Goes through feedback that is well-formed.
    const uint8_t *chunk
    const uint8_t *delta
    uint32_t bits  # of a vector, the next status highest; or of a run its status
    int width  # bits of a status, 0 in a run
    int left  # statuses of this chunk
    int offset, statuses
    int64_t ticks  # since the reference time


cdef inline int deltas_of(const uint8_t *fci, int length) noexcept nogil:
    """Where the deltas begin, or −1 where it is malformed."""
    cdef int at = FEEDBACK_HEADER, offset = 0, statuses, count, status, shift
    cdef int64_t deltas = 0  # bytes
    cdef uint32_t chunk
    if length < FEEDBACK_HEADER:
        return -1
    statuses = load16(fci + 2)
    if statuses == 0:
        return -1
    while offset < statuses:
        if at + 2 > length:
            return -1
        chunk = load16(fci + at)
        at += 2
        if not chunk & 0x8000:  # section 3.1.3: a run
            count = min(<int>(chunk & MAX_RUN), statuses - offset)
            status = chunk >> 13
            if count == 0 or status == RESERVED:
                return -1
            deltas += count * status  # a byte for a small one, two for a large one
        elif not chunk & 0x4000:  # section 3.1.4: a vector, the first status highest
            count = min(<int>ONE_BIT_STATUSES, statuses - offset)
            shift = ONE_BIT_STATUSES - count
            chunk = (chunk & 0x3FFF) >> shift
            while chunk:
                chunk &= chunk - 1
                deltas += 1
        else:
            count = min(<int>TWO_BIT_STATUSES, statuses - offset)
            shift = 2 * (TWO_BIT_STATUSES - count)
            chunk = (chunk & 0x3FFF) >> shift
            while chunk:
                status = chunk & 3
                if status == RESERVED:
                    return -1
                deltas += status
                chunk >>= 2
        offset += count
    if not 0 <= length - at - deltas <= MAX_FILL:
        return -1
    return at


cdef inline void fates_begin(Fates *fates, const uint8_t *fci, int deltas) noexcept nogil:
    """`deltas`: where they begin, of feedback that is well-formed."""
    fates.chunk = fci + FEEDBACK_HEADER
    fates.delta = fci + deltas
    fates.left = 0
    fates.offset = 0
    fates.statuses = load16(fci + 2)
    fates.ticks = 0


cdef inline int next_fate(Fates *fates) noexcept nogil:
    """LOST, SMALL or LARGE, `offset` behind the packets it is of; or NO_MORE.

    Who arrived is told one by one, at `ticks`; losses may come several at once.
    """
    cdef uint32_t chunk
    cdef int status
    if fates.left == 0:
        if fates.offset == fates.statuses:
            return NO_MORE
        chunk = load16(fates.chunk)
        fates.chunk += 2
        if not chunk & 0x8000:
            fates.width = 0
            fates.bits = chunk >> 13
            fates.left = chunk & MAX_RUN
        elif not chunk & 0x4000:
            fates.width = 1
            fates.bits = chunk << 18
            fates.left = ONE_BIT_STATUSES
        else:
            fates.width = 2
            fates.bits = chunk << 18
            fates.left = TWO_BIT_STATUSES
        fates.left = min(fates.left, fates.statuses - fates.offset)
    if fates.width == 0:
        status = fates.bits
        if status == LOST:
            fates.offset += fates.left
            fates.left = 0
            return LOST
    else:
        status = fates.bits >> (32 - fates.width)
        fates.bits <<= fates.width
    fates.left -= 1
    fates.offset += 1
    # Section 3.1.5: each counts from the arrival before it, the first from the reference time.
    if status == SMALL:
        fates.ticks += fates.delta[0]
        fates.delta += 1
    elif status == LARGE:
        fates.ticks += <int16_t>load16(fates.delta)
        fates.delta += 2
    return status
