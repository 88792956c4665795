"""RTP packets as bytes: parsing what arrives, writing what leaves. Knows no table and no socket."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

cdef enum:
    MAX_EXTENSIONS = 16  # elements kept of one packet; RFC 8285's one-byte form has 14 ids
    # 12 fixed, one CSRC, 4 of extension header, 16 elements of at most 2 + 255 bytes cut to:
    MAX_EXTENSION_BYTES = 512
    MAX_HEADER_GROWTH = 4 + 4 + MAX_EXTENSION_BYTES

cdef struct Extension:
    uint8_t canonical  # relay.payload.HeaderExtension
    uint8_t length
    const uint8_t *data

cdef struct Rtp:
    uint8_t padding  # the P bit, shifted to its place
    uint8_t marker  # the M bit, shifted to its place
    uint8_t payload_type
    uint16_t sequence
    uint32_t timestamp
    uint32_t ssrc
    const uint8_t *payload  # with its padding
    int payload_length
    int extensions
    Extension extension[MAX_EXTENSIONS]


cdef inline uint16_t load16(const uint8_t *p) noexcept nogil:
    return <uint16_t>(p[0] << 8 | p[1])


cdef inline uint32_t load32(const uint8_t *p) noexcept nogil:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline void store16(uint8_t *p, uint16_t v) noexcept nogil:
    p[0] = v >> 8
    p[1] = v & 0xFF


cdef inline void store32(uint8_t *p, uint32_t v) noexcept nogil:
    p[0] = v >> 24
    p[1] = v >> 16 & 0xFF
    p[2] = v >> 8 & 0xFF
    p[3] = v & 0xFF


cdef inline bint parse_rtp(
    const uint8_t *data, int length, const uint8_t *canonical_extensions, Rtp *rtp
) noexcept nogil:
    """RFC 3550 section 5.1 and RFC 8285 section 4; False when anything reaches past its end.

    `canonical_extensions` maps 256 wire ids to canonical ones, 0 for those to be left out.
    """
    cdef int at, end, size, element_id
    cdef uint16_t profile
    if length < 12 or data[0] >> 6 != 2:
        return False
    rtp.padding = data[0] & 0x20
    rtp.marker = data[1] & 0x80
    rtp.payload_type = data[1] & 0x7F
    rtp.sequence = load16(data + 2)
    rtp.timestamp = load32(data + 4)
    rtp.ssrc = load32(data + 8)
    rtp.extensions = 0
    at = 12 + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        if at + 4 > length:
            return False
        profile = load16(data + at)
        end = at + 4 + 4 * load16(data + at + 2)
        at += 4
        if end > length:
            return False
        if profile == 0xBEDE or profile & 0xFFF0 == 0x1000:
            while at < end:
                if data[at] == 0:  # a byte of padding
                    at += 1
                    continue
                if profile == 0xBEDE:
                    element_id = data[at] >> 4
                    if element_id == 15:  # RFC 8285 section 4.2: stop here
                        break
                    size = (data[at] & 0x0F) + 1
                    at += 1
                else:
                    if at + 2 > end:
                        return False
                    element_id = data[at]
                    size = data[at + 1]
                    at += 2
                if at + size > end:
                    return False
                if canonical_extensions[element_id] and rtp.extensions < MAX_EXTENSIONS:
                    rtp.extension[rtp.extensions].canonical = canonical_extensions[element_id]
                    rtp.extension[rtp.extensions].length = <uint8_t>size
                    rtp.extension[rtp.extensions].data = data + at
                    rtp.extensions += 1
                at += size
        at = end
    elif at > length:
        return False
    rtp.payload = data + at
    rtp.payload_length = length - at
    if rtp.padding and (
        rtp.payload_length == 0
        or data[length - 1] == 0
        or data[length - 1] > rtp.payload_length
    ):
        return False
    return True


cdef inline int write_rtp(
    uint8_t *out,
    const Rtp *rtp,
    uint8_t payload_type,
    uint16_t sequence,
    uint32_t timestamp,
    uint32_t ssrc,
    bint has_csrc,
    uint32_t csrc,
    const uint8_t *wire_extensions,
) noexcept nogil:
    """The packet with another header, into `out`; its length.

    `wire_extensions` maps canonical extension ids to the receiver's, 0 for unwanted ones.
    `out` holds the payload and MAX_HEADER_GROWTH + 12 bytes more.
    """
    cdef int at = 12, header, i, body = 0, kept = 0
    cdef bint two_byte = False
    cdef uint8_t wire
    out[1] = rtp.marker | payload_type
    store16(out + 2, sequence)
    store32(out + 4, timestamp)
    store32(out + 8, ssrc)
    if has_csrc:
        store32(out + 12, csrc)
        at = 16
    for i in range(rtp.extensions):
        wire = wire_extensions[rtp.extension[i].canonical]
        if wire == 0 or body + 2 + rtp.extension[i].length > MAX_EXTENSION_BYTES - 4:
            continue
        kept += 1
        body += 2 + rtp.extension[i].length
        # RFC 8285 section 4.2: one-byte elements have ids 1 to 14 and 1 to 16 bytes.
        if wire > 14 or rtp.extension[i].length == 0 or rtp.extension[i].length > 16:
            two_byte = True
    out[0] = 0x80 | rtp.padding | (0x10 if kept else 0) | (1 if has_csrc else 0)
    if kept:
        header = at
        at += 4
        body = 0
        for i in range(rtp.extensions):
            wire = wire_extensions[rtp.extension[i].canonical]
            if wire == 0 or body + 2 + rtp.extension[i].length > MAX_EXTENSION_BYTES - 4:
                continue
            body += 2 + rtp.extension[i].length
            if two_byte:
                out[at] = wire
                out[at + 1] = rtp.extension[i].length
                at += 2
            else:
                out[at] = <uint8_t>(wire << 4 | (rtp.extension[i].length - 1))
                at += 1
            memcpy(out + at, rtp.extension[i].data, rtp.extension[i].length)
            at += rtp.extension[i].length
        while (at - header) & 3:
            out[at] = 0
            at += 1
        store16(out + header, 0x1000 if two_byte else 0xBEDE)
        store16(out + header + 2, <uint16_t>((at - header - 4) >> 2))
    memcpy(out + at, rtp.payload, rtp.payload_length)
    return at + rtp.payload_length


cdef inline bint begins_vp8_keyframe(const uint8_t *payload, int length) noexcept nogil:
    """RFC 7741 sections 4.2 and 4.3: the first packet of a frame that needs no other."""
    cdef int at = 1
    if length < 1 or not payload[0] & 0x10 or payload[0] & 0x07:  # S bit set, PID 0
        return False
    if payload[0] & 0x80:  # X
        if length < 2:
            return False
        at = 2
        if payload[1] & 0x80:  # I: a picture id of one or two bytes
            if length < 3:
                return False
            at += 2 if payload[2] & 0x80 else 1
        if payload[1] & 0x40:  # L: TL0PICIDX
            at += 1
        if payload[1] & 0x30:  # T or K
            at += 1
    return at < length and not payload[at] & 0x01  # P bit clear: a key frame
