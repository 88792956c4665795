# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""RTCP both ways: what the bridge says of our streams, and what we say of its.

Feedback as browsers give it (RFC 3550, RFC 4585, RFC 5104, transport-wide feedback). All of it runs
without the GIL, under the tables' lock.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from benchmarks.load.clock cimport ntp_of, wall_ns
from benchmarks.load.entries cimport *
from benchmarks.load.packer cimport TRAILER_BYTES
from benchmarks.load.receiver cimport Receiver
from benchmarks.load.tally cimport REPORT_BLOCK_BYTES, Stream, write_block
from region.kernel.arrivals cimport MAX_FEEDBACK_BYTES, write_feedback
from region.kernel.repair cimport MAX_MISSING, gaps_due, write_nack
from region.kernel.outbox cimport libsrtp
from region.kernel.system cimport *
from region.kernel.wire cimport load16, load32, store32

cdef enum:
    FEEDBACK_NS = 75_000_000  # libwebrtc: 50 to 250 ms, by the rate
    RECEIVER_REPORT_NS = 1_000_000_000
    MOST_BLOCKS = 31
    NO_KEYFRAME_NS = 500_000_000  # so long a stream may be without one before it is asked for
    ASK_AGAIN_NS = 1_000_000_000

cdef srtp_function srtp_unprotect_rtcp = libsrtp("srtp_unprotect_rtcp")


