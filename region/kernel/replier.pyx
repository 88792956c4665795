# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What peers are told of their packets: what is missing (NACK), when each came (TWCC), echoes.

Contracts stand in `replier.pyi`.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from region.kernel.arrivals cimport *
from region.kernel.entries cimport *
from region.kernel.outbox cimport TRAILER_BYTES
from region.kernel.prober cimport Prober
from region.kernel.repair cimport *
from region.kernel.sender cimport OWN_SSRC
from region.kernel.system cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.errors import LocalProtocolError
from relay.payload import HeaderExtension
from relay.probe import PROBE_NAME, ProbeKind

cdef enum:
    MAX_NACK_BYTES = 20 + 4 * MAX_MISSING + TRAILER_BYTES
    APP_HEAD_BYTES = 12  # with the SSRC and the name
    PROBE_BYTES = 12  # RFC 3550's APP packet's data: `relay.probe`
    ECHO_BYTES = PROBE_BYTES + 4

cdef uint8_t TRANSPORT_SEQUENCE = HeaderExtension.TRANSPORT_SEQUENCE
cdef uint32_t PROBES = int.from_bytes(PROBE_NAME.encode("ascii"), "big")
cdef uint8_t PROBE = ProbeKind.PROBE
cdef uint8_t ECHO = ProbeKind.ECHO


cdef class Replier(Prober):
    def echo_probes(self, uint32_t transport):
        """From now on the peer's probes are answered at once, without Python."""
        cdef Transport *to
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL:
                to.echoes = True
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    cdef bint _hear_probe(
        self, Transport *transport, const uint8_t *app, int length, int64_t now_ns
    ) noexcept nogil:
        """Whether this is a probe, which is echoed, or an echo: both tell Python the time alone."""
        cdef uint8_t packet[APP_HEAD_BYTES + ECHO_BYTES + TRAILER_BYTES]
        cdef uint8_t kind = app[0] & 0x1F
        if length < APP_HEAD_BYTES or load32(app + 8) != PROBES:
            return False
        if kind == PROBE and length >= APP_HEAD_BYTES + PROBE_BYTES:
            packet[0] = 0x80 | ECHO
            packet[1] = 204
            store16(packet + 2, (APP_HEAD_BYTES + ECHO_BYTES) // 4 - 1)
            store32(packet + 4, OWN_SSRC)
            memcpy(packet + 8, app + 8, 4 + PROBE_BYTES)
            store32(
                packet + APP_HEAD_BYTES + PROBE_BYTES,
                <uint32_t>min((monotonic_ns() - now_ns) // 1_000, <int64_t>0xFFFFFFFF),
            )
            self._send_own_rtcp(transport, packet, APP_HEAD_BYTES + ECHO_BYTES)
            return True
        return kind == ECHO

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
