"""How a stream is observed, and how an egress goes from one stream to another."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, realloc

from region.kernel.entries cimport Egress, Stream
from region.kernel.history cimport EPOCHS, SENT_PACKETS, Sent
from region.kernel.repair cimport gaps_fill, gaps_open
from region.kernel.wire cimport Rtp

cdef enum:
    # Extended sequence numbers are kept one cycle up, so that packets from before the first
    # stay above zero.
    FIRST_CYCLE = 0x10000
    # Packets after a switch in which an older one may still arrive.
    SWITCH_MEMORY = 1024
    # Half of what was sent may be sent again, so many packets at a time.
    MAX_CREDIT = 128


cdef inline bint observe(
    Stream *stream, const Rtp *rtp, int length, int64_t now_ns, uint8_t level_id,
    bint restored,
) noexcept nogil:
    """RFC 3550 appendices A.1 and A.8, and the level of RFC 6464; False for what came before."""
    cdef int64_t transit = now_ns // 1000 * stream.clock_rate // 1_000_000 - rtp.timestamp
    cdef int32_t difference
    cdef int16_t ahead
    cdef int i
    if not stream.started:
        stream.started = True
        stream.base = stream.highest = FIRST_CYCLE + rtp.sequence
    else:
        ahead = <int16_t>(rtp.sequence - <uint16_t>stream.highest)
        if ahead > 0:
            stream.highest += ahead
            if ahead > 1 and stream.rtx_ssrc:
                gaps_open(
                    &stream.gaps, <uint16_t>(rtp.sequence - ahead + 1), ahead - 1, now_ns
                )
        elif stream.rtx_ssrc and not restored and not gaps_fill(&stream.gaps, rtp.sequence):
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
            stream.level_16 = <uint32_t>(
                <int32_t>stream.level_16
                + (((rtp.extension[i].data[0] & 0x7F) * 16 - <int32_t>stream.level_16) >> 3)
            )
    return True


cdef inline void begin(
    Egress *egress, const Rtp *rtp, const Stream *stream, int64_t now_ns
) noexcept nogil:
    """Join a source to what the receiver got so far: the next sequence number, a time that fits."""
    cdef int64_t elapsed
    if egress.started and not egress.trunk:
        elapsed = (now_ns - egress.last_ns) // 1000 * stream.clock_rate // 1_000_000
        if elapsed < 1:
            elapsed = 1
        egress.sequence_offset = <uint16_t>(egress.last_sequence + 1 - rtp.sequence)
        egress.timestamp_offset = <uint32_t>(egress.last_timestamp + elapsed) - rtp.timestamp
    egress.switch_sequence = rtp.sequence
    egress.behind_switch = True
    egress.epoch += 1
    egress.epochs[egress.epoch % EPOCHS].number = egress.epoch
    egress.epochs[egress.epoch % EPOCHS].stream = egress.stream
    egress.epochs[egress.epoch % EPOCHS].serial = stream.serial
    egress.epochs[egress.epoch % EPOCHS].timestamp_offset = egress.timestamp_offset


cdef inline void remember(Egress *egress, uint16_t sequence, uint16_t origin) noexcept nogil:
    """Note under which number a packet left, should the receiver ask for it again."""
    cdef Sent *sent
    if egress.sent == NULL:
        egress.sent = <Sent *>calloc(SENT_PACKETS, sizeof(Sent))
        if egress.sent == NULL:
            return
    sent = &egress.sent[sequence % SENT_PACKETS]
    sent.sequence = sequence
    sent.origin = origin
    sent.resent_ms = 0
    sent.epoch = egress.epoch
    sent.used = True
    if egress.credit < MAX_CREDIT and sequence & 1:
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
