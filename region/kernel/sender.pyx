# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What leaves the socket: media to its egresses, retransmissions, RTCP, plain datagrams.

Contracts stand in `sender.pyi`. The pump calls `_forward` for each packet and egress, under
the tables' lock; what is written gathers in one arena and goes out by `sendmmsg`.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from pylibsrtp._binding import ffi, lib

from region.kernel.entries cimport *
from region.kernel.flow cimport SWITCH_MEMORY, begin, remember, unlist
from region.kernel.history cimport *
from region.kernel.system cimport *
from region.kernel.tables cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.errors import LocalProtocolError
from relay.payload import PayloadType

cdef enum:
    MAX_NACKED = 512  # sequence numbers taken of one request

# By canonical payload type: what carries its retransmissions.
cdef uint8_t retransmission_payload[128]
memset(retransmission_payload, NO_PAYLOAD, 128)
for _original in PayloadType:
    if _original.retransmissions is not None:
        retransmission_payload[<int>_original] = _original.retransmissions


cdef srtp_function libsrtp(str name) except NULL:
    """The address of one of libsrtp's functions, as pylibsrtp has it."""
    return <srtp_function><uintptr_t>int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


cdef srtp_function srtp_protect = libsrtp("srtp_protect")
cdef srtp_function srtp_protect_rtcp = libsrtp("srtp_protect_rtcp")


cdef class Sender(Tables):
    def __cinit__(self, int fd):
        cdef int i
        self.fd = fd
        self.out_data = <uint8_t *>calloc(1, ARENA_BYTES)
        if self.out_data == NULL:
            raise MemoryError
        for i in range(BATCH_OUT):
            self.out_message[i].msg_hdr.msg_iov = &self.out_vector[i]
            self.out_message[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.out_data)

    # ---- media

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

    # ---- RTCP and plain datagrams

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
