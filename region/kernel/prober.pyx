# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""Probes: padding that is sent for a moment to measure how much more a path carries.

Contracts stand in `prober.pyi`. What the receiver has had is sent again by RFC 4588, so that the
padding may even repair something.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from region.kernel.entries cimport *
from region.kernel.history cimport *
from region.kernel.path cimport PathReport, path_read, path_tells
from region.kernel.report cimport report_of
from region.kernel.outbox cimport Parcel
from region.kernel.sender cimport MAX_PROBING, Sender, retransmission_payload_of
from region.kernel.system cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.errors import LocalProtocolError

cdef enum:
    MAX_PROBE_BYTES = 1 << 20
    MIN_PACKETS = 5  # of a probe: two or three say nothing of a rate
    PADDING = 224  # bytes of a packet that has nothing to repeat
    REPEATED = 16  # of the last packets, in turn


cdef inline bint probe_lasts(const Probe *probe) noexcept nogil:
    return probe.left_bytes > 0 or probe.left_packets > 0


cdef class Prober(Sender):
    def probe(self, uint32_t transport, int64_t rate_bps, double duration_s, uint16_t cluster):
        """Send padding at this rate for so long, to be told apart in reports by `cluster`."""
        cdef Transport *to
        if not (1_000 <= rate_bps <= 1_000_000_000 and 0 < duration_s <= 1 and cluster):
            raise LocalProtocolError("a probe has 1 kbit/s to 1 Gbit/s, up to a second, a cluster")
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL and to.number_id:
                to.probe.left_bytes = <int>min(
                    <int64_t>(rate_bps * duration_s / 8), <int64_t>MAX_PROBE_BYTES
                )
                to.probe.left_packets = MIN_PACKETS
                to.probe.ns_a_byte = 8e9 / rate_bps
                to.probe.next_ns = monotonic_ns()
                to.probe.cluster = cluster
                to.probe.egress = self._probing_egress(to)
                if not to.probe.listed and self.probing_count < MAX_PROBING:
                    self.probing[self.probing_count] = transport
                    self.probing_count += 1
                    to.probe.listed = True
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        self._nudge()

    def path_reports(self, double now_s):
        """What there is to tell of numbered paths since this was called last, by transport."""
        cdef PathReport told
        cdef Transport *transport
        cdef uint32_t handle
        cdef int64_t now_ns = <int64_t>(now_s * 1e9)
        cdef bint found
        cdef dict reports = {}
        for handle in range(self.transports_used):
            with nogil:
                fair_acquire(&self.lock)
                transport = self.transport_of(handle)
                found = (
                    transport != NULL and transport.path != NULL
                    and path_tells(transport.path, now_ns)
                )
                if found:
                    path_read(transport.path, &told, now_ns)
                fair_release(&self.lock)
            if found:
                reports[handle] = report_of(&told)
        return reports

    cdef void _nudge(self) noexcept:
        """Has the pump look at the probes now."""

    cdef Egress *_probing_egress(self, const Transport *transport) noexcept nogil:
        """The one with retransmissions that has sent last, or NULL."""
        cdef uint32_t i
        cdef Egress *egress
        cdef Egress *best = NULL
        for i in range(self.egresses_used):
            egress = self.egresses[i]
            if (
                egress != NULL and egress.transport == transport and egress.rtx_ssrc
                and egress.started and (best == NULL or egress.last_ns > best.last_ns)
            ):
                best = egress
        return best

    cdef void _send_probes(self, int64_t now_ns) noexcept nogil:
        """What the probes' rates allow by now."""
        cdef int i, kept = 0, size
        cdef Transport *transport
        cdef Probe *probe
        for i in range(self.probing_count):
            transport = self.transport_of(self.probing[i])
            if transport == NULL or not transport.probe.listed:
                continue
            probe = &transport.probe
            while probe_lasts(probe) and probe.next_ns <= now_ns:
                size = self._send_padding(probe, now_ns)
                if size == 0:
                    probe.left_bytes = probe.left_packets = 0
                    break
                self.counter[PROBED] += 1
                probe.left_bytes -= size
                probe.left_packets -= 1
                probe.next_ns += <int64_t>(size * probe.ns_a_byte)
            if probe_lasts(probe):
                self.probing[kept] = self.probing[i]
                kept += 1
            else:
                probe.listed = False
        self.probing_count = kept

    cdef int _send_padding(self, Probe *probe, int64_t now_ns) noexcept nogil:
        """One packet that the receiver can do without; its length, 0 when none can be sent."""
        cdef Egress *egress = probe.egress
        cdef const Sent *sent
        cdef int length = 0
        if egress == NULL or not can_send(egress.transport):
            return 0
        if egress.sent != NULL:
            probe.back = (probe.back + 1) % REPEATED
            sent = &egress.sent[<uint16_t>(egress.last_sequence - probe.back) % SENT_PACKETS]
            if sent.used:
                length = self._repeat(egress, sent, now_ns, probe.cluster)
        return length if length else self._pad(egress, now_ns, probe.cluster)

    cdef int _pad(self, Egress *egress, int64_t now_ns, uint16_t cluster) noexcept nogil:
        """RFC 3550 section 5.1: a packet of nothing but padding, on the retransmissions' SSRC."""
        cdef Transport *transport = egress.transport
        cdef const Epoch *epoch = &egress.epochs[egress.epoch % EPOCHS]
        cdef const Stream *stream = self.streams[epoch.stream]  # or none that is carried now
        cdef uint8_t padding[PADDING]
        cdef uint8_t payload
        cdef Parcel parcel
        cdef Rtp rtp
        cdef Header header
        if stream == NULL or stream.serial != epoch.serial:
            return 0
        payload = retransmission_payload_of(stream.payload)
        if payload == NO_PAYLOAD or transport.wire_payload[payload] == NO_PAYLOAD:
            return 0
        memset(padding, 0, PADDING)
        padding[PADDING - 1] = PADDING
        rtp.padding = 0x20
        rtp.extensions = 0
        rtp.payload = padding
        rtp.payload_length = PADDING
        header.payload_type = transport.wire_payload[payload]
        header.marker = 0
        header.sequence = egress.rtx_sequence
        header.timestamp = egress.last_timestamp
        header.ssrc = egress.rtx_ssrc
        header.described = False
        header.frame_offset = 0
        self._make_place()
        self._write(egress, stream.csrc, &rtp, &header, &parcel)
        return self._dispatch_repeat(egress, &parcel, now_ns, cluster)
