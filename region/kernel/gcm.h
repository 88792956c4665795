/* AES-128-GCM (NIST SP 800-38D) for packets: a key expanded once, then one call a packet.

   libsrtp's way through OpenSSL costs three times the cipher itself for each packet. Nonces have 96 bits,
   tags 128; encryption is in place. It is the processor's own instructions or nothing: where
   `gcm_ways` says that there are none, the kernel leaves the packet to libsrtp. No table is
   looked up and no branch taken by a secret. Knows no packet and no SSRC. */

#ifndef OCTOMESH_GCM_H
#define OCTOMESH_GCM_H

#include <stdint.h>
#include <string.h>

enum { GCM_POWERS = 16, GCM_TAG_BYTES = 16, GCM_NONCE_BYTES = 12, GCM_KEY_BYTES = 16 };
enum { GCM_NONE = 0, GCM_AESNI = 1, GCM_VAES = 2 };

typedef struct {
    uint8_t round_key[11][16];
    /* H^16 … H^1, each bit-reflected and times x, then zeros: the last n stand for n blocks. */
    uint8_t power[GCM_POWERS + 4][16];
} __attribute__((aligned(64))) gcm_key;

#if defined(__x86_64__)

#include <immintrin.h>

#define GCM_128 __attribute__((target("aes,pclmul,ssse3,sse4.1")))
#define GCM_512 __attribute__((target( \
    "aes,pclmul,ssse3,sse4.1,avx2,avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq")))

