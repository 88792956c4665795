"""A bounded queue from the pump's thread to Python: one writer, one reader, no lock."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from region.kernel.system cimport load_acquire, store_release
from region.kernel.entries cimport ADDRESS_BYTES

cdef enum:
    QUEUED_BYTES = 2048

cdef struct Queued:
    uint8_t kind
    uint32_t transport
    uint8_t address[ADDRESS_BYTES]
    int64_t received_ns
    int length
    uint8_t data[QUEUED_BYTES]

cdef struct Ring:
    # One writer (the pump), one reader (`drain`); head and tail run freely modulo 2^32.
    Queued *slots
    uint32_t room
    uint32_t head
    uint32_t tail


cdef inline bint push(
    Ring *ring, int kind, uint32_t transport, const uint8_t *address, int64_t now_ns,
    const uint8_t *data, int length,
) noexcept nogil:
    cdef Queued *slot
    if ring.head - load_acquire(&ring.tail) == ring.room:
        return False
    slot = &ring.slots[ring.head % ring.room]
    slot.kind = <uint8_t>kind
    slot.transport = transport
    memcpy(slot.address, address, ADDRESS_BYTES)
    slot.received_ns = now_ns
    slot.length = length
    memcpy(slot.data, data, length)
    store_release(&ring.head, ring.head + 1)
    return True
