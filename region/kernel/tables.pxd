"""The tables as the pump reads them, under their lock."""

from libc.stdint cimport uint32_t, uint64_t

from region.kernel.entries cimport Egress, Key, Map, Stream
from region.kernel.transports cimport Transports


cdef class Tables(Transports):
    cdef Stream **streams
    cdef uint32_t streams_used, streams_free
    cdef Egress **egresses
    cdef uint32_t egresses_used, egresses_free
    cdef Map by_ssrc
    cdef uint64_t serials

    cdef bint _name_stream(
        self, uint32_t handle, const Key *key, const Key *rtx_key
    ) noexcept nogil
    cdef void _drop_stream(self, uint32_t handle) noexcept nogil
    cdef void _drop_egress(self, uint32_t handle) noexcept nogil
    cdef bint _set_source(self, uint32_t handle, uint32_t wanted) noexcept nogil