/* Which ways this processor has, one bit each. */
static inline int gcm_ways(void) {
    int ways = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul")
        && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1"))
        ways |= GCM_AESNI;
    if (ways && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
        && __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq"))
        ways |= GCM_VAES;
    return ways;
}

GCM_128 static inline __m128i gcm_reflected(__m128i block) {
    return _mm_shuffle_epi8(
        block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* The sums of partial products, modulo x^128 + x^127 + x^126 + x^121 + 1 (the field's, reflected). */
GCM_128 static inline __m128i gcm_reduced(__m128i low, __m128i middle, __m128i high) {
    const __m128i poly = _mm_set_epi64x((int64_t)0xC200000000000000ULL, 1);
    middle = _mm_xor_si128(middle, _mm_xor_si128(
        _mm_clmulepi64_si128(poly, low, 0x01), _mm_shuffle_epi32(low, 0x4E)));
    return _mm_xor_si128(high, _mm_xor_si128(
        _mm_clmulepi64_si128(poly, middle, 0x01), _mm_shuffle_epi32(middle, 0x4E)));
}

/* The sum of `blocks` products, each of a block and its power of H; the first with `hash` added. */
GCM_128 static inline __m128i gcm_hash_128(
    const gcm_key *key, __m128i hash, const uint8_t *data, int blocks
) {
    __m128i low = _mm_setzero_si128(), middle = low, high = low;
    for (int i = 0; i < blocks; i++) {
        __m128i power = _mm_load_si128((const __m128i *)key->power[GCM_POWERS - blocks + i]);
        __m128i block = gcm_reflected(_mm_loadu_si128((const __m128i *)(data + 16 * i)));
        if (i == 0) block = _mm_xor_si128(block, hash);
        low = _mm_xor_si128(low, _mm_clmulepi64_si128(block, power, 0x00));
        middle = _mm_xor_si128(middle, _mm_xor_si128(
            _mm_clmulepi64_si128(block, power, 0x01), _mm_clmulepi64_si128(block, power, 0x10)));
        high = _mm_xor_si128(high, _mm_clmulepi64_si128(block, power, 0x11));
    }
    return gcm_reduced(low, middle, high);
}

GCM_128 static inline __m128i gcm_cipher_128(const gcm_key *key, __m128i block) {
    const __m128i *round = (const __m128i *)key->round_key;
    block = _mm_xor_si128(block, round[0]);
    for (int i = 1; i < 10; i++) block = _mm_aesenc_si128(block, round[i]);
    return _mm_aesenclast_si128(block, round[10]);
}

GCM_128 static inline __m128i gcm_next_round_key(__m128i key, __m128i assist) {
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, _mm_shuffle_epi32(assist, 0xFF));
}

/* FIPS 197 section 5.2; then the powers of H. */
GCM_128 static inline void gcm_expand(gcm_key *key, const uint8_t *secret) {
    __m128i *round = (__m128i *)key->round_key;
    __m128i power, first;
    uint64_t half[2];
    memset(key, 0, sizeof *key);
    round[0] = _mm_loadu_si128((const __m128i *)secret);
#define GCM_ROUND(i, constant) \
    round[i] = gcm_next_round_key(round[i - 1], _mm_aeskeygenassist_si128(round[i - 1], constant))
    GCM_ROUND(1, 0x01); GCM_ROUND(2, 0x02); GCM_ROUND(3, 0x04); GCM_ROUND(4, 0x08);
    GCM_ROUND(5, 0x10); GCM_ROUND(6, 0x20); GCM_ROUND(7, 0x40); GCM_ROUND(8, 0x80);
    GCM_ROUND(9, 0x1B); GCM_ROUND(10, 0x36);
#undef GCM_ROUND
    first = gcm_reflected(gcm_cipher_128(key, _mm_setzero_si128()));
    memcpy(half, &first, 16);
    uint64_t carry = -(half[1] >> 63);
    half[1] = (half[1] << 1 | half[0] >> 63) ^ (carry & 0xC200000000000000ULL);
    half[0] = half[0] << 1 ^ (carry & 1);
    memcpy(&first, half, 16);
    power = first;
    for (int i = GCM_POWERS - 1; i >= 0; i--) {
        memcpy(key->power[i], &power, 16);
        power = gcm_reduced(
            _mm_clmulepi64_si128(power, first, 0x00),
            _mm_xor_si128(
                _mm_clmulepi64_si128(power, first, 0x01), _mm_clmulepi64_si128(power, first, 0x10)),
            _mm_clmulepi64_si128(power, first, 0x11));
    }
}

GCM_128 static inline __m128i gcm_counter(const uint8_t *nonce, uint32_t number) {
    uint8_t block[16];
    memcpy(block, nonce, GCM_NONCE_BYTES);
    number = __builtin_bswap32(number);
    memcpy(block + GCM_NONCE_BYTES, &number, 4);
    return _mm_loadu_si128((const __m128i *)block);
}

/* What stands before the ciphertext, padded to whole blocks. */
GCM_128 static inline __m128i gcm_hash_aad(const gcm_key *key, const uint8_t *aad, int length) {
    __m128i hash = _mm_setzero_si128();
    uint8_t padded[16 * GCM_POWERS];
    while (length > 0) {
        int part = length < (int)sizeof padded ? length : (int)sizeof padded;
        int blocks = (part + 15) / 16;
        memset(padded + 16 * (blocks - 1), 0, 16);
        memcpy(padded, aad, part);
        hash = gcm_hash_128(key, hash, padded, blocks);
        aad += part;
        length -= part;
    }
    return hash;
}

/* The last blocks of ciphertext, fewer than 16 and the last one padded with zeros, and the lengths. */
GCM_128 static inline __m128i gcm_tag(
    const gcm_key *key, __m128i hash, uint8_t *last, int last_bytes, const uint8_t *nonce,
    int aad_length, int length
) {
    int blocks = (last_bytes + 15) / 16;
    uint64_t aad_bits = __builtin_bswap64((uint64_t)aad_length * 8);
    uint64_t bits = __builtin_bswap64((uint64_t)length * 8);
    memcpy(last + 16 * blocks, &aad_bits, 8);
    memcpy(last + 16 * blocks + 8, &bits, 8);
    hash = gcm_hash_128(key, hash, last, blocks + 1);
    return _mm_xor_si128(gcm_reflected(hash), gcm_cipher_128(key, gcm_counter(nonce, 1)));
}

enum { GCM_STEP = 8 };  /* blocks that go through the cipher side by side */

GCM_128 static inline void gcm_stream_128(
    const gcm_key *key, __m128i nonce, uint32_t number, __m128i *block
) {
    const __m128i *round = (const __m128i *)key->round_key;
#pragma GCC unroll 8
    for (int i = 0; i < GCM_STEP; i++)
        block[i] = _mm_xor_si128(
            _mm_insert_epi32(nonce, (int)__builtin_bswap32(number + i), 3), round[0]);
#pragma GCC unroll 9
    for (int r = 1; r < 10; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < GCM_STEP; i++) block[i] = _mm_aesenc_si128(block[i], round[r]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < GCM_STEP; i++) block[i] = _mm_aesenclast_si128(block[i], round[10]);
}

GCM_128 static inline __m128i gcm_run_128(
    const gcm_key *key, const uint8_t *nonce, const uint8_t *aad, int aad_length,
    uint8_t *data, int length, int sealing
) {
    enum { BYTES = 16 * GCM_STEP };
    __m128i block[GCM_STEP], hash = gcm_hash_aad(key, aad, aad_length);
    __m128i nonces = gcm_counter(nonce, 0);
    uint8_t last[BYTES + 16] = {0}, stream[BYTES];
    uint32_t number = 2;
    int at = 0;
    for (; length - at >= BYTES; at += BYTES, number += GCM_STEP) {
        if (!sealing) hash = gcm_hash_128(key, hash, data + at, GCM_STEP);
        gcm_stream_128(key, nonces, number, block);
#pragma GCC unroll 8
        for (int i = 0; i < GCM_STEP; i++) {
            __m128i *place = (__m128i *)(data + at + 16 * i);
            _mm_storeu_si128(place, _mm_xor_si128(block[i], _mm_loadu_si128(place)));
        }
        if (sealing) hash = gcm_hash_128(key, hash, data + at, GCM_STEP);
    }
    int left = length - at;
    gcm_stream_128(key, nonces, number, block);
    memcpy(stream, block, BYTES);
    if (!sealing) memcpy(last, data + at, left);
    for (int i = 0; i < left; i++) data[at + i] ^= stream[i];
    if (sealing) memcpy(last, data + at, left);
    return gcm_tag(key, hash, last, left, nonce, aad_length, length);
}

GCM_512 static inline __m512i gcm_reflected_512(__m512i blocks) {
    return _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(
        _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
}

GCM_512 static inline __m128i gcm_folded(__m512i sums) {
    __m256i half = _mm256_xor_si256(
        _mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* As `gcm_hash_128`, four blocks at a time; the fourfolds have the last 4 × `fours` blocks' powers
   from `first` on, and what reaches past them counts as nothing. */
GCM_512 static inline __m128i gcm_hash_512(
    const gcm_key *key, __m128i hash, const __m512i *four, int fours, int blocks
) {
    __m512i low = _mm512_setzero_si512(), middle = low, high = low;
    const uint8_t *first = key->power[GCM_POWERS - blocks];
    for (int i = 0; i < fours; i++) {
        __m512i power = _mm512_loadu_si512(first + 64 * i);
        __m512i block = gcm_reflected_512(four[i]);
        if (i == 0) block = _mm512_xor_si512(block, _mm512_zextsi128_si512(hash));
        low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(block, power, 0x00));
        middle = _mm512_ternarylogic_epi64(
            middle, _mm512_clmulepi64_epi128(block, power, 0x01),
            _mm512_clmulepi64_epi128(block, power, 0x10), 0x96);
        high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(block, power, 0x11));
    }
    return gcm_reduced(gcm_folded(low), gcm_folded(middle), gcm_folded(high));
}

GCM_512 static inline void gcm_stream_512(
    const gcm_key *key, __m512i nonce, uint32_t number, __m512i *four, int fours
) {
    const __m128i *round = (const __m128i *)key->round_key;
    const __m512i swap = _mm512_broadcast_i32x4(
        _mm_set_epi8(12, 13, 14, 15, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
    const __m512i steps = _mm512_set_epi32(3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
    __m512i key_0 = _mm512_broadcast_i32x4(round[0]);
    for (int i = 0; i < fours; i++) {
        __m512i counters = _mm512_add_epi32(nonce, _mm512_add_epi32(
            steps, _mm512_maskz_set1_epi32(0x8888, (int)(number + 4 * i))));
        four[i] = _mm512_xor_si512(_mm512_shuffle_epi8(counters, swap), key_0);
    }
    for (int r = 1; r < 10; r++) {
        __m512i key_r = _mm512_broadcast_i32x4(round[r]);
        for (int i = 0; i < fours; i++) four[i] = _mm512_aesenc_epi128(four[i], key_r);
    }
    __m512i key_10 = _mm512_broadcast_i32x4(round[10]);
    for (int i = 0; i < fours; i++) four[i] = _mm512_aesenclast_epi128(four[i], key_10);
}

GCM_512 static inline __m128i gcm_run_512(
    const gcm_key *key, const uint8_t *nonce, const uint8_t *aad, int aad_length,
    uint8_t *data, int length, int sealing
) {
    enum { FOURS = 4, BYTES = 64 * FOURS };
    __m128i hash;
    __m512i four[FOURS], text[FOURS + 1], nonces = _mm512_broadcast_i32x4(gcm_counter(nonce, 0));
    uint8_t last[BYTES + 16] __attribute__((aligned(64))) = {0};
    uint32_t number = 2;
    int at = 0;
    if (aad_length <= 64) {
        __mmask64 part = aad_length == 64 ? ~0ULL : (1ULL << aad_length) - 1;
        text[0] = _mm512_maskz_loadu_epi8(part, aad);
        hash = gcm_hash_512(key, _mm_setzero_si128(), text, 1, (aad_length + 15) / 16);
    } else {
        hash = gcm_hash_aad(key, aad, aad_length);
    }
    for (; length - at >= BYTES; at += BYTES, number += 4 * FOURS) {
        gcm_stream_512(key, nonces, number, four, FOURS);
        for (int i = 0; i < FOURS; i++) {
            uint8_t *place = data + at + 64 * i;
            text[i] = _mm512_loadu_si512(place);
            four[i] = _mm512_xor_si512(four[i], text[i]);
            _mm512_storeu_si512(place, four[i]);
        }
        hash = gcm_hash_512(key, hash, sealing ? four : text, FOURS, 4 * FOURS);
    }
    int left = length - at, fours = (left + 63) / 64;
    gcm_stream_512(key, nonces, number, four, FOURS);
    for (int i = 0; i < fours; i++) {
        int part_bytes = left - 64 * i;
        __mmask64 part = part_bytes >= 64 ? ~0ULL : (1ULL << part_bytes) - 1;
        text[i] = _mm512_maskz_loadu_epi8(part, data + at + 64 * i);
        four[i] = _mm512_maskz_mov_epi8(part, _mm512_xor_si512(four[i], text[i]));
        _mm512_mask_storeu_epi8(data + at + 64 * i, part, four[i]);
        _mm512_store_si512(last + 64 * i, sealing ? four[i] : text[i]);
    }
    if (left > 240) {  /* sixteen blocks, and no power for the lengths as well */
        hash = gcm_hash_512(key, hash, sealing ? four : text, FOURS, 4 * FOURS);
        return gcm_tag(key, hash, last, 0, nonce, aad_length, length);
    }
    int blocks = (left + 15) / 16;
    uint64_t bits[2] = {
        __builtin_bswap64((uint64_t)aad_length * 8), __builtin_bswap64((uint64_t)length * 8)};
    memcpy(last + 16 * blocks, bits, 16);
    for (int i = 0; i < (blocks + 4) / 4; i++) text[i] = _mm512_load_si512(last + 64 * i);
    hash = gcm_hash_512(key, hash, text, (blocks + 4) / 4, blocks + 1);
    return _mm_xor_si128(gcm_reflected(hash), gcm_cipher_128(key, gcm_counter(nonce, 1)));
}

GCM_128 static inline void gcm_store(uint8_t *to, __m128i tag) {
    _mm_storeu_si128((__m128i *)to, tag);
}

#else  /* another processor */

static inline int gcm_ways(void) { return 0; }
static inline void gcm_expand(gcm_key *key, const uint8_t *secret) {
    (void)secret;
    memset(key, 0, sizeof *key);
}

#endif

/* Into `tag`, that of the ciphertext, whichever way it goes; `way` is one of those there are. */
static inline void gcm_run(
    int way, const gcm_key *key, const uint8_t *nonce, const uint8_t *aad, int aad_length,
    uint8_t *data, int length, int sealing, uint8_t *tag
) {
#if defined(__x86_64__)
    if (way == GCM_VAES)
        gcm_store(tag, gcm_run_512(key, nonce, aad, aad_length, data, length, sealing));
    else
        gcm_store(tag, gcm_run_128(key, nonce, aad, aad_length, data, length, sealing));
#endif
}

/* Encrypt in place and put the tag behind. */
static inline void gcm_seal(
    int way, const gcm_key *key, const uint8_t *nonce, const uint8_t *aad, int aad_length,
    uint8_t *data, int length
) {
    gcm_run(way, key, nonce, aad, aad_length, data, length, 1, data + length);
}

/* Decrypt in place `length` bytes with their tag behind; 0 when they are not authentic, and
   then they are nothing. */
static inline int gcm_open(
    int way, const gcm_key *key, const uint8_t *nonce, const uint8_t *aad, int aad_length,
    uint8_t *data, int length
) {
    uint8_t tag[GCM_TAG_BYTES] = {0}, difference = 0;
    gcm_run(way, key, nonce, aad, aad_length, data, length, 0, tag);
    for (int i = 0; i < GCM_TAG_BYTES; i++) difference |= tag[i] ^ data[length + i];
    return difference == 0;
}

#endif
