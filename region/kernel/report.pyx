# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What Python is told of a path; and a path without a pump, for tests and simulations.

Contracts stand in `report.pyi`.
"""

from enum import Enum
from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from region.kernel.path cimport Path as Kept
from region.kernel.path cimport path_feedback, path_free, path_new, path_read, path_sent


class Usage(Enum):
    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


cdef tuple USAGES = (Usage.NORMAL, Usage.OVER, Usage.UNDER)


class ProbeReport(NamedTuple):
    cluster: int
    packets: int
    size_bytes: int
    sent_bps: float
    received_bps: float


class PathReport(NamedTuple):
    usage: Usage
    heard: bool
    acked_bps: float | None
    sent_bps: float | None
    queue_s: float
    acked_packets: int
    lost_packets: int
    rtt_s: float | None
    unanswered_s: float | None
    never_sent: int
    probe: ProbeReport | None


cdef object report_of(const Told *report):
    cdef object probe = None
    if report.probed:
        probe = ProbeReport(
            report.probe_cluster, report.probe_packets, report.probe_bytes,
            report.probe_sent_bps, report.probe_received_bps,
        )
    return PathReport(
        USAGES[report.usage],
        report.heard != 0,
        None if report.acked_bps < 0 else report.acked_bps,
        None if report.sent_bps < 0 else report.sent_bps,
        report.queue_us / 1e6,
        report.acked_packets,
        report.lost_packets,
        None if report.rtt_us < 0 else report.rtt_us / 1e6,
        None if report.unanswered_ns == 0 else report.unanswered_ns / 1e9,
        report.never_sent,
        probe,
    )


cdef int64_t nanoseconds(double now_s) noexcept:
    return <int64_t>(now_s * 1e9 + 0.5)


cdef class Path:
    cdef Kept *_path

    def __cinit__(self):
        self._path = path_new()
        if self._path == NULL:
            raise MemoryError

    def __dealloc__(self):
        path_free(self._path)

    def sent(self, int size_bytes, double now_s, uint16_t cluster=0):
        """Record a packet, and give it the next transport-wide number, 0 to begin with."""
        return path_sent(self._path, size_bytes, nanoseconds(now_s), cluster)

    def feedback(self, bytes fci not None, double now_s):
        """Take the FCI of one transport-wide feedback; False where it is malformed."""
        cdef Py_ssize_t length = PyBytes_GET_SIZE(fci)
        cdef bint taken
        # A copy that ends where the feedback does, which is where AddressSanitizer looks.
        cdef uint8_t *copy = <uint8_t *>malloc(length)
        if copy == NULL and length:
            raise MemoryError
        memcpy(copy, PyBytes_AS_STRING(fci), length)
        taken = path_feedback(self._path, copy, <int>length, nanoseconds(now_s))
        free(copy)
        return taken

    def read(self, double now_s):
        """What was learned since this was called last."""
        cdef Told report
        path_read(self._path, &report, nanoseconds(now_s))
        return report_of(&report)
