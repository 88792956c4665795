# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""The packet kernel: one native thread that moves media packets and never takes the GIL.

Types and contracts stand in `pump.pyi`. Here are the thread, whose datagram is whose, and what
Python gets of it; what becomes of a media packet is `Receiver`'s. All of that runs without the GIL,
under a lock that Python takes only between two packets, for changes to the tables.
"""

import os
from typing import NamedTuple

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp

from region.kernel.consent cimport MAX_RESPONSE_BYTES, renews_consent, write_consent
from region.kernel.entries cimport *
from region.kernel.outbox cimport IN_BYTES
from region.kernel.path cimport path_feedback, path_presses
from region.kernel.pressure cimport pressure_idle, pressure_note
from region.kernel.receiver cimport BATCH_IN, Receiver
from region.kernel.ring cimport QUEUED_BYTES, Queued, Ring, push
from region.kernel.system cimport *
from region.kernel.tables cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.errors import LocalProtocolError

STUN = 0
DTLS = 1
RTCP = 2
NO_TRANSPORT = -1

cdef enum:
    KIND_STUN = 0
    KIND_DTLS = 1
    KIND_RTCP = 2

    KNOWN_RING = 1024  # from addresses that a transport owns
    UNKNOWN_RING = 256  # from anybody: a flood there must not push out the known

    NACK_TICK_MS = 10
    REPORTS_NS = 50_000_000  # a sender has no reason to report more often
    FEEDBACK_TICK_MS = 50
    PROBE_TICK_MS = 1

    REPORT_BLOCK_BYTES = 24
    AFTER_LOSS_NS = 180_000_000_000  # in which what a loss has cost is made up for, at 8 % a second

    SAID_NOTHING = 0
    SAID_REPORTS = 1  # RFC 3550's, and a trunk's probes: they can wait
    SAID_URGENT = 2


AFTER_LOSS_S = AFTER_LOSS_NS / 1e9


class Datagram(NamedTuple):
    kind: int
    transport: int
    address: bytes
    received_s: float
    data: bytes


cdef class Pump(Receiver):
    cdef int epoll, wake, halt
    cdef uint32_t stopping
    cdef bint running
    cdef Ring known, unknown
    # The batch that is coming in.
    cdef uint8_t *in_data
    cdef mmsghdr in_message[BATCH_IN]
    cdef iovec in_vector[BATCH_IN]
    cdef sockaddr_storage in_address[BATCH_IN]

    def __cinit__(self, int fd):
        cdef epoll_event event
        cdef int i
        self.epoll = self.wake = self.halt = -1
        self.known.slots = <Queued *>calloc(KNOWN_RING, sizeof(Queued))
        self.known.room = KNOWN_RING
        self.unknown.slots = <Queued *>calloc(UNKNOWN_RING, sizeof(Queued))
        self.unknown.room = UNKNOWN_RING
        self.in_data = <uint8_t *>calloc(BATCH_IN, IN_BYTES)
        if (
            self.known.slots == NULL or self.unknown.slots == NULL
            or self.in_data == NULL
        ):
            raise MemoryError
        for i in range(BATCH_IN):
            self.in_vector[i].iov_base = self.in_data + i * IN_BYTES
            self.in_vector[i].iov_len = IN_BYTES
            self.in_message[i].msg_hdr.msg_iov = &self.in_vector[i]
            self.in_message[i].msg_hdr.msg_iovlen = 1
            self.in_message[i].msg_hdr.msg_name = &self.in_address[i]
        self.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.halt = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.wake < 0 or self.halt < 0 or self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        for watched in (self.fd, self.halt, self.connections_epoll):
            event.events = EPOLLIN
            event.data.fd = watched
            if epoll_ctl(self.epoll, EPOLL_CTL_ADD, watched, &event) < 0:
                raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        free(self.known.slots)
        free(self.unknown.slots)
        free(self.in_data)
        for fd in (self.wake, self.halt, self.epoll):
            if fd >= 0:
                close(fd)

    @property
    def wake_fd(self):
        """An eventfd that is readable while `drain` has something."""
        return self.wake

    # ---- the thread

    def run(self):
        """Pump until `stop`; never holds the GIL. OSError when the socket breaks."""
        cdef int failure
        if self.running:
            raise LocalProtocolError("the pump runs already")
        self.running = True
        with nogil:
            failure = self._loop()
        self.running = False
        if failure:
            raise OSError(failure, os.strerror(failure))

    def stop(self):
        """Make `run` return soon; may be called from any thread, more than once."""
        cdef uint64_t one = 1
        store_release(&self.stopping, 1)
        write(self.halt, &one, 8)

    cdef void _nudge(self) noexcept:
        cdef uint64_t one = 1
        write(self.halt, &one, 8)

    cdef int _loop(self) noexcept nogil:
        """0 when stopped, else the errno that ended it."""
        cdef epoll_event events[3]
        cdef int received, count
        cdef bint framed, nudged
        cdef uint64_t one = 1, nudges
        while not load_acquire(&self.stopping):
            count = epoll_wait(self.epoll, events, 3, self._patience_ms())
            if count < 0 and errno != EINTR:
                return errno
            framed = nudged = False
            while count > 0:
                count -= 1
                framed |= events[count].data.fd == self.connections_epoll
                nudged |= events[count].data.fd == self.halt
            if nudged:
                read(self.halt, &nudges, 8)
            while not load_acquire(&self.stopping):
                if framed:
                    self._serve_connections()
                received = self._receive_batch()
                if received < 0:
                    return -received
                if self.queued:
                    self.queued = False
                    write(self.wake, &one, 8)
                if received < BATCH_IN:
                    break
                framed = self.connections_open != 0
        return 0

    cdef inline int _patience_ms(self) noexcept nogil:
        """How long to wait for datagrams when nothing but time may bring work; −1 for ever."""
        if self.probing_count:
            return PROBE_TICK_MS
        if self.gappy_count:
            return NACK_TICK_MS
        return FEEDBACK_TICK_MS if self.reporting_count or self.pressure.level else -1

    cdef int _receive_batch(self) noexcept nogil:
        """How many datagrams it dealt with, or a negative errno."""
        cdef int i, received, level
        cdef int64_t now_ns, arrived_bytes = 0
        cdef uint32_t waiting, room
        for i in range(BATCH_IN):
            self.in_message[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        received = recvmmsg(self.fd, self.in_message, BATCH_IN, MSG_DONTWAIT, NULL)
        if received < 0:
            if errno != EAGAIN and errno != EINTR:
                return -errno
            received = 0
        if (
            received == 0 and self.gappy_count == 0 and self.reporting_count == 0
            and self.probing_count == 0 and self.pressure.level == 0
        ):
            pressure_idle(&self.pressure)
            return 0
        now_ns = monotonic_ns()
        fair_acquire(&self.lock)
        for i in range(received):
            arrived_bytes += self.in_message[i].msg_len
            self._receive(i, now_ns)
            if fair_wanted(&self.lock):
                self._hand_on()
                self._flush()
                fair_release(&self.lock)
                fair_acquire(&self.lock)
        self._hand_on()
        if self.probing_count:
            self._send_probes(now_ns)
        self._flush()
        if self.gappy_count:
            self._ask_again(now_ns)
        if self.reporting_count:
            self._report_arrivals(now_ns)
        if received == BATCH_IN or self.pressure.level:
            receive_queue(self.fd, &waiting, &room)
            level = self.pressure.level
            pressure_note(
                &self.pressure, received, arrived_bytes, received == BATCH_IN, waiting, room, now_ns
            )
            if level == 0 and self.pressure.level:
                self._stir()
        else:
            pressure_idle(&self.pressure)
        self._sweep(now_ns)
        fair_release(&self.lock)
        return received

    cdef void _receive(self, int i, int64_t now_ns) noexcept nogil:
        cdef uint8_t *data = <uint8_t *>self.in_vector[i].iov_base
        cdef int length = <int>self.in_message[i].msg_len
        cdef uint8_t address[ADDRESS_BYTES]
        self.counter[DATAGRAMS_IN] += 1
        if self.in_message[i].msg_hdr.msg_flags & MSG_TRUNC:
            self.counter[DROPPED_OVERSIZE] += 1
            return
        if not address_from_sockaddr(&self.in_address[i], address):
            self.counter[DROPPED_MALFORMED] += 1
            return
        self._sort(address, now_ns, data, length)

    cdef void _arrived(
        self, const uint8_t *address, int64_t now_ns, uint8_t *data, int length
    ) noexcept nogil:
        """From a TCP connection, whose next frame will stand where this one does."""
        self._sort(address, now_ns, data, length)
        self._hand_on()

    cdef void _sort(
        self, const uint8_t *address, int64_t now_ns, uint8_t *data, int length
    ) noexcept nogil:
        """RFC 7983 section 7: whose datagram it is by its first byte."""
        cdef uint32_t transport
        cdef Key key
        if length < 8:
            self.counter[DROPPED_MALFORMED] += 1
            return
        address_key(address, &key)
        transport = map_get(&self.by_address, &key)
        if data[0] < 4:
            if transport != NONE and self._answer_consent(
                self.transports[transport], address, now_ns, data, length
            ):
                return
            self._queue(KIND_STUN, transport, address, now_ns, data, length, True)
        elif 20 <= data[0] < 64 or 128 <= data[0] < 192:
            if transport == NONE:
                self.counter[DROPPED_UNKNOWN_ADDRESS] += 1
            elif data[0] < 64:
                self._queue(KIND_DTLS, transport, address, now_ns, data, length, True)
            elif 192 <= data[1] < 224:  # RFC 5761 section 4
                self._receive_rtcp(transport, address, now_ns, data, length)
            else:
                self._receive_media(transport, now_ns, data, length)
        else:
            self.counter[DROPPED_UNKNOWN_PROTOCOL] += 1

    cdef bint _answer_consent(
        self, Transport *transport, const uint8_t *address, int64_t now_ns, uint8_t *data,
        int length,
    ) noexcept nogil:
        """Whether the datagram did no more than renew consent, and has been answered."""
        cdef uint8_t response[MAX_RESPONSE_BYTES]
        if (
            transport.consent == NULL or transport.to_length == 0
            or memcmp(address, transport.selected, ADDRESS_BYTES)
            or not renews_consent(transport.consent, data, length)
        ):
            return False
        transport.consent_ns = now_ns
        self.counter[CONSENTS] += 1
        length = write_consent(transport.consent, data, address, response)
        self._send_to(transport, response, length)
        return True

    cdef void _queue(
        self, int kind, uint32_t transport, const uint8_t *address, int64_t now_ns,
        const uint8_t *data, int length, bint urgent,
    ) noexcept nogil:
        """For Python, which is woken for what is urgent and looks for the rest when it is awake."""
        if push(
            &self.unknown if transport == NONE else &self.known,
            kind, transport, address, now_ns, data, length,
        ):
            self.queued |= urgent
            self.counter[HANDED_ON] += 1
        else:
            self.counter[DROPPED_QUEUE_FULL] += 1

    cdef void _receive_rtcp(
        self, uint32_t handle, const uint8_t *address, int64_t now_ns, uint8_t *data, int length,
    ) noexcept nogil:
        cdef Transport *transport = self.transports[handle]
        cdef uint32_t ssrc = load32(data + 4)
        cdef int i, said, wire_length = length
        if transport.srtp_in == NULL:
            self.counter[DROPPED_NO_KEYS] += 1
            return
        for i in range(transport.rtcp_ssrcs):
            if transport.rtcp_ssrc[i] == ssrc:
                break
        else:
            i = transport.rtcp_ssrcs
        if i == MAX_RTCP_SSRCS:
            self.counter[DROPPED_RTCP_SSRCS] += 1
            return
        if not self._open_rtcp(transport, data, &length):
            return
        if i == transport.rtcp_ssrcs:  # only the authenticated take a place
            transport.rtcp_ssrc[i] = ssrc
            transport.rtcp_ssrcs += 1
        transport.last_ns = now_ns
        transport.packets_in += 1
        transport.bytes_in += wire_length
        said = self._hear(handle, transport, now_ns, data, length)
        if said != SAID_NOTHING:
            self._queue(KIND_RTCP, handle, address, now_ns, data, length, said == SAID_URGENT)
        else:
            self.counter[RTCP_TAKEN] += 1

    cdef int _hear(
        self, uint32_t handle, Transport *transport, int64_t now_ns, const uint8_t *data,
        int length,
    ) noexcept nogil:
        """Take what concerns the pump out of a compound; what Python has to do with the rest."""
        cdef int at = 0, size, said = SAID_NOTHING
        while at + 4 <= length:
            size = 4 + 4 * load16(data + at + 2)
            if data[at] >> 6 != 2 or at + size > length:
                return SAID_URGENT
            # RFC 4585 section 6.1: RTPFB, FMT 15; both SSRCs, then what it says.
            if data[at + 1] == 205 and data[at] & 0x1F == 15 and transport.path != NULL:
                if size < 20 or not path_feedback(
                    transport.path, data + at + 12, size - 12, now_ns
                ):
                    self.counter[DROPPED_FEEDBACK_MALFORMED] += 1
                elif path_presses(transport.path, now_ns):
                    self._stir()
            elif data[at + 1] == 200 and size >= 28:
                self._hear_report(handle, now_ns, data + at)
            elif data[at + 1] == 201:
                if said == SAID_NOTHING and self._tells_loss(transport, data + at, size, now_ns):
                    said = SAID_REPORTS
            elif data[at + 1] == 204 and transport.echoes and self._hear_probe(
                transport, data + at, size, now_ns
            ):
                if said == SAID_NOTHING:
                    said = SAID_REPORTS
            elif data[at + 1] != 202:
                said = SAID_URGENT
            at += size
        return said if at == length else SAID_URGENT

    cdef bint _tells_loss(
        self, Transport *transport, const uint8_t *report, int size, int64_t now_ns
    ) noexcept nogil:
        """Whether a receiver's report is for Python: of a loss, or not long after one.

        Whoever gives feedback tells better by that.
        """
        cdef int i, blocks = report[0] & 0x1F
        if transport.path != NULL:
            return blocks != 0 and not transport.path.answered
        if size < 8 + REPORT_BLOCK_BYTES * blocks:
            return True  # malformed, which Python counts
        for i in range(blocks):
            if report[8 + REPORT_BLOCK_BYTES * i + 4]:  # RFC 3550 section 6.4.1: fraction lost
                transport.loss_ns = now_ns + AFTER_LOSS_NS
        return blocks != 0 and now_ns < transport.loss_ns

    cdef void _hear_report(
        self, uint32_t handle, int64_t now_ns, const uint8_t *report
    ) noexcept nogil:
        """A sender's report on one of its streams, for all that receive it."""
        cdef Key key
        cdef uint32_t stream_handle
        cdef Stream *stream
        stream_key(handle, load32(report + 4), &key)
        stream_handle = map_get(&self.by_ssrc, &key)
        if stream_handle == NONE or stream_handle & RETRANSMISSIONS:
            return
        stream = self.streams[stream_handle]
        stream.report_ntp = load32(report + 10)
        stream.reported_ns = now_ns
        if stream.told_ns and now_ns - stream.told_ns < REPORTS_NS:
            self.counter[DROPPED_REPORTS_LIMITED] += 1
            return
        stream.told_ns = now_ns
        self._tell_receivers(stream_handle, stream, report)

    # ---- what Python reads

    def pressure_level(self):
        """The most since the last call."""
        cdef int most
        with nogil:
            fair_acquire(&self.lock)
            most = self.pressure.most
            self.pressure.most = self.pressure.level
            fair_release(&self.lock)
        return most

    def drain(self, int limit=256):
        """What has arrived for Python; also clears `wake_fd` when it leaves nothing."""
        cdef uint64_t value
        cdef uint64_t one = 1
        cdef list result = []
        read(self.wake, &value, 8)
        self._drain_ring(&self.known, result, limit)
        self._drain_ring(&self.unknown, result, limit)
        if (
            load_acquire(&self.known.head) != self.known.tail
            or load_acquire(&self.unknown.head) != self.unknown.tail
        ):
            write(self.wake, &one, 8)
        return result

    cdef _drain_ring(self, Ring *ring, list result, int limit):
        cdef Queued *slot
        while ring.tail != load_acquire(&ring.head) and len(result) < limit:
            slot = &ring.slots[ring.tail % ring.room]
            result.append(
                Datagram(
                    slot.kind,
                    NO_TRANSPORT if slot.transport == NONE else slot.transport,
                    PyBytes_FromStringAndSize(<char *>slot.address, ADDRESS_BYTES),
                    slot.received_ns / 1e9,
                    PyBytes_FromStringAndSize(<char *>slot.data, slot.length),
                )
            )
            store_release(&ring.tail, ring.tail + 1)