cdef class Reporter(Receiver):
    # ---- what the bridge says of ours

    cdef bint _receive_rtcp(
        self, Client *client, uint8_t *data, int *of_bytes, int64_t now_ns
    ) noexcept nogil:
        """Whether it says nothing that Python need see; decrypted in place, of another length."""
        cdef int at = 0, size, length
        cdef bint understood = True
        cdef uint8_t kind, count
        if srtp_unprotect_rtcp(client.srtp_in, data, of_bytes) != 0:
            client.rtcp_failed += 1
            return True
        length = of_bytes[0]
        while at + 8 <= length:
            size = 4 + 4 * load16(data + at + 2)
            if data[at] >> 6 != 2 or at + size > length:
                client.malformed += 1
                break
            kind, count = data[at + 1], data[at] & 0x1F
            if kind == 200 and size >= 28:
                self._note_report(client, data + at, now_ns)
                self._note_blocks(client, data + at + 28, size - 28)
            elif kind == 201:
                self._note_blocks(client, data + at + 8, size - 8)
            elif kind == 205 and count == 1 and size >= 12:
                self._repeat(client, data + at, size, now_ns)
            elif kind == 205 and count == 15:
                client.feedbacks += 1
            elif kind == 206 and count == 1 and size >= 12:
                self._ask_keyframe(client, load32(data + at + 8))
            elif kind == 206 and count == 4:
                self._ask_keyframes(client, data + at, size)
            elif kind != 202 and not (kind == 206 and count == 15):
                understood = False  # neither a name nor an estimate (SDES, REMB)
            at += size
        self._flush(client)
        return understood

    cdef void _note_report(
        self, Client *client, const uint8_t *packet, int64_t now_ns
    ) noexcept nogil:
        cdef uint32_t i
        for i in range(client.streams):
            if client.ssrc[i] == load32(packet + 4):
                client.stream[i].last_report = load32(packet + 10)
                client.stream[i].last_report_ns = now_ns

    cdef void _note_blocks(
        self, Client *client, const uint8_t *blocks, int length
    ) noexcept nogil:
        """That a stream is reported on, and how long a round trip takes (RFC 3550 6.4.1)."""
        cdef uint32_t i, middle = <uint32_t>(ntp_of(wall_ns()) >> 16)
        cdef int64_t trip_ns
        cdef int at = 0
        while at + 24 <= length:
            for i in range(client.senders):
                if client.sender[i].ssrc == load32(blocks + at):
                    client.sender[i].named = True
                    if load32(blocks + at + 16):
                        trip_ns = <int64_t><uint32_t>(
                            middle - load32(blocks + at + 16) - load32(blocks + at + 20)
                        ) * 1_000_000_000 // 65_536
                        if trip_ns < 2_000_000_000:
                            client.round_trip_ns = max(trip_ns, <int64_t>5_000_000)
            at += 24

    cdef void _repeat(
        self, Client *client, const uint8_t *packet, int size, int64_t now_ns
    ) noexcept nogil:
        """RFC 4585 section 6.2.1."""
        cdef uint32_t i, bit
        cdef uint16_t first, others
        cdef int at
        for i in range(client.senders):
            if client.sender[i].ssrc != load32(packet + 8):
                continue
            at = 12
            while at + 4 <= size:
                first, others = load16(packet + at), load16(packet + at + 2)
                self._retransmit(client, client.sender[i], first, now_ns)
                for bit in range(16):
                    if others >> bit & 1:
                        self._retransmit(
                            client, client.sender[i], <uint16_t>(first + bit + 1), now_ns
                        )
                at += 4

    cdef void _ask_keyframe(self, Client *client, uint32_t ssrc) noexcept nogil:
        cdef uint32_t i
        for i in range(client.senders):
            if client.sender[i].ssrc == ssrc:
                client.sender[i].keyframe_wanted = True
                client.sender[i].keyframes_asked += 1

    cdef void _ask_keyframes(
        self, Client *client, const uint8_t *packet, int size
    ) noexcept nogil:
        """RFC 5104 section 4.3.1: full intra requests."""
        cdef int at = 12
        while at + 8 <= size:
            self._ask_keyframe(client, load32(packet + at))
            at += 8

    # ---- what we say of the bridge's

    cdef void _tend(self, Client *client, int64_t now_ns) noexcept nogil:
        """Reports, feedback and requests whose time has come."""
        cdef uint8_t packet[MAX_FEEDBACK_BYTES + TRAILER_BYTES]
        cdef int length
        if client.gappy and client.nacks:
            self._ask_again(client, now_ns)
        if client.feedback_ns <= now_ns:
            client.feedback_ns = max(
                client.feedback_ns + FEEDBACK_NS, now_ns + FEEDBACK_NS // 2
            )
            if client.feedback and client.arrivals != NULL and client.arrivals.started:
                length = write_feedback(
                    client.arrivals, client.own_ssrc, client.reported_video, packet
                )
                if length:
                    self._send_rtcp(client, packet, length)
            if client.plis and client.decrypt_one_in == 1:
                self._ask_for_keyframes(client, now_ns)
            if client.reports:
                self._report_sending(client, now_ns)
        if client.report_ns <= now_ns:
            client.report_ns = max(
                client.report_ns + RECEIVER_REPORT_NS, now_ns + RECEIVER_REPORT_NS // 2
            )
            if client.reports:
                self._report_receiving(client, now_ns)

    cdef void _ask_again(self, Client *client, int64_t now_ns) noexcept nogil:
        """NACKs that are due; what was asked for in vain needs a keyframe."""
        cdef uint16_t wanted[MAX_MISSING]
        cdef uint8_t packet[20 + 4 * MAX_MISSING + TRAILER_BYTES]
        cdef uint32_t i, given_up
        cdef int count
        cdef Stream *stream
        for i in range(client.streams):
            stream = client.stream[i]
            if not stream.gappy:
                continue
            given_up = stream.gaps.given_up
            count = gaps_due(stream.gaps, wanted, now_ns, client.round_trip_ns)
            if count:
                client.nacks_sent += count
                self._send_rtcp(
                    client, packet,
                    write_nack(packet, client.own_ssrc, stream.ssrc, wanted, count),
                )
            if stream.gaps.given_up != given_up and client.plis:
                stream.awaiting = True
                stream.asked_ns = now_ns
                self._send_pli(client, stream.ssrc)
            if stream.gaps.count == 0:
                stream.gappy = False
                client.gappy -= 1

    cdef void _ask_for_keyframes(self, Client *client, int64_t now_ns) noexcept nogil:
        cdef uint32_t i
        cdef Stream *stream
        for i in range(client.streams):
            stream = client.stream[i]
            if (
                stream.awaiting
                and now_ns - stream.began_ns > NO_KEYFRAME_NS
                and now_ns - stream.asked_ns > ASK_AGAIN_NS
            ):
                stream.asked_ns = now_ns
                self._send_pli(client, stream.ssrc)

    cdef void _send_pli(self, Client *client, uint32_t ssrc) noexcept nogil:
        """An empty receiver report and RFC 4585 section 6.3.1."""
        cdef uint8_t packet[20 + TRAILER_BYTES]
        store32(packet, 0x80C90001)
        store32(packet + 4, client.own_ssrc)
        store32(packet + 8, 0x81CE0002)
        store32(packet + 12, client.own_ssrc)
        store32(packet + 16, ssrc)
        client.plis_sent += 1
        self._send_rtcp(client, packet, 20)

    cdef void _report_receiving(self, Client *client, int64_t now_ns) noexcept nogil:
        """RFC 3550 section 6.4.2, as many packets as the streams need."""
        cdef uint8_t packet[8 + MOST_BLOCKS * REPORT_BLOCK_BYTES + TRAILER_BYTES]
        cdef uint32_t i = 0
        cdef int blocks
        while i < client.streams:
            blocks = 0
            while i < client.streams and blocks < MOST_BLOCKS:
                if client.stream[i].started:
                    write_block(
                        client.stream[i], packet + 8 + blocks * REPORT_BLOCK_BYTES, now_ns
                    )
                    blocks += 1
                i += 1
            if blocks:
                store32(packet, <uint32_t>0x80C90000 | <uint32_t>blocks << 24 | <uint32_t>(1 + 6 * blocks))
                store32(packet + 4, client.own_ssrc)
                self._send_rtcp(client, packet, 8 + blocks * REPORT_BLOCK_BYTES)
