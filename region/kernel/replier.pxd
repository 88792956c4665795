"""The replying half of the pump, as the receiving half and the pump call it."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from region.kernel.entries cimport Stream, Transport
from region.kernel.prober cimport Prober
from region.kernel.wire cimport Rtp

cdef enum:
    MAX_GAPPY = 1024
    MAX_REPORTING = 4096


cdef class Replier(Prober):
    # Streams of which something is missing.
    cdef uint32_t gappy[MAX_GAPPY]
    cdef int gappy_count
    # Transports to whose sender feedback is due.
    cdef uint32_t reporting[MAX_REPORTING]
    cdef int reporting_count

    cdef bint _hear_probe(
        self, Transport *transport, const uint8_t *app, int length, int64_t now_ns
    ) noexcept nogil
    cdef void _watch(self, uint32_t handle, Stream *stream) noexcept nogil
    cdef void _ask_again(self, int64_t now_ns) noexcept nogil
    cdef void _note_arrival(
        self, uint32_t handle, Transport *transport, const Rtp *rtp, int64_t now_ns
    ) noexcept nogil
    cdef void _report_arrivals(self, int64_t now_ns) noexcept nogil
