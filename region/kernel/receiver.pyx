# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What becomes of a media packet: opened, named, restored, read, and handed to its egresses."""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcmp, memmove, memset

from region.kernel.crypt cimport *
from region.kernel.descriptor cimport Frame, Structure, find_targets, parse_descriptor
from region.kernel.entries cimport *
from region.kernel.flow cimport observe
from region.kernel.history cimport history_keep
from region.kernel.outbox cimport RUN, libsrtp
from region.kernel.picture cimport *
from region.kernel.pressure cimport pressure_leaves_out
from region.kernel.red cimport red_primary
from region.kernel.repair cimport gaps_fill
from region.kernel.replier cimport Replier
from region.kernel.sender cimport Arrived
from region.kernel.system cimport *
from region.kernel.tables cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport *
from relay.payload import HeaderExtension, PayloadType

cdef enum:
    AHEAD = 4  # egresses whose cache lines are fetched before their turn
    CRYPT_LINES = 9  # of cache, of a key

    MAX_WORK = 2048  # packets that leave before anybody else may have the lock

    SRTP_AUTH_FAIL = 7
    SRTP_REPLAY_FAIL = 9
    SRTP_REPLAY_OLD = 10

cdef uint8_t VP8 = PayloadType.VP8
cdef uint8_t VP9 = PayloadType.VP9
cdef uint8_t H264 = PayloadType.H264
cdef uint8_t AV1 = PayloadType.AV1
cdef uint8_t OPUS_RED = PayloadType.OPUS_RED
cdef uint8_t AUDIO_LEVEL = HeaderExtension.AUDIO_LEVEL
cdef uint8_t DEPENDENCIES = HeaderExtension.DEPENDENCY_DESCRIPTOR
cdef uint8_t MID = HeaderExtension.MID
cdef uint8_t RID = HeaderExtension.RID
cdef uint8_t REPAIRED_RID = HeaderExtension.REPAIRED_RID
# By canonical payload type: of what it carries the retransmissions.
cdef uint8_t original_payload[128]
memset(original_payload, NO_PAYLOAD, 128)
for _original in PayloadType:
    if _original.retransmissions is not None:
        original_payload[<int>_original.retransmissions] = _original

cdef srtp_function srtp_unprotect = libsrtp("srtp_unprotect")
cdef srtp_function srtp_unprotect_rtcp = libsrtp("srtp_unprotect_rtcp")


cdef inline void fetch_egress(const Egress *egress) noexcept nogil:
    prefetch(egress)
    prefetch(<const uint8_t *>egress + LINE_BYTES)


cdef inline void fetch_crypt(const Crypt *crypt) noexcept nogil:
    cdef int i
    if crypt != NULL:
        for i in range(CRYPT_LINES):
            prefetch(<const uint8_t *>crypt + i * LINE_BYTES)


