# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What is sent: media to its egresses, retransmissions, RTCP, plain datagrams.

Contracts stand in `sender.pyi`. The pump calls `_forward` for each egress of a stream, under
the tables' lock; what is written goes out by the outbox.
"""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from region.kernel.entries cimport *
from region.kernel.descriptor cimport Frame
from region.kernel.flow cimport begin, layers_pass, number, remember, unlist
from region.kernel.history cimport *
from region.kernel.outbox cimport *
from region.kernel.picture cimport Picture, parse_vp8, rewrite_vp8
from region.kernel.pressure cimport pressure_temporal
from region.kernel.red cimport red_retype
from region.kernel.system cimport *
from region.kernel.tables cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.errors import LocalProtocolError
from relay.payload import PayloadType

cdef enum:
    MAX_NACKED = 512  # sequence numbers taken of one request
    EMPTY_REPORT_BYTES = 8
    SENDER_REPORT_BYTES = 28  # without blocks
    REPEATS_AHEAD_NS = 200_000_000  # of what a path's repeats may take up may leave at once

# By canonical payload type: what carries its retransmissions.
cdef uint8_t retransmission_payload[128]
memset(retransmission_payload, NO_PAYLOAD, 128)
for _original in PayloadType:
    if _original.retransmissions is not None:
        retransmission_payload[<int>_original] = _original.retransmissions


cdef uint8_t retransmission_payload_of(uint8_t payload) noexcept nogil:
    """The canonical type that carries this one's retransmissions, or NO_PAYLOAD."""
    return retransmission_payload[payload & 127]


class Repeats(NamedTuple):
    sent: int
    gone: int


cdef uint8_t OPUS = PayloadType.OPUS
cdef uint8_t OPUS_RED = PayloadType.OPUS_RED
cdef uint8_t VP8 = PayloadType.VP8


