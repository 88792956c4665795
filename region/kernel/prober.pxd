"""The probing half of the pump, as the pump calls it."""

from libc.stdint cimport int64_t, uint16_t

from region.kernel.entries cimport Egress, Probe, Transport
from region.kernel.sender cimport Sender


cdef class Prober(Sender):
    cdef void _nudge(self) noexcept
    cdef Egress *_probing_egress(self, const Transport *transport) noexcept nogil
    cdef void _send_probes(self, int64_t now_ns) noexcept nogil
    cdef int _send_padding(self, Probe *probe, int64_t now_ns) noexcept nogil
    cdef int _pad(self, Egress *egress, int64_t now_ns, uint16_t cluster) noexcept nogil
