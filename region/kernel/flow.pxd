"""How a stream is observed, and how an egress goes from one stream to another.

An egress numbers what it passes without gaps: each packet that it leaves out moves the numbers of
those behind it, and what comes late gets the number that was left for it.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, realloc

from region.kernel.descriptor cimport Frame
from region.kernel.entries cimport SHIFTS, Egress, Shift, Stream
from region.kernel.frames cimport Frames, frame_passes, frames_begin, frames_end
from region.kernel.history cimport EPOCHS, SENT_PACKETS, Sent
from region.kernel.picture cimport TOP_SPATIAL, TOP_TEMPORAL, Picture
from region.kernel.repair cimport gaps_fill, gaps_open
from region.kernel.wire cimport Header, Rtp

cdef enum:
    # Extended sequence numbers are kept one cycle up, so that packets from before the first
    # stay above zero.
    FIRST_CYCLE = 0x10000
    # Packets behind a switch or a packet that was left out in which an older one may arrive.
    SHIFT_MEMORY = 1024
    # Half of what was sent may be sent again, so many packets at a time.
    MAX_CREDIT = 128


cdef inline bint observe(
    Stream *stream, const Rtp *rtp, int length, int64_t now_ns, uint8_t level_id,
    bint restored,
) noexcept nogil:
    """RFC 3550 appendices A.1 and A.8, and the level of RFC 6464; False for what came before."""
    cdef int64_t transit = now_ns // 1000 * stream.clock_rate // 1_000_000 - rtp.timestamp
    cdef int32_t difference, quieter
    cdef int16_t ahead
    cdef int i
    if not stream.started:
        stream.started = True
        stream.base = stream.highest = FIRST_CYCLE + rtp.sequence
    else:
        ahead = <int16_t>(rtp.sequence - <uint16_t>stream.highest)
        if ahead > 0:
            stream.highest += ahead
            if ahead > 1 and stream.repairable:
                gaps_open(
                    &stream.gaps, <uint16_t>(rtp.sequence - ahead + 1), ahead - 1, now_ns
                )
        elif stream.repairable and not restored and not gaps_fill(&stream.gaps, rtp.sequence):
            return False  # its retransmission was faster, or it comes too late for anybody
        difference = <int32_t>(<uint32_t>transit - <uint32_t>stream.transit_ticks)
        if difference < 0:
            difference = -difference
        stream.jitter_16 += difference - ((stream.jitter_16 + 8) >> 4)
    stream.transit_ticks = transit
    stream.packets += 1
    stream.bytes += length
    stream.last_ns = now_ns
    stream.last_timestamp = rtp.timestamp
    for i in range(rtp.extensions):
        if rtp.extension[i].canonical == level_id and rtp.extension[i].length == 1:
            quieter = (rtp.extension[i].data[0] & 0x7F) * 16 - <int32_t>stream.level_16
            # Rounded away from 0 either way: silence is reached at last.
            stream.level_16 += ((quieter + 7) >> 3) if quieter > 0 else (quieter >> 3)
    return True


cdef inline void begin(
    Egress *egress, const Rtp *rtp, const Picture *picture, const Frame *frame,
    const Stream *stream, int64_t now_ns,
) noexcept nogil:
    """Join a source to what the receiver got so far: the next numbers, a time that fits.

    `frame` is NULL where the packet has no dependency descriptor.
    """
    cdef int64_t elapsed
    if egress.started:
        elapsed = (now_ns - egress.last_ns) // 1000 * stream.clock_rate // 1_000_000
        if elapsed < 1:
            elapsed = 1
        egress.sequence_offset = <uint16_t>(egress.last_sequence + 1 - rtp.sequence)
        egress.timestamp_offset = <uint32_t>(egress.last_timestamp + elapsed) - rtp.timestamp
        egress.picture_offset = <uint16_t>(egress.last_picture + 1 - picture.id)
        egress.base_offset = <uint8_t>(egress.last_base + 1 - picture.base)
    egress.newest = <uint16_t>(rtp.sequence - 1)
    egress.dropping = False
    egress.temporal_now = egress.temporal
    egress.shift_count = 0
    shift(egress, rtp.sequence)
    if egress.frames != NULL:
        frames_end(egress.frames)
    egress.epoch += 1
    egress.epochs[egress.epoch % EPOCHS].number = egress.epoch
    egress.epochs[egress.epoch % EPOCHS].stream = egress.stream
    egress.epochs[egress.epoch % EPOCHS].serial = stream.serial
    egress.epochs[egress.epoch % EPOCHS].timestamp_offset = egress.timestamp_offset
    egress.epochs[egress.epoch % EPOCHS].base_offset = egress.base_offset
    egress.epochs[egress.epoch % EPOCHS].frame_offset = 0
    if frame != NULL:
        join_frames(egress, frame)


cdef inline void join_frames(Egress *egress, const Frame *frame) noexcept nogil:
    """The source's first frame with a dependency descriptor, which need not be its first."""
    if egress.frames == NULL:
        egress.frames = <Frames *>calloc(1, sizeof(Frames))
    if egress.frames != NULL:
        frames_begin(egress.frames, frame.number)
        egress.epochs[egress.epoch % EPOCHS].frame_offset = egress.frames.number_offset