cdef class Sender(Outbox):
    # ---- media

    cdef void _forward(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Arrived **arrived,
        int count,
    ) noexcept nogil:
        """At most RUN packets of the stream, in the order in which they came."""
        cdef Parcel parcel[RUN]
        cdef int i, parcels = 0
        self._make_place()
        for i in range(count):
            if self._compose(stream_handle, stream, egress, arrived[i], &parcel[parcels]):
                parcels += 1
        if parcels:
            self._dispatch(egress, parcel, parcels, arrived[0].now_ns)

    cdef bint _compose(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Arrived *arrived,
        Parcel *parcel,
    ) noexcept nogil:
        """Write the packet as this egress sends it; False when it does not."""
        cdef Transport *transport = egress.transport
        cdef const Rtp *rtp = arrived.rtp
        cdef uint8_t payload = arrived.payload
        cdef uint8_t *body
        cdef uint16_t sequence_offset, picture_offset
        cdef Header header
        cdef bint passes = True
        if transport.wire_payload[payload] == NO_PAYLOAD:
            if arrived.primary == NULL or transport.wire_payload[OPUS] == NO_PAYLOAD:
                self.counter[DROPPED_NO_PAYLOAD_TYPE] += 1
                return False
            # The receiver takes no redundancy: the newest block alone is plain Opus.
            payload = OPUS
            rtp = arrived.primary
        if not can_send(transport):
            self.counter[DROPPED_NO_PATH] += 1
            return False
        if egress.stream != stream_handle:
            if egress.video and not arrived.picture.keyframe:
                self.counter[DROPPED_AWAITING_KEYFRAME] += 1
                return False
            if egress.stream != NONE:
                unlist(self.streams[egress.stream], egress)
            egress.stream = stream_handle
            begin(egress, rtp, &arrived.picture, arrived.frame, stream, arrived.now_ns)
        if arrived.frame != NULL or arrived.picture.layered:
            passes = layers_pass(
                egress, rtp, &arrived.picture, arrived.frame, stream,
                pressure_temporal(&self.pressure),
            )
            if not passes:
                self.counter[DROPPED_LAYER] += 1
        if not number(
            egress, rtp, &arrived.picture, passes, &sequence_offset, &picture_offset
        ):
            if passes:
                self.counter[DROPPED_BEFORE_SWITCH] += 1
            return False
        header.payload_type = transport.wire_payload[payload]
        header.marker = rtp.marker
        header.sequence = rtp.sequence + sequence_offset
        header.timestamp = rtp.timestamp + egress.timestamp_offset
        header.ssrc = egress.ssrc
        header.described = arrived.frame != NULL and egress.frames != NULL
        header.frame_offset = 0
        if header.described:
            header.frame_offset = egress.frames.number_offset
            self._note_frame(egress, arrived, &header)
        if not egress.started or <int16_t>(header.sequence - egress.last_sequence) > 0:
            egress.started = True
            egress.last_sequence = header.sequence
            egress.last_timestamp = header.timestamp
            egress.last_ns = arrived.now_ns
            if arrived.picture.id_bytes:
                egress.last_picture = arrived.picture.id + picture_offset
                egress.last_base = arrived.picture.base + egress.base_offset
        self._write(egress, stream.csrc, rtp, &header, parcel)
        body = parcel.data + parcel.length - rtp.payload_length
        if arrived.picture.id_bytes or arrived.picture.base_at:
            rewrite_vp8(body, &arrived.picture, picture_offset, egress.base_offset)
        elif payload == OPUS_RED:
            red_retype(body, transport.wire_payload, OPUS)
        egress.octets += rtp.payload_length
        if egress.rtx_ssrc:
            remember(egress, rtp.sequence, picture_offset, &header)
        return True

    cdef inline void _note_frame(
        self, Egress *egress, const Arrived *arrived, Header *header
    ) noexcept nogil:
        """Where the highest layer that the receiver gets ends, its picture ends too."""
        cdef uint16_t number = arrived.frame.number + egress.frames.number_offset
        if arrived.frame.ends and arrived.frame.spatial == egress.frames.spatial:
            header.marker = 0x80
        if not egress.frames.numbered or <int16_t>(number - egress.frames.last_number) > 0:
            egress.frames.numbered = True
            egress.frames.last_number = number

    cdef void _write(
        self, Egress *egress, uint32_t csrc, const Rtp *rtp, Header *header, Parcel *parcel
    ) noexcept nogil:
        """Into the outbox, with room for a number for the receiver's feedback."""
        header.csrc = csrc
        header.has_csrc = not egress.trunk
        header.number_id = egress.transport.number_id if egress.numbered else 0
        parcel.number = NULL
        parcel.cluster = 0
        parcel.repeats = False
        self._written(
            parcel,
            write_rtp(
                self._next(), rtp, header, egress.transport.wire_extension, &parcel.number
            ),
        )

    def retransmit(self, uint32_t egress, list sequences not None):
        """Send packets of an egress again, on its retransmission SSRC."""
        cdef uint16_t wanted[MAX_NACKED]
        cdef int count = <int>min(len(sequences), MAX_NACKED), i, sent = 0, gone = 0
        cdef int64_t now_ns
        cdef bint found
        for i in range(count):
            wanted[i] = sequences[i]
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                now_ns = monotonic_ns()
                for i in range(count):
                    sent += self._retransmit(self.egresses[egress], wanted[i], now_ns, &gone)
                self._flush()
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")
        return Repeats(sent, gone)

    cdef bint _retransmit(
        self, Egress *egress, uint16_t sequence, int64_t now_ns, int *gone
    ) noexcept nogil:
        """RFC 4588 section 4; False when it cannot or need not be sent again."""
        cdef uint16_t now_ms = <uint16_t>(now_ns // 1_000_000 | 1)
        cdef Transport *transport = egress.transport
        cdef Sent *sent
        cdef int64_t ahead_ns
        cdef int length
        if not egress.rtx_ssrc or egress.sent == NULL or transport.to_length == 0:
            return False
        sent = &egress.sent[sequence % SENT_PACKETS]
        if not sent.used or sent.sequence != sequence:
            self.counter[DROPPED_NACK_UNKNOWN] += 1
            return False
        # It is on its way: another request within a round trip asks for the same.
        if (
            sent.resent_ms
            and <uint16_t>(now_ms - sent.resent_ms) < transport.rtt_ns // 1_000_000
        ):
            self.counter[DROPPED_NACK_REPEATED] += 1
            return False
        # A keyframe has come since a switch, so what was before it is the least needed.
        ahead_ns = REPEATS_AHEAD_NS if sent.epoch == egress.epoch else 0
        if egress.credit == 0 or transport.repeated_ns - now_ns > ahead_ns:
            self.counter[DROPPED_NACK_LIMITED] += 1
            return False
        length = self._repeat(egress, sent, now_ns, 0)
        if length == 0:
            self.counter[DROPPED_NACK_FORGOTTEN] += 1
            gone[0] += sent.epoch == egress.epoch
            return False
        transport.repeated_ns = (
            max(transport.repeated_ns, now_ns) + <int64_t>(length * transport.repeat_ns_a_byte)
        )
        egress.credit -= 1
        sent.resent_ms = now_ms
        self.counter[RETRANSMITTED] += 1
        return True

    cdef int _repeat(
        self, Egress *egress, const Sent *sent, int64_t now_ns, uint16_t cluster
    ) noexcept nogil:
        """Send a packet again by RFC 4588; its length, 0 when it is not kept any more."""
        cdef Transport *transport = egress.transport
        cdef const Epoch *epoch = &egress.epochs[sent.epoch % EPOCHS]
        cdef const Kept *kept = NULL
        cdef Stream *stream
        cdef uint8_t *payload
        cdef Rtp rtp
        cdef Header header
        cdef Picture picture
        cdef Parcel parcel
        if epoch.number != sent.epoch or not can_send(transport):
            return 0
        stream = self.streams[epoch.stream]
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
            return 0
        header.payload_type = transport.wire_payload[retransmission_payload[kept.payload]]
        header.marker = sent.marker
        header.timestamp = rtp.timestamp + epoch.timestamp_offset
        header.described = sent.described
        header.frame_offset = epoch.frame_offset
        header.sequence = egress.rtx_sequence
        header.ssrc = egress.rtx_ssrc
        self._make_place()
        self._write(egress, stream.csrc, &rtp, &header, &parcel)
        # The original's number goes between header and payload.
        payload = parcel.data + parcel.length - rtp.payload_length
        memmove(payload + 2, payload, rtp.payload_length)
        store16(payload, sent.sequence)
        parcel.length += 2
        if kept.payload == VP8:
            memset(&picture, 0, sizeof(picture))
            parse_vp8(rtp.payload, rtp.payload_length, &picture)
            rewrite_vp8(payload + 2, &picture, sent.picture_offset, epoch.base_offset)
        return self._dispatch_repeat(egress, &parcel, now_ns, cluster)

    cdef int _dispatch_repeat(
        self, Egress *egress, Parcel *parcel, int64_t now_ns, uint16_t cluster
    ) noexcept nogil:
        """It leaves on the egress's retransmission SSRC; its length, or 0."""
        parcel.repeats = True
        parcel.cluster = cluster
        egress.rtx_sequence += 1
        return self._dispatch(egress, parcel, 1, now_ns)

    # ---- RTCP and plain datagrams

    cdef bint _send_to(
        self, Transport *transport, const uint8_t *data, int length
    ) noexcept nogil:
        """To the selected address, which there must be; False when it was not taken."""
        if transport.connection:
            return self._send_frame(transport.connection - 1, data, length)
        return sendto(
            self.fd, data, length, MSG_DONTWAIT, <sockaddr *>&transport.to, transport.to_length
        ) >= 0

    cdef void _send_own_rtcp(
        self, Transport *transport, uint8_t *packet, int length
    ) noexcept nogil:
        """Protect in place and send; `packet` has room for the trailer."""
        if not self._seal_rtcp(transport, packet, &length):
            return
        if not self._send_to(transport, packet, length):
            return
        transport.packets_out += 1
        transport.bytes_out += length

    cdef void _tell_receivers(
        self, uint32_t stream_handle, const Stream *stream, const uint8_t *report
    ) noexcept nogil:
        """RFC 3550 section 6.4.1: a sender report, in the terms of each egress that carries it."""
        cdef uint8_t packet[EMPTY_REPORT_BYTES + SENDER_REPORT_BYTES + TRAILER_BYTES]
        cdef uint8_t *sender = packet + EMPTY_REPORT_BYTES
        cdef Egress *egress
        cdef uint32_t i
        for i in range(stream.egresses):
            egress = stream.egress[i]
            if egress.stream != stream_handle:
                continue
            # By the first SSRC of a compound SRTCP knows its sender, which is the bridge.
            store32(packet, 0x80C90001)
            store32(packet + 4, OWN_SSRC)
            store32(sender, 0x80C80006)
            store32(sender + 4, egress.ssrc)
            memcpy(sender + 8, report + 8, 8)  # the same moment
            store32(sender + 16, load32(report + 16) + egress.timestamp_offset)
            store32(sender + 20, <uint32_t>egress.packets)
            store32(sender + 24, egress.octets)
            self._send_own_rtcp(
                egress.transport, packet, EMPTY_REPORT_BYTES + SENDER_REPORT_BYTES
            )

    def send(self, bytes address not None, bytes data not None):
        """Send one plain datagram now; False when the socket would not take it."""
        cdef socket_address to
        cdef socklen_t to_length
        cdef ssize_t sent
        cdef const char *bytes_ = PyBytes_AS_STRING(data)
        cdef const uint8_t *packed = <const uint8_t *>PyBytes_AS_STRING(address)
        cdef size_t length = len(data)
        cdef uint32_t at
        if len(address) != ADDRESS_BYTES:
            raise LocalProtocolError("a packed address has 19 bytes")
        if packed[PROTOCOL]:
            with nogil:
                fair_acquire(&self.lock)
                at = self._connection_at(packed)
                sent = 0 if at != NONE and self._send_frame(
                    at, <const uint8_t *>bytes_, <int>min(length, <size_t>0x10000)
                ) else -1
                fair_release(&self.lock)
            return sent >= 0
        to_length = sockaddr_from_address(self.family, packed, &to)
        if to_length == 0:
            return False
        with nogil:
            sent = sendto(self.fd, bytes_, length, MSG_DONTWAIT, <sockaddr *>&to, to_length)
        return sent >= 0

    def send_rtcp(self, uint32_t transport, bytes packet not None):
        """Protect a compound RTCP packet and send it; False when there is no path or no room."""
        cdef uint8_t buffer[IN_BYTES]
        cdef int length = <int>len(packet)
        cdef bint sent = False
        cdef Transport *to
        if not 8 <= length <= IN_BYTES - TRAILER_BYTES:
            raise LocalProtocolError("an RTCP packet has 8 to 1888 bytes")
        memcpy(buffer, PyBytes_AS_STRING(packet), length)
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL and self._seal_rtcp(to, buffer, &length):
                sent = self._send_to(to, buffer, length)
                if sent:
                    to.packets_out += 1
                    to.bytes_out += length
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        return sent
