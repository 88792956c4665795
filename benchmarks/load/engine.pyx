# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""The engine: one native thread that sends and receives the media of all clients of a process.

Contracts stand in `engine.pyi`. Sockets are swept, not waited for: a receiver that sleeps on its
socket would have the sender pay for waking it.
"""

import os
from typing import NamedTuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from benchmarks.load.agenda cimport agenda_next_ns
from benchmarks.load.clock cimport sleep_until, thread_cpu_ns, wall_ns
from benchmarks.load.entries cimport *
from benchmarks.load.player cimport Player
from benchmarks.load.reporter cimport Reporter
from benchmarks.load.sockets cimport *
from region.kernel.entries cimport ADDRESS_BYTES
from region.kernel.ring cimport QUEUED_BYTES, Queued, Ring, push
from region.kernel.system cimport *
from region.kernel.wire cimport load16
from relay.errors import LocalProtocolError

STUN = KIND_STUN
DTLS = KIND_DTLS
RTCP = KIND_RTCP

cdef enum:
    KIND_STUN = 0
    KIND_DTLS = 1
    KIND_RTCP = 2

    BATCH_IN = 32
    MOST_BATCHES = 64  # of one socket in a sweep: others are to have their turn
    IN_BYTES = 65_536  # of datagrams that came as one (UDP GRO)
    IN_STRIDE = IN_BYTES + 4_160  # so that their first lines are not all in one set of the cache
    RECEIVE_BUFFER_BYTES = 4 << 20
    RING = 1024
    PATIENCE_NS = 250_000  # media that is due within it leaves together


class Datagram(NamedTuple):
    kind: int
    client: int
    data: bytes


cdef class Engine(Reporter):
    cdef int64_t sweep_ns
    cdef int wake
    cdef uint32_t stopping
    cdef bint running, queued
    cdef Ring ring
    cdef uint8_t *in_data
    cdef mmsghdr in_message[BATCH_IN]
    cdef iovec in_vector[BATCH_IN]
    cdef uint8_t in_control[BATCH_IN * CONTROL_BYTES]
    cdef int64_t cpu_ns

    def __cinit__(self, *, double sweep_ms=5):
        cdef int i
        self.wake = -1
        self.sweep_ns = <int64_t>(sweep_ms * 1e6)
        self.ring.slots = <Queued *>calloc(RING, sizeof(Queued))
        self.ring.room = RING
        self.in_data = <uint8_t *>calloc(BATCH_IN, IN_STRIDE)
        if self.ring.slots == NULL or self.in_data == NULL:
            raise MemoryError
        for i in range(BATCH_IN):
            self.in_vector[i].iov_base = self.in_data + i * IN_STRIDE
            self.in_vector[i].iov_len = IN_BYTES
            self.in_message[i].msg_hdr.msg_iov = &self.in_vector[i]
            self.in_message[i].msg_hdr.msg_iovlen = 1
        self.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.wake < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        free(self.ring.slots)
        free(self.in_data)
        if self.wake >= 0:
            close(self.wake)

    @property
    def wake_fd(self):
        """An eventfd that is readable while `drain` has something."""
        return self.wake

    def add_client(self, int fd, outbound, inbound, **options):
        """As a roster's, and the socket is told to say when what came."""
        enlarge(fd, RECEIVE_BUFFER_BYTES)
        if ask_for_control(fd):
            raise OSError(errno, os.strerror(errno))
        return Player.add_client(self, fd, outbound, inbound, **options)

    # ---- the thread

    def run(self):
        """Send and receive until `stop`; never holds the GIL."""
        if self.running:
            raise LocalProtocolError("the engine runs already")
        self.running = True
        with nogil:
            wake_exactly()
            self._loop()
        self.running = False

    def stop(self):
        """Make `run` return soon; may be called from any thread, more than once."""
        store_release(&self.stopping, 1)

    @property
    def cpu_s(self):
        """CPU that the thread has used so far."""
        return self.cpu_ns / 1e9

    cdef void _loop(self) noexcept nogil:
        cdef int64_t now_ns = monotonic_ns(), sweep_ns = now_ns, next_ns
        cdef uint64_t one = 1
        while not load_acquire(&self.stopping):
            fair_acquire(&self.lock)
            self._play_due(now_ns)
            if now_ns >= sweep_ns:
                sweep_ns = max(sweep_ns, now_ns - self.sweep_ns) + self.sweep_ns
                self._sweep(now_ns)
                self.cpu_ns = thread_cpu_ns()
            now_ns = monotonic_ns()
            next_ns = min(max(agenda_next_ns(&self.agenda), now_ns + PATIENCE_NS), sweep_ns)
            fair_release(&self.lock)
            if self.queued:
                self.queued = False
                write(self.wake, &one, 8)
            if next_ns > now_ns:
                sleep_until(next_ns)
            now_ns = monotonic_ns()

    cdef void _sweep(self, int64_t now_ns) noexcept nogil:
        """Look at every socket once; media that is due meanwhile is not kept waiting."""
        cdef uint32_t i = 0
        cdef Client *client
        while i < self.clients_used:
            client = self.clients[i]
            i += 1
            if client == NULL:
                continue
            if self._receive(client, now_ns):
                now_ns = monotonic_ns()
                if agenda_next_ns(&self.agenda) <= now_ns:
                    self._play_due(now_ns)
            self._tend(client, now_ns)
            if fair_wanted(&self.lock):
                fair_release(&self.lock)
                fair_acquire(&self.lock)

    # ---- receiving

    cdef bint _receive(self, Client *client, int64_t now_ns) noexcept nogil:
        """Whether there was anything."""
        cdef int i, received, length, segment, at, batches = 0
        cdef int64_t at_ns
        cdef uint8_t *data
        cdef bint any = False
        while batches < MOST_BATCHES:
            batches += 1
            for i in range(BATCH_IN):
                set_control(&self.in_message[i].msg_hdr, self.in_control + i * CONTROL_BYTES)
            received = recvmmsg(client.fd, self.in_message, BATCH_IN, MSG_DONTWAIT, NULL)
            if received < 0:
                if errno == ECONNREFUSED:
                    client.refused += 1
                return any
            any = True
            for i in range(received):
                read_control(&self.in_message[i].msg_hdr, &at_ns, &segment, &client.overflowed)
                if at_ns == 0:
                    at_ns = wall_ns()
                length = <int>self.in_message[i].msg_len
                if segment <= 0:
                    segment = length
                data = <uint8_t *>self.in_vector[i].iov_base
                at = 0
                while at < length:
                    self._arrived(client, data + at, min(segment, length - at), at_ns, now_ns)
                    at += segment
            if received < BATCH_IN:
                break
        return any

    cdef inline void _arrived(
        self, Client *client, uint8_t *data, int length, int64_t at_ns, int64_t now_ns
    ) noexcept nogil:
        """RFC 7983 section 7, RFC 5761 section 4."""
        client.datagrams += 1
        client.bytes += length
        if length < 12:
            client.malformed += 1
        elif 128 <= data[0] < 192:
            if 192 <= data[1] < 224:
                if not self._receive_rtcp(client, data, &length, now_ns):
                    self._queue(client, KIND_RTCP, data, length, now_ns)
            else:
                self._receive_media(client, data, length, at_ns, now_ns)
        elif data[0] < 4:
            # Answers to our own checks say no more than that somebody is there.
            if load16(data) == 0x0001:
                self._queue(client, KIND_STUN, data, length, now_ns)
            else:
                client.consents += 1
        elif 20 <= data[0] < 64:
            self._queue(client, KIND_DTLS, data, length, now_ns)
        else:
            client.malformed += 1

    cdef void _queue(
        self, Client *client, int kind, const uint8_t *data, int length, int64_t now_ns
    ) noexcept nogil:
        cdef uint8_t address[ADDRESS_BYTES]
        memset(address, 0, ADDRESS_BYTES)
        if length <= QUEUED_BYTES and push(
            &self.ring, kind, client.handle, address, now_ns, data, length
        ):
            self.queued = True

    # ---- what Python reads

    def drain(self, int limit=256):
        """What has arrived for Python; also clears `wake_fd` when it leaves nothing."""
        cdef uint64_t value
        cdef uint64_t one = 1
        cdef Queued *slot
        cdef list result = []
        read(self.wake, &value, 8)
        while self.ring.tail != load_acquire(&self.ring.head) and len(result) < limit:
            slot = &self.ring.slots[self.ring.tail % self.ring.room]
            result.append(
                Datagram(
                    slot.kind, slot.transport,
                    PyBytes_FromStringAndSize(<char *>slot.data, slot.length),
                )
            )
            store_release(&self.ring.tail, self.ring.tail + 1)
        if self.ring.tail != load_acquire(&self.ring.head):
            write(self.wake, &one, 8)
        return result