cdef inline void shift(Egress *egress, uint16_t first) noexcept nogil:
    """From `first` on the egress renumbers as it does now."""
    cdef Shift *newest = &egress.shifts[egress.shift_at]
    if egress.shift_count == 0 or <uint16_t>(newest.first + 1) != first:
        egress.shift_at = <uint8_t>((egress.shift_at + 1) % SHIFTS)
        newest = &egress.shifts[egress.shift_at]
        if egress.shift_count < SHIFTS:
            egress.shift_count += 1
    newest.first = first
    newest.sequence_offset = egress.sequence_offset
    newest.picture_offset = egress.picture_offset


cdef inline const Shift *shift_of(const Egress *egress, uint16_t sequence) noexcept nogil:
    """The renumbering of a packet that comes late; NULL when nobody remembers it."""
    cdef int i
    cdef const Shift *found
    for i in range(egress.shift_count):
        found = &egress.shifts[(egress.shift_at + SHIFTS - i) % SHIFTS]
        if <int16_t>(sequence - found.first) >= 0:
            return found
    return NULL


cdef inline bint layers_pass(
    Egress *egress, const Rtp *rtp, const Picture *picture, const Frame *frame,
    const Stream *stream, uint8_t most_temporal,
) noexcept nogil:
    """Whether the packet is of a layer that the receiver shall get.

    Under pressure no higher temporal layer passes than `most_temporal`.
    """
    cdef uint8_t limit = min(egress.temporal, most_temporal)
    if frame != NULL:
        if egress.frames == NULL or not egress.frames.begun:
            join_frames(egress, frame)
        if egress.frames == NULL:
            return True  # no memory: the receiver gets more than it needs
        return frame_passes(
            egress.frames, stream.structure, frame, egress.spatial, limit
        )
    if not picture.layered:
        return True
    if (
        egress.temporal_now != limit and picture.begins
        and <int16_t>(rtp.sequence - egress.newest) > 0
        and (
            limit < egress.temporal_now or picture.sync or picture.keyframe
        )
    ):
        egress.temporal_now = limit
    return picture.temporal <= egress.temporal_now or egress.temporal_now >= TOP_TEMPORAL


cdef inline bint number(
    Egress *egress, const Rtp *rtp, const Picture *picture, bint passes,
    uint16_t *sequence_offset, uint16_t *picture_offset,
) noexcept nogil:
    """How the packet is renumbered; False when it is not to be sent."""
    cdef const Shift *late
    sequence_offset[0] = egress.sequence_offset
    picture_offset[0] = egress.picture_offset
    if <int16_t>(rtp.sequence - egress.newest) <= 0:
        if not passes or egress.shift_count == 0:
            return passes
        late = shift_of(egress, rtp.sequence)
        if late == NULL:
            return False
        sequence_offset[0] = late.sequence_offset
        picture_offset[0] = late.picture_offset
        return True
    egress.newest = rtp.sequence
    if (
        egress.shift_count
        and <int16_t>(rtp.sequence - egress.shifts[egress.shift_at].first) > SHIFT_MEMORY
    ):
        egress.shift_count = 0
    if passes:
        if picture.id_bytes and picture.id != egress.dropped_picture:
            egress.dropping = False
        return True
    if egress.shift_count == 0:
        shift(egress, <uint16_t>(rtp.sequence - SHIFT_MEMORY))
    egress.sequence_offset -= 1
    if picture.id_bytes and not (egress.dropping and egress.dropped_picture == picture.id):
        egress.picture_offset -= 1
        egress.dropped_picture = picture.id
        egress.dropping = True
    shift(egress, <uint16_t>(rtp.sequence + 1))
    return False


cdef inline void remember(
    Egress *egress, uint16_t origin, uint16_t picture_offset, const Header *header
) noexcept nogil:
    """Note how a packet left, should the receiver ask for it again."""
    cdef Sent *sent
    if egress.sent == NULL:
        egress.sent = <Sent *>calloc(SENT_PACKETS, sizeof(Sent))
        if egress.sent == NULL:
            return
    sent = &egress.sent[header.sequence % SENT_PACKETS]
    sent.sequence = header.sequence
    sent.origin = origin
    sent.picture_offset = picture_offset
    sent.marker = header.marker
    sent.described = header.described
    sent.resent_ms = 0
    sent.epoch = egress.epoch
    sent.used = True
    if egress.credit < MAX_CREDIT and header.sequence & 1:
        egress.credit += 1


cdef inline bint enlist(Stream *stream, Egress *egress) noexcept nogil:
    cdef uint32_t room
    cdef Egress **bigger
    if stream.egresses == stream.egress_room:
        room = 2 * stream.egress_room if stream.egress_room else 8
        bigger = <Egress **>realloc(stream.egress, room * sizeof(Egress *))
        if bigger == NULL:
            return False
        stream.egress = bigger
        stream.egress_room = room
    stream.egress[stream.egresses] = egress
    stream.egresses += 1
    return True


cdef inline void unlist(Stream *stream, const Egress *egress) noexcept nogil:
    cdef uint32_t i
    for i in range(stream.egresses):
        if stream.egress[i] == egress:
            stream.egresses -= 1
            stream.egress[i] = stream.egress[stream.egresses]
            return
