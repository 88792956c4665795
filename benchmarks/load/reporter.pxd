"""RTCP both ways, as the engine calls it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from benchmarks.load.entries cimport Client
from benchmarks.load.receiver cimport Receiver
from benchmarks.load.tally cimport Stream


cdef class Reporter(Receiver):
    cdef bint _receive_rtcp(self, Client *client, uint8_t *data, int *of_bytes, int64_t now_ns) noexcept nogil
    cdef void _note_report(self, Client *client, const uint8_t *packet, int64_t now_ns) noexcept nogil
    cdef void _note_blocks(self, Client *client, const uint8_t *blocks, int length) noexcept nogil
    cdef void _repeat(self, Client *client, const uint8_t *packet, int size, int64_t now_ns) noexcept nogil
    cdef void _ask_keyframe(self, Client *client, uint32_t ssrc) noexcept nogil
    cdef void _ask_keyframes(self, Client *client, const uint8_t *packet, int size) noexcept nogil
    cdef void _tend(self, Client *client, int64_t now_ns) noexcept nogil
    cdef void _ask_again(self, Client *client, int64_t now_ns) noexcept nogil
    cdef void _ask_for_keyframes(self, Client *client, int64_t now_ns) noexcept nogil
    cdef void _send_pli(self, Client *client, uint32_t ssrc) noexcept nogil
    cdef void _report_receiving(self, Client *client, int64_t now_ns) noexcept nogil
