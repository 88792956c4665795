"""The sending half of the pump, as the receiving half calls it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from region.kernel.entries cimport Egress, Stream, Transport
from region.kernel.ring cimport QUEUED_BYTES
from region.kernel.system cimport iovec, mmsghdr, srtp_function
from region.kernel.tables cimport Tables
from region.kernel.wire cimport MAX_HEADER_GROWTH, Rtp

cdef enum:
    BATCH_OUT = 64
    IN_BYTES = QUEUED_BYTES  # a datagram that is longer is no media packet of ours
    OUT_BYTES = IN_BYTES + MAX_HEADER_GROWTH + 160  # SRTP_MAX_TRAILER_LEN is 144
    ARENA_BYTES = 1 << 17  # outgoing packets, one close behind the other

cdef srtp_function libsrtp(str name) except NULL


cdef class Sender(Tables):
    cdef int fd
    # The batch that is going out.
    cdef uint8_t *out_data
    cdef mmsghdr out_message[BATCH_OUT]
    cdef iovec out_vector[BATCH_OUT]
    cdef Egress *out_egress[BATCH_OUT]
    cdef int outgoing
    cdef uint32_t out_at  # in the arena, where the next one goes

    cdef void _forward(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Rtp *rtp,
        uint8_t payload, bint keyframe, int64_t now_ns,
    ) noexcept nogil
    cdef uint8_t *_room(self) noexcept nogil
    cdef void _push_out(self, Egress *egress, int length) noexcept nogil
    cdef bint _retransmit(self, Egress *egress, uint16_t sequence, int64_t now_ns) noexcept nogil
    cdef void _flush(self) noexcept nogil
    cdef void _send_own_rtcp(self, Transport *transport, uint8_t *packet, int length) noexcept nogil
