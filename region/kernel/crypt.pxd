"""SRTP media with AES-128-GCM, one direction of one transport: its key, and each SSRC's packet index.

RFC 7714 sections 8 and 9, RFC 3711 sections 3.3.1 and 3.3.2. RTCP and other profiles are libsrtp's.
A number that has been sealed is never sealed again, as two packets under one nonce would give the
key away: an SSRC's index stays as long as the key, whatever comes and goes in the tables.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from region.kernel.wire cimport load16, load32, store32

cdef extern from "gcm.h":
    enum:
        GCM_NONE
        GCM_AESNI
        GCM_VAES
        GCM_TAG_BYTES
        GCM_NONCE_BYTES
        GCM_KEY_BYTES
    ctypedef struct gcm_key:
        pass
    int gcm_ways() nogil
    void gcm_expand(gcm_key *, const uint8_t *) nogil
    void gcm_seal(
        int way, const gcm_key *, const uint8_t *nonce, const uint8_t *aad, int aad_length,
        uint8_t *data, int length
    ) nogil
    int gcm_open(
        int way, const gcm_key *, const uint8_t *nonce, const uint8_t *aad, int aad_length,
        uint8_t *data, int length
    ) nogil

cdef enum:
    WINDOW = 1024  # packets behind the newest of which each is known to have been or not
    WINDOW_WORDS = WINDOW // 64
    CRYPT_OK = 0
    CRYPT_MALFORMED = 1
    CRYPT_REPEATED = 2
    CRYPT_OLD = 3
    CRYPT_FORGED = 4

cdef struct Index:
    # Of one SSRC: rollover counter and sequence number as one, and which were used.
    int64_t newest  # −1 before the first
    uint64_t used[WINDOW_WORDS]
    uint32_t ssrc
    Index *next

cdef struct Crypt:
    gcm_key key
    uint8_t salt[GCM_NONCE_BYTES]
    int way
    uint64_t serial  # no other ever has it
    Index *indices


cdef inline void crypt_free(Crypt *crypt) noexcept nogil:
    """NULL is nothing to free. The key does not stay in memory."""
    cdef Index *index
    if crypt == NULL:
        return
    while crypt.indices != NULL:
        index = crypt.indices
        crypt.indices = index.next
        free(index)
    memset(crypt, 0, sizeof(Crypt))
    free(crypt)


cdef inline void index_begin(Index *index, uint32_t ssrc) noexcept nogil:
    memset(index, 0, sizeof(Index))
    index.newest = -1
    index.ssrc = ssrc


cdef inline Index *crypt_find(const Crypt *crypt, uint32_t ssrc) noexcept nogil:
    """The SSRC's index, or NULL before its first packet; a search, so keep what it finds."""
    cdef Index *index = crypt.indices
    while index != NULL and index.ssrc != ssrc:
        index = index.next
    return index


cdef inline Index *crypt_add(Crypt *crypt, const Index *begun) noexcept nogil:
    """A copy that stays with the key; NULL when memory is out."""
    cdef Index *index = <Index *>calloc(1, sizeof(Index))
    if index != NULL:
        index[0] = begun[0]
        index.next = crypt.indices
        crypt.indices = index
    return index


cdef inline Index *crypt_index(Crypt *crypt, uint32_t ssrc) noexcept nogil:
    """The SSRC's index, begun if need be; NULL when memory is out."""
    cdef Index fresh
    cdef Index *index = crypt_find(crypt, ssrc)
    if index == NULL:
        index_begin(&fresh, ssrc)
        index = crypt_add(crypt, &fresh)
    return index


cdef inline int64_t index_of(const Index *index, uint16_t sequence) noexcept nogil:
    """The packet index that is meant (RFC 3711 section 3.3.1); negative where there is none."""
    if index.newest < 0:
        return sequence
    return index.newest + <int16_t>(sequence - <uint16_t>index.newest)


