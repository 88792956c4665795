"""The counts as the engine's thread keeps them, beside those of each client."""

from libc.stdint cimport uint64_t

from benchmarks.load.mark cimport BUCKETS
from benchmarks.load.roster cimport Roster


cdef class Counts(Roster):
    cdef uint64_t audio_delays[BUCKETS]
    cdef uint64_t video_delays[BUCKETS]
