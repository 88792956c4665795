"""The sending half of the engine, as the rest of it calls it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from benchmarks.load.counts cimport Counts
from benchmarks.load.entries cimport Client, Sender
from region.kernel.system cimport iovec, mmsghdr

cdef enum:
    BATCH_OUT = 64
    PACKET_BYTES = 2048  # room for one with its trailer
    ARENA_BYTES = 1 << 17
    TRAILER_BYTES = 160  # SRTP_MAX_TRAILER_LEN is 144


cdef class Packer(Counts):
    cdef uint8_t *out_data
    cdef mmsghdr out_message[BATCH_OUT]
    cdef iovec out_vector[BATCH_OUT]
    cdef uint32_t out_at
    cdef int outgoing

    cdef void _send_packet(self, Client *client, Sender *sender, int64_t now_ns) noexcept nogil
    cdef void _write_frame_header(self, const Sender *sender, uint8_t *at) noexcept nogil
    cdef int _write_header(
        self, Client *client, Sender *sender, uint8_t *out, bint again
    ) noexcept nogil
    cdef void _retransmit(
        self, Client *client, Sender *sender, uint16_t sequence, int64_t now_ns
    ) noexcept nogil
    cdef uint8_t *_room(self, Client *client) noexcept nogil
    cdef int _push(self, Client *client, uint8_t *out, int length) noexcept nogil
    cdef void _flush(self, Client *client) noexcept nogil
    cdef void _send_rtcp(self, Client *client, uint8_t *packet, int length) noexcept nogil
    cdef void _report_sending(self, Client *client, int64_t now_ns) noexcept nogil
