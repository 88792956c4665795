"""The TCP connections as the pump serves them, under the lock of all tables."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from region.kernel.entries cimport Map, Transport
from region.kernel.tcp cimport Connection
from region.kernel.transports cimport Transports


cdef class Connections(Transports):
    cdef int connections_epoll  # readable while a connection wants to be served
    cdef Connection **connections
    cdef uint32_t connections_used, connections_free, connections_open
    cdef uint32_t connection_serials
    cdef int64_t *close_ns  # by connection: when it has been silent for too long
    cdef Map by_peer
    cdef uint8_t *stream_data  # of the connection that is being read
    cdef uint8_t *frame_data

    cdef void _arrived(
        self, const uint8_t *address, int64_t now_ns, uint8_t *data, int length
    ) noexcept nogil
    cdef void _flush(self) noexcept nogil
    cdef void _serve_connections(self) noexcept nogil
    cdef bint _read_connection(self, uint32_t at, int64_t now_ns) noexcept nogil
    cdef bint _send_frame(self, uint32_t at, const uint8_t *data, int length) noexcept nogil
    cdef uint32_t _connection_at(self, const uint8_t *address) noexcept nogil
    cdef bint _poll(self, uint32_t at, int operation, uint32_t events) noexcept nogil
    cdef bint _make_room(self) noexcept nogil
    cdef _bind_connection(self, uint32_t handle, bytes address, bint select)
    cdef void _close_connection(self, uint32_t at) noexcept nogil
    cdef void _close_connections_of(self, Transport *transport) noexcept nogil
