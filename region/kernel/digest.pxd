"""SHA-1, HMAC-SHA-1 and CRC-32 for STUN alone: RFC 3174, RFC 2104, RFC 8489 section 14.7.

A client's consent asks for two HMACs every few seconds, and to go to Python for them would
cost more than all else that an idle client costs.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from region.kernel.wire cimport load32, store32

cdef enum:
    SHA1_BYTES = 20
    BLOCK_BYTES = 64

cdef struct Sha1:
    uint32_t h[5]

cdef struct HmacKey:
    # The states behind the inner and the outer pad.
    Sha1 inner
    Sha1 outer


cdef inline uint32_t _rotated(uint32_t value, int bits) noexcept nogil:
    return value << bits | value >> (32 - bits)


cdef inline void sha1_start(Sha1 *state) noexcept nogil:
    state.h[0] = 0x67452301
    state.h[1] = 0xEFCDAB89
    state.h[2] = 0x98BADCFE
    state.h[3] = 0x10325476
    state.h[4] = 0xC3D2E1F0


cdef inline void sha1_block(Sha1 *state, const uint8_t *block) noexcept nogil:
    cdef uint32_t w[80]
    cdef uint32_t a = state.h[0], b = state.h[1], c = state.h[2], d = state.h[3], e = state.h[4]
    cdef uint32_t f, k, next_a
    cdef int t
    for t in range(16):
        w[t] = load32(block + 4 * t)
    for t in range(16, 80):
        w[t] = _rotated(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1)
    for t in range(80):
        if t < 20:
            f = (b & c) | (~b & d)
            k = 0x5A827999
        elif t < 40:
            f = b ^ c ^ d
            k = 0x6ED9EBA1
        elif t < 60:
            f = (b & c) | (b & d) | (c & d)
            k = 0x8F1BBCDC
        else:
            f = b ^ c ^ d
            k = 0xCA62C1D6
        next_a = _rotated(a, 5) + f + e + k + w[t]
        e = d
        d = c
        c = _rotated(b, 30)
        b = a
        a = next_a
    state.h[0] += a
    state.h[1] += b
    state.h[2] += c
    state.h[3] += d
    state.h[4] += e


cdef inline void sha1_end(
    Sha1 *state, const uint8_t *data, int length, uint64_t before, uint8_t *digest
) noexcept nogil:
    """Add `data`, which `before` bytes preceded, and finish."""
    cdef uint8_t block[2 * BLOCK_BYTES]
    cdef int rest, i
    cdef uint64_t bits = (before + length) * 8
    while length >= BLOCK_BYTES:
        sha1_block(state, data)
        data += BLOCK_BYTES
        length -= BLOCK_BYTES
    memset(block, 0, 2 * BLOCK_BYTES)
    memcpy(block, data, length)
    block[length] = 0x80
    rest = BLOCK_BYTES if length < BLOCK_BYTES - 8 else 2 * BLOCK_BYTES
    store32(block + rest - 8, <uint32_t>(bits >> 32))
    store32(block + rest - 4, <uint32_t>bits)
    sha1_block(state, block)
    if rest > BLOCK_BYTES:
        sha1_block(state, block + BLOCK_BYTES)
    for i in range(5):
        store32(digest + 4 * i, state.h[i])


cdef inline void hmac_key(HmacKey *key, const uint8_t *secret, int length) noexcept nogil:
    """`secret` has at most 64 bytes; ICE passwords that are longer stay with Python."""
    cdef uint8_t pad[BLOCK_BYTES]
    cdef int i
    memset(pad, 0, BLOCK_BYTES)
    memcpy(pad, secret, length)
    for i in range(BLOCK_BYTES):
        pad[i] ^= 0x36
    sha1_start(&key.inner)
    sha1_block(&key.inner, pad)
    for i in range(BLOCK_BYTES):
        pad[i] ^= 0x36 ^ 0x5C
    sha1_start(&key.outer)
    sha1_block(&key.outer, pad)
    memset(pad, 0, BLOCK_BYTES)


cdef inline void hmac_sha1(
    const HmacKey *key, const uint8_t *data, int length, uint8_t *digest
) noexcept nogil:
    cdef uint8_t inner[SHA1_BYTES]
    cdef Sha1 state = key.inner
    sha1_end(&state, data, length, BLOCK_BYTES, inner)
    state = key.outer
    sha1_end(&state, inner, SHA1_BYTES, BLOCK_BYTES, digest)


cdef inline uint32_t crc32(const uint8_t *data, int length) noexcept nogil:
    """ITU-T V.42's, a bit at a time: a check is a hundred bytes."""
    cdef uint32_t crc = 0xFFFFFFFF
    cdef int i, bit
    for i in range(length):
        crc ^= data[i]
        for bit in range(8):
            if crc & 1:
                crc = crc >> 1 ^ <uint32_t>0xEDB88320
            else:
                crc >>= 1
    return ~crc
