# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What arrives of media: whose it is, whether all of it came, whether it is what was sent.

All of it runs without the GIL, under the tables' lock.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, realloc
from libc.string cimport memset

from benchmarks.load.entries cimport *
from benchmarks.load.mark cimport Mark, bucket_of, read_mark
from benchmarks.load.player cimport Player
from benchmarks.load.tally cimport *
from region.kernel.arrivals cimport arrived
from region.kernel.picture cimport Picture, parse_vp8
from region.kernel.repair cimport Gaps, gaps_fill, gaps_open
from region.kernel.outbox cimport libsrtp
from region.kernel.system cimport *
from region.kernel.wire cimport Rtp, load16, load32, parse_header, parse_rtp
from relay.payload import HeaderExtension

cdef uint8_t TRANSPORT_SEQUENCE = HeaderExtension.TRANSPORT_SEQUENCE
cdef srtp_function srtp_unprotect = libsrtp("srtp_unprotect")


cdef class Receiver(Player):
    cdef Stream *_stream_of(self, Client *client, uint32_t ssrc) noexcept nogil:
        """The stream of that SSRC, made when it is new; NULL when there is no room."""
        cdef uint32_t i, room
        cdef void *grown
        cdef Stream *stream
        if client.latest < client.streams and client.ssrc[client.latest] == ssrc:
            return client.stream[client.latest]
        for i in range(client.streams):
            if client.ssrc[i] == ssrc:
                client.latest = i
                return client.stream[i]
        if client.streams == MAX_STREAMS:
            return NULL
        if client.streams == client.stream_room:
            room = 2 * client.stream_room if client.stream_room else 4
            grown = realloc(client.ssrc, room * sizeof(uint32_t))
            if grown == NULL:
                return NULL
            client.ssrc = <uint32_t *>grown
            grown = realloc(client.stream, room * sizeof(Stream *))
            if grown == NULL:
                return NULL
            client.stream = <Stream **>grown
            client.stream_room = room
        stream = <Stream *>calloc(1, sizeof(Stream))
        if stream == NULL:
            return NULL
        stream.ssrc = ssrc
        stream.checked = -2  # nothing goes on from before the first
        stream.chance = ssrc | 1
        client.latest = client.streams
        client.ssrc[client.streams] = ssrc
        client.stream[client.streams] = stream
        client.streams += 1
        return stream

    cdef void _receive_media(
        self, Client *client, uint8_t *data, int length, int64_t at_ns, int64_t now_ns
    ) noexcept nogil:
        cdef Rtp rtp
        cdef Stream *stream
        cdef uint8_t kind
        cdef Arrival arrival
        if not parse_header(data, length, client.canonical_extension, &rtp):
            client.malformed += 1
            return
        if client.arrivals != NULL and client.feedback:
            self._note_number(client, &rtp, at_ns)
        kind = client.kind_of[rtp.payload_type]
        if kind == VIDEO_RTX:
            self._receive_repair(client, &rtp, data, length, at_ns, now_ns)
            return
        stream = self._stream_of(client, rtp.ssrc) if kind != UNEXPECTED else NULL
        if stream == NULL:
            client.unexpected += 1
            return
        if client.first_media_ns == 0:
            client.first_media_ns = at_ns
        if not stream.started:
            stream.kind = kind
            stream.began_ns = now_ns
            stream.awaiting = kind == VIDEO and client.decrypt_one_in == 1
        if kind == VIDEO:
            client.reported_video = rtp.ssrc
        arrival = take(stream, rtp.sequence)
        if arrival == DUPLICATE:
            stream.duplicates += 1
            return
        if data[0] & 0x0F:
            stream.csrc = load32(data + 12)
        note_jitter(stream, rtp.timestamp, at_ns, 90_000 if kind == VIDEO else 48_000)
        stream.packets += 1
        stream.bytes += length
        if arrival == LATE:
            stream.reordered += 1
            if stream.gaps != NULL:
                gaps_fill(stream.gaps, rtp.sequence)
        elif stream.opened and client.nacks and kind == VIDEO and client.repair_pairs:
            self._open_gap(client, stream, now_ns)
        if client.decrypt_one_in == 1 or (
            client.decrypt_one_in and self._is_chosen(stream, client.decrypt_one_in)
        ):
            self._check(client, stream, data, length, at_ns, arrival == AHEAD)

    cdef inline bint _is_chosen(self, Stream *stream, uint32_t one_in) noexcept nogil:
        """The first packet, and others by chance."""
        stream.chance = stream.chance * 1_664_525 + 1_013_904_223
        return stream.packets == 1 or (stream.chance >> 8) % one_in == 0

    cdef inline void _note_number(
        self, Client *client, const Rtp *rtp, int64_t at_ns
    ) noexcept nogil:
        cdef const uint8_t *number
        cdef int i
        for i in range(rtp.extensions):
            if (
                rtp.extension[i].canonical == TRANSPORT_SEQUENCE
                and rtp.extension[i].length == 2
            ):
                number = rtp.extension[i].data
                arrived(client.arrivals, load16(number), at_ns)
                return

    cdef void _open_gap(self, Client *client, Stream *stream, int64_t now_ns) noexcept nogil:
        if stream.gaps == NULL:
            stream.gaps = <Gaps *>calloc(1, sizeof(Gaps))
            if stream.gaps == NULL:
                return
        gaps_open(
            stream.gaps, <uint16_t>(stream.highest - stream.opened), <int>stream.opened, now_ns
        )
        if not stream.gappy:
            stream.gappy = True
            client.gappy += 1

    cdef void _check(
        self, Client *client, Stream *stream, uint8_t *data, int length, int64_t at_ns,
        bint ahead,
    ) noexcept nogil:
        """Decrypt it in place, and see whether it is what was sent, and goes on from before."""
        cdef Rtp rtp
        cdef int payload_length
        if srtp_unprotect(client.srtp_in, data, &length) != 0:
            stream.undecryptable += 1
            return
        if not parse_rtp(data, length, client.canonical_extension, &rtp):
            stream.malformed += 1
            return
        payload_length = rtp.payload_length
        if rtp.padding:
            payload_length -= data[length - 1]
        if payload_length == 0:
            stream.padding += 1
            return
        self._read_payload(
            stream, rtp.payload, payload_length, at_ns, stream.highest if ahead else -1
        )

    cdef void _read_payload(
        self, Stream *stream, const uint8_t *payload, int length, int64_t at_ns,
        int64_t number,
    ) noexcept nogil:
        """`number`: its sequence number without wrapping, or −1 when it is late."""
        cdef Mark mark
        cdef Picture picture
        cdef int64_t delay_ns
        cdef bint audio = stream.kind == AUDIO
        if read_mark(payload, length, audio, &mark) and mark.layer < LAYERS:
            stream.sender, stream.layer = mark.sender, mark.layer
            stream.layer_packets[mark.layer] += 1
            stream.layer_bytes[mark.layer] += length
            delay_ns = at_ns - mark.sent_ns
            if audio:
                self.audio_delays[bucket_of(delay_ns)] += 1
            else:
                self.video_delays[bucket_of(delay_ns)] += 1
        else:
            stream.unmarked += 1
        if audio:
            return
        memset(&picture, 0, sizeof(picture))
        if not parse_vp8(payload, length, &picture):
            stream.malformed += 1
            return
        if picture.keyframe:
            stream.keyframes += 1
            stream.awaiting = False
        if number < 0:
            return
        if number == stream.checked + 1:
            if picture.id_bytes and picture.id != (
                (stream.picture + 1 if picture.begins else stream.picture)
                & (0x7FFF if picture.id_bytes == 2 else 0x7F)
            ):
                stream.picture_jumps += 1
            if picture.base_at and picture.base != <uint8_t>(
                stream.base + (1 if picture.begins and picture.temporal == 0 else 0)
            ):
                stream.base_jumps += 1
        stream.checked = number
        stream.picture = picture.id
        stream.base = picture.base

    cdef void _receive_repair(
        self, Client *client, const Rtp *rtp, uint8_t *data, int length, int64_t at_ns,
        int64_t now_ns,
    ) noexcept nogil:
        """RFC 4588 section 4; padding that measures a path comes the same way."""
        cdef uint32_t i
        cdef Rtp restored
        cdef Stream *stream = NULL
        cdef uint16_t sequence
        cdef int payload_length, whole_length = length
        client.retransmissions += 1
        client.retransmission_bytes += length
        if client.decrypt_one_in == 0:
            return
        for i in range(client.repair_pairs):
            if client.repairs[2 * i] == rtp.ssrc:
                stream = self._stream_of(client, client.repairs[2 * i + 1])
                break
        if srtp_unprotect(client.srtp_in, data, &length) != 0 or not parse_rtp(
            data, length, client.canonical_extension, &restored
        ):
            client.malformed += 1
            return
        payload_length = restored.payload_length
        if restored.padding:
            payload_length -= data[length - 1]
        if payload_length <= 2:
            client.padding += 1
            return
        if stream == NULL or not stream.started:
            client.unneeded += 1
            return
        sequence = load16(restored.payload)
        if take(stream, sequence) == DUPLICATE:
            client.unneeded += 1
            return
        stream.recovered += 1
        stream.packets += 1
        stream.bytes += whole_length - 2
        if stream.gaps != NULL:
            gaps_fill(stream.gaps, sequence)
        self._read_payload(stream, restored.payload + 2, payload_length - 2, at_ns, -1)
