"""What arrives of media, as the engine calls it."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from benchmarks.load.entries cimport Client
from benchmarks.load.player cimport Player
from benchmarks.load.tally cimport Stream
from region.kernel.wire cimport Rtp


cdef class Receiver(Player):
    cdef Stream *_stream_of(self, Client *client, uint32_t ssrc) noexcept nogil
    cdef void _receive_media(self, Client *client, uint8_t *data, int length, int64_t at_ns, int64_t now_ns) noexcept nogil
    cdef bint _is_chosen(self, Stream *stream, uint32_t one_in) noexcept nogil
    cdef void _note_number(self, Client *client, const Rtp *rtp, int64_t at_ns) noexcept nogil
    cdef void _open_gap(self, Client *client, Stream *stream, int64_t now_ns) noexcept nogil
    cdef void _check(self, Client *client, Stream *stream, uint8_t *data, int length, int64_t at_ns, bint ahead) noexcept nogil
    cdef void _read_payload(self, Stream *stream, const uint8_t *payload, int length, int64_t at_ns, int64_t number) noexcept nogil
    cdef void _receive_repair(self, Client *client, const Rtp *rtp, uint8_t *data, int length, int64_t at_ns, int64_t now_ns) noexcept nogil
