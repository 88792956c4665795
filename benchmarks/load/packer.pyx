# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""Packets as they leave: headers, marks, retransmissions, reports; encrypted, sent in batches.

All of it runs without the GIL, under the tables' lock.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from benchmarks.load.clock cimport ntp_of, ticks_of, wall_ns
from benchmarks.load.counts cimport Counts
from benchmarks.load.entries cimport *
from benchmarks.load.mark cimport *
from region.kernel.history cimport Kept, history_find, history_keep
from region.kernel.outbox cimport libsrtp
from region.kernel.system cimport *
from region.kernel.wire cimport Rtp, parse_header, store16, store32, write_element

cdef enum:
    AUDIO_CLOCK = 48_000
    VIDEO_CLOCK = 90_000
    REPORT_NS = 1_000_000_000
    SENDER_REPORT_BYTES = 28

cdef srtp_function srtp_protect = libsrtp("srtp_protect")
cdef srtp_function srtp_protect_rtcp = libsrtp("srtp_protect_rtcp")


cdef inline uint32_t timestamp_of(const Sender *sender, int64_t at_ns) noexcept nogil:
    cdef int64_t rate = AUDIO_CLOCK if sender.kind == AUDIO else VIDEO_CLOCK
    return <uint32_t>(sender.timestamp_offset + ticks_of(at_ns, rate))


