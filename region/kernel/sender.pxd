"""The sending half of the pump, as the receiving half calls it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from region.kernel.descriptor cimport Frame
from region.kernel.entries cimport Egress, Stream, Transport
from region.kernel.history cimport Sent
from region.kernel.picture cimport Picture
from region.kernel.ring cimport QUEUED_BYTES
from region.kernel.system cimport iovec, mmsghdr, srtp_function
from region.kernel.tables cimport Tables
from region.kernel.wire cimport MAX_HEADER_GROWTH, Header, Rtp

cdef enum:
    BATCH_OUT = 64
    IN_BYTES = QUEUED_BYTES  # a datagram that is longer is no media packet of ours
    OUT_BYTES = IN_BYTES + MAX_HEADER_GROWTH + 160  # SRTP_MAX_TRAILER_LEN is 144
    MAX_PROBING = 1024
    ARENA_BYTES = 1 << 17  # outgoing packets, one close behind the other

cdef srtp_function libsrtp(str name) except NULL
cdef uint8_t retransmission_payload_of(uint8_t payload) noexcept nogil

cdef struct Arrived:
    # A packet that came in, as all its egresses need it.
    const Rtp *rtp
    const Rtp *primary  # of redundant audio, the newest block alone; NULL otherwise
    const Frame *frame  # NULL without a dependency descriptor that is understood
    Picture picture
    int64_t now_ns
    uint8_t payload  # canonical


cdef class Sender(Tables):
    cdef int fd
    # The batch that is going out.
    cdef uint8_t *out_data
    cdef mmsghdr out_message[BATCH_OUT]
    cdef iovec out_vector[BATCH_OUT]
    cdef Egress *out_egress[BATCH_OUT]
    cdef int outgoing
    # Transports to which padding goes at the moment.
    cdef uint32_t probing[MAX_PROBING]
    cdef int probing_count
    cdef uint32_t out_at  # in the arena, where the next one goes

    cdef void _forward(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Arrived *arrived,
    ) noexcept nogil
    cdef void _note_frame(
        self, Egress *egress, const Arrived *arrived, Header *header
    ) noexcept nogil
    cdef int _write(
        self, Egress *egress, uint32_t csrc, const Rtp *rtp, Header *header, int64_t now_ns,
        uint16_t cluster,
    ) noexcept nogil
    cdef int _repeat(
        self, Egress *egress, const Sent *sent, int64_t now_ns, uint16_t cluster
    ) noexcept nogil
    cdef int _push_retransmission(self, Egress *egress, uint8_t *out, int length) noexcept nogil
    cdef uint8_t *_room(self) noexcept nogil
    cdef void _push_out(self, Egress *egress, int length) noexcept nogil
    cdef void _left(self, Egress *egress, size_t length) noexcept nogil
    cdef bint _send_to(self, Transport *transport, const uint8_t *data, int length) noexcept nogil
    cdef bint _retransmit(self, Egress *egress, uint16_t sequence, int64_t now_ns) noexcept nogil
    cdef void _flush(self) noexcept nogil
    cdef void _send_own_rtcp(self, Transport *transport, uint8_t *packet, int length) noexcept nogil