cdef class Receiver(Replier):
    cdef void _receive_media(
        self, uint32_t handle, int64_t now_ns, uint8_t *data, int length,
    ) noexcept nogil:
        cdef Transport *transport = self.transports[handle]
        cdef uint32_t stream_handle, learnt
        cdef Stream *stream
        cdef Key key
        cdef Rtp *rtp = &self.pending[self.pending_count].rtp
        cdef uint8_t payload
        cdef bint restored
        cdef int wire_length = length
        if length < 12:
            self.counter[DROPPED_MALFORMED] += 1
            return
        if transport.srtp_in == NULL:
            self.counter[DROPPED_NO_KEYS] += 1
            return
        # Before libsrtp, which would keep a context for every SSRC it is shown.
        stream_key(handle, load32(data + 8), &key)
        stream_handle = map_get(&self.by_ssrc, &key)
        learnt = NONE
        if stream_handle == NONE:
            if transport.unnamed_count:
                learnt = self._recognise(transport, data, length)
            if learnt == NONE:
                self.counter[DROPPED_UNKNOWN_SSRC] += 1
                return
        if learnt != NONE:
            stream_handle = learnt
        if self.pressure.level:
            stream = self.streams[stream_handle & ~<uint32_t>RETRANSMISSIONS]
            if stream.video and pressure_leaves_out(&self.pressure, stream.upper):
                self.counter[DROPPED_OVERLOAD] += 1
                return
        if not self._open(transport, stream_handle, data, &length):
            return
        if learnt != NONE and not self._learn(handle, transport, learnt, load32(data + 8)):
            return
        transport.last_ns = now_ns
        transport.packets_in += 1
        transport.bytes_in += wire_length
        if not parse_rtp(data, length, transport.canonical_extension, rtp):
            self.counter[DROPPED_MALFORMED] += 1
            return
        # Whatever becomes of it, padding and retransmissions too: the sender measures by it.
        self._note_arrival(handle, transport, rtp, now_ns)
        restored = stream_handle & RETRANSMISSIONS != 0
        if restored:
            stream_handle ^= RETRANSMISSIONS
        stream = self.streams[stream_handle]
        if restored and not self._restore(transport, stream, &data, &length, rtp):
            return
        payload = transport.canonical_payload[rtp.payload_type]
        if payload == NO_PAYLOAD:
            self.counter[DROPPED_UNKNOWN_PAYLOAD] += 1
            return
        self.counter[PACKETS_IN] += 1
        if now_ns - stream.last_ns >= ALIVE_NS:
            self._begin(stream_handle)
        if not observe(stream, rtp, length, now_ns, AUDIO_LEVEL, restored):
            self.counter[DROPPED_DUPLICATE] += 1
            return
        if not stream.video and not stream.perceptible and is_heard(stream):
            stream.perceptible = True
            self._begin(stream_handle)
        if stream.kept:
            history_keep(&stream.history, rtp.sequence, payload, data, length, now_ns)
        if stream.gaps.count and not stream.gappy:
            self._watch(stream_handle, stream)
        self._pend(stream_handle, stream, payload, length, now_ns)

    cdef bint _open(
        self, Transport *transport, uint32_t stream_handle, uint8_t *data, int *length
    ) noexcept nogil:
        """Decrypt a media packet in place; False when it is not authentic or not new."""
        cdef Stream *stream = self.streams[stream_handle & ~<uint32_t>RETRANSMISSIONS]
        cdef bint restores = stream_handle & RETRANSMISSIONS != 0
        cdef Crypt *crypt = transport.crypt_in
        cdef Index *index
        cdef Index fresh
        cdef int state
        if crypt == NULL:
            return self._unprotected(srtp_unprotect(transport.srtp_in, data, length))
        if stream.keyed != crypt.serial:
            stream.keyed = crypt.serial
            stream.index = stream.rtx_index = NULL
        index = stream.rtx_index if restores else stream.index
        if index == NULL:
            index = crypt_find(crypt, load32(data + 8))
        if index == NULL:
            index_begin(&fresh, load32(data + 8))
            index = &fresh
        state = crypt_open(crypt, index, data, length)
        if state == CRYPT_OK and index == &fresh:  # only the authentic take a place
            index = crypt_add(crypt, &fresh)
        if state == CRYPT_OK and index != NULL:
            if restores:
                stream.rtx_index = index
            else:
                stream.index = index
            return True
        return self._opened(CRYPT_MALFORMED if state == CRYPT_OK else state)

    cdef bint _open_rtcp(self, Transport *transport, uint8_t *data, int *length) noexcept nogil:
        """Decrypt a compound in place; False when it is not authentic or not new."""
        if transport.crypt_in != NULL and rtcp_is_encrypted(data, length[0]):
            return self._opened(crypt_open_rtcp(transport.crypt_in.rtcp, data, length))
        return self._unprotected(srtp_unprotect_rtcp(transport.srtp_in, data, length))

    cdef bint _opened(self, int state) noexcept nogil:
        """Whether it was opened; counts why not."""
        if state == CRYPT_OK:
            return True
        if state == CRYPT_FORGED:
            self.counter[DROPPED_AUTHENTICATION] += 1
        elif state == CRYPT_REPEATED or state == CRYPT_OLD:
            self.counter[DROPPED_REPLAY] += 1
        else:
            self.counter[DROPPED_UNPROTECT] += 1
        return False

    cdef bint _unprotected(self, int status) noexcept nogil:
        """Whether libsrtp was content; counts why not."""
        if status == 0:
            return True
        if status == SRTP_AUTH_FAIL:
            self.counter[DROPPED_AUTHENTICATION] += 1
        elif status == SRTP_REPLAY_FAIL or status == SRTP_REPLAY_OLD:
            self.counter[DROPPED_REPLAY] += 1
        else:
            self.counter[DROPPED_UNPROTECT] += 1
        return False

    cdef uint32_t _recognise(
        self, const Transport *transport, const uint8_t *data, int length
    ) noexcept nogil:
        """Whose first packet this is by its MID and RID, which SRTP leaves clear (RFC 8852)."""
        cdef Rtp rtp
        cdef const Extension *mid
        cdef const Extension *rid
        cdef const Stream *stream
        cdef uint8_t payload
        cdef bint repaired = False
        cdef int i
        if not parse_header(data, length, transport.canonical_extension, &rtp):
            return NONE
        mid = extension_of(&rtp, MID)
        rid = extension_of(&rtp, RID)
        payload = transport.canonical_payload[rtp.payload_type]
        if mid == NULL or payload == NO_PAYLOAD or rtp.ssrc == 0:  # 0 means that none is known
            return NONE
        if original_payload[payload] != NO_PAYLOAD:
            repaired = True
            rid = extension_of(&rtp, REPAIRED_RID)
        for i in range(transport.unnamed_count):
            stream = self.streams[transport.unnamed[i]]
            if (
                stream.mid_length == mid.length
                and memcmp(stream.mid, mid.data, mid.length) == 0
                and stream.rid_length == (rid.length if rid != NULL else 0)
                and (rid == NULL or memcmp(stream.rid, rid.data, rid.length) == 0)
                and (stream.rtx_ssrc if repaired else stream.ssrc) == 0
            ):
                return transport.unnamed[i] | (RETRANSMISSIONS if repaired else 0)
        return NONE

    cdef bint _learn(
        self, uint32_t handle, Transport *transport, uint32_t learnt, uint32_t ssrc
    ) noexcept nogil:
        """An authentic packet has named a stream; False when memory is out."""
        cdef bint repaired = learnt & RETRANSMISSIONS != 0
        cdef Stream *stream = self.streams[learnt & ~<uint32_t>RETRANSMISSIONS]
        if not self._name_stream(
            learnt & ~<uint32_t>RETRANSMISSIONS, handle, 0 if repaired else ssrc,
            ssrc if repaired else 0,
        ):
            return False
        if repaired:
            stream.rtx_ssrc = ssrc
        else:
            stream.ssrc = ssrc
        self.counter[LEARNT] += 1
        return True

    cdef bint _restore(
        self, Transport *transport, Stream *stream, uint8_t **data, int *length, Rtp *rtp
    ) noexcept nogil:
        """RFC 4588 section 4: make the original of a retransmission, if it is still missing."""
        cdef uint8_t *packet = data[0]
        cdef uint8_t payload = transport.canonical_payload[rtp.payload_type]
        if payload == NO_PAYLOAD or original_payload[payload] == NO_PAYLOAD:
            self.counter[DROPPED_UNKNOWN_PAYLOAD] += 1
            return False
        payload = transport.wire_payload[original_payload[payload]]
        # Padding by which a sender probes the path has no original.
        if (
            payload == NO_PAYLOAD or rtp.payload_length < 2
            or not gaps_fill(&stream.gaps, load16(rtp.payload))
        ):
            self.counter[DROPPED_RTX_UNNEEDED] += 1
            return False
        self.counter[REPAIRED] += 1
        store16(packet + 2, load16(rtp.payload))
        packet[1] = <uint8_t>(packet[1] & 0x80 | payload)
        store32(packet + 8, stream.ssrc)
        memmove(packet + 2, packet, rtp.payload - packet)
        data[0] = packet + 2
        length[0] -= 2
        if not parse_rtp(data[0], length[0], transport.canonical_extension, rtp):
            self.counter[DROPPED_MALFORMED] += 1
            return False
        return True

    cdef void _pend(
        self, uint32_t stream_handle, Stream *stream, uint8_t payload, int length, int64_t now_ns
    ) noexcept nogil:
        """The packet that was read last will go to every egress of its stream."""
        cdef Pending *pending = &self.pending[self.pending_count]
        cdef Arrived *arrived = &pending.arrived
        cdef int at
        stream.payload = payload
        arrived.rtp = &pending.rtp
        arrived.primary = NULL
        arrived.frame = NULL
        arrived.payload = payload
        arrived.now_ns = now_ns
        memset(&arrived.picture, 0, sizeof(Picture))
        if stream.video:
            pending = self._read_picture(stream, pending)
            arrived = &pending.arrived
            stream.layer_bytes[
                min(arrived.picture.spatial, <uint8_t>TOP_SPATIAL) * 3
                + min(arrived.picture.temporal, <uint8_t>TOP_TEMPORAL)
            ] += length
        elif payload == OPUS_RED:
            at = red_primary(pending.rtp.payload, pending.rtp.payload_length)
            if at < 0:
                self.counter[DROPPED_RED_MALFORMED] += 1
                return
            pending.primary = pending.rtp
            pending.primary.payload += at
            pending.primary.payload_length -= at
            arrived.primary = &pending.primary
        if stream.egresses == 0:
            return
        pending.stream = stream_handle
        self.pending_count += 1
        self.pending_work += stream.egresses
        if self.pending_count == BATCH_IN or self.pending_work >= MAX_WORK:
            self._hand_on()

    cdef Pending *_read_picture(self, Stream *stream, Pending *pending) noexcept nogil:
        """What the packet says of its picture; the dependency descriptor before the payload.

        What others came before is handed on first where an egress may switch at this one, or
        would read them by what this one says. Where it stands then.
        """
        cdef const Rtp *rtp = &pending.rtp
        cdef uint8_t payload = pending.arrived.payload
        cdef Frame *frame = &pending.frame
        cdef Picture *picture = &pending.arrived.picture
        cdef const Extension *descriptor
        cdef Structure fresh
        if payload == VP8:
            parse_vp8(rtp.payload, rtp.payload_length, picture)
        elif payload == H264:
            parse_h264(rtp.payload, rtp.payload_length, picture)
        elif payload == VP9:
            parse_vp9(rtp.payload, rtp.payload_length, picture)
        elif payload == AV1:
            parse_av1(rtp.payload, rtp.payload_length, picture)
        descriptor = extension_of(rtp, DEPENDENCIES)
        if descriptor == NULL or not parse_descriptor(
            descriptor.data, descriptor.length, stream.structure, &fresh, frame
        ):
            return self._alone(pending) if picture.keyframe else pending
        if frame.keyframe or frame.tells:
            pending = self._alone(pending)
            rtp = &pending.rtp
            frame = &pending.frame
            picture = &pending.arrived.picture
        if frame.keyframe:
            if stream.structure == NULL:
                stream.structure = <Structure *>calloc(1, sizeof(Structure))
                if stream.structure == NULL:
                    return pending
                stream.structure.told = rtp.sequence - 1
        # What comes late says how it was.
        if (frame.keyframe or frame.tells) and (
            rtp.sequence == <uint16_t>stream.highest
            or <int16_t>(rtp.sequence - stream.structure.told) > 0
        ):
            if frame.keyframe:
                stream.structure[0] = fresh
            if frame.keyframe or frame.active != stream.structure.active:
                find_targets(stream.structure, frame.active)
            stream.structure.told = rtp.sequence
        pending.arrived.frame = frame
        picture.keyframe = frame.keyframe and frame.begins
        picture.spatial = frame.spatial
        picture.temporal = frame.temporal
        return pending

    cdef Pending *_alone(self, Pending *last) noexcept nogil:
        """Hand on all that came before this packet; where it stands now."""
        if self.pending_count == 0:
            return last
        self._hand_on()
        self._move_pending(last, &self.pending[0])
        return &self.pending[0]

    cdef void _move_pending(self, const Pending *old, Pending *new) noexcept nogil:
        new[0] = old[0]
        new.arrived.rtp = &new.rtp
        if old.arrived.frame != NULL:
            new.arrived.frame = &new.frame

    cdef void _hand_on(self) noexcept nogil:
        """All that is pending, stream by stream, to all egresses that carry it or wait for it."""
        cdef const Arrived *run[RUN]
        cdef uint32_t stream_handle
        cdef int i, j, count
        for i in range(self.pending_count):
            stream_handle = self.pending[i].stream
            if stream_handle == NONE:
                continue
            count = 0
            for j in range(i, self.pending_count):
                if self.pending[j].stream == stream_handle:
                    run[count] = &self.pending[j].arrived
                    self.pending[j].stream = NONE
                    count += 1
                    if count == RUN:
                        self._hand_on_run(stream_handle, run, count)
                        count = 0
            if count:
                self._hand_on_run(stream_handle, run, count)
        self.pending_count = 0
        self.pending_work = 0

    cdef void _hand_on_run(
        self, uint32_t stream_handle, const Arrived **run, int count
    ) noexcept nogil:
        cdef Stream *stream = self.streams[stream_handle]
        cdef uint32_t i
        self.counter[OFFERED] += <uint64_t>stream.egresses * count
        # What the next ones need is fetched while this one is encrypted.
        for i in range(min(<uint32_t>AHEAD, stream.egresses)):
            fetch_egress(stream.egress[i])
        # A switch takes an egress out of another stream's list, never out of this one.
        for i in range(stream.egresses):
            if i + AHEAD < stream.egresses:
                fetch_egress(stream.egress[i + AHEAD])
            if i + 2 < stream.egresses:
                prefetch(stream.egress[i + 2].transport)
            if i + 1 < stream.egresses:
                fetch_crypt(stream.egress[i + 1].transport.crypt_out)
            self._forward(stream_handle, stream, stream.egress[i], run, count)