cdef class Packer(Counts):
    def __cinit__(self):
        cdef int i
        self.out_data = <uint8_t *>calloc(1, ARENA_BYTES)
        if self.out_data == NULL:
            raise MemoryError
        for i in range(BATCH_OUT):
            self.out_message[i].msg_hdr.msg_iov = &self.out_vector[i]
            self.out_message[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.out_data)

    cdef void _send_packet(self, Client *client, Sender *sender, int64_t now_ns) noexcept nogil:
        """The next packet of the frame; sizes differ by a byte at most, the larger ones last."""
        cdef uint8_t *out = self._room(client)
        cdef uint8_t *payload
        cdef int length, at
        cdef uint32_t bytes = sender.left_bytes // sender.left_packets
        cdef bint last = sender.left_packets == 1
        cdef Mark mark
        sender.left_bytes -= bytes
        sender.left_packets -= 1
        sender.sequence += 1
        out[1] = sender.payload_type
        if last and sender.kind == VIDEO:
            out[1] |= 0x80
        store16(out + 2, sender.sequence)
        store32(out + 4, timestamp_of(sender, sender.frame_ns))
        store32(out + 8, sender.ssrc)
        at = self._write_header(client, sender, out, False)
        payload = out + at
        if sender.kind == VIDEO:
            bytes = max(bytes, <uint32_t>(MIN_VIDEO_BYTES - DESCRIPTOR_BYTES)) + DESCRIPTOR_BYTES
        else:
            bytes = max(bytes, <uint32_t>MIN_AUDIO_BYTES)
        memset(payload, 0, bytes)
        if sender.kind == VIDEO:
            # RFC 7741 section 4.2: X, S on the first packet; I, L, T; 15 bits of picture id.
            payload[0] = 0x90 if sender.packet == 0 else 0x80
            payload[1] = 0xE0
            store16(payload + 2, 0x8000 | sender.picture)
            payload[4] = sender.base
            payload[5] = <uint8_t>(sender.temporal << 6 | sender.sync << 5)
            if sender.packet == 0:
                self._write_frame_header(sender, payload + DESCRIPTOR_BYTES)
        else:
            payload[0] = 0x78  # RFC 6716 section 3.1: CELT, fullband, 20 ms, mono, one frame
        sender.packet += 1
        sender.marked += 1
        mark.magic, mark.sender, mark.layer = MAGIC, sender.handle, sender.layer
        mark.temporal, mark.keyframe, mark.spare = sender.temporal, sender.keyframe, 0
        mark.packet = sender.marked
        mark.sent_ns = wall_ns()
        memcpy(
            payload + (VIDEO_MARK_AT if sender.kind == VIDEO else AUDIO_MARK_AT), &mark,
            sizeof(Mark),
        )
        length = at + <int>bytes
        if sender.rtx_ssrc:
            history_keep(&sender.history, sender.sequence, 0, out, length, now_ns)
        sender.octets += bytes
        if sender.kind == VIDEO and client.ns_a_byte:
            client.paced_ns = (
                max(client.paced_ns, now_ns) + <int64_t>(length * client.ns_a_byte)
            )
        length = self._push(client, out, length)
        if length:
            sender.packets += 1
            sender.bytes += length

    cdef void _write_frame_header(self, const Sender *sender, uint8_t *at) noexcept nogil:
        """RFC 6386 section 9.1: as much of VP8 as bridges look at."""
        at[0] = 0x10 if sender.keyframe else 0x11
        if sender.keyframe:
            at[3], at[4], at[5] = 0x9D, 0x01, 0x2A
            at[6] = <uint8_t>((320 << sender.layer) & 0xFF)
            at[7] = <uint8_t>((320 << sender.layer) >> 8)
            at[8] = <uint8_t>((180 << sender.layer) & 0xFF)
            at[9] = <uint8_t>((180 << sender.layer) >> 8)

    cdef int _write_header(
        self, Client *client, Sender *sender, uint8_t *out, bint again
    ) noexcept nogil:
        """The first byte and the extensions (RFC 8285 section 4.2); where the payload begins."""
        cdef int at = 16, i
        cdef uint8_t rid_id = client.repaired_rid_id if again else client.rid_id
        if sender.kind == AUDIO and client.level_id:
            at = write_element(out, at, client.level_id, 1, False)
            out[at] = sender.level
            at += 1
        if client.number_id:
            at = write_element(out, at, client.number_id, 2, False)
            store16(out + at, client.number)
            client.number += 1
            at += 2
        if client.mid_id and sender.mid_length and (again or not sender.named):
            at = write_element(out, at, client.mid_id, sender.mid_length, False)
            memcpy(out + at, sender.mid, sender.mid_length)
            at += sender.mid_length
            if rid_id and sender.rid_length:
                at = write_element(out, at, rid_id, sender.rid_length, False)
                memcpy(out + at, sender.rid, sender.rid_length)
                at += sender.rid_length
        if at == 16:
            out[0] = 0x80
            return 12
        out[0] = 0x90
        while at & 3:
            out[at] = 0
            at += 1
        store16(out + 12, 0xBEDE)
        store16(out + 14, <uint16_t>((at - 16) >> 2))
        return at

    cdef void _retransmit(
        self, Client *client, Sender *sender, uint16_t sequence, int64_t now_ns
    ) noexcept nogil:
        """RFC 4588 section 4."""
        cdef const Kept *kept
        cdef uint8_t *out
        cdef Rtp rtp
        cdef int at
        sender.nacked += 1
        if not sender.rtx_ssrc:
            return
        kept = history_find(&sender.history, sequence, now_ns)
        if kept == NULL or not parse_header(
            sender.history.bytes + kept.position % sender.history.room, kept.length,
            client.canonical_extension, &rtp,
        ):
            return
        out = self._room(client)
        out[1] = rtp.marker | sender.rtx_payload_type
        sender.rtx_sequence += 1
        store16(out + 2, sender.rtx_sequence)
        store32(out + 4, rtp.timestamp)
        store32(out + 8, sender.rtx_ssrc)
        at = self._write_header(client, sender, out, True)
        store16(out + at, sequence)
        memcpy(out + at + 2, rtp.payload, rtp.payload_length)
        sender.retransmitted += 1
        self._push(client, out, at + 2 + rtp.payload_length)

    cdef uint8_t *_room(self, Client *client) noexcept nogil:
        """Where the next packet is to be written."""
        if self.outgoing == BATCH_OUT or self.out_at + PACKET_BYTES > ARENA_BYTES:
            self._flush(client)
        return self.out_data + self.out_at

    cdef int _push(self, Client *client, uint8_t *out, int length) noexcept nogil:
        """Protect what stands in `_room`, to leave with the next flush; its length, or 0."""
        if srtp_protect(client.srtp_out, out, &length) != 0:
            client.unsent += 1
            return 0
        self.out_vector[self.outgoing].iov_base = out
        self.out_vector[self.outgoing].iov_len = length
        self.outgoing += 1
        self.out_at += (length + 63) // 64 * 64
        return length

    cdef void _flush(self, Client *client) noexcept nogil:
        cdef int sent, at = 0
        while at < self.outgoing:
            sent = sendmmsg(client.fd, self.out_message + at, self.outgoing - at, MSG_DONTWAIT)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    client.unsent += self.outgoing - at
                    break
                client.refused += 1  # what ICMP has said of an earlier one, mostly
                client.unsent += 1
                sent = 1
            at += sent
        self.outgoing = 0
        self.out_at = 0

    # ---- RTCP

    cdef void _send_rtcp(self, Client *client, uint8_t *packet, int length) noexcept nogil:
        """Protect in place and send; `packet` has TRAILER_BYTES more."""
        if srtp_protect_rtcp(client.srtp_out, packet, &length) != 0:
            client.unsent += 1
            return
        if sendto(client.fd, packet, length, MSG_DONTWAIT, NULL, 0) < 0:
            client.unsent += 1

    cdef void _report_sending(self, Client *client, int64_t now_ns) noexcept nogil:
        """RFC 3550 section 6.4.1, of each stream by itself as libwebrtc does."""
        cdef uint8_t packet[SENDER_REPORT_BYTES + TRAILER_BYTES]
        cdef uint32_t i
        cdef Sender *sender
        cdef uint64_t ntp = ntp_of(wall_ns())
        for i in range(client.senders):
            sender = client.sender[i]
            if sender.packets == 0 or not is_playing(sender) or sender.report_ns > now_ns:
                continue
            sender.report_ns = now_ns + REPORT_NS
            store32(packet, 0x80C80006)
            store32(packet + 4, sender.ssrc)
            store32(packet + 8, <uint32_t>(ntp >> 32))
            store32(packet + 12, <uint32_t>ntp)
            store32(packet + 16, timestamp_of(sender, now_ns))
            store32(packet + 20, <uint32_t>sender.packets)
            store32(packet + 24, <uint32_t>sender.octets)
            self._send_rtcp(client, packet, SENDER_REPORT_BYTES)