cdef inline int index_state(const Index *index, int64_t number) noexcept nogil:
    """CRYPT_OK when it was never used."""
    if number < 0 or number <= index.newest - WINDOW:
        return CRYPT_OLD
    if number > index.newest:
        return CRYPT_OK
    if index.used[number // 64 % WINDOW_WORDS] >> (number & 63) & 1:
        return CRYPT_REPEATED
    return CRYPT_OK


cdef inline void index_use(Index *index, int64_t number) noexcept nogil:
    cdef int64_t skipped
    if number > index.newest:
        if number - index.newest >= WINDOW:
            memset(index.used, 0, sizeof(index.used))
        else:
            for skipped in range(index.newest + 1, number):
                index.used[skipped // 64 % WINDOW_WORDS] &= ~(<uint64_t>1 << (skipped & 63))
        index.newest = number
    index.used[number // 64 % WINDOW_WORDS] |= <uint64_t>1 << (number & 63)


cdef inline void crypt_nonce(
    const Crypt *crypt, uint32_t ssrc, int64_t number, uint8_t *nonce
) noexcept nogil:
    """RFC 7714 section 8.1."""
    cdef int i
    nonce[0] = nonce[1] = 0
    store32(nonce + 2, ssrc)
    store32(nonce + 6, <uint32_t>(number >> 16))
    nonce[10] = <uint8_t>(number >> 8)
    nonce[11] = <uint8_t>number
    for i in range(GCM_NONCE_BYTES):
        nonce[i] ^= crypt.salt[i]


cdef inline int header_bytes(const uint8_t *packet, int length) noexcept nogil:
    """What of an RTP packet stays clear (RFC 3550 section 5.1), −1 where it reaches past the end."""
    cdef int bytes_ = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if bytes_ + 4 > length:
            return -1
        bytes_ += 4 + 4 * load16(packet + bytes_ + 2)
    return bytes_ if bytes_ <= length else -1


cdef inline bint may_seal(const Index *index, const uint8_t *packet) noexcept nogil:
    """Whether this packet's number has never been used, and is not too old to know."""
    return index_state(index, index_of(index, load16(packet + 2))) == CRYPT_OK


cdef inline int crypt_seal(
    Crypt *crypt, Index *index, uint8_t *packet, int *length
) noexcept nogil:
    """Encrypt an RTP packet of ours in place; it has room for the tag."""
    cdef uint8_t nonce[GCM_NONCE_BYTES]
    cdef int64_t number = index_of(index, load16(packet + 2))
    cdef int clear = header_bytes(packet, length[0]), state = index_state(index, number)
    if clear < 0:
        return CRYPT_MALFORMED
    if state != CRYPT_OK:
        return state
    index_use(index, number)
    crypt_nonce(crypt, index.ssrc, number, nonce)
    gcm_seal(crypt.way, &crypt.key, nonce, packet, clear, packet + clear, length[0] - clear)
    length[0] += GCM_TAG_BYTES
    return CRYPT_OK


cdef inline int crypt_open(
    const Crypt *crypt, Index *index, uint8_t *packet, int *length
) noexcept nogil:
    """Decrypt a packet of at least 12 bytes in place; `index` changes by what is authentic only."""
    cdef uint8_t nonce[GCM_NONCE_BYTES]
    cdef int64_t number = index_of(index, load16(packet + 2))
    cdef int clear = header_bytes(packet, length[0] - GCM_TAG_BYTES)
    cdef int state = index_state(index, number)
    if clear < 0:
        return CRYPT_MALFORMED
    if state != CRYPT_OK:
        return state
    crypt_nonce(crypt, index.ssrc, number, nonce)
    if not gcm_open(
        crypt.way, &crypt.key, nonce, packet, clear, packet + clear,
        length[0] - GCM_TAG_BYTES - clear,
    ):
        return CRYPT_FORGED
    index_use(index, number)
    length[0] -= GCM_TAG_BYTES
    return CRYPT_OK
