"""The tables as the pump reads them, under their lock."""

from libc.stdint cimport uint32_t, uint64_t

from region.kernel.connections cimport Connections
from region.kernel.entries cimport Egress, Map, Stream


cdef class Tables(Connections):
    cdef Stream **streams
    cdef uint32_t streams_used, streams_free
    cdef Egress **egresses
    cdef uint32_t egresses_used, egresses_free
    cdef Map by_ssrc
    cdef uint64_t serials

    cdef bint _is_taken(self, uint32_t transport, uint32_t ssrc) noexcept nogil
    cdef bint _name_stream(
        self, uint32_t handle, uint32_t transport, uint32_t ssrc, uint32_t rtx_ssrc
    ) noexcept nogil
    cdef void _drop_stream(self, uint32_t handle) noexcept nogil
    cdef void _drop_egress(self, uint32_t handle) noexcept nogil
    cdef bint _set_source(self, uint32_t handle, uint32_t wanted) noexcept nogil
