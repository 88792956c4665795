"""Packets on their way out, as those who write them call it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from region.kernel.alerts cimport Alerts
from region.kernel.entries cimport Egress, Transport
from region.kernel.ring cimport QUEUED_BYTES
from region.kernel.system cimport iovec, mmsghdr, segment_size, srtp_function
from region.kernel.wire cimport MAX_HEADER_GROWTH

cdef enum:
    IN_BYTES = QUEUED_BYTES  # a datagram that is longer is no media packet of ours
    TRAILER_BYTES = 160  # SRTP_MAX_TRAILER_LEN is 144
    MOST_PADDING = 32  # to make packets of one size: a sendto of their own costs more
    OUT_BYTES = IN_BYTES + MAX_HEADER_GROWTH + MOST_PADDING + TRAILER_BYTES
    RUN = 32  # packets of one stream that are sent to an egress together
    MESSAGES = 64  # of one sendmmsg
    PARCELS = 256
    ARENA_BYTES = 1 << 18  # outgoing packets, one close behind the other
    LINE = 64

cdef srtp_function libsrtp(str name) except NULL

cdef struct Parcel:
    # A packet of ours that is written, and not yet encrypted.
    uint8_t *data
    uint8_t *number  # where its transport-wide number goes; NULL where it has none
    int length
    uint16_t cluster  # the probe of which it is a part, 0 for none
    bint repeats  # it leaves on the retransmissions' SSRC


cdef class Outbox(Alerts):
    cdef int fd
    # The batch that is going out.
    cdef uint8_t *out_data
    cdef uint32_t out_at  # in the arena, where the next one goes
    cdef mmsghdr out_message[MESSAGES + RUN]
    cdef segment_size out_segment[MESSAGES + RUN]
    cdef int out_first[MESSAGES + RUN]  # of its parcels
    cdef int messages
    cdef iovec out_vector[PARCELS + RUN]
    cdef Egress *out_egress[PARCELS + RUN]
    cdef int parcels

    cdef void _make_place(self) noexcept nogil
    cdef uint8_t *_next(self) noexcept nogil
    cdef void _written(self, Parcel *parcel, int length) noexcept nogil
    cdef int _dispatch(
        self, Egress *egress, Parcel *parcel, int count, int64_t now_ns
    ) noexcept nogil
    cdef int _group(
        self, const Egress *egress, const Parcel *parcel, int count, int *size
    ) noexcept nogil
    cdef bint _seal(self, Egress *egress, Parcel *parcel, int64_t now_ns) noexcept nogil
    cdef bint _seal_rtcp(self, Transport *transport, uint8_t *packet, int *length) noexcept nogil
    cdef void _push(self, Egress *egress, const Parcel *parcel, bint joins) noexcept nogil
    cdef void _flush(self) noexcept nogil
    cdef void _refused(self, int message) noexcept nogil
    cdef void _left(self, int first, int count) noexcept nogil
    cdef void _count(self, Egress *egress, size_t length) noexcept nogil
