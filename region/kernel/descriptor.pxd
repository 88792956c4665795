"""The dependency descriptor: which frames which decode target needs.

AV1 RTP specification, appendix A (also carried with VP9). A structure comes with a keyframe and is
kept by its stream; each frame names one of its templates.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from region.kernel.picture cimport TOP_SPATIAL, TOP_TEMPORAL

cdef enum:
    MAX_TEMPLATES = 64
    MAX_TARGETS = 32
    MAX_SPATIAL = 3
    MAX_TEMPORAL = 7
    MAX_REFERENCES = 8  # of one frame that are looked at
    NO_TARGET = 0xFF
    # Decode target indications, section A.8.3.
    NOT_PRESENT = 0
    SWITCH = 2

cdef struct Structure:
    uint8_t id_offset
    uint8_t templates, targets, chains
    uint8_t spatials  # layers, from 1
    uint32_t active  # targets that the sender encodes at the moment, a bit each
    uint16_t told  # the newest sequence number with which this or its active targets came
    uint8_t spatial[MAX_TEMPLATES]
    uint8_t temporal[MAX_TEMPLATES]
    uint8_t indication[MAX_TEMPLATES][MAX_TARGETS]
    uint8_t references[MAX_TEMPLATES]  # how many; more than MAX_REFERENCES where they are too many
    uint8_t reference[MAX_TEMPLATES][MAX_REFERENCES]
    # The target that shows most within a spatial and a temporal limit, or else the least; NO_TARGET
    # where there is none.
    uint8_t target_within[TOP_SPATIAL + 1][TOP_TEMPORAL + 1]

cdef struct Frame:
    uint8_t begins, ends
    uint8_t keyframe  # a structure came with it
    uint8_t spatial, temporal
    uint16_t number
    uint32_t active  # as in the structure, where the descriptor does not tell
    uint8_t tells  # whether it does
    uint8_t indication[MAX_TARGETS]
    uint8_t references  # as in the structure
    uint16_t reference[MAX_REFERENCES]  # frames back to one that it needs

cdef struct Bits:
    const uint8_t *data
    int left  # bits
    int at
    bint short  # more was read than there is


cdef inline uint32_t take(Bits *bits, int count) noexcept nogil:
    """The next `count` ≤ 16 bits; 0 and `short` when there are not so many."""
    cdef uint32_t value = 0
    cdef int i
    if count > bits.left:
        bits.short = True
        bits.left = 0
        return 0
    for i in range(count):
        value = value << 1 | (bits.data[bits.at >> 3] >> (7 - (bits.at & 7)) & 1)
        bits.at += 1
    bits.left -= count
    return value


cdef inline uint32_t take_below(Bits *bits, uint32_t count) noexcept nogil:
    """A value below `count` ≥ 1, ns(n) of the AV1 specification section 4.10.7."""
    cdef int width = 0
    cdef uint32_t rest = count, short_codes, value
    while rest:
        rest >>= 1
        width += 1
    short_codes = (<uint32_t>1 << width) - count
    value = take(bits, width - 1)
    if value < short_codes:
        return value
    return (value << 1) - short_codes + take(bits, 1)


cdef inline bint read_structure(Bits *bits, Structure *structure) noexcept nogil:
    """Section A.8.2, template_dependency_structure; False when it is none."""
    cdef int i, j, spatial = 0, temporal = 0
    cdef uint32_t step, back
    structure.id_offset = take(bits, 6)
    structure.targets = take(bits, 5) + 1
    structure.templates = 0
    while True:
        if (
            bits.short or structure.templates == MAX_TEMPLATES
            or spatial > MAX_SPATIAL or temporal > MAX_TEMPORAL
        ):
            return False
        structure.spatial[structure.templates] = spatial
        structure.temporal[structure.templates] = temporal
        structure.templates += 1
        step = take(bits, 2)
        if step == 1:
            temporal += 1
        elif step == 2:
            temporal = 0
            spatial += 1
        elif step == 3:
            break
    structure.spatials = spatial + 1
    for i in range(structure.templates):
        for j in range(structure.targets):
            structure.indication[i][j] = take(bits, 2)
    for i in range(structure.templates):
        structure.references[i] = 0
        while take(bits, 1):
            back = take(bits, 4) + 1
            if structure.references[i] < MAX_REFERENCES:
                structure.reference[i][structure.references[i]] = back
            if structure.references[i] <= MAX_REFERENCES:
                structure.references[i] += 1
    structure.chains = take_below(bits, structure.targets + 1)
    if structure.chains:
        for j in range(structure.targets):
            take_below(bits, structure.chains)
        for i in range(structure.templates):
            for j in range(structure.chains):
                take(bits, 4)
    if take(bits, 1):  # resolutions
        for i in range(structure.spatials):
            take(bits, 16)
            take(bits, 16)
    structure.active = <uint32_t>((<uint64_t>1 << structure.targets) - 1)
    return not bits.short


cdef inline void find_targets(Structure *structure, uint32_t active) noexcept nogil:
    """Section A.8.2, decode_target_layers: a target's layers are the highest of its frames."""
    cdef int i, j, s, t, best, least = NO_TARGET
    cdef int spatial[MAX_TARGETS]
    cdef int temporal[MAX_TARGETS]
    cdef int shows[MAX_TARGETS]
    structure.active = active
    for j in range(structure.targets):
        spatial[j] = temporal[j] = 0
        for i in range(structure.templates):
            if structure.indication[i][j] != NOT_PRESENT:
                spatial[j] = max(spatial[j], <int>structure.spatial[i])
                temporal[j] = max(temporal[j], <int>structure.temporal[i])
        shows[j] = spatial[j] * (MAX_TEMPORAL + 1) + temporal[j]
        if active >> j & 1 and (least == NO_TARGET or shows[j] < shows[least]):
            least = j
    for s in range(TOP_SPATIAL + 1):
        for t in range(TOP_TEMPORAL + 1):
            best = NO_TARGET
            for j in range(structure.targets):
                # The highest limit is none.
                if (
                    not active >> j & 1
                    or (spatial[j] > s and s < TOP_SPATIAL)
                    or (temporal[j] > t and t < TOP_TEMPORAL)
                ):
                    continue
                if best == NO_TARGET or shows[j] > shows[best]:
                    best = j
            structure.target_within[s][t] = best if best != NO_TARGET else least


