"""SRTP and SRTCP with AES-128-GCM, one direction of one transport: keys, and each SSRC's packet index.

RFC 7714 sections 8 and 9, RFC 3711 sections 3.3.1, 3.3.2 and 3.4. Other profiles are libsrtp's.
A number that has been sealed is never sealed again, as two packets under one nonce would give the
key away: an SSRC's index stays as long as the key, whatever comes and goes in the tables.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from region.kernel.wire cimport load16, load32, store32

cdef extern from *:
    """
    enum { ENCRYPTED = 0x80000000U, MAX_RTCP_INDEX = 0x7FFFFFFF };  /* RFC 3711 section 3.4 */
    """
    const uint32_t ENCRYPTED, MAX_RTCP_INDEX

cdef extern from "string.h":
    void explicit_bzero(void *, size_t) nogil

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
    INDEX_CHAINS = 64
    CRYPT_OK = 0
    CRYPT_MALFORMED = 1
    CRYPT_REPEATED = 2
    CRYPT_OLD = 3
    CRYPT_FORGED = 4
    RTCP_CLEAR_BYTES = 8  # of a compound, up to its first SSRC
    RTCP_WORD_BYTES = 4  # whether it is encrypted, and its index

cdef struct Index:
    # Of one SSRC: rollover counter and sequence number as one, or RTCP's own, and which were used.
    int64_t newest  # −1 before the first
    uint64_t used[WINDOW_WORDS]
    uint32_t ssrc
    Index *next

cdef struct Crypt:
    gcm_key key
    uint8_t salt[GCM_NONCE_BYTES]
    int way
    uint64_t serial  # no other transport's, and none of this one's later, has it
    Index *indices[INDEX_CHAINS]  # by SSRC: a trunk has thousands
    Crypt *rtcp  # whose keys are others; NULL of such a one itself


cdef inline void crypt_free(Crypt *crypt) noexcept nogil:
    """NULL is nothing to free. The key does not stay in memory."""
    cdef Index *index
    cdef int i
    if crypt == NULL:
        return
    crypt_free(crypt.rtcp)
    for i in range(INDEX_CHAINS):
        while crypt.indices[i] != NULL:
            index = crypt.indices[i]
            crypt.indices[i] = index.next
            free(index)
    explicit_bzero(crypt, sizeof(Crypt))
    free(crypt)


cdef inline void index_begin(Index *index, uint32_t ssrc) noexcept nogil:
    memset(index, 0, sizeof(Index))
    index.newest = -1
    index.ssrc = ssrc


cdef inline Index *crypt_find(const Crypt *crypt, uint32_t ssrc) noexcept nogil:
    """The SSRC's index, or NULL before its first packet; a search, so keep what it finds."""
    cdef Index *index = crypt.indices[ssrc % INDEX_CHAINS]
    while index != NULL and index.ssrc != ssrc:
        index = index.next
    return index


cdef inline Index *crypt_add(Crypt *crypt, const Index *begun) noexcept nogil:
    """A copy that stays with the key; NULL when memory is out."""
    cdef Index *index = <Index *>calloc(1, sizeof(Index))
    if index != NULL:
        index[0] = begun[0]
        index.next = crypt.indices[index.ssrc % INDEX_CHAINS]
        crypt.indices[index.ssrc % INDEX_CHAINS] = index
    return index


cdef inline void crypt_forget(Crypt *crypt, uint32_t ssrc) noexcept nogil:
    """Only of an SSRC that is never used again under this key: its numbers would begin anew."""
    cdef Index **link = &crypt.indices[ssrc % INDEX_CHAINS]
    cdef Index *index
    while link[0] != NULL and link[0].ssrc != ssrc:
        link = &link[0].next
    index = link[0]
    if index != NULL:
        link[0] = index.next
        free(index)


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
    """RFC 7714 section 8.1; section 9.1 puts RTCP's index of 31 bits in the same place."""
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


cdef inline void rtcp_aad(const uint8_t *packet, uint32_t word, uint8_t *aad) noexcept nogil:
    """RFC 7714 section 9.2: what stands before the ciphertext, and the word behind its tag."""
    memcpy(aad, packet, RTCP_CLEAR_BYTES)
    store32(aad + RTCP_CLEAR_BYTES, word)


cdef inline bint rtcp_is_encrypted(const uint8_t *packet, int length) noexcept nogil:
    """Whether it says so; one that is authenticated alone (RFC 7714 section 9.3) does not."""
    return length >= RTCP_WORD_BYTES and packet[length - RTCP_WORD_BYTES] & 0x80


cdef inline int crypt_seal_rtcp(Crypt *crypt, uint8_t *packet, int *length) noexcept nogil:
    """Encrypt a compound of ours in place, by RTCP's keys; it has room for tag and word."""
    cdef uint8_t nonce[GCM_NONCE_BYTES]
    cdef uint8_t aad[RTCP_CLEAR_BYTES + RTCP_WORD_BYTES]
    cdef Index *index
    cdef uint32_t word
    if length[0] < RTCP_CLEAR_BYTES:
        return CRYPT_MALFORMED
    index = crypt_index(crypt, load32(packet + 4))
    if index == NULL or index.newest == MAX_RTCP_INDEX:
        return CRYPT_OLD
    index.newest = max(index.newest, <int64_t>0) + 1  # libsrtp's first is 1 too
    word = ENCRYPTED | <uint32_t>index.newest
    crypt_nonce(crypt, index.ssrc, index.newest, nonce)
    rtcp_aad(packet, word, aad)
    gcm_seal(
        crypt.way, &crypt.key, nonce, aad, sizeof(aad),
        packet + RTCP_CLEAR_BYTES, length[0] - RTCP_CLEAR_BYTES,
    )
    store32(packet + length[0] + GCM_TAG_BYTES, word)
    length[0] += GCM_TAG_BYTES + RTCP_WORD_BYTES
    return CRYPT_OK


cdef inline int crypt_open_rtcp(Crypt *crypt, uint8_t *packet, int *length) noexcept nogil:
    """Decrypt an encrypted compound in place; only the authentic take a place among the indices."""
    cdef uint8_t nonce[GCM_NONCE_BYTES]
    cdef uint8_t aad[RTCP_CLEAR_BYTES + RTCP_WORD_BYTES]
    cdef int plain = length[0] - GCM_TAG_BYTES - RTCP_WORD_BYTES
    cdef uint32_t word
    cdef int64_t number
    cdef Index fresh
    cdef Index *index
    cdef int state
    if plain < RTCP_CLEAR_BYTES:
        return CRYPT_MALFORMED
    word = load32(packet + length[0] - RTCP_WORD_BYTES)
    number = word & MAX_RTCP_INDEX
    index = crypt_find(crypt, load32(packet + 4))
    if index == NULL:
        index_begin(&fresh, load32(packet + 4))
        index = &fresh
    state = index_state(index, number)
    if state != CRYPT_OK:
        return state
    crypt_nonce(crypt, index.ssrc, number, nonce)
    rtcp_aad(packet, word, aad)
    if not gcm_open(
        crypt.way, &crypt.key, nonce, aad, sizeof(aad),
        packet + RTCP_CLEAR_BYTES, plain - RTCP_CLEAR_BYTES,
    ):
        return CRYPT_FORGED
    index_use(index, number)
    if index == &fresh and crypt_add(crypt, &fresh) == NULL:
        return CRYPT_MALFORMED
    length[0] = plain
    return CRYPT_OK
