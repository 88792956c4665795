"""RTP packets as bytes: parsing what arrives, writing what leaves. Knows no table and no socket."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

cdef enum:
    MAX_EXTENSIONS = 16  # elements kept of one packet; RFC 8285's one-byte form has 14 ids
    # 12 fixed, one CSRC, 4 of extension header, 16 elements of at most 2 + 255 bytes cut to:
    MAX_EXTENSION_BYTES = 512
    MAX_HEADER_GROWTH = 4 + 4 + MAX_EXTENSION_BYTES
    DESCRIPTOR = 4  # relay.payload.HeaderExtension.DEPENDENCY_DESCRIPTOR

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

cdef struct Header:
    # How a packet leaves.
    uint8_t payload_type
    uint8_t marker  # the M bit, shifted to its place
    uint16_t sequence
    uint32_t timestamp
    uint32_t ssrc
    uint32_t csrc
    bint has_csrc
    uint8_t number_id  # the wire id of the transport-wide sequence number, 0 where it has none
    bint described  # a dependency descriptor is passed on; one that nobody understood is not
    uint16_t frame_offset  # added to its frame number


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


cdef inline bint parse_header(
    const uint8_t *data, int length, const uint8_t *canonical_extensions, Rtp *rtp
) noexcept nogil:
    """All in front of the payload, RFC 3550 section 5.1 and RFC 8285 section 4: SRTP leaves it clear.

    False when anything reaches past its end. `canonical_extensions` maps 256 wire ids to
    canonical ones, 0 for those to be left out.
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
    return True


cdef inline bint parse_rtp(
    const uint8_t *data, int length, const uint8_t *canonical_extensions, Rtp *rtp
) noexcept nogil:
    """The same, and that padding has a length that can be (RFC 3550 section 5.1)."""
    if not parse_header(data, length, canonical_extensions, rtp):
        return False
    if rtp.padding and (
        rtp.payload_length == 0
        or data[length - 1] == 0
        or data[length - 1] > rtp.payload_length
    ):
        return False
    return True


cdef inline const Extension *extension_of(const Rtp *rtp, uint8_t canonical) noexcept nogil:
    """The element of that meaning, or NULL."""
    cdef int i
    for i in range(rtp.extensions):
        if rtp.extension[i].canonical == canonical:
            return &rtp.extension[i]
    return NULL


cdef inline int write_rtp(
    uint8_t *out, const Rtp *rtp, const Header *header, const uint8_t *wire_extensions,
    uint8_t **number,
) noexcept nogil:
    """The packet with another header, into `out`; its length.

    `wire_extensions` maps canonical extension ids to the receiver's, 0 for unwanted ones.
    `out` holds the payload and MAX_HEADER_GROWTH + 12 bytes more. Where a transport-wide
    sequence number is to be written `number` is set to its place.
    """
    cdef int at = 12, begin, i, body = 0
    cdef bint two_byte = header.number_id > 14, described = header.described
    cdef uint8_t wire
    cdef uint8_t wires[MAX_EXTENSIONS]
    out[1] = header.marker | header.payload_type
    store16(out + 2, header.sequence)
    store32(out + 4, header.timestamp)
    store32(out + 8, header.ssrc)
    if header.has_csrc:
        store32(out + 12, header.csrc)
        at = 16
    if header.number_id:
        body = 4
    for i in range(rtp.extensions):
        wire = wire_extensions[rtp.extension[i].canonical]
        if body + 2 + rtp.extension[i].length > MAX_EXTENSION_BYTES - 4:
            wire = 0
        if rtp.extension[i].canonical == DESCRIPTOR:
            if not described:
                wire = 0
            described = False  # only the first was read
        wires[i] = wire
        if wire == 0:
            continue
        body += 2 + rtp.extension[i].length
        # RFC 8285 section 4.2: one-byte elements have ids 1 to 14 and 1 to 16 bytes.
        if wire > 14 or rtp.extension[i].length == 0 or rtp.extension[i].length > 16:
            two_byte = True
    out[0] = 0x80 | rtp.padding | (0x10 if body else 0) | (1 if header.has_csrc else 0)
    if body:
        begin = at
        at += 4
        if header.number_id:
            at = write_element(out, at, header.number_id, 2, two_byte)
            number[0] = out + at
            at += 2
        for i in range(rtp.extensions):
            if wires[i] == 0:
                continue
            at = write_element(out, at, wires[i], rtp.extension[i].length, two_byte)
            memcpy(out + at, rtp.extension[i].data, rtp.extension[i].length)
            if rtp.extension[i].canonical == DESCRIPTOR and rtp.extension[i].length >= 3:
                store16(
                    out + at + 1,
                    <uint16_t>(load16(rtp.extension[i].data + 1) + header.frame_offset),
                )
            at += rtp.extension[i].length
        while (at - begin) & 3:
            out[at] = 0
            at += 1
        store16(out + begin, 0x1000 if two_byte else 0xBEDE)
        store16(out + begin + 2, <uint16_t>((at - begin - 4) >> 2))
    memcpy(out + at, rtp.payload, rtp.payload_length)
    return at + rtp.payload_length


cdef inline int write_element(
    uint8_t *out, int at, uint8_t wire, uint8_t length, bint two_byte
) noexcept nogil:
    """The head of an extension element; where its data goes."""
    if two_byte:
        out[at] = wire
        out[at + 1] = length
        return at + 2
    out[at] = <uint8_t>(wire << 4 | (length - 1))
    return at + 1
