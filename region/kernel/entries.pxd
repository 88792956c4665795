"""What the pump knows: transports, incoming streams, egresses, and the maps that find them."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from region.kernel.arrivals cimport Arrivals
from region.kernel.consent cimport Consent
from region.kernel.crypt cimport Crypt, Index
from region.kernel.descriptor cimport Structure
from region.kernel.frames cimport Frames
from region.kernel.history cimport EPOCHS, Epoch, History, Sent
from region.kernel.path cimport Path
from region.kernel.repair cimport Gaps
from region.kernel.system cimport aligned_alloc, socket_address

cdef enum:
    LINE_BYTES = 64  # a cache line's
    ADDRESS_BYTES = 19
    PROTOCOL = 18  # of an address: where it says 1 for TCP
    KEY_BYTES = 24
    MAX_ADDRESSES = 8  # of one transport: interfaces × address families of one browser
    MAX_RTCP_SSRCS = 16  # of one transport: libsrtp keeps a context for each, so they are bounded
    NONE = 0xFFFFFFFF
    ALIVE_NS = 1_000_000_000  # since its last packet, a stream has neither paused nor ended
    SILENCE = 127  # RFC 6464
    RETRANSMISSIONS = 0x80000000  # in `by_ssrc`, beside a stream's handle
    MAX_NAME = 16  # bytes of a MID or RID
    MAX_UNNAMED = 16  # streams of one transport whose SSRCs are to be learnt
    SHIFTS = 32  # changes of an egress's numbering that are remembered
    LAYERS = 9  # spatial × temporal, as counted

cdef struct Key:
    uint8_t bytes[KEY_BYTES]

cdef struct Slot:
    Key key
    uint32_t value  # NONE where free

cdef struct Map:
    # Open addressing with linear probing, at most half full, a power of two of slots.
    Slot *slots
    uint32_t mask
    uint32_t used
    uint64_t seed

cdef enum:
    NO_PAYLOAD = 0xFF

# Sending touches one cache line of an egress and one of its transport, and between two
# packets other work has pushed both out: what it needs stands first, and entries begin on a
# line of their own.

cdef struct Egress

cdef struct Probe:
    # Padding that measures a rate: so much, spread evenly.
    int64_t next_ns
    double ns_a_byte
    Egress *egress  # that sends it; NULL when that is gone
    int left_bytes, left_packets
    uint16_t cluster
    uint8_t back  # packets behind its last that is repeated next
    uint8_t listed  # in the pump's list

cdef struct Shift:
    # How an egress renumbers a stream, from one incoming packet on.
    uint16_t first
    uint16_t sequence_offset
    uint16_t picture_offset

cdef struct Transport:
    Crypt *crypt_out  # NULL where libsrtp protects all
    uint64_t packets_out, bytes_out
    socket_address to
    uint8_t to_length  # 0 until an address is selected
    uint8_t number_id  # of the transport-wide sequence number on what is sent, 0 for none
    uint16_t connection  # of the selected address, plus 1; 0 for UDP
    Path *path  # NULL where the receiver gives no transport-wide feedback
    # ---- a cache line
    void *srtp_out  # NULL before there are keys
    void *srtp_in
    Crypt *crypt_in
    uint64_t packets_in, bytes_in
    int64_t last_ns
    uint8_t ungrouped  # its path takes no messages of several packets
    uint8_t echoes  # the peer's probes
    int64_t loss_ns  # until when receiver reports are for Python, as one told of a loss
    uint8_t selected[ADDRESS_BYTES]
    uint8_t address[MAX_ADDRESSES][ADDRESS_BYTES]
    int addresses
    uint32_t rtcp_ssrc[MAX_RTCP_SSRCS]
    int rtcp_ssrcs
    Arrivals *arrivals  # NULL until one came with a transport-wide number
    uint32_t arrival_ssrc  # of a stream of it, to name in the feedback
    Consent *consent  # NULL while Python answers all checks
    int64_t consent_ns  # when the pump last answered one
    int64_t rtt_ns  # when to ask again for what is missing
    double repeat_ns_a_byte  # how thinly repeats are to be spread; 0 where they need not be
    int64_t repeated_ns  # until when those that have left take up their share
    uint32_t unnamed[MAX_UNNAMED]  # streams that wait for their SSRC, or their retransmissions'
    int unnamed_count
    Probe probe
    uint8_t canonical_payload[128]  # by wire payload type; NO_PAYLOAD where unknown
    uint8_t wire_payload[128]
    uint8_t canonical_extension[256]  # 0 where unknown
    uint8_t wire_extension[256]

cdef struct Egress:
    Transport *transport
    uint32_t ssrc
    uint32_t stream  # what it carries
    uint32_t wanted  # what it shall carry
    uint32_t timestamp_offset, last_timestamp
    uint16_t sequence_offset, last_sequence
    uint16_t picture_offset, last_picture
    uint16_t newest  # incoming sequence number
    uint8_t base_offset, last_base
    uint8_t video, trunk, started
    uint8_t numbered  # transport-wide, for the receiver's feedback
    uint8_t shift_count, shift_at
    uint8_t spatial, temporal  # limits that are set
    uint8_t temporal_now  # of VP8: the limit since the last place where it could change
    uint8_t epoch  # the present one's number
    uint8_t awaiting  # a keyframe, as Python knows
    int64_t last_ns
    # ---- a cache line
    uint64_t packets, bytes
    uint32_t octets  # of payload, for sender reports
    Sent *sent  # by sequence number modulo SENT_PACKETS; NULL before the first
    Index *index  # in the transport's `crypt_out`, of that serial
    Index *rtx_index
    uint64_t keyed
    uint32_t rtx_ssrc  # 0 where the receiver takes no retransmissions
    uint16_t rtx_sequence
    uint16_t credit  # packets that may be sent again now
    uint16_t dropped_picture  # the newest that was left out
    uint8_t dropping  # whether there is such
    Frames *frames  # NULL until it carries what has a dependency descriptor
    Epoch epochs[EPOCHS]
    Shift shifts[SHIFTS]

cdef struct Stream:
    # What is looked at of all that there are (`alerts.pyx`) is in one cache line.
    bint video
    bint perceptible  # as was told
    uint32_t level_16  # RFC 6464, −dBov times 16, averaged
    uint32_t transport
    uint64_t packets
    int64_t last_ns
    Egress **egress  # those that carry it or wait for it
    uint32_t egresses, egress_room
    uint32_t ssrc  # 0 until it is learnt
    uint32_t csrc
    uint32_t clock_rate
    uint8_t started
    uint8_t payload  # the last packet's, canonical
    uint8_t told_payload  # as was told
    # ---- a cache line
    uint64_t bytes
    uint64_t layer_bytes[LAYERS]
    uint32_t highest, base  # extended sequence numbers
    uint32_t last_timestamp
    int64_t transit_ticks
    uint32_t jitter_16  # RFC 3550 A.8, times 16
    uint64_t serial  # no other stream ever has it
    Index *index  # in the transport's `crypt_in`, of that serial; NULL before the first packet
    Index *rtx_index
    uint64_t keyed
    uint32_t rtx_ssrc  # 0 until it is known
    uint32_t report_ntp  # of its last sender report, the middle 32 bits; 0 before the first
    int64_t reported_ns  # when that came
    int64_t told_ns  # when its receivers were told of one last
    bint repairable  # its sender retransmits
    bint upper  # there is a lower encoding of its source
    bint kept  # in `history`, for somebody may ask for it again
    bint gappy  # in the pump's list
    Structure *structure  # NULL before the first dependency structure
    uint8_t mid[MAX_NAME]
    uint8_t rid[MAX_NAME]
    uint8_t mid_length, rid_length  # 0 where it is known by its SSRC from the first
    History history
    Gaps gaps


cdef inline bint can_send(const Transport *transport) noexcept nogil:
    """Whether there are keys, and an address to send to."""
    return (transport.crypt_out != NULL or transport.srtp_out != NULL) and transport.to_length != 0


cdef inline bint is_heard(const Stream *stream) noexcept nogil:
    """Whether its sound is more than silence."""
    return stream.level_16 >> 4 < SILENCE


cdef inline void *new_entry(size_t size) noexcept nogil:
    """Zeroed, and on a cache line of its own; NULL when memory is out."""
    cdef void *entry = aligned_alloc(LINE_BYTES, (size + LINE_BYTES - 1) // LINE_BYTES * LINE_BYTES)
    if entry != NULL:
        memset(entry, 0, size)
    return entry


cdef inline uint64_t hash_key(const Key *key, uint64_t seed) noexcept nogil:
    cdef uint64_t a, b, c
    memcpy(&a, key.bytes, 8)
    memcpy(&b, key.bytes + 8, 8)
    memcpy(&c, key.bytes + 16, 8)
    a = (a ^ seed) * <uint64_t>0x9E3779B97F4A7C15
    a ^= a >> 29
    a = (a ^ b) * <uint64_t>0xBF58476D1CE4E5B9
    a ^= a >> 32
    a = (a ^ c ^ seed) * <uint64_t>0x94D049BB133111EB
    return a ^ a >> 31


cdef inline void address_key(const uint8_t *address, Key *key) noexcept nogil:
    memset(key, 0, KEY_BYTES)
    memcpy(key.bytes, address, ADDRESS_BYTES)


cdef inline void stream_key(uint32_t transport, uint32_t ssrc, Key *key) noexcept nogil:
    memset(key, 0, KEY_BYTES)
    memcpy(key.bytes, &transport, 4)
    memcpy(key.bytes + 4, &ssrc, 4)


cdef inline bint map_init(Map *map, uint32_t room, uint64_t seed) noexcept nogil:
    cdef uint32_t i
    map.slots = <Slot *>calloc(room, sizeof(Slot))
    if map.slots == NULL:
        return False
    map.mask = room - 1
    map.used = 0
    map.seed = seed
    for i in range(room):
        map.slots[i].value = NONE
    return True


cdef inline uint32_t map_slot(const Map *map, const Key *key) noexcept nogil:
    """Where the key is, or the free slot where it would be."""
    cdef uint32_t at = <uint32_t>hash_key(key, map.seed) & map.mask
    while map.slots[at].value != NONE and memcmp(&map.slots[at].key, key, KEY_BYTES):
        at = (at + 1) & map.mask
    return at


cdef inline uint32_t map_get(const Map *map, const Key *key) noexcept nogil:
    return map.slots[map_slot(map, key)].value


cdef inline bint map_put(Map *map, const Key *key, uint32_t value) noexcept nogil:
    """False when memory is out; the map is as it was then."""
    cdef Map bigger
    cdef uint32_t i, at
    if 2 * (map.used + 1) > map.mask + 1:
        if not map_init(&bigger, 2 * (map.mask + 1), map.seed):
            return False
        for i in range(map.mask + 1):
            if map.slots[i].value != NONE:
                bigger.slots[map_slot(&bigger, &map.slots[i].key)] = map.slots[i]
        bigger.used = map.used
        free(map.slots)
        map[0] = bigger
    at = map_slot(map, key)
    if map.slots[at].value == NONE:
        map.used += 1
        map.slots[at].key = key[0]
    map.slots[at].value = value
    return True


cdef inline void map_remove(Map *map, const Key *key) noexcept nogil:
    """Shifts later entries of the same run back, so that no search ends too soon."""
    cdef uint32_t hole = map_slot(map, key), at, home
    if map.slots[hole].value == NONE:
        return
    map.used -= 1
    at = hole
    while True:
        at = (at + 1) & map.mask
        if map.slots[at].value == NONE:
            break
        home = <uint32_t>hash_key(&map.slots[at].key, map.seed) & map.mask
        if ((at - home) & map.mask) >= ((at - hole) & map.mask):
            map.slots[hole] = map.slots[at]
            hole = at
    map.slots[hole].value = NONE
