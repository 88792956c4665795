"""When packets with a transport-wide sequence number arrived, and the feedback that tells it.

draft-holmer-rmcat-transport-wide-cc-extensions-01 sections 2 and 3.1. A packet that comes after it
was told lost makes the next feedback begin at it, and what arrived behind it is told again.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from region.kernel.wire cimport store16, store32

cdef enum:
    ARRIVALS = 1024  # numbers that are looked at; a longer gap begins anew
    LATE = 256  # so far behind the last feedback one may still be told
    TICK_NS = 250_000
    REFERENCE_TICKS = 256  # 64 ms
    FEEDBACK_NS = 50_000_000  # between two of one transport
    MAX_STATUSES = 448  # of one feedback: it fits 1,200 bytes whatever the deltas are
    STATUSES_A_CHUNK = 7  # of two bits each
    MAX_FEEDBACK_BYTES = 28 + 2 * 64 + 2 * MAX_STATUSES + 4  # 448 statuses are 64 chunks

cdef struct Arrivals:
    int64_t ticks[ARRIVALS]  # by sequence number modulo ARRIVALS; 0 where none arrived
    uint16_t first  # the first that is yet to be told
    uint16_t end  # behind the last that arrived
    uint8_t count  # of feedbacks
    bint started
    bint reporting  # in the pump's list
    int64_t due_ns


cdef inline void arrived(Arrivals *arrivals, uint16_t sequence, int64_t now_ns) noexcept nogil:
    cdef int distance = <int16_t>(sequence - arrivals.first)
    if not arrivals.started or distance < -LATE or distance >= ARRIVALS - LATE:
        if arrivals.started and -ARRIVALS < distance < 0:
            return  # too late to be told
        memset(arrivals.ticks, 0, sizeof(arrivals.ticks))
        arrivals.started = True
        arrivals.first = sequence
        arrivals.end = sequence
    elif distance < 0:
        arrivals.first = sequence
    while <int16_t>(sequence - arrivals.end) >= 0:
        arrivals.ticks[arrivals.end % ARRIVALS] = 0
        arrivals.end += 1
    if arrivals.ticks[sequence % ARRIVALS] == 0:
        arrivals.ticks[sequence % ARRIVALS] = now_ns // TICK_NS


cdef inline int write_feedback(
    Arrivals *arrivals, uint32_t sender_ssrc, uint32_t media_ssrc, uint8_t *out
) noexcept nogil:
    """The next feedback behind an empty receiver report; its length, 0 when all is told.

    `out` has MAX_FEEDBACK_BYTES.
    """
    cdef uint8_t status[MAX_STATUSES]
    cdef int16_t delta[MAX_STATUSES]
    cdef int told = 0, last = 0, at, i, j, padding
    cdef int64_t before = 0, reference = 0, ticks, difference
    cdef uint16_t sequence = arrivals.first
    cdef uint32_t chunk
    # Losses in front belong to the first arrival; those behind the last are not known yet.
    while sequence != arrivals.end and told < MAX_STATUSES:
        ticks = arrivals.ticks[sequence % ARRIVALS]
        if ticks == 0:
            status[told] = 0
        else:
            if last == 0:
                reference = ticks // REFERENCE_TICKS
                before = reference * REFERENCE_TICKS
            difference = ticks - before
            if not -0x8000 <= difference <= 0x7FFF:
                break
            status[told] = 1 if 0 <= difference <= 0xFF else 2
            delta[told] = <int16_t>difference
            before = ticks
            last = told + 1
        told += 1
        sequence += 1
    if last == 0:
        arrivals.first = sequence
        return 0
    store32(out, 0x80C90001)  # RFC 3550 section 6.4.2: no block
    store32(out + 4, sender_ssrc)
    store32(out + 12, sender_ssrc)
    store32(out + 16, media_ssrc)
    store16(out + 20, arrivals.first)
    store16(out + 22, <uint16_t>last)
    store32(out + 24, <uint32_t>(reference & 0xFFFFFF) << 8 | arrivals.count)
    at = 28
    i = 0
    while i < last:
        chunk = 0xC000
        for j in range(STATUSES_A_CHUNK):
            if i + j < last:
                chunk |= <uint32_t>status[i + j] << (2 * (STATUSES_A_CHUNK - 1 - j))
        store16(out + at, <uint16_t>chunk)
        at += 2
        i += STATUSES_A_CHUNK
    for i in range(last):
        if status[i] == 1:
            out[at] = <uint8_t>delta[i]
            at += 1
        elif status[i] == 2:
            store16(out + at, <uint16_t>delta[i])
            at += 2
    padding = -at & 3
    if padding:
        memset(out + at, 0, padding)
        at += padding
        out[at - 1] = <uint8_t>padding
    store16(out + 8, 0xAFCD if padding else 0x8FCD)  # RFC 4585 section 6.1: RTPFB, FMT 15
    store16(out + 10, <uint16_t>((at - 8) // 4 - 1))
    arrivals.first += <uint16_t>last
    arrivals.count += 1
    return at
