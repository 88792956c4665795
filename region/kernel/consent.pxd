"""Binding requests that only renew consent, answered without Python (RFC 7675, RFC 8445).

Only the plainest are: from the selected address, with the expected USERNAME, authentic, new,
and with no attribute that could mean more. All others, and all that are malformed, go to
`region.ice`, which is the authority.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from region.kernel.digest cimport SHA1_BYTES, HmacKey, crc32, hmac_sha1
from region.kernel.wire cimport load16, load32, store16, store32

cdef enum:
    STUN_HEADER_BYTES = 20
    MAX_USERNAME = 96  # two fragments; longer ones stay with Python
    MAX_CHECK_BYTES = 512
    REMEMBERED = 4_096  # transactions: hours of consent
    MAX_RESPONSE_BYTES = 20 + 24 + 24 + 8

    COOKIE = 0x2112A442
    BINDING_REQUEST = 0x0001
    BINDING_SUCCESS = 0x0101
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    FIRST_OPTIONAL = 0x8000  # RFC 8489 section 14: may be ignored from here on
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    FINGERPRINT_XOR = 0x5354554E

cdef struct Consent:
    HmacKey key
    uint8_t username[MAX_USERNAME]
    int username_length
    uint32_t seen[REMEMBERED]
    uint32_t next_seen


cdef inline bint renews_consent(
    Consent *consent, uint8_t *data, int length
) noexcept nogil:
    """Whether the datagram is a plain, authentic, new check; `data` is left as it was."""
    cdef int at = STUN_HEADER_BYTES, size, integrity = 0, i
    cdef uint16_t kind, header_length
    cdef bint named = False
    cdef uint8_t digest[SHA1_BYTES]
    cdef uint8_t difference = 0
    if (
        length < STUN_HEADER_BYTES or length > MAX_CHECK_BYTES or length & 3
        or load16(data) != BINDING_REQUEST or load16(data + 2) != length - STUN_HEADER_BYTES
        or load32(data + 4) != COOKIE
    ):
        return False
    while at < length:
        if at + 4 > length:
            return False
        kind = load16(data + at)
        size = load16(data + at + 2)
        if at + 4 + size > length:
            return False
        if integrity and kind != FINGERPRINT:
            return False
        if kind == USERNAME:
            if named or size != consent.username_length:
                return False
            if memcmp(data + at + 4, consent.username, size):
                return False
            named = True
        elif kind == MESSAGE_INTEGRITY:
            if size != SHA1_BYTES:
                return False
            integrity = at
        elif kind == FINGERPRINT:
            if size != 4 or at + 8 != length or not integrity:
                return False
            if load32(data + at + 4) != crc32(data, at) ^ FINGERPRINT_XOR:
                return False
        elif kind == ICE_CONTROLLED or (
            kind < FIRST_OPTIONAL and kind != PRIORITY and kind != USE_CANDIDATE
        ):
            return False
        at += 4 + (size + 3) // 4 * 4
    if not named or not integrity or at != length:
        return False
    # RFC 8489 section 14.5: the length counts up to the end of the integrity attribute.
    header_length = load16(data + 2)
    store16(data + 2, <uint16_t>(integrity + 4 + SHA1_BYTES - STUN_HEADER_BYTES))
    hmac_sha1(&consent.key, data, integrity, digest)
    store16(data + 2, header_length)
    for i in range(SHA1_BYTES):
        difference |= digest[i] ^ data[integrity + 4 + i]
    if difference:
        return False
    if has_seen(consent, data + 8):
        return False
    consent.seen[consent.next_seen % REMEMBERED] = load32(data + 8)
    consent.next_seen += 1
    return True


cdef inline bint has_seen(const Consent *consent, const uint8_t *transaction) noexcept nogil:
    """Whether a check of this transaction was answered here: if it comes again, it is a replay."""
    cdef uint32_t first = load32(transaction)
    cdef uint32_t i, count = min(consent.next_seen, <uint32_t>REMEMBERED)
    for i in range(count):
        if consent.seen[i] == first:
            return True
    return False


cdef inline int write_consent(
    const Consent *consent, const uint8_t *request, const uint8_t *address, uint8_t *out
) noexcept nogil:
    """The success response to a request from `address` (packed); its length."""
    cdef int size, at, i
    cdef const uint8_t *host = address
    cdef bint v4 = load32(address) == 0 and load32(address + 4) == 0 and load32(address + 8) == 0xFFFF
    store16(out, BINDING_SUCCESS)
    memcpy(out + 4, request + 4, 16)  # cookie and transaction
    size = 16
    if v4:
        host = address + 12
        size = 4
    at = STUN_HEADER_BYTES
    store16(out + at, XOR_MAPPED_ADDRESS)
    store16(out + at + 2, <uint16_t>(4 + size))
    store16(out + at + 4, 1 if v4 else 2)
    store16(out + at + 6, load16(address + 16) ^ (COOKIE >> 16))
    for i in range(size):
        out[at + 8 + i] = host[i] ^ out[4 + i]
    at += 8 + size
    store16(out + 2, <uint16_t>(at + 24 - STUN_HEADER_BYTES))
    store16(out + at, MESSAGE_INTEGRITY)
    store16(out + at + 2, SHA1_BYTES)
    hmac_sha1(&consent.key, out, at, out + at + 4)
    at += 24
    store16(out + 2, <uint16_t>(at + 8 - STUN_HEADER_BYTES))
    store16(out + at, FINGERPRINT)
    store16(out + at + 2, 4)
    store32(out + at + 4, crc32(out, at) ^ FINGERPRINT_XOR)
    return at + 8
