# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""TCP connections beside the UDP socket: read and written by the pump, made elsewhere.

Contracts stand in `connections.pyi`. Nothing here waits for a peer, and only Python, reading
and time close a connection: sending never does, so that who sends may go on with it.
"""

import os
import secrets

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from region.kernel.entries cimport *
from region.kernel.system cimport *
from region.kernel.tcp cimport *
from region.kernel.transports cimport *
from relay.errors import CapacityError, LocalProtocolError

UNPROVED_S = 15.0
SILENT_S = 60.0

cdef enum:
    MAX_CONNECTIONS = 4_096  # a browser tries all our addresses from all of its own
    SERVED = 16  # connections at a time, and bytes of each: about as much as a batch of datagrams
    READ_BYTES = 8_192

cdef int64_t UNPROVED_NS = <int64_t>(UNPROVED_S * 1e9)
cdef int64_t SILENT_NS = <int64_t>(SILENT_S * 1e9)


cdef class Connections(Transports):
    def __cinit__(self, int fd):
        cdef uint64_t seed = int.from_bytes(secrets.token_bytes(8), "little")
        self.connections_epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.connections_epoll < 0:
            raise OSError(errno, os.strerror(errno))
        self.connections = <Connection **>calloc(MAX_CONNECTIONS, sizeof(void *))
        self.close_ns = <int64_t *>calloc(MAX_CONNECTIONS, sizeof(int64_t))
        self.stream_data = <uint8_t *>calloc(1, FRAME_HEAD + MAX_FRAME + READ_BYTES)
        self.frame_data = <uint8_t *>calloc(1, MAX_FRAME)
        if (
            self.connections == NULL or self.close_ns == NULL or self.stream_data == NULL
            or self.frame_data == NULL or not map_init(&self.by_peer, 64, seed)
        ):
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.connections_used):
            if self.connections[i] != NULL:
                close(self.connections[i].fd)
                free(self.connections[i].waiting)
                free(self.connections[i])
        free(self.connections)
        free(self.close_ns)
        free(self.stream_data)
        free(self.frame_data)
        free(self.by_peer.slots)
        if self.connections_epoll >= 0:
            close(self.connections_epoll)

    # ---- what the classes that extend this one do

    cdef void _arrived(
        self, const uint8_t *address, int64_t now_ns, uint8_t *data, int length
    ) noexcept nogil:
        """A frame, to be treated as a datagram; `data` is the callee's until it returns."""

    cdef void _flush(self) noexcept nogil:
        """Before the lock is given back: send what the frames have led to."""

    # ---- reading

    cdef void _serve_connections(self) noexcept nogil:
        """A round of those that can be read, or written to where something waits."""
        cdef epoll_event ready[SERVED]
        cdef Connection *connection
        cdef int64_t now_ns
        cdef uint32_t at
        cdef int i, count
        count = epoll_wait(self.connections_epoll, ready, SERVED, 0)
        if count <= 0:
            return
        now_ns = monotonic_ns()
        fair_acquire(&self.lock)
        for i in range(count):
            at = <uint32_t>ready[i].data.u64
            connection = self.connections[at]
            # Python may have closed it since, and another may have its place.
            if connection == NULL or connection.serial != ready[i].data.u64 >> 32:
                continue
            if ready[i].events & EPOLLOUT:
                send_waiting(connection)
                if connection.waiting == NULL:
                    self._poll(at, EPOLL_CTL_MOD, EPOLLIN)
            if ready[i].events & ~<uint32_t>EPOLLOUT and not self._read_connection(at, now_ns):
                self._close_connection(at)
            if fair_wanted(&self.lock):
                self._flush()
                fair_release(&self.lock)
                fair_acquire(&self.lock)
        self._flush()
        fair_release(&self.lock)

    cdef bint _read_connection(self, uint32_t at, int64_t now_ns) noexcept nogil:
        """Take some of what has come; False when the connection has ended or has to."""
        cdef Connection *connection = self.connections[at]
        cdef uint8_t *data = self.stream_data
        cdef int length
        cdef ssize_t received
        memcpy(data, connection.partial, connection.held)
        received = recv(connection.fd, data + connection.held, READ_BYTES, MSG_DONTWAIT)
        if received <= 0:
            return received < 0 and (errno == EAGAIN or errno == EINTR)
        received += connection.held
        while True:
            length = frame_length(data, <int>received)
            if length == 0:
                break
            # RFC 7983 section 7: every ICE agent begins with a check; anybody else is lost here.
            if length == MALFORMED or not connection.greeted and data[FRAME_HEAD] > 3:
                self.counter[DROPPED_TCP_FRAMING] += 1
                return False
            connection.greeted = True
            # Frames end anywhere, and libsrtp reads words.
            mark_received(self.frame_data, length, MAX_FRAME)
            memcpy(self.frame_data, data + FRAME_HEAD, length)
            self.counter[TCP_FRAMES_IN] += 1
            self._arrived(connection.address, now_ns, self.frame_data, length)
            data += FRAME_HEAD + length
            received -= FRAME_HEAD + length
        connection.held = <int>received
        memcpy(connection.partial, data, received)
        if connection.transport != NONE:
            self.close_ns[at] = now_ns + SILENT_NS
        return True

    # ---- writing

    cdef bint _send_frame(self, uint32_t at, const uint8_t *data, int length) noexcept nogil:
        """Whether it is on its way; counts why not."""
        cdef Connection *connection = self.connections[at]
        cdef bint waited = connection.waiting != NULL
        cdef int result = send_frame(connection, data, length)
        if connection.waiting != NULL and not waited:
            self._poll(at, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT)
        if result == FULL:
            self.counter[DROPPED_TCP_FULL] += 1
        elif result == FAILED:
            self.counter[DROPPED_SEND] += 1
        return result == TAKEN

    # ---- the table

    cdef uint32_t _connection_at(self, const uint8_t *address) noexcept nogil:
        """Where the connection of this peer stands, or NONE."""
        cdef Key key
        address_key(address, &key)
        return map_get(&self.by_peer, &key)

    cdef bint _poll(self, uint32_t at, int operation, uint32_t events) noexcept nogil:
        cdef epoll_event event
        event.events = events
        event.data.u64 = <uint64_t>self.connections[at].serial << 32 | at
        return epoll_ctl(self.connections_epoll, operation, self.connections[at].fd, &event) == 0

    def add_connection(self, int fd, bytes address not None):
        """Serve a connected TCP socket, and close it one day."""
        cdef const uint8_t *packed = _tcp_address(address)
        cdef Connection *connection = <Connection *>calloc(1, sizeof(Connection))
        cdef uint32_t at = NONE
        cdef Key key
        cdef bint room, added = False
        cdef int error = 0
        if connection == NULL:
            raise MemoryError
        connection.fd = fd
        connection.transport = NONE
        memcpy(connection.address, packed, ADDRESS_BYTES)
        address_key(packed, &key)
        with nogil:
            fair_acquire(&self.lock)
            # The peer has left it, or there could be no other.
            at = map_get(&self.by_peer, &key)
            if at != NONE:
                self._close_connection(at)
            room = self.connections_open < MAX_CONNECTIONS or self._make_room()
            if room and map_put(&self.by_peer, &key, 0):
                at = free_place(
                    <void **>self.connections, &self.connections_used, &self.connections_free
                )
                map_put(&self.by_peer, &key, at)
                self.connection_serials += 1
                connection.serial = self.connection_serials
                self.connections[at] = connection
                self.close_ns[at] = monotonic_ns() + UNPROVED_NS
                added = self._poll(at, EPOLL_CTL_ADD, EPOLLIN)
                if added:
                    self.connections_free = at + 1
                    if at == self.connections_used:
                        self.connections_used += 1
                    self.connections_open += 1
                    self.counter[TCP_CONNECTIONS] += 1
                else:
                    error = errno
                    self.connections[at] = NULL
                    map_remove(&self.by_peer, &key)
            fair_release(&self.lock)
        if added:
            return
        free(connection)
        if not room:
            raise CapacityError("the bridge has no room for another TCP connection")
        if error:
            raise OSError(error, os.strerror(error))
        raise MemoryError

    cdef bint _make_room(self) noexcept nogil:
        """Close the oldest that nobody has proved to be his; False when there is none."""
        cdef uint32_t i, oldest = NONE
        for i in range(self.connections_used):
            if self.connections[i] != NULL and self.connections[i].transport == NONE:
                if oldest == NONE or self.close_ns[i] < self.close_ns[oldest]:
                    oldest = i
        if oldest == NONE:
            return False
        self.counter[DROPPED_TCP_EVICTED] += 1
        self._close_connection(oldest)
        return True

    cdef _bind(self, uint32_t handle, bytes address, bint select):
        if len(address) == ADDRESS_BYTES and address[PROTOCOL]:
            self._bind_connection(handle, address, select)
        else:
            Transports._bind(self, handle, address, select)

    cdef _bind_connection(self, uint32_t handle, bytes address, bint select):
        cdef const uint8_t *packed = _tcp_address(address)
        cdef Transport *transport
        cdef uint32_t at
        cdef bint stored = True
        with nogil:
            fair_acquire(&self.lock)
            transport = self.transport_of(handle)
            at = self._connection_at(packed)
            if transport != NULL and at != NONE:
                stored = self._bind_locked(handle, transport, packed)
                if stored:
                    self.connections[at].transport = handle
                    self.close_ns[at] = monotonic_ns() + SILENT_NS
                    # Or the selected address is back, by another connection.
                    if select or memcmp(transport.selected, packed, ADDRESS_BYTES) == 0:
                        memcpy(transport.selected, packed, ADDRESS_BYTES)
                        memset(&transport.to, 0, sizeof(transport.to))
                        transport.to_length = sizeof(transport.to)
                        transport.connection = <unsigned short>(at + 1)
            fair_release(&self.lock)
        if transport == NULL:
            raise LocalProtocolError(f"there is no transport {handle}")
        if not stored:
            raise MemoryError

    cdef void _unbind(self, Transport *transport, const uint8_t *packed) noexcept nogil:
        cdef uint8_t address[ADDRESS_BYTES]
        cdef uint32_t at
        memcpy(address, packed, ADDRESS_BYTES)  # it may stand in the list that changes
        Transports._unbind(self, transport, address)
        if not address[PROTOCOL]:
            return
        if transport.connection and memcmp(transport.selected, address, ADDRESS_BYTES) == 0:
            transport.connection = 0
            transport.to_length = 0
        at = self._connection_at(address)
        if at != NONE:
            self.connections[at].transport = NONE
            self.close_ns[at] = monotonic_ns() + UNPROVED_NS

    # ---- the end of them

    cdef void _close_connection(self, uint32_t at) noexcept nogil:
        cdef Connection *connection = self.connections[at]
        cdef Key key
        if connection.transport != NONE:
            # Whoever comes from there next may be somebody else.
            self._unbind(self.transports[connection.transport], connection.address)
        address_key(connection.address, &key)
        map_remove(&self.by_peer, &key)
        # Closing alone would not, while a child of this process has a copy.
        self._poll(at, EPOLL_CTL_DEL, 0)
        close(connection.fd)
        free(connection.waiting)
        free(connection)
        self.connections[at] = NULL
        self.connections_open -= 1
        if at < self.connections_free:
            self.connections_free = at

    cdef void _close_connections_of(self, Transport *transport) noexcept nogil:
        cdef uint32_t at
        cdef int i = transport.addresses
        while i > 0:  # from the end, as each leaves the list
            i -= 1
            if transport.address[i][PROTOCOL]:
                at = self._connection_at(transport.address[i])
                if at != NONE:
                    self._close_connection(at)

    def close_connection(self, bytes address not None):
        """Close it; one that is not there is no error."""
        cdef const uint8_t *packed = _tcp_address(address)
        cdef uint32_t at
        with nogil:
            fair_acquire(&self.lock)
            at = self._connection_at(packed)
            if at != NONE:
                self._close_connection(at)
            fair_release(&self.lock)

    def close_silent_connections(self, double now_s):
        """Close those that were silent for too long."""
        cdef int64_t now_ns = <int64_t>(now_s * 1e9)
        cdef uint32_t i
        with nogil:
            fair_acquire(&self.lock)
            for i in range(self.connections_used):
                if self.close_ns[i] <= now_ns and self.connections[i] != NULL:
                    self.counter[DROPPED_TCP_SILENT] += 1
                    self._close_connection(i)
            fair_release(&self.lock)

    # ---- counters

    def unproved_connections(self, bytes address not None):
        """How many connections from this host, or this /64 of IPv6, are no transport's."""
        cdef const uint8_t *packed = _tcp_address(address)
        cdef uint8_t v4[12]
        cdef size_t host
        cdef uint32_t i
        cdef int count = 0
        memset(v4, 0, 10)
        memset(v4 + 10, 0xFF, 2)
        host = 8 if memcmp(packed, v4, 12) else 16
        with nogil:
            fair_acquire(&self.lock)
            for i in range(self.connections_used):
                if (
                    self.connections[i] != NULL and self.connections[i].transport == NONE
                    and memcmp(self.connections[i].address, packed, host) == 0
                ):
                    count += 1
            fair_release(&self.lock)
        return count

    @property
    def open_connections(self):
        """How many there are."""
        cdef uint32_t count
        with nogil:
            fair_acquire(&self.lock)
            count = self.connections_open
            fair_release(&self.lock)
        return count


cdef const uint8_t *_tcp_address(bytes address) except NULL:
    if len(address) != ADDRESS_BYTES or not address[PROTOCOL]:
        raise LocalProtocolError("not the packed address of a TCP connection")
    return <const uint8_t *>PyBytes_AS_STRING(address)
