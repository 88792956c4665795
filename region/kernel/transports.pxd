"""The transports as the pump reads them, under the lock of all tables."""

from libc.stdint cimport uint32_t, uint64_t

from region.kernel.entries cimport Map, Transport
from region.kernel.system cimport fair_lock

cdef enum:
    MAX_TABLE = 65_536

cdef enum:
    PACKETS_IN
    PACKETS_OUT
    DATAGRAMS_IN
    CONSENTS
    FEEDBACKS
    NACKED
    REPAIRED
    RETRANSMITTED
    PROBED
    UNGROUPED
    LEARNT
    HANDED_ON
    RTCP_TAKEN
    OFFERED
    DROPPED_OVERSIZE
    DROPPED_UNKNOWN_PROTOCOL
    DROPPED_UNKNOWN_ADDRESS
    DROPPED_UNKNOWN_SSRC
    DROPPED_UNKNOWN_PAYLOAD
    DROPPED_NO_KEYS
    DROPPED_AUTHENTICATION
    DROPPED_REPLAY
    DROPPED_UNPROTECT
    DROPPED_MALFORMED
    DROPPED_RTCP_SSRCS
    DROPPED_QUEUE_FULL
    DROPPED_AWAITING_KEYFRAME
    DROPPED_BEFORE_SWITCH
    DROPPED_LAYER
    DROPPED_NO_PAYLOAD_TYPE
    DROPPED_NO_PATH
    DROPPED_PROTECT
    DROPPED_SEND
    DROPPED_DUPLICATE
    DROPPED_RTX_UNNEEDED
    DROPPED_NACK_UNKNOWN
    DROPPED_NACK_REPEATED
    DROPPED_NACK_LIMITED
    DROPPED_NACK_FORGOTTEN
    DROPPED_FEEDBACK_MALFORMED
    DROPPED_REPORTS_LIMITED
    DROPPED_OVERLOAD
    DROPPED_RED_MALFORMED
    TCP_FRAMES_IN
    TCP_CONNECTIONS
    DROPPED_TCP_FRAMING
    DROPPED_TCP_FULL
    DROPPED_TCP_SILENT
    DROPPED_TCP_EVICTED
    COUNTERS


cdef void free_transport(Transport *transport) noexcept nogil
cdef uint32_t free_place(void **table, uint32_t *used, uint32_t *first_free) noexcept nogil


cdef class Transports:
    cdef int family
    cdef fair_lock lock
    cdef uint64_t counter[COUNTERS]
    # A table of pointers, so that growing moves no entry.
    cdef Transport **transports
    cdef uint32_t transports_used, transports_free
    cdef Map by_address
    # The sessions that C pointers point into; touched by Python only.
    cdef dict sessions
    cdef uint64_t crypts  # serials given to keys so far

    cdef Transport *transport_of(self, uint32_t handle) noexcept nogil
    cdef bint _bind_locked(
        self, uint32_t handle, Transport *transport, const unsigned char *packed
    ) noexcept nogil
    cdef _bind(self, uint32_t handle, bytes address, bint select)
    cdef void _unbind(self, Transport *transport, const unsigned char *packed) noexcept nogil
