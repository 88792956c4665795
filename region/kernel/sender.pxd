"""The sending half of the pump, as the receiving half calls it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from region.kernel.descriptor cimport Frame
from region.kernel.entries cimport Egress, Stream, Transport
from region.kernel.history cimport Sent
from region.kernel.outbox cimport Outbox, Parcel
from region.kernel.picture cimport Picture
from region.kernel.pressure cimport Pressure
from region.kernel.wire cimport Header, Rtp

cdef enum:
    MAX_PROBING = 1024
    OWN_SSRC = 1  # of what the bridge says for itself in RTCP

cdef uint8_t retransmission_payload_of(uint8_t payload) noexcept nogil

cdef struct Arrived:
    # A packet that came in, as all its egresses need it.
    const Rtp *rtp
    const Rtp *primary  # of redundant audio, the newest block alone; NULL otherwise
    const Frame *frame  # NULL without a dependency descriptor that is understood
    Picture picture
    int64_t now_ns
    uint8_t payload  # canonical


cdef class Sender(Outbox):
    # Transports to which padding goes at the moment.
    cdef uint32_t probing[MAX_PROBING]
    cdef int probing_count
    cdef Pressure pressure

    cdef void _forward(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Arrived **arrived,
        int count,
    ) noexcept nogil
    cdef bint _compose(
        self, uint32_t stream_handle, Stream *stream, Egress *egress, const Arrived *arrived,
        Parcel *parcel,
    ) noexcept nogil
    cdef void _note_frame(
        self, Egress *egress, const Arrived *arrived, Header *header
    ) noexcept nogil
    cdef void _write(
        self, Egress *egress, uint32_t csrc, const Rtp *rtp, Header *header, Parcel *parcel
    ) noexcept nogil
    cdef int _repeat(
        self, Egress *egress, const Sent *sent, int64_t now_ns, uint16_t cluster
    ) noexcept nogil
    cdef int _dispatch_repeat(
        self, Egress *egress, Parcel *parcel, int64_t now_ns, uint16_t cluster
    ) noexcept nogil
    cdef bint _send_to(self, Transport *transport, const uint8_t *data, int length) noexcept nogil
    cdef bint _retransmit(
        self, Egress *egress, uint16_t sequence, int64_t now_ns, int *gone
    ) noexcept nogil
    cdef void _tell_receivers(
        self, uint32_t stream_handle, const Stream *stream, const uint8_t *report
    ) noexcept nogil
    cdef void _send_own_rtcp(self, Transport *transport, uint8_t *packet, int length) noexcept nogil
