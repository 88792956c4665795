"""The tables as the engine's thread reads them, under their lock."""

from libc.stdint cimport uint32_t

from benchmarks.load.entries cimport Client, Script, Sender, Sums
from region.kernel.system cimport fair_lock

cdef enum:
    MAX_CLIENTS = 65_536
    MAX_SENDERS_IN_ALL = 65_536
    MAX_SCRIPTS = 4_096


cdef class Roster:
    cdef fair_lock lock
    cdef Client **clients
    cdef uint32_t clients_used
    cdef Sender **senders
    cdef uint32_t senders_used
    cdef Script **scripts
    cdef uint32_t scripts_used
    cdef Sums gone  # of what has been removed
    cdef dict sessions  # what must live as long as a client does

    cdef Client *client_of(self, uint32_t handle) noexcept nogil
    cdef Sender *sender_of(self, uint32_t handle) noexcept nogil
    cdef void _forgotten(self, Client *client) noexcept nogil
    cdef _number(self, Client *client, dict payload_types, dict extensions, dict repairs)
