# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""The packet kernel: one native thread that moves media packets and never takes the GIL.

Types and contracts stand in `pump.pyi`. Per-packet work is in `Pump._receive_media` and
below; everything there runs without the GIL, under a lock that Python takes only between
two packets, for changes to the tables.
"""

import os
import secrets
import socket
from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from pylibsrtp._binding import ffi, lib

from region.kernel.flow cimport FIRST_CYCLE, begin, enlist, observe, unlist
from region.kernel.ring cimport QUEUED_BYTES, Queued, Ring, push
from region.kernel.system cimport *
from region.kernel.tables cimport *
from region.kernel.wire cimport *
from relay.errors import CapacityError, LocalProtocolError
from relay.payload import HeaderExtension, PayloadType

STUN = 0
DTLS = 1
RTCP = 2
NO_TRANSPORT = -1
NO_STREAM = -1

cdef enum:
    KIND_STUN = 0
    KIND_DTLS = 1
    KIND_RTCP = 2

    AHEAD = 3  # egresses whose cache lines are fetched before their turn

    BATCH_IN = 64
    BATCH_OUT = 128
    IN_BYTES = QUEUED_BYTES  # a datagram that is longer is no media packet of ours
    OUT_BYTES = IN_BYTES + MAX_HEADER_GROWTH + 160  # SRTP_MAX_TRAILER_LEN is 144
    MAX_TABLE = 65_536

    KNOWN_RING = 1024  # from addresses that a transport owns
    UNKNOWN_RING = 256  # from anybody: a flood there must not push out the known

    MAX_AWAITING = 4096  # named at once; the others are at the next look

    SWITCH_MEMORY = 1024  # packets after a switch in which an older one may still arrive

    SRTP_AUTH_FAIL = 7
    SRTP_REPLAY_FAIL = 9
    SRTP_REPLAY_OLD = 10

cdef enum:
    PACKETS_IN
    PACKETS_OUT
    DATAGRAMS_IN
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
    DROPPED_NO_PAYLOAD_TYPE
    DROPPED_NO_PATH
    DROPPED_PROTECT
    DROPPED_SEND
    COUNTERS

cdef tuple COUNTER_NAMES = (
    "packets_in",
    "packets_out",
    "datagrams_in",
    "dropped_oversize",
    "dropped_unknown_protocol",
    "dropped_unknown_address",
    "dropped_unknown_ssrc",
    "dropped_unknown_payload",
    "dropped_no_keys",
    "dropped_authentication",
    "dropped_replay",
    "dropped_unprotect",
    "dropped_malformed",
    "dropped_rtcp_ssrcs",
    "dropped_queue_full",
    "dropped_awaiting_keyframe",
    "dropped_before_switch",
    "dropped_no_payload_type",
    "dropped_no_path",
    "dropped_protect",
    "dropped_send",
)
assert len(COUNTER_NAMES) == COUNTERS

cdef uint8_t VP8 = PayloadType.VP8
cdef uint8_t AUDIO_LEVEL = HeaderExtension.AUDIO_LEVEL


cdef srtp_function _function(str name) except NULL:
    return <srtp_function><uintptr_t>int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


cdef srtp_function srtp_protect = _function("srtp_protect")
cdef srtp_function srtp_unprotect = _function("srtp_unprotect")
cdef srtp_function srtp_protect_rtcp = _function("srtp_protect_rtcp")
cdef srtp_function srtp_unprotect_rtcp = _function("srtp_unprotect_rtcp")


class Datagram(NamedTuple):
    kind: int
    transport: int
    address: bytes
    received_s: float
    data: bytes


class StreamStats(NamedTuple):
    packets: int
    bytes: int
    highest_sequence: int
    base_sequence: int
    jitter_ticks: int
    level: int
    last_packet_s: float
    last_timestamp: int


class EgressStats(NamedTuple):
    packets: int
    bytes: int
    stream: int
    wanted: int
    timestamp_offset: int
    last_packet_s: float


class TransportStats(NamedTuple):
    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    last_packet_s: float


def pack_address(str host, int port):
    """A literal address as the kernel keys it; ValueError when `host` is no literal."""
    if not 0 <= port <= 0xFFFF:
        raise ValueError("a port is between 0 and 65535")
    try:
        packed = (
            socket.inet_pton(socket.AF_INET6, host)
            if ":" in host
            else b"\0" * 10 + b"\xff\xff" + socket.inet_pton(socket.AF_INET, host)
        )
    except OSError:
        raise ValueError("not a literal IPv4 or IPv6 address") from None
    return packed + port.to_bytes(2, "big")


def unpack_address(bytes packed):
    """Back to a literal (IPv4 where it was mapped) and a port."""
    if len(packed) != ADDRESS_BYTES:
        raise ValueError("a packed address has 18 bytes")
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        host = socket.inet_ntop(socket.AF_INET, packed[12:16])
    else:
        host = socket.inet_ntop(socket.AF_INET6, packed[:16])
    return host, int.from_bytes(packed[16:], "big")


cdef inline uint32_t _free_place(void **table, uint32_t *used, uint32_t *first_free) noexcept nogil:
    """The lowest handle that may be free, searched from where the last one was given back."""
    cdef uint32_t at = first_free[0]
    while at < used[0] and table[at] != NULL:
        at += 1
    return at


cdef class Pump:
    cdef int fd, epoll, wake, halt, family
    cdef uint32_t stopping
    cdef bint running
    cdef fair_lock lock
    cdef uint64_t counter[COUNTERS]
    # Tables of pointers, so that growing one moves no entry.
    cdef Transport **transports
    cdef uint32_t transports_used, transports_free
    cdef Stream **streams
    cdef uint32_t streams_used, streams_free
    cdef Egress **egresses
    cdef uint32_t egresses_used, egresses_free
    cdef Map by_address, by_ssrc
    cdef Ring known, unknown
    cdef bint queued
    # The batch that is coming in, and the one that is going out.
    cdef uint8_t *in_data
    cdef mmsghdr in_message[BATCH_IN]
    cdef iovec in_vector[BATCH_IN]
    cdef sockaddr_storage in_address[BATCH_IN]
    cdef uint8_t *out_data
    cdef mmsghdr out_message[BATCH_OUT]
    cdef iovec out_vector[BATCH_OUT]
    cdef Egress *out_egress[BATCH_OUT]
    cdef int outgoing
    # The sessions that C pointers point into; touched by Python only.
    cdef dict sessions

    def __cinit__(self, int fd):
        cdef uint64_t seed = int.from_bytes(secrets.token_bytes(8), "little")
        cdef epoll_event event
        cdef int i
        self.epoll = self.wake = self.halt = -1
        fair_init(&self.lock)
        self.fd = fd
        self.family = socket_family(fd)
        if self.family != AF_INET6 and self.family != AF_INET:
            raise LocalProtocolError("the pump needs a bound UDP socket of IPv4 or IPv6")
        self.sessions = {}
        self.transports = <Transport **>calloc(MAX_TABLE, sizeof(void *))
        self.streams = <Stream **>calloc(MAX_TABLE, sizeof(void *))
        self.egresses = <Egress **>calloc(MAX_TABLE, sizeof(void *))
        self.known.slots = <Queued *>calloc(KNOWN_RING, sizeof(Queued))
        self.known.room = KNOWN_RING
        self.unknown.slots = <Queued *>calloc(UNKNOWN_RING, sizeof(Queued))
        self.unknown.room = UNKNOWN_RING
        self.in_data = <uint8_t *>calloc(BATCH_IN, IN_BYTES)
        self.out_data = <uint8_t *>calloc(BATCH_OUT, OUT_BYTES)
        if (
            self.transports == NULL or self.streams == NULL or self.egresses == NULL
            or self.known.slots == NULL or self.unknown.slots == NULL
            or self.in_data == NULL or self.out_data == NULL
            or not map_init(&self.by_address, 256, seed)
            or not map_init(&self.by_ssrc, 256, seed)
        ):
            raise MemoryError
        for i in range(BATCH_IN):
            self.in_vector[i].iov_base = self.in_data + i * IN_BYTES
            self.in_vector[i].iov_len = IN_BYTES
            self.in_message[i].msg_hdr.msg_iov = &self.in_vector[i]
            self.in_message[i].msg_hdr.msg_iovlen = 1
            self.in_message[i].msg_hdr.msg_name = &self.in_address[i]
        for i in range(BATCH_OUT):
            self.out_vector[i].iov_base = self.out_data + i * OUT_BYTES
            self.out_message[i].msg_hdr.msg_iov = &self.out_vector[i]
            self.out_message[i].msg_hdr.msg_iovlen = 1
        self.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.halt = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.wake < 0 or self.halt < 0 or self.epoll < 0:
            raise OSError(errno, os.strerror(errno))
        for watched in (self.fd, self.halt):
            event.events = EPOLLIN
            event.data.fd = watched
            if epoll_ctl(self.epoll, EPOLL_CTL_ADD, watched, &event) < 0:
                raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.transports_used):
            free(self.transports[i])
        for i in range(self.streams_used):
            if self.streams[i] != NULL:
                free(self.streams[i].egress)
            free(self.streams[i])
        for i in range(self.egresses_used):
            free(self.egresses[i])
        free(self.transports)
        free(self.streams)
        free(self.egresses)
        free(self.by_address.slots)
        free(self.by_ssrc.slots)
        free(self.known.slots)
        free(self.unknown.slots)
        free(self.in_data)
        free(self.out_data)
        fair_destroy(&self.lock)
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

    cdef int _loop(self) noexcept nogil:
        """0 when stopped, else the errno that ended it."""
        cdef epoll_event events[2]
        cdef int received
        cdef uint64_t one = 1
        while not load_acquire(&self.stopping):
            if epoll_wait(self.epoll, events, 2, -1) < 0 and errno != EINTR:
                return errno
            while not load_acquire(&self.stopping):
                received = self._receive_batch()
                if received < 0:
                    return -received
                if self.queued:
                    self.queued = False
                    write(self.wake, &one, 8)
                if received < BATCH_IN:
                    break
        return 0

    cdef int _receive_batch(self) noexcept nogil:
        """How many datagrams it dealt with, or a negative errno."""
        cdef int i, received
        cdef int64_t now_ns
        for i in range(BATCH_IN):
            self.in_message[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        received = recvmmsg(self.fd, self.in_message, BATCH_IN, MSG_DONTWAIT, NULL)
        if received < 0:
            return 0 if errno == EAGAIN or errno == EINTR else -errno
        now_ns = monotonic_ns()
        fair_acquire(&self.lock)
        for i in range(received):
            self._receive(i, now_ns)
            if fair_wanted(&self.lock):
                self._flush()
                fair_release(&self.lock)
                fair_acquire(&self.lock)
        self._flush()
        fair_release(&self.lock)
        return received

    cdef void _receive(self, int i, int64_t now_ns) noexcept nogil:
        """RFC 7983 section 7: whose datagram it is by its first byte."""
        cdef uint8_t *data = <uint8_t *>self.in_vector[i].iov_base
        cdef int length = <int>self.in_message[i].msg_len
        cdef uint8_t address[ADDRESS_BYTES]
        cdef uint32_t transport
        cdef Key key
        self.counter[DATAGRAMS_IN] += 1
        if self.in_message[i].msg_hdr.msg_flags & MSG_TRUNC:
            self.counter[DROPPED_OVERSIZE] += 1
            return
        if length < 8 or not address_from_sockaddr(&self.in_address[i], address):
            self.counter[DROPPED_MALFORMED] += 1
            return
        address_key(address, &key)
        transport = map_get(&self.by_address, &key)
        if data[0] < 4:
            self._queue(KIND_STUN, transport, address, now_ns, data, length)
        elif 20 <= data[0] < 64 or 128 <= data[0] < 192:
            if transport == NONE:
                self.counter[DROPPED_UNKNOWN_ADDRESS] += 1
            elif data[0] < 64:
                self._queue(KIND_DTLS, transport, address, now_ns, data, length)
            elif 192 <= data[1] < 224:  # RFC 5761 section 4
                self._receive_rtcp(transport, address, now_ns, data, length)
            else:
                self._receive_media(transport, now_ns, data, length)
        else:
            self.counter[DROPPED_UNKNOWN_PROTOCOL] += 1

    cdef void _queue(
        self, int kind, uint32_t transport, const uint8_t *address, int64_t now_ns,
        const uint8_t *data, int length,
    ) noexcept nogil:
        if push(
            &self.unknown if transport == NONE else &self.known,
            kind, transport, address, now_ns, data, length,
        ):
            self.queued = True
        else:
            self.counter[DROPPED_QUEUE_FULL] += 1

    cdef bint _unprotected(self, int status) noexcept nogil:
        """Whether libsrtp was content; counts why not."""
        if status == 0:
            return True
        if status == SRTP_AUTH_FAIL:
            self.counter[DROPPED_AUTHENTICATION] += 1
        elif status == SRTP_REPLAY_FAIL or status == SRTP_REPLAY_OLD:
            self.counter[DROPPED_REPLAY] += 1
        else:
            self.counter[DROPPED_UNPROTECT] += 1
        return False

    cdef void _receive_rtcp(
        self, uint32_t handle, const uint8_t *address, int64_t now_ns, uint8_t *data, int length,
    ) noexcept nogil:
        cdef Transport *transport = self.transports[handle]
        cdef uint32_t ssrc = load32(data + 4)
        cdef int i, wire_length = length
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
        if not self._unprotected(srtp_unprotect_rtcp(transport.srtp_in, data, &length)):
            return
        if i == transport.rtcp_ssrcs:  # only the authenticated take a place
            transport.rtcp_ssrc[i] = ssrc
            transport.rtcp_ssrcs += 1
        transport.last_ns = now_ns
        transport.packets_in += 1
        transport.bytes_in += wire_length
        self._queue(KIND_RTCP, handle, address, now_ns, data, length)

    cdef void _receive_media(
        self, uint32_t handle, int64_t now_ns, uint8_t *data, int length,
    ) noexcept nogil:
        cdef Transport *transport = self.transports[handle]
        cdef uint32_t stream_handle, i
        cdef Stream *stream
        cdef Key key
        cdef Rtp rtp
        cdef uint8_t payload
        cdef bint keyframe
        cdef int wire_length = length
        if length < 12:
            self.counter[DROPPED_MALFORMED] += 1
            return
        if transport.srtp_in == NULL:
            self.counter[DROPPED_NO_KEYS] += 1
            return
        # Before libsrtp, which would keep a context for every SSRC it is shown.
        stream_key(handle, load32(data + 8), &key)
        stream_handle = map_get(&self.by_ssrc, &key)
        if stream_handle == NONE:
            self.counter[DROPPED_UNKNOWN_SSRC] += 1
            return
        if not self._unprotected(srtp_unprotect(transport.srtp_in, data, &length)):
            return
        if not parse_rtp(data, length, transport.canonical_extension, &rtp):
            self.counter[DROPPED_MALFORMED] += 1
            return
        payload = transport.canonical_payload[rtp.payload_type]
        if payload == NO_PAYLOAD:
            self.counter[DROPPED_UNKNOWN_PAYLOAD] += 1
            return
        self.counter[PACKETS_IN] += 1
        transport.last_ns = now_ns
        transport.packets_in += 1
        transport.bytes_in += wire_length
        stream = self.streams[stream_handle]
        observe(stream, &rtp, length, now_ns, AUDIO_LEVEL)
        keyframe = payload == VP8 and begins_vp8_keyframe(rtp.payload, rtp.payload_length)
        # What the next ones need is fetched while this one is encrypted.
        for i in range(min(<uint32_t>AHEAD, stream.egresses)):
            prefetch(stream.egress[i])
        # A switch takes an egress out of another stream's list, never out of this one.
        for i in range(stream.egresses):
            if i + AHEAD < stream.egresses:
                prefetch(stream.egress[i + AHEAD])
            if i + 1 < stream.egresses:
                prefetch(stream.egress[i + 1].transport)
            self._forward(
                stream_handle, stream, stream.egress[i], &rtp, payload, keyframe, now_ns
            )

    cdef void _forward(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Rtp *rtp,
        uint8_t payload, bint keyframe, int64_t now_ns,
    ) noexcept nogil:
        cdef Transport *transport = egress.transport
        cdef uint8_t wire_payload = transport.wire_payload[payload]
        cdef uint8_t *out
        cdef uint16_t sequence
        cdef uint32_t timestamp
        cdef int length
        if wire_payload == NO_PAYLOAD:
            self.counter[DROPPED_NO_PAYLOAD_TYPE] += 1
            return
        if transport.srtp_out == NULL or transport.to_length == 0:
            self.counter[DROPPED_NO_PATH] += 1
            return
        if egress.stream != stream_handle:
            if egress.video and not keyframe:
                self.counter[DROPPED_AWAITING_KEYFRAME] += 1
                return
            if egress.stream != NONE:
                unlist(self.streams[egress.stream], egress)
            egress.stream = stream_handle
            begin(egress, rtp, stream.clock_rate, now_ns)
        elif egress.behind_switch:
            if <int16_t>(rtp.sequence - egress.switch_sequence) < 0:
                self.counter[DROPPED_BEFORE_SWITCH] += 1
                return
            if <uint16_t>(rtp.sequence - egress.switch_sequence) > SWITCH_MEMORY:
                egress.behind_switch = False
        sequence = rtp.sequence + egress.sequence_offset
        timestamp = rtp.timestamp + egress.timestamp_offset
        if not egress.started or <int16_t>(sequence - egress.last_sequence) > 0:
            egress.started = True
            egress.last_sequence = sequence
            egress.last_timestamp = timestamp
            egress.last_ns = now_ns
        if self.outgoing == BATCH_OUT:
            self._flush()
        out = <uint8_t *>self.out_vector[self.outgoing].iov_base
        length = write_rtp(
            out, rtp, wire_payload, sequence, timestamp, egress.ssrc,
            not egress.trunk, stream.csrc, transport.wire_extension,
        )
        if srtp_protect(transport.srtp_out, out, &length) != 0:
            self.counter[DROPPED_PROTECT] += 1
            return
        self.out_vector[self.outgoing].iov_len = length
        self.out_message[self.outgoing].msg_hdr.msg_name = &transport.to
        self.out_message[self.outgoing].msg_hdr.msg_namelen = transport.to_length
        self.out_egress[self.outgoing] = egress
        self.outgoing += 1

    cdef void _flush(self) noexcept nogil:
        cdef int sent, at = 0, i
        cdef Transport *transport
        cdef size_t length
        while at < self.outgoing:
            sent = sendmmsg(self.fd, self.out_message + at, self.outgoing - at, MSG_DONTWAIT)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:  # the socket's buffer is full: the rest is lost
                    self.counter[DROPPED_SEND] += self.outgoing - at
                    break
                self.counter[DROPPED_SEND] += 1  # this one has no route, say; others may
                at += 1
                continue
            for i in range(at, at + sent):
                length = self.out_vector[i].iov_len
                self.out_egress[i].packets += 1
                self.out_egress[i].bytes += length
                transport = self.out_egress[i].transport
                transport.packets_out += 1
                transport.bytes_out += length
            self.counter[PACKETS_OUT] += sent
            at += sent
        self.outgoing = 0

    # ---- what Python reads and sends

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

    def send(self, bytes address not None, bytes data not None):
        """Send one plain datagram now; False when the socket would not take it."""
        cdef socket_address to
        cdef socklen_t to_length
        cdef ssize_t sent
        cdef const char *bytes_ = PyBytes_AS_STRING(data)
        cdef size_t length = len(data)
        if len(address) != ADDRESS_BYTES:
            raise LocalProtocolError("a packed address has 18 bytes")
        to_length = sockaddr_from_address(
            self.family, <const uint8_t *>PyBytes_AS_STRING(address), &to
        )
        if to_length == 0:
            return False
        with nogil:
            sent = sendto(self.fd, bytes_, length, MSG_DONTWAIT, <sockaddr *>&to, to_length)
        return sent >= 0

    def send_rtcp(self, uint32_t transport, bytes packet not None):
        """Protect a compound RTCP packet and send it; False when there is no path or no room."""
        cdef uint8_t buffer[IN_BYTES]
        cdef int length = <int>len(packet)
        cdef ssize_t sent = -1
        cdef Transport *to
        if not 8 <= length <= IN_BYTES - 160:
            raise LocalProtocolError("an RTCP packet has 8 to 1888 bytes")
        memcpy(buffer, PyBytes_AS_STRING(packet), length)
        with nogil:
            fair_acquire(&self.lock)
            to = self._transport(transport)
            if (
                to != NULL and to.srtp_out != NULL and to.to_length
                and srtp_protect_rtcp(to.srtp_out, buffer, &length) == 0
            ):
                sent = sendto(
                    self.fd, buffer, length, MSG_DONTWAIT, <sockaddr *>&to.to, to.to_length
                )
                if sent >= 0:
                    to.packets_out += 1
                    to.bytes_out += length
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        return sent >= 0

    # ---- transports

    cdef Transport *_transport(self, uint32_t handle) noexcept nogil:
        return self.transports[handle] if handle < self.transports_used else NULL

    def add_transport(self):
        """A transport without address or keys; its handle."""
        cdef uint32_t at
        cdef Transport *transport = <Transport *>new_entry(sizeof(Transport))
        if transport == NULL:
            raise MemoryError
        memset(transport.canonical_payload, NO_PAYLOAD, 128)
        memset(transport.wire_payload, NO_PAYLOAD, 128)
        with nogil:
            fair_acquire(&self.lock)
            at = _free_place(
                <void **>self.transports, &self.transports_used, &self.transports_free
            )
            if at < MAX_TABLE:
                self.transports[at] = transport
                self.transports_free = at + 1
                if at == self.transports_used:
                    self.transports_used += 1
            fair_release(&self.lock)
        if at >= MAX_TABLE:
            free(transport)
            raise CapacityError("the bridge has no room for another transport")
        return at

    def remove_transport(self, uint32_t transport):
        """Also removes its addresses, streams and egresses."""
        cdef Transport *gone
        cdef uint32_t i
        cdef Key key
        cdef int a
        with nogil:
            fair_acquire(&self.lock)
            gone = self._transport(transport)
            if gone != NULL:
                for i in range(self.egresses_used):
                    if self.egresses[i] != NULL and self.egresses[i].transport == gone:
                        self._drop_egress(i)
                for i in range(self.streams_used):
                    if self.streams[i] != NULL and self.streams[i].transport == transport:
                        self._drop_stream(i)
                for a in range(gone.addresses):
                    address_key(gone.address[a], &key)
                    map_remove(&self.by_address, &key)
                self.transports[transport] = NULL
                if transport < self.transports_free:
                    self.transports_free = transport
            fair_release(&self.lock)
        if gone == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        free(gone)
        self.sessions.pop(transport, None)

    def bind_address(self, uint32_t transport, bytes address not None):
        """Accept from this address too (at most 8; the oldest unselected one makes room)."""
        self._bind(transport, address, False)

    def select_address(self, uint32_t transport, bytes address not None):
        """Send to this address from now on; also binds it."""
        self._bind(transport, address, True)

    cdef _bind(self, uint32_t handle, bytes address, bint select):
        cdef const uint8_t *packed = <const uint8_t *>PyBytes_AS_STRING(address)
        cdef socket_address to
        cdef socklen_t to_length
        cdef Transport *transport
        cdef bint stored = True
        if len(address) != ADDRESS_BYTES:
            raise LocalProtocolError("a packed address has 18 bytes")
        to_length = sockaddr_from_address(self.family, packed, &to)
        if to_length == 0:
            raise LocalProtocolError("an IPv6 address on an IPv4 socket")
        with nogil:
            fair_acquire(&self.lock)
            transport = self._transport(handle)
            if transport != NULL:
                stored = self._bind_locked(handle, transport, packed)
                if stored and select:
                    memcpy(transport.selected, packed, ADDRESS_BYTES)
                    transport.to = to
                    transport.to_length = to_length
            fair_release(&self.lock)
        if transport == NULL:
            raise LocalProtocolError(f"there is no transport {handle}")
        if not stored:
            raise MemoryError

    cdef bint _bind_locked(
        self, uint32_t handle, Transport *transport, const uint8_t *packed
    ) noexcept nogil:
        cdef Key key
        cdef uint32_t owner
        cdef int i
        address_key(packed, &key)
        owner = map_get(&self.by_address, &key)
        if owner == handle:
            return True
        if owner != NONE:  # an address that a new client has taken over
            self._unbind(self.transports[owner], packed)
        if transport.addresses == MAX_ADDRESSES:
            i = 0
            if transport.to_length and memcmp(transport.address[0], transport.selected, ADDRESS_BYTES) == 0:
                i = 1
            self._unbind(transport, transport.address[i])
        if not map_put(&self.by_address, &key, handle):
            return False
        memcpy(transport.address[transport.addresses], packed, ADDRESS_BYTES)
        transport.addresses += 1
        return True

    cdef void _unbind(self, Transport *transport, const uint8_t *packed) noexcept nogil:
        cdef Key key
        cdef int i
        address_key(packed, &key)
        map_remove(&self.by_address, &key)
        for i in range(transport.addresses):
            if memcmp(transport.address[i], key.bytes, ADDRESS_BYTES) == 0:
                break
        else:
            return
        transport.addresses -= 1
        for i in range(i, transport.addresses):
            memcpy(transport.address[i], transport.address[i + 1], ADDRESS_BYTES)

    def set_srtp(self, uint32_t transport, inbound, outbound):
        """Give it two `pylibsrtp.Session`s; from now on only the pump may use them."""
        cdef void *srtp_in = <void *><uintptr_t>int(ffi.cast("uintptr_t", inbound._srtp[0]))
        cdef void *srtp_out = <void *><uintptr_t>int(ffi.cast("uintptr_t", outbound._srtp[0]))
        cdef Transport *to
        with nogil:
            fair_acquire(&self.lock)
            to = self._transport(transport)
            if to != NULL:
                to.srtp_in = srtp_in
                to.srtp_out = srtp_out
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        self.sessions[transport] = (inbound, outbound)  # the old pair, if any, is freed now

    def set_payload_types(self, uint32_t transport, dict canonical_by_wire):
        """Which payload types it uses for what; both directions."""
        cdef uint8_t canonical[128]
        cdef uint8_t wire[128]
        cdef Transport *to
        memset(canonical, NO_PAYLOAD, 128)
        memset(wire, NO_PAYLOAD, 128)
        for wire_type, canonical_type in canonical_by_wire.items():
            if not (0 <= wire_type < 128 and 0 <= canonical_type < 128):
                raise LocalProtocolError("a payload type is between 0 and 127")
            canonical[<int>wire_type] = canonical_type
            wire[<int>canonical_type] = wire_type
        with nogil:
            fair_acquire(&self.lock)
            to = self._transport(transport)
            if to != NULL:
                memcpy(to.canonical_payload, canonical, 128)
                memcpy(to.wire_payload, wire, 128)
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    def set_extensions(self, uint32_t transport, dict canonical_by_wire):
        """Which header extension ids it uses for what; both directions."""
        cdef uint8_t canonical[256]
        cdef uint8_t wire[256]
        cdef Transport *to
        memset(canonical, 0, 256)
        memset(wire, 0, 256)
        for wire_id, canonical_id in canonical_by_wire.items():
            if not (0 < wire_id < 256 and 0 < canonical_id < 256):
                raise LocalProtocolError("an extension id is between 1 and 255")
            canonical[<int>wire_id] = canonical_id
            wire[<int>canonical_id] = wire_id
        with nogil:
            fair_acquire(&self.lock)
            to = self._transport(transport)
            if to != NULL:
                memcpy(to.canonical_extension, canonical, 256)
                memcpy(to.wire_extension, wire, 256)
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    # ---- streams

    def add_stream(
        self, uint32_t transport, uint32_t ssrc, *, bint video, uint32_t clock_rate, uint32_t csrc
    ):
        """Expect this SSRC from this transport; packets of others are dropped and counted."""
        cdef Stream *stream = <Stream *>new_entry(sizeof(Stream))
        cdef Transport *owner
        cdef uint32_t at = NONE
        cdef bint taken = False
        cdef Key key
        if stream == NULL:
            raise MemoryError
        stream.video = video
        stream.transport = transport
        stream.ssrc = ssrc
        stream.csrc = csrc
        stream.clock_rate = clock_rate
        stream.level_16 = 127 * 16
        stream_key(transport, ssrc, &key)
        with nogil:
            fair_acquire(&self.lock)
            owner = self._transport(transport)
            taken = map_get(&self.by_ssrc, &key) != NONE
            if owner != NULL and not taken:
                at = _free_place(<void **>self.streams, &self.streams_used, &self.streams_free)
                if at < MAX_TABLE and map_put(&self.by_ssrc, &key, at):
                    self.streams[at] = stream
                    self.streams_free = at + 1
                    if at == self.streams_used:
                        self.streams_used += 1
                else:
                    at = NONE
            fair_release(&self.lock)
        if at == NONE:
            free(stream)
            if owner == NULL:
                raise LocalProtocolError(f"there is no transport {transport}")
            if taken:
                raise LocalProtocolError(f"SSRC {ssrc} stands already on transport {transport}")
            raise CapacityError("the bridge has no room for another stream")
        return at

    def remove_stream(self, uint32_t stream):
        """Egresses that carried it fall silent."""
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = stream < self.streams_used and self.streams[stream] != NULL
            if found:
                self._drop_stream(stream)
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no stream {stream}")

    cdef void _drop_stream(self, uint32_t handle) noexcept nogil:
        cdef Stream *stream = self.streams[handle]
        cdef Egress *egress
        cdef uint32_t i
        cdef Key key
        for i in range(stream.egresses):
            egress = stream.egress[i]
            if egress.stream == handle:
                egress.stream = NONE
            if egress.wanted == handle:
                egress.wanted = NONE
        stream_key(stream.transport, stream.ssrc, &key)
        map_remove(&self.by_ssrc, &key)
        free(stream.egress)
        free(stream)
        self.streams[handle] = NULL
        if handle < self.streams_free:
            self.streams_free = handle

    # ---- egresses

    def add_egress(self, uint32_t transport, uint32_t ssrc, *, bint video, bint trunk):
        """An outgoing stream: a client's slot, or a trunk's leg."""
        cdef Egress *egress = <Egress *>new_entry(sizeof(Egress))
        cdef Transport *owner
        cdef uint32_t at = NONE
        if egress == NULL:
            raise MemoryError
        egress.video = video
        egress.trunk = trunk
        egress.ssrc = ssrc
        egress.stream = egress.wanted = NONE
        with nogil:
            fair_acquire(&self.lock)
            owner = self._transport(transport)
            if owner != NULL:
                at = _free_place(<void **>self.egresses, &self.egresses_used, &self.egresses_free)
                if at < MAX_TABLE:
                    egress.transport = owner
                    self.egresses[at] = egress
                    self.egresses_free = at + 1
                    if at == self.egresses_used:
                        self.egresses_used += 1
                else:
                    at = NONE
            fair_release(&self.lock)
        if at == NONE:
            free(egress)
            if owner == NULL:
                raise LocalProtocolError(f"there is no transport {transport}")
            raise CapacityError("the bridge has no room for another outgoing stream")
        return at

    def remove_egress(self, uint32_t egress):
        """Nothing is sent there any more."""
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                self._drop_egress(egress)
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")

    cdef void _drop_egress(self, uint32_t handle) noexcept nogil:
        cdef Egress *egress = self.egresses[handle]
        if egress.stream != NONE:
            unlist(self.streams[egress.stream], egress)
        if egress.wanted != NONE and egress.wanted != egress.stream:
            unlist(self.streams[egress.wanted], egress)
        free(egress)
        self.egresses[handle] = NULL
        if handle < self.egresses_free:
            self.egresses_free = handle

    def set_source(self, uint32_t egress, int64_t stream):
        """Forward `stream` (or NO_STREAM) there; video waits for a keyframe of the new one."""
        cdef bint found, known = True, listed = True
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found and stream != -1:
                known = 0 <= stream < self.streams_used and self.streams[stream] != NULL
            if found and known:
                listed = self._set_source(egress, NONE if stream == -1 else <uint32_t>stream)
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")
        if not known:
            raise LocalProtocolError(f"there is no stream {stream}")
        if not listed:
            raise MemoryError

    cdef bint _set_source(self, uint32_t handle, uint32_t wanted) noexcept nogil:
        cdef Egress *egress = self.egresses[handle]
        if egress.wanted == wanted and (wanted != NONE or egress.stream == NONE):
            return True
        if wanted != NONE and wanted != egress.stream and not enlist(self.streams[wanted], egress):
            return False
        if egress.wanted != NONE and egress.wanted != egress.stream:
            unlist(self.streams[egress.wanted], egress)
        if wanted == NONE and egress.stream != NONE:
            unlist(self.streams[egress.stream], egress)
            egress.stream = NONE
        egress.wanted = wanted
        return True

    # ---- counters

    def stream_stats(self, uint32_t stream):
        """Counters of an incoming stream."""
        cdef Stream copy
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = stream < self.streams_used and self.streams[stream] != NULL
            if found:
                copy = self.streams[stream][0]
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no stream {stream}")
        return StreamStats(
            copy.packets, copy.bytes, <int64_t>copy.highest - FIRST_CYCLE, <int64_t>copy.base - FIRST_CYCLE,
            copy.jitter_16 >> 4,
            copy.level_16 >> 4, copy.last_ns / 1e9, copy.last_timestamp,
        )

    def egress_stats(self, uint32_t egress):
        """Counters and present mapping of an outgoing stream."""
        cdef Egress copy
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                copy = self.egresses[egress][0]
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")
        return EgressStats(
            copy.packets, copy.bytes,
            NO_STREAM if copy.stream == NONE else copy.stream,
            NO_STREAM if copy.wanted == NONE else copy.wanted,
            copy.timestamp_offset, copy.last_ns / 1e9,
        )

    def transport_stats(self, uint32_t transport):
        """Counters of a transport."""
        cdef Transport copy
        cdef Transport *of
        with nogil:
            fair_acquire(&self.lock)
            of = self._transport(transport)
            if of != NULL:
                copy = of[0]
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        return TransportStats(
            copy.packets_in, copy.bytes_in, copy.packets_out, copy.bytes_out, copy.last_ns / 1e9
        )

    def awaiting(self):
        """Egresses that have a path and wait for a keyframe, in no order."""
        cdef uint32_t found[MAX_AWAITING]
        cdef int count = 0
        cdef uint32_t i
        cdef Egress *egress
        cdef Transport *transport
        with nogil:
            fair_acquire(&self.lock)
            for i in range(self.egresses_used):
                egress = self.egresses[i]
                if egress == NULL or egress.wanted == egress.stream or egress.wanted == NONE:
                    continue
                transport = egress.transport
                if egress.video and transport.srtp_out != NULL and transport.to_length:
                    found[count] = i
                    count += 1
                    if count == MAX_AWAITING:
                        break
            fair_release(&self.lock)
        return [found[j] for j in range(count)]

    def counters(self):
        """Totals of the pump since it was made."""
        cdef uint64_t copy[COUNTERS]
        with nogil:
            fair_acquire(&self.lock)
            memcpy(copy, self.counter, sizeof(copy))
            fair_release(&self.lock)
        return {name: copy[i] for i, name in enumerate(COUNTER_NAMES)}
