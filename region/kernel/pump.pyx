# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""The packet kernel: one native thread that moves media packets and never takes the GIL.

Types and contracts stand in `pump.pyi`. Per-packet work is in `Pump._receive_media` and
below; everything there runs without the GIL, under a lock that Python takes only between
two packets, for changes to the tables.
"""

import os
from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from pylibsrtp._binding import ffi, lib

from region.kernel.arrivals cimport *
from region.kernel.consent cimport MAX_RESPONSE_BYTES, renews_consent, write_consent
from region.kernel.entries cimport *
from region.kernel.flow cimport begin, observe, remember, unlist
from region.kernel.history cimport *
from region.kernel.repair cimport *
from region.kernel.ring cimport QUEUED_BYTES, Queued, Ring, push
from region.kernel.system cimport *
from region.kernel.tables cimport *
from region.kernel.wire cimport *
from relay.errors import LocalProtocolError
from relay.payload import HeaderExtension, PayloadType

STUN = 0
DTLS = 1
RTCP = 2
NO_TRANSPORT = -1

cdef enum:
    KIND_STUN = 0
    KIND_DTLS = 1
    KIND_RTCP = 2

    AHEAD = 3  # egresses whose cache lines are fetched before their turn

    BATCH_IN = 64
    BATCH_OUT = 64
    IN_BYTES = QUEUED_BYTES  # a datagram that is longer is no media packet of ours
    OUT_BYTES = IN_BYTES + MAX_HEADER_GROWTH + 160  # SRTP_MAX_TRAILER_LEN is 144
    ARENA_BYTES = 1 << 17  # outgoing packets, one close behind the other

    KNOWN_RING = 1024  # from addresses that a transport owns
    UNKNOWN_RING = 256  # from anybody: a flood there must not push out the known

    SWITCH_MEMORY = 1024  # packets after a switch in which an older one may still arrive

    OWN_SSRC = 1  # of what the bridge says for itself in RTCP
    MAX_GAPPY = 1024
    MAX_NACK_BYTES = 20 + 4 * MAX_MISSING + 160
    MAX_NACKED = 512  # sequence numbers taken of one request
    NACK_TICK_MS = 10
    MAX_REPORTING = 4096
    FEEDBACK_TICK_MS = 50

    SRTP_AUTH_FAIL = 7
    SRTP_REPLAY_FAIL = 9
    SRTP_REPLAY_OLD = 10

cdef uint8_t VP8 = PayloadType.VP8
cdef uint8_t AUDIO_LEVEL = HeaderExtension.AUDIO_LEVEL
cdef uint8_t TRANSPORT_SEQUENCE = HeaderExtension.TRANSPORT_SEQUENCE
# By canonical payload type: what carries its retransmissions, and of what they are.
cdef uint8_t retransmission_payload[128]
cdef uint8_t original_payload[128]
memset(retransmission_payload, NO_PAYLOAD, 128)
memset(original_payload, NO_PAYLOAD, 128)
for _original in PayloadType:
    if _original.retransmissions is not None:
        retransmission_payload[<int>_original] = _original.retransmissions
        original_payload[<int>_original.retransmissions] = _original


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


cdef class Pump(Tables):
    cdef int fd, epoll, wake, halt
    cdef uint32_t stopping
    cdef bint running
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
    cdef uint32_t out_at  # in the arena, where the next one goes
    # Streams of which something is missing.
    cdef uint32_t gappy[MAX_GAPPY]
    cdef int gappy_count
    # Transports to whose sender feedback is due.
    cdef uint32_t reporting[MAX_REPORTING]
    cdef int reporting_count

    def __cinit__(self, int fd):
        cdef epoll_event event
        cdef int i
        self.epoll = self.wake = self.halt = -1
        self.fd = fd
        self.known.slots = <Queued *>calloc(KNOWN_RING, sizeof(Queued))
        self.known.room = KNOWN_RING
        self.unknown.slots = <Queued *>calloc(UNKNOWN_RING, sizeof(Queued))
        self.unknown.room = UNKNOWN_RING
        self.in_data = <uint8_t *>calloc(BATCH_IN, IN_BYTES)
        self.out_data = <uint8_t *>calloc(1, ARENA_BYTES)
        if (
            self.known.slots == NULL or self.unknown.slots == NULL
            or self.in_data == NULL or self.out_data == NULL
        ):
            raise MemoryError
        for i in range(BATCH_IN):
            self.in_vector[i].iov_base = self.in_data + i * IN_BYTES
            self.in_vector[i].iov_len = IN_BYTES
            self.in_message[i].msg_hdr.msg_iov = &self.in_vector[i]
            self.in_message[i].msg_hdr.msg_iovlen = 1
            self.in_message[i].msg_hdr.msg_name = &self.in_address[i]
        for i in range(BATCH_OUT):
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
        free(self.known.slots)
        free(self.unknown.slots)
        free(self.in_data)
        free(self.out_data)
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
            if epoll_wait(
                self.epoll, events, 2, self._patience_ms()
            ) < 0 and errno != EINTR:
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

    cdef inline int _patience_ms(self) noexcept nogil:
        """How long to wait for datagrams when nothing but time may bring work; −1 for ever."""
        if self.gappy_count:
            return NACK_TICK_MS
        return FEEDBACK_TICK_MS if self.reporting_count else -1

    cdef int _receive_batch(self) noexcept nogil:
        """How many datagrams it dealt with, or a negative errno."""
        cdef int i, received
        cdef int64_t now_ns
        for i in range(BATCH_IN):
            self.in_message[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        received = recvmmsg(self.fd, self.in_message, BATCH_IN, MSG_DONTWAIT, NULL)
        if received < 0:
            if errno != EAGAIN and errno != EINTR:
                return -errno
            received = 0
        if received == 0 and self.gappy_count == 0 and self.reporting_count == 0:
            return 0
        now_ns = monotonic_ns()
        fair_acquire(&self.lock)
        for i in range(received):
            self._receive(i, now_ns)
            if fair_wanted(&self.lock):
                self._flush()
                fair_release(&self.lock)
                fair_acquire(&self.lock)
        self._flush()
        if self.gappy_count:
            self._ask_again(now_ns)
        if self.reporting_count:
            self._report_arrivals(now_ns)
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
            if transport != NONE and self._answer_consent(
                self.transports[transport], address, now_ns, data, length
            ):
                return
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
        sendto(
            self.fd, response, length, MSG_DONTWAIT, <sockaddr *>&transport.to,
            transport.to_length,
        )
        return True

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
        cdef bint keyframe, restored
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
        transport.last_ns = now_ns
        transport.packets_in += 1
        transport.bytes_in += wire_length
        if not parse_rtp(data, length, transport.canonical_extension, &rtp):
            self.counter[DROPPED_MALFORMED] += 1
            return
        # Whatever becomes of it, padding and retransmissions too: the sender measures by it.
        self._note_arrival(handle, transport, &rtp, now_ns)
        restored = stream_handle & RETRANSMISSIONS != 0
        if restored:
            stream_handle ^= RETRANSMISSIONS
        stream = self.streams[stream_handle]
        if restored and not self._restore(transport, stream, &data, &length, &rtp):
            return
        payload = transport.canonical_payload[rtp.payload_type]
        if payload == NO_PAYLOAD:
            self.counter[DROPPED_UNKNOWN_PAYLOAD] += 1
            return
        self.counter[PACKETS_IN] += 1
        if not observe(stream, &rtp, length, now_ns, AUDIO_LEVEL, restored):
            self.counter[DROPPED_DUPLICATE] += 1
            return
        if stream.kept:
            history_keep(&stream.history, rtp.sequence, payload, data, length, now_ns)
        if stream.gaps.count and not stream.gappy:
            self._watch(stream_handle, stream)
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

    cdef void _note_arrival(
        self, uint32_t handle, Transport *transport, const Rtp *rtp, int64_t now_ns
    ) noexcept nogil:
        """Keep for the next feedback when a packet with a transport-wide number came."""
        cdef int i
        for i in range(rtp.extensions):
            if rtp.extension[i].canonical == TRANSPORT_SEQUENCE and rtp.extension[i].length == 2:
                break
        else:
            return
        if transport.arrivals == NULL:
            transport.arrivals = <Arrivals *>calloc(1, sizeof(Arrivals))
            if transport.arrivals == NULL:
                return
        transport.arrival_ssrc = rtp.ssrc
        arrived(transport.arrivals, load16(rtp.extension[i].data), now_ns)
        if not transport.arrivals.reporting and self.reporting_count < MAX_REPORTING:
            self.reporting[self.reporting_count] = handle
            self.reporting_count += 1
            transport.arrivals.reporting = True
            transport.arrivals.due_ns = now_ns + FEEDBACK_NS
        if <uint16_t>(transport.arrivals.end - transport.arrivals.first) >= MAX_STATUSES:
            transport.arrivals.due_ns = now_ns

    cdef void _report_arrivals(self, int64_t now_ns) noexcept nogil:
        """Send the feedback that is due."""
        cdef uint8_t packet[MAX_FEEDBACK_BYTES + 160]
        cdef int i, kept = 0, length
        cdef Transport *transport
        for i in range(self.reporting_count):
            transport = self.transports[self.reporting[i]]
            if transport == NULL or transport.arrivals == NULL or not transport.arrivals.reporting:
                continue
            if now_ns < transport.arrivals.due_ns:
                self.reporting[kept] = self.reporting[i]
                kept += 1
                continue
            transport.arrivals.reporting = False
            while True:
                length = write_feedback(
                    transport.arrivals, OWN_SSRC, transport.arrival_ssrc, packet
                )
                if length == 0:
                    break
                self.counter[FEEDBACKS] += 1
                self._send_own_rtcp(transport, packet, length)
        self.reporting_count = kept

    cdef void _send_own_rtcp(
        self, Transport *transport, uint8_t *packet, int length
    ) noexcept nogil:
        """Protect in place and send; `packet` has room for the trailer."""
        if transport.srtp_out == NULL or transport.to_length == 0:
            return
        if srtp_protect_rtcp(transport.srtp_out, packet, &length) != 0:
            return
        sendto(
            self.fd, packet, length, MSG_DONTWAIT, <sockaddr *>&transport.to, transport.to_length
        )
        transport.packets_out += 1
        transport.bytes_out += length

    cdef bint _restore(
        self, Transport *transport, Stream *stream, uint8_t **data, int *length, Rtp *rtp
    ) noexcept nogil:
        """RFC 4588 section 4: make the original of a retransmission, if it is still missing."""
        cdef uint8_t *packet = data[0]
        cdef uint8_t payload = transport.canonical_payload[rtp.payload_type]
        if payload == NO_PAYLOAD or original_payload[payload] == NO_PAYLOAD:
            self.counter[DROPPED_UNKNOWN_PAYLOAD] += 1
            return False
        payload = transport.wire_payload[original_payload[payload]]
        # Padding by which a sender probes the path has no original.
        if (
            payload == NO_PAYLOAD or rtp.payload_length < 2
            or not gaps_fill(&stream.gaps, load16(rtp.payload))
        ):
            self.counter[DROPPED_RTX_UNNEEDED] += 1
            return False
        self.counter[REPAIRED] += 1
        store16(packet + 2, load16(rtp.payload))
        packet[1] = <uint8_t>(packet[1] & 0x80 | payload)
        store32(packet + 8, stream.ssrc)
        memmove(packet + 2, packet, rtp.payload - packet)
        data[0] = packet + 2
        length[0] -= 2
        return parse_rtp(data[0], length[0], transport.canonical_extension, rtp)

    cdef void _watch(self, uint32_t handle, Stream *stream) noexcept nogil:
        """Ask for what is missing of this stream, at the end of this batch and later."""
        if self.gappy_count < MAX_GAPPY:
            self.gappy[self.gappy_count] = handle
            self.gappy_count += 1
            stream.gappy = True

    cdef void _ask_again(self, int64_t now_ns) noexcept nogil:
        """Send the NACKs that are due."""
        cdef uint16_t wanted[MAX_MISSING]
        cdef uint8_t packet[MAX_NACK_BYTES]
        cdef int i, kept = 0, count, length
        cdef Stream *stream
        cdef Transport *transport
        for i in range(self.gappy_count):
            stream = self.streams[self.gappy[i]]
            if stream == NULL or not stream.gappy:
                continue
            transport = self.transports[stream.transport]
            count = gaps_due(&stream.gaps, wanted, now_ns, transport.rtt_ns)
            if count:
                length = write_nack(packet, OWN_SSRC, stream.ssrc, wanted, count)
                self._send_own_rtcp(transport, packet, length)
                self.counter[NACKED] += count
            if stream.gaps.count:
                self.gappy[kept] = self.gappy[i]
                kept += 1
            else:
                stream.gappy = False
        self.gappy_count = kept

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
            begin(egress, rtp, stream, now_ns)
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
        out = self._room()
        length = write_rtp(
            out, rtp, wire_payload, sequence, timestamp, egress.ssrc,
            not egress.trunk, stream.csrc, transport.wire_extension,
        )
        if srtp_protect(transport.srtp_out, out, &length) != 0:
            self.counter[DROPPED_PROTECT] += 1
            return
        if egress.rtx_ssrc:
            remember(egress, sequence, rtp.sequence)
        self._push_out(egress, length)

    cdef inline uint8_t *_room(self) noexcept nogil:
        """Where the next outgoing packet is to be written, of at most OUT_BYTES."""
        if self.outgoing == BATCH_OUT or self.out_at + OUT_BYTES > ARENA_BYTES:
            self._flush()
        return self.out_data + self.out_at

    cdef void _push_out(self, Egress *egress, int length) noexcept nogil:
        """What stands in the next outgoing buffer goes to the egress's transport."""
        self.out_vector[self.outgoing].iov_base = self.out_data + self.out_at
        self.out_vector[self.outgoing].iov_len = length
        self.out_at += (length + LINE_BYTES - 1) // LINE_BYTES * LINE_BYTES
        self.out_message[self.outgoing].msg_hdr.msg_name = &egress.transport.to
        self.out_message[self.outgoing].msg_hdr.msg_namelen = egress.transport.to_length
        self.out_egress[self.outgoing] = egress
        self.outgoing += 1

    def retransmit(self, uint32_t egress, list sequences not None):
        """Send packets of an egress again, on its retransmission SSRC; how many were."""
        cdef uint16_t wanted[MAX_NACKED]
        cdef int count = <int>min(len(sequences), MAX_NACKED), i, sent = 0
        cdef bint found
        for i in range(count):
            wanted[i] = sequences[i]
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                for i in range(count):
                    sent += self._retransmit(self.egresses[egress], wanted[i], monotonic_ns())
                self._flush()
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")
        return sent

    cdef bint _retransmit(self, Egress *egress, uint16_t sequence, int64_t now_ns) noexcept nogil:
        """RFC 4588 section 4; False when it cannot or need not be sent again."""
        cdef Transport *transport = egress.transport
        cdef uint16_t now_ms = <uint16_t>(now_ns // 1_000_000 | 1)
        cdef Sent *sent
        cdef const Epoch *epoch
        cdef const Kept *kept
        cdef Stream *stream
        cdef uint8_t payload
        cdef uint8_t *out
        cdef Rtp rtp
        cdef int length
        if not egress.rtx_ssrc or egress.sent == NULL or transport.to_length == 0:
            return False
        sent = &egress.sent[sequence % SENT_PACKETS]
        epoch = &egress.epochs[sent.epoch % EPOCHS]
        if not sent.used or sent.sequence != sequence or epoch.number != sent.epoch:
            self.counter[DROPPED_NACK_UNKNOWN] += 1
            return False
        # It is on its way: another request within a round trip asks for the same.
        if sent.resent_ms and <uint16_t>(now_ms - sent.resent_ms) < transport.rtt_ns // 1_000_000:
            self.counter[DROPPED_NACK_REPEATED] += 1
            return False
        if egress.credit == 0:
            self.counter[DROPPED_NACK_LIMITED] += 1
            return False
        stream = self.streams[epoch.stream]
        kept = NULL
        if stream != NULL and stream.serial == epoch.serial:
            kept = history_find(&stream.history, sent.origin, now_ns)
        if (
            kept == NULL
            or retransmission_payload[kept.payload] == NO_PAYLOAD
            or transport.wire_payload[retransmission_payload[kept.payload]] == NO_PAYLOAD
            or not parse_rtp(
                stream.history.bytes + kept.position % stream.history.room, kept.length,
                self.transports[stream.transport].canonical_extension, &rtp,
            )
        ):
            self.counter[DROPPED_NACK_FORGOTTEN] += 1
            return False
        payload = transport.wire_payload[retransmission_payload[kept.payload]]
        out = self._room()
        length = write_rtp(
            out, &rtp, payload, egress.rtx_sequence, rtp.timestamp + epoch.timestamp_offset,
            egress.rtx_ssrc, not egress.trunk, stream.csrc, transport.wire_extension,
        )
        # The original's number goes between header and payload.
        memmove(
            out + length - rtp.payload_length + 2, out + length - rtp.payload_length,
            rtp.payload_length,
        )
        store16(out + length - rtp.payload_length, sequence)
        length += 2
        if srtp_protect(transport.srtp_out, out, &length) != 0:
            self.counter[DROPPED_PROTECT] += 1
            return False
        egress.rtx_sequence += 1
        egress.credit -= 1
        sent.resent_ms = now_ms
        self.counter[RETRANSMITTED] += 1
        self._push_out(egress, length)
        return True

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
        self.out_at = 0

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
            to = self.transport_of(transport)
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
