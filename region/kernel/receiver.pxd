"""The receiving half of the pump: packets of a transport, from the wire to all egresses."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from region.kernel.descriptor cimport Frame
from region.kernel.entries cimport Stream, Transport
from region.kernel.replier cimport Replier
from region.kernel.sender cimport Arrived
from region.kernel.wire cimport Rtp

cdef enum:
    BATCH_IN = 64

cdef struct Pending:
    # A media packet of this batch that has not gone to its egresses yet.
    Arrived arrived
    Rtp rtp
    Rtp primary
    Frame frame
    uint32_t stream  # NONE when it has gone


cdef class Receiver(Replier):
    # Of the batch that is coming in.
    cdef Pending pending[BATCH_IN]
    cdef int pending_count
    cdef uint32_t pending_work  # packets that will leave for them

    cdef void _receive_media(
        self, uint32_t handle, int64_t now_ns, uint8_t *data, int length,
    ) noexcept nogil
    cdef bint _open(
        self, Transport *transport, uint32_t stream_handle, uint8_t *data, int *length
    ) noexcept nogil
    cdef bint _open_rtcp(self, Transport *transport, uint8_t *data, int *length) noexcept nogil
    cdef bint _opened(self, int state) noexcept nogil
    cdef bint _unprotected(self, int status) noexcept nogil
    cdef uint32_t _recognise(
        self, const Transport *transport, const uint8_t *data, int length
    ) noexcept nogil
    cdef bint _learn(
        self, uint32_t handle, Transport *transport, uint32_t learnt, uint32_t ssrc
    ) noexcept nogil
    cdef bint _restore(
        self, Transport *transport, Stream *stream, uint8_t **data, int *length, Rtp *rtp
    ) noexcept nogil
    cdef void _pend(
        self, uint32_t stream_handle, Stream *stream, uint8_t payload, int length, int64_t now_ns
    ) noexcept nogil
    cdef Pending *_read_picture(self, Stream *stream, Pending *pending) noexcept nogil
    cdef Pending *_alone(self, Pending *last) noexcept nogil
    cdef void _move_pending(self, const Pending *old, Pending *new) noexcept nogil
    cdef void _hand_on(self) noexcept nogil
    cdef void _hand_on_run(
        self, uint32_t stream_handle, const Arrived **run, int count
    ) noexcept nogil
