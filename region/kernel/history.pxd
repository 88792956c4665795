"""Packets kept for retransmission: what came of a stream, and what went out of an egress.

A stream keeps its packets once, as they were after decryption, however many receive it; an
egress keeps only which packet left under which number. Both forget after KEEP_NS, and a
stream when its bytes are full.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef enum:
    KEPT_PACKETS = 1024  # of a stream: a second at 8 Mbit/s
    SENT_PACKETS = 1024  # of an egress
    EPOCHS = 4  # switches of an egress that are remembered
    FIRST_BYTES = 1 << 15
    MOST_BYTES = 1 << 20
    KEEP_NS = 1_000_000_000

cdef struct Kept:
    uint64_t position  # of the first byte, counted over all that was ever kept
    int64_t at_ns  # 0 where nothing is
    uint16_t sequence
    uint16_t length
    uint8_t payload  # canonical payload type

cdef struct History:
    Kept *index  # by sequence number modulo KEPT_PACKETS
    uint8_t *bytes
    uint32_t room
    uint64_t written

cdef struct Epoch:
    # How an egress maps one stream, from one switch to the next.
    uint64_t serial  # the stream's, for its handle may be another's by now
    uint32_t stream
    uint32_t timestamp_offset
    uint16_t frame_offset
    uint8_t base_offset
    uint8_t number

cdef struct Sent:
    uint16_t sequence  # with which it left
    uint16_t origin  # with which it came
    uint16_t picture_offset
    uint16_t resent_ms  # clock in milliseconds when it left again, 0 if it never did
    uint8_t epoch
    uint8_t used
    uint8_t marker  # the M bit with which it left, shifted to its place
    uint8_t described  # its dependency descriptor went with it


cdef inline void history_free(History *history) noexcept nogil:
    free(history.index)
    free(history.bytes)
    history.index = NULL
    history.bytes = NULL


cdef inline bint history_make(History *history) noexcept nogil:
    history.index = <Kept *>calloc(KEPT_PACKETS, sizeof(Kept))
    history.bytes = <uint8_t *>malloc(FIRST_BYTES)
    history.room = FIRST_BYTES
    history.written = 0
    if history.index == NULL or history.bytes == NULL:
        history_free(history)
        return False
    return True


cdef inline bint history_holds(const History *history, const Kept *kept, int64_t now_ns) noexcept nogil:
    return (
        kept.at_ns != 0
        and now_ns - kept.at_ns <= KEEP_NS
        and kept.position + history.room >= history.written
    )


cdef inline void history_grow(History *history) noexcept nogil:
    """Twice the room, when there is memory; what was kept is lost, once in a stream's life."""
    cdef uint8_t *bigger = <uint8_t *>malloc(2 * history.room)
    cdef int i
    if bigger == NULL:
        return
    free(history.bytes)
    history.bytes = bigger
    history.room *= 2
    history.written = 0
    for i in range(KEPT_PACKETS):
        history.index[i].at_ns = 0


cdef inline void history_keep(
    History *history, uint16_t sequence, uint8_t payload, const uint8_t *data, int length,
    int64_t now_ns,
) noexcept nogil:
    cdef Kept *kept
    cdef uint32_t at
    if history.index == NULL and not history_make(history):
        return
    at = <uint32_t>(history.written % history.room)
    if at + <uint32_t>length > history.room:  # no packet lies across the end
        history.written += history.room - at
        # All that the room holds came since the last time here: was that a second?
        if history.room < MOST_BYTES and not history_spans(history, now_ns):
            history_grow(history)
        at = 0
    memcpy(history.bytes + at, data, length)
    kept = &history.index[sequence % KEPT_PACKETS]
    kept.position = history.written
    kept.at_ns = now_ns
    kept.sequence = sequence
    kept.length = <uint16_t>length
    kept.payload = payload
    history.written += length


cdef inline bint history_spans(const History *history, int64_t now_ns) noexcept nogil:
    """Whether something that it has is as old as it need be."""
    cdef int i
    for i in range(KEPT_PACKETS):
        if history.index[i].at_ns and now_ns - history.index[i].at_ns >= KEEP_NS:
            return True
    return False


cdef inline const Kept *history_find(
    const History *history, uint16_t sequence, int64_t now_ns
) noexcept nogil:
    """The packet of this number, or NULL when it is not kept any more."""
    cdef const Kept *kept
    if history.index == NULL:
        return NULL
    kept = &history.index[sequence % KEPT_PACKETS]
    if kept.sequence != sequence or not history_holds(history, kept, now_ns):
        return NULL
    return kept
