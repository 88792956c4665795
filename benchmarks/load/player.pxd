"""The agenda of what is to be sent, as the engine goes by it."""

from libc.stdint cimport int64_t, uint32_t

from benchmarks.load.agenda cimport Agenda
from benchmarks.load.entries cimport Client, Sender
from benchmarks.load.packer cimport Packer


cdef class Player(Packer):
    cdef Agenda agenda  # clients by when they have media to send

    cdef _switch(self, uint32_t handle, bint on, bint by_bridge)
    cdef void _resume(self, Sender *sender, int64_t now_ns) noexcept nogil
    cdef void _play_due(self, int64_t now_ns) noexcept nogil
    cdef int64_t _play(self, Client *client, int64_t now_ns) noexcept nogil
    cdef bint _begin(self, Sender *sender, int64_t now_ns) noexcept nogil
