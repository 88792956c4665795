"""How far the pump is behind what arrives, and what it leaves out to catch up. Knows no table.

Sound and everything that is no media are never left out; of pictures the upper temporal layers are
first, then whole encodings that have a lower one beside them, then all.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    EASE_NS = 500_000_000  # without any hurry, until one thing less is left out
    PRESSURE_NONE = 0
    PRESSURE_SOME = 1  # the top temporal layer is left out
    PRESSURE_HIGH = 2  # all but the lowest temporal layer
    PRESSURE_UPPER = 3  # and encodings that are not a source's lowest, before they are decrypted
    PRESSURE_VIDEO = 4  # and all other pictures
    ALL_TEMPORAL = 0xFF

cdef struct Pressure:
    int level
    int most  # since Python looked
    int64_t eased_ns  # when it was last raised or lowered, or had reason to stay


cdef inline void pressure_note(
    Pressure *pressure, uint32_t waiting_bytes, uint32_t room_bytes, int64_t now_ns
) noexcept nogil:
    """How much of the socket's room is taken by what waits there."""
    cdef int level = PRESSURE_NONE
    cdef uint32_t sixteenth = room_bytes // 16
    if waiting_bytes >= 12 * sixteenth:
        level = PRESSURE_VIDEO
    elif waiting_bytes >= 8 * sixteenth:
        level = PRESSURE_UPPER
    elif waiting_bytes >= 4 * sixteenth:
        level = PRESSURE_HIGH
    elif waiting_bytes >= 2 * sixteenth:
        level = PRESSURE_SOME
    if level >= pressure.level:
        pressure.level = level
        pressure.eased_ns = now_ns
        pressure.most = max(pressure.most, level)
    elif now_ns - pressure.eased_ns >= EASE_NS:
        pressure.level -= 1
        pressure.eased_ns = now_ns


cdef inline uint8_t pressure_temporal(const Pressure *pressure) noexcept nogil:
    """The highest temporal layer that passes."""
    if pressure.level == PRESSURE_NONE:
        return ALL_TEMPORAL
    return 1 if pressure.level == PRESSURE_SOME else 0


cdef inline bint pressure_leaves_out(const Pressure *pressure, bint upper) noexcept nogil:
    """Whether a picture's packet is dropped unread; `upper`: of an encoding that is not the lowest."""
    return pressure.level >= (PRESSURE_UPPER if upper else PRESSURE_VIDEO)
