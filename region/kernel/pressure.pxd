"""How far the pump is behind what arrives, and what it leaves out to catch up. Knows no table.

Behind is who has a queue that is long for the socket, or long to work off. Sound and everything
that is no media are never left out; of pictures the upper temporal layers are first, then whole
encodings that have a lower one beside them, then all.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    # Without any hurry, until one thing less is left out: it should not come and go, and whole
    # pictures should not be away for longer than they must.
    EASE_NS = 500_000_000
    EASE_PICTURES_NS = 100_000_000
    PRESSURE_NONE = 0
    PRESSURE_SOME = 1  # the top temporal layer is left out
    PRESSURE_HIGH = 2  # all but the lowest temporal layer
    PRESSURE_UPPER = 3  # and encodings that are not a source's lowest, before they are decrypted
    PRESSURE_VIDEO = 4  # and all other pictures
    ALL_TEMPORAL = 0xFF

    # From which share of the room, in sixteenths, and from which delay on.
    ROOM_SOME = 2
    ROOM_HIGH = 4
    ROOM_UPPER = 8
    ROOM_VIDEO = 12
    DELAY_SOME_NS = 50_000_000
    DELAY_HIGH_NS = 100_000_000
    DELAY_UPPER_NS = 200_000_000
    DELAY_VIDEO_NS = 400_000_000
    DATAGRAM_BYTES = 768  # that Linux counts for a datagram beyond its own bytes, about

cdef struct Pressure:
    int level
    int most  # since Python looked
    int64_t eased_ns  # when it was last raised or lowered, or had reason to stay
    int64_t full_ns  # when the last batch was taken, if that was a full one; else 0
    double ns_a_byte  # what it takes to work off what is in the queue, as that is counted


cdef inline void pressure_note(
    Pressure *pressure, int taken, int64_t taken_bytes, bint full, uint32_t waiting_bytes,
    uint32_t room_bytes, int64_t now_ns,
) noexcept nogil:
    """A batch has been taken at `now_ns`, of the whole queue unless it was a `full` one.

    `waiting_bytes` are in the socket now, which has room for `room_bytes`.
    """
    cdef int level = PRESSURE_NONE
    cdef uint32_t sixteenth = room_bytes // 16
    cdef double delay_ns, ns_a_byte
    if full and pressure.full_ns:
        ns_a_byte = <double>(now_ns - pressure.full_ns) / (taken_bytes + DATAGRAM_BYTES * taken)
        pressure.ns_a_byte += (ns_a_byte - pressure.ns_a_byte) / 8
    pressure.full_ns = now_ns if full else 0
    delay_ns = waiting_bytes * pressure.ns_a_byte
    if waiting_bytes >= ROOM_VIDEO * sixteenth or delay_ns >= DELAY_VIDEO_NS:
        level = PRESSURE_VIDEO
    elif waiting_bytes >= ROOM_UPPER * sixteenth or delay_ns >= DELAY_UPPER_NS:
        level = PRESSURE_UPPER
    elif waiting_bytes >= ROOM_HIGH * sixteenth or delay_ns >= DELAY_HIGH_NS:
        level = PRESSURE_HIGH
    elif waiting_bytes >= ROOM_SOME * sixteenth or delay_ns >= DELAY_SOME_NS:
        level = PRESSURE_SOME
    if level >= pressure.level:
        pressure.level = level
        pressure.eased_ns = now_ns
        pressure.most = max(pressure.most, level)
    elif now_ns - pressure.eased_ns >= (
        EASE_PICTURES_NS if pressure.level >= PRESSURE_UPPER else EASE_NS
    ):
        pressure.level -= 1
        pressure.eased_ns = now_ns


cdef inline void pressure_idle(Pressure *pressure) noexcept nogil:
    """A batch took all that there was, and nothing is left out: what follows is no part of it."""
    pressure.full_ns = 0


cdef inline uint8_t pressure_temporal(const Pressure *pressure) noexcept nogil:
    """The highest temporal layer that passes."""
    if pressure.level == PRESSURE_NONE:
        return ALL_TEMPORAL
    return 1 if pressure.level == PRESSURE_SOME else 0


cdef inline bint pressure_leaves_out(const Pressure *pressure, bint upper) noexcept nogil:
    """Whether a picture's packet is dropped unread; `upper`: of an encoding that is not the lowest."""
    return pressure.level >= (PRESSURE_UPPER if upper else PRESSURE_VIDEO)
