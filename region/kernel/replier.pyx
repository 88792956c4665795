# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What senders are told of their packets: what is missing (NACK), and when each came (TWCC)."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc

from region.kernel.arrivals cimport *
from region.kernel.entries cimport *
from region.kernel.outbox cimport TRAILER_BYTES
from region.kernel.prober cimport Prober
from region.kernel.repair cimport *
from region.kernel.sender cimport OWN_SSRC
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.payload import HeaderExtension

cdef enum:
    MAX_NACK_BYTES = 20 + 4 * MAX_MISSING + TRAILER_BYTES

cdef uint8_t TRANSPORT_SEQUENCE = HeaderExtension.TRANSPORT_SEQUENCE


cdef class Replier(Prober):
    cdef void _watch(self, uint32_t handle, Stream *stream) noexcept nogil:
        """Ask for what is missing of this stream, at the end of this batch and later."""
        if self.gappy_count < MAX_GAPPY:
            self.gappy[self.gappy_count] = handle
            self.gappy_count += 1
            stream.gappy = True

    cdef void _ask_again(self, int64_t now_ns) noexcept nogil:
        """Send the NACKs that are due."""
        cdef uint16_t wanted[MAX_MISSING]
        cdef uint8_t packet[MAX_NACK_BYTES]
        cdef int i, kept = 0, count, length
        cdef Stream *stream
        cdef Transport *transport
        for i in range(self.gappy_count):
            stream = self.streams[self.gappy[i]]
            if stream == NULL or not stream.gappy:
                continue
            transport = self.transports[stream.transport]
            count = gaps_due(&stream.gaps, wanted, now_ns, transport.rtt_ns)
            if count:
                length = write_nack(packet, OWN_SSRC, stream.ssrc, wanted, count)
                self._send_own_rtcp(transport, packet, length)
                self.counter[NACKED] += count
            if stream.gaps.count:
                self.gappy[kept] = self.gappy[i]
                kept += 1
            else:
                stream.gappy = False
        self.gappy_count = kept

    cdef void _note_arrival(
        self, uint32_t handle, Transport *transport, const Rtp *rtp, int64_t now_ns
    ) noexcept nogil:
        """Keep for the next feedback when a packet with a transport-wide number came."""
        cdef int i
        for i in range(rtp.extensions):
            if rtp.extension[i].canonical == TRANSPORT_SEQUENCE and rtp.extension[i].length == 2:
                break
        else:
            return
        if transport.arrivals == NULL:
            transport.arrivals = <Arrivals *>calloc(1, sizeof(Arrivals))
            if transport.arrivals == NULL:
                return
        transport.arrival_ssrc = rtp.ssrc
        arrived(transport.arrivals, load16(rtp.extension[i].data), now_ns)
        if not transport.arrivals.reporting and self.reporting_count < MAX_REPORTING:
            self.reporting[self.reporting_count] = handle
            self.reporting_count += 1
            transport.arrivals.reporting = True
            transport.arrivals.due_ns = now_ns + FEEDBACK_NS
        if <uint16_t>(transport.arrivals.end - transport.arrivals.first) >= MAX_STATUSES:
            transport.arrivals.due_ns = now_ns

    cdef void _report_arrivals(self, int64_t now_ns) noexcept nogil:
        """Send the feedback that is due."""
        cdef uint8_t packet[MAX_FEEDBACK_BYTES + TRAILER_BYTES]
        cdef int i, kept = 0, length
        cdef Transport *transport
        for i in range(self.reporting_count):
            transport = self.transports[self.reporting[i]]
            if transport == NULL or transport.arrivals == NULL or not transport.arrivals.reporting:
                continue
            if now_ns < transport.arrivals.due_ns:
                self.reporting[kept] = self.reporting[i]
                kept += 1
                continue
            transport.arrivals.reporting = False
            while True:
                length = write_feedback(
                    transport.arrivals, OWN_SSRC, transport.arrival_ssrc, packet
                )
                if length == 0:
                    break
                self.counter[FEEDBACKS] += 1
                self._send_own_rtcp(transport, packet, length)
        self.reporting_count = kept
