"""What the engine knows: clients, what they send by which script, and what they receive."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from benchmarks.load.tally cimport Stream
from region.kernel.arrivals cimport Arrivals
from region.kernel.history cimport History

cdef enum:
    NONE = 0xFFFFFFFF
    MAX_NAME = 16  # bytes of a MID or RID
    MAX_SENDERS = 8  # of one client
    MAX_STREAMS = 256  # of one client; what comes under more SSRCs is counted as unexpected
    NO_ROUND_TRIP_NS = 100_000_000  # until it is measured

cdef enum Kind:
    UNEXPECTED = 0  # a payload type that nobody has agreed on
    AUDIO = 1
    VIDEO = 2
    VIDEO_RTX = 3

cdef struct ScriptFrame:
    int64_t offset_ns  # in the cycle
    uint32_t bytes
    uint8_t temporal
    uint8_t keyframe
    uint8_t level  # of sound, RFC 6464: the V bit and −dBov

cdef struct Script:
    ScriptFrame *frame
    uint32_t frames
    int64_t cycle_ns
    uint32_t keyframe_bytes  # of one that is asked for
    uint32_t packet_bytes  # at most, of a frame in one packet

cdef struct Sender:
    uint32_t handle, client
    uint32_t ssrc, rtx_ssrc
    uint8_t kind, layer, payload_type, rtx_payload_type
    uint8_t mid_length, rid_length
    char mid[MAX_NAME]
    char rid[MAX_NAME]
    bint active, wanted
    bint named  # the bridge has reported on the SSRC: MID and RID are not needed any more
    # Where in the script it is.
    const Script *script
    int64_t cycle_at_ns  # when this cycle began
    uint32_t next
    # The frame that is leaving.
    uint32_t left_packets, left_bytes, packet
    uint8_t temporal, keyframe, level, sync
    int64_t frame_ns  # when it was due
    bint keyframe_wanted
    # Numbers that run on.
    uint16_t sequence, rtx_sequence, picture
    uint8_t base
    uint32_t timestamp_offset
    uint32_t marked  # packets with a mark so far
    History history
    uint64_t packets, bytes, octets, frames, keyframes, keyframes_asked
    uint64_t nacked, retransmitted, skipped  # frames that were so late that they were left out
    int64_t report_ns

cdef struct Client:
    uint32_t handle
    int fd
    void *srtp_out
    void *srtp_in
    uint8_t kind_of[128]
    uint8_t canonical_extension[256]
    uint8_t number_id, level_id, mid_id, rid_id, repaired_rid_id
    bint feedback, reports, nacks, plis
    uint32_t decrypt_one_in  # packets of a stream; 0 for none
    uint32_t own_ssrc  # in what it says of others' streams
    Sender *sender[MAX_SENDERS]
    uint32_t senders
    uint32_t *ssrc  # of the streams, one behind the other
    Stream **stream
    uint32_t streams, stream_room, latest
    uint32_t *repairs  # pairs: an SSRC of retransmissions, and the stream's
    uint32_t repair_pairs
    Arrivals *arrivals
    uint16_t number  # of the next packet, transport-wide
    int64_t feedback_ns, report_ns  # when the next one is due
    uint32_t gappy  # streams of which something is to be asked for again
    int64_t round_trip_ns
    uint32_t reported_video  # the SSRC that feedback is of
    # How fast pictures leave.
    double ns_a_byte  # 0 for at once
    int64_t paced_ns  # when all that has left would have, at that rate
    int64_t first_media_ns  # CLOCK_REALTIME; 0 until something came
    uint64_t datagrams, bytes, unexpected, malformed, rtcp_failed, refused, unsent
    uint32_t overflowed  # datagrams that found no room in the socket
    uint64_t retransmissions, retransmission_bytes, padding, unneeded
    uint64_t feedbacks, nacks_sent, plis_sent, consents

cdef struct Sums:
    # Of streams and senders, also of those that are gone.
    uint64_t packets, bytes, missing, duplicates, reordered, recovered, given_up
    uint64_t undecryptable, malformed, unmarked, padding, picture_jumps, base_jumps
    uint64_t retransmissions, unneeded, unexpected, overflowed
    uint64_t sent_packets, sent_bytes, unsent, skipped, retransmitted, keyframes_asked


cdef inline bint is_playing(const Sender *sender) noexcept nogil:
    return sender.active and sender.wanted and sender.script != NULL
