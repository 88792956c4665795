"""What Python is woken for, as the pump calls it."""

from libc.stdint cimport int64_t, uint32_t

from region.kernel.tables cimport Tables

cdef enum:
    MAX_BEGUN = 1024


cdef class Alerts(Tables):
    cdef bint queued  # Python is to be woken
    cdef bint unheard  # there is news that Python has not been told
    # Streams that have begun, of which Python has not been told.
    cdef uint32_t begun[MAX_BEGUN]
    cdef int begun_count
    cdef int64_t swept_ns  # from when on the tables' next turn is reckoned
    cdef uint32_t sweep_at  # how far; 0 when all is done

    cdef void _stir(self) noexcept nogil
    cdef void _begin(self, uint32_t stream_handle) noexcept nogil
    cdef void _sweep(self, int64_t now_ns) noexcept nogil
    cdef bint _is_news(self, uint32_t handle, int64_t now_ns) noexcept nogil
