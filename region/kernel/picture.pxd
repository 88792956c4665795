"""What a packet says of the picture that it is a part of: keyframe, layers, numbers to rewrite.

VP8 (RFC 7741 section 4.2), VP9 (RFC 9628 section 4.2), H.264 (RFC 6184 section 5.2) and AV1 (AV1 RTP
specification section 4.4). Layers of VP9 and AV1 are read from the dependency descriptor.
"""

from libc.stdint cimport uint8_t, uint16_t

from region.kernel.wire cimport load16, store16

cdef enum:
    TOP_SPATIAL = 2  # relay.ids.Layer: higher ones are counted as this one
    TOP_TEMPORAL = 2

cdef struct Picture:
    uint8_t keyframe  # the packet begins a picture that needs no other
    uint8_t begins  # the first packet of a frame
    uint8_t spatial
    uint8_t temporal
    uint8_t layered  # VP8 with temporal layers: it may be left out when others are not
    uint8_t sync  # of VP8: it needs no frame but such of the base layer
    uint8_t id_bytes  # of the VP8 picture id, 0 where there is none
    uint8_t id_at  # where that is in the payload
    uint8_t base_at  # where VP8's TL0PICIDX is in the payload, 0 where there is none
    uint8_t base
    uint16_t id


cdef inline bint parse_vp8(const uint8_t *payload, int length, Picture *picture) noexcept nogil:
    """False when the descriptor reaches past the payload's end; `picture` has no layers then."""
    cdef int at = 1
    cdef uint8_t extension
    if length < 2:
        return False
    if payload[0] & 0x80:  # X
        extension = payload[1]
        at = 2
        if extension & 0x80:  # I: a picture id of one or two bytes
            if at + 1 >= length:
                return False
            picture.id_at = at
            if payload[at] & 0x80:
                if at + 2 >= length:
                    return False
                picture.id = load16(payload + at) & 0x7FFF
                picture.id_bytes = 2
            else:
                picture.id = payload[at]
                picture.id_bytes = 1
            at += picture.id_bytes
        if extension & 0x40:  # L: TL0PICIDX
            if at + 1 >= length:
                picture.id_bytes = 0
                return False
            picture.base_at = at
            picture.base = payload[at]
            at += 1
        if extension & 0x30:  # T or K
            if at + 1 >= length:
                picture.id_bytes = 0
                picture.base_at = 0
                return False
            if extension & 0x20:
                picture.layered = True
                picture.temporal = payload[at] >> 6
                picture.sync = payload[at] >> 5 & 1
            at += 1
        if at >= length:  # none of them: there may be nothing behind the flags
            return False
    picture.begins = payload[0] & 0x10 != 0 and payload[0] & 0x07 == 0  # S bit set, PID 0
    # RFC 7741 section 4.3, the P bit clear: a key frame.
    picture.keyframe = picture.begins and not payload[at] & 0x01
    return True


cdef inline void parse_vp9(const uint8_t *payload, int length, Picture *picture) noexcept nogil:
    """Where a keyframe begins; its layers are the dependency descriptor's to tell."""
    cdef int at = 1
    if length < 2:
        return
    # B: begins a frame; P: predicted from frames before.
    picture.begins = payload[0] & 0x08 != 0
    if not picture.begins or payload[0] & 0x40:
        return
    if payload[0] & 0x80:  # I
        at += 2 if payload[1] & 0x80 else 1
    if payload[0] & 0x20:  # L: of a key picture only the lowest layer begins it
        if at >= length or payload[at] >> 1 & 0x07:
            return
    picture.keyframe = True


cdef inline void parse_h264(const uint8_t *payload, int length, Picture *picture) noexcept nogil:
    """A parameter set or an IDR slice: a decoder may begin there."""
    cdef int kind, at
    if length < 2:
        return
    kind = payload[0] & 0x1F
    if kind == 24:  # STAP-A: each unit is behind its size, and others may come before the first
        at = 1
        kind = 0
        while at + 2 < length and kind != 7 and kind != 5:
            kind = payload[at + 2] & 0x1F
            at += 2 + load16(payload + at)
    elif kind == 28:  # FU-A: only its first fragment
        kind = payload[1] & 0x1F if payload[1] & 0x80 else 0
    picture.begins = kind != 0
    picture.keyframe = kind == 7 or kind == 5


cdef inline void parse_av1(const uint8_t *payload, int length, Picture *picture) noexcept nogil:
    """Z: goes on with an OBU of the packet before; N: a new coded video sequence begins."""
    if length < 2:
        return
    picture.begins = not payload[0] & 0x80
    picture.keyframe = payload[0] & 0x08 != 0


cdef inline void rewrite_vp8(
    uint8_t *payload, const Picture *picture, uint16_t id_offset, uint8_t base_offset
) noexcept nogil:
    """Picture id and TL0PICIDX moved on, in the width that they have."""
    cdef uint16_t number
    if picture.id_bytes:
        number = picture.id + id_offset
        if picture.id_bytes == 2:
            store16(payload + picture.id_at, 0x8000 | number)
        else:
            payload[picture.id_at] = number & 0x7F
    if picture.base_at:
        payload[picture.base_at] = <uint8_t>(picture.base + base_offset)
