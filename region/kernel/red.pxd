"""Redundant audio, RFC 2198: where the newest block is, and the payload types in front of it."""

from libc.stdint cimport uint8_t

cdef enum:
    MAX_BLOCKS = 8


cdef inline int red_primary(const uint8_t *payload, int length) noexcept nogil:
    """Where the primary block begins; −1 when the headers reach past the payload's end."""
    cdef int at = 0, behind = 0, blocks = 0
    while at < length and payload[at] & 0x80:  # F: another header follows
        if at + 4 > length or blocks == MAX_BLOCKS:
            return -1
        behind += (payload[at + 2] & 0x03) << 8 | payload[at + 3]
        at += 4
        blocks += 1
    at += 1 + behind
    return at if at < length else -1


cdef inline void red_retype(uint8_t *payload, const uint8_t *wire_payload, uint8_t block) noexcept nogil:
    """Every block is of the canonical type `block`: give them the receiver's number."""
    cdef int at = 0
    while payload[at] & 0x80:
        payload[at] = 0x80 | wire_payload[block]
        at += 4
    payload[at] = wire_payload[block]