cdef inline bint parse_descriptor(
    const uint8_t *data, int length, const Structure *known, Structure *fresh, Frame *frame
) noexcept nogil:
    """The frame that a descriptor tells of; `frame.keyframe` when `fresh` holds a new structure.

    False when it reaches past its end, or names a template of a structure that is not `known`
    (which may be NULL).
    """
    cdef Bits bits
    cdef const Structure *structure = known
    cdef int template, i
    cdef uint32_t size, back
    cdef bint own_indications = False, own_steps = False, own_chains = False, active = False
    bits.data = data
    bits.left = 8 * length
    bits.at = 0
    bits.short = False
    frame.begins = take(&bits, 1)
    frame.ends = take(&bits, 1)
    template = take(&bits, 6)
    frame.number = take(&bits, 16)
    frame.keyframe = False
    if bits.short:
        return False
    if length > 3:
        frame.keyframe = take(&bits, 1)
        active = take(&bits, 1)
        own_indications = take(&bits, 1)
        own_steps = take(&bits, 1)
        own_chains = take(&bits, 1)
        if frame.keyframe:
            if not read_structure(&bits, fresh):
                return False
            structure = fresh
    if structure == NULL:
        return False
    frame.active = structure.active
    frame.tells = active
    if active:
        # The first bit is the last target's.
        frame.active = take(&bits, max(<int>structure.targets - 16, 0)) << 16
        frame.active |= take(&bits, min(<int>structure.targets, 16))
    template = (template + 64 - structure.id_offset) & 63
    if template >= structure.templates:
        return False
    frame.spatial = structure.spatial[template]
    frame.temporal = structure.temporal[template]
    memcpy(frame.indication, structure.indication[template], MAX_TARGETS)
    frame.references = structure.references[template]
    for i in range(min(<int>frame.references, <int>MAX_REFERENCES)):
        frame.reference[i] = structure.reference[template][i]
    if own_indications:
        for i in range(structure.targets):
            frame.indication[i] = take(&bits, 2)
    if own_steps:
        frame.references = 0
        size = take(&bits, 2)
        while size:
            back = take(&bits, 4 * size) + 1
            if frame.references < MAX_REFERENCES:
                frame.reference[frame.references] = back
            if frame.references <= MAX_REFERENCES:
                frame.references += 1
            size = take(&bits, 2)
    if own_chains:
        for i in range(structure.chains):
            take(&bits, 8)
    return not bits.short
