"""Which frames of a scalable stream an egress passes on, as the dependency descriptor allows.

A frame is passed when the egress's decode target has use for it. Another target begins where the
sender says that it may, with a frame of which all that it needs was passed (AV1 RTP specification,
section A.7); one that needs nothing else than the present one begins anywhere.
"""

from libc.stdint cimport int16_t, uint8_t, uint16_t
from libc.string cimport memset

from region.kernel.descriptor cimport (
    MAX_REFERENCES, NO_TARGET, NOT_PRESENT, SWITCH, Frame, Structure,
)
from region.kernel.picture cimport TOP_SPATIAL, TOP_TEMPORAL

cdef enum:
    FRAMES = 128  # that are remembered

cdef struct Decided:
    uint16_t number
    uint8_t used
    uint8_t passed

cdef struct Frames:
    uint16_t newest
    uint8_t begun  # whether the present stream has had any
    uint8_t started
    uint8_t target  # the decode target that passes
    uint8_t spatial  # the highest that it shows
    uint16_t number_offset  # outgoing minus incoming frame number
    uint16_t last_number  # outgoing
    uint8_t numbered  # whether there is a last one
    uint8_t waiting  # a target that shows more or less is wanted, and cannot begin yet
    Decided decided[FRAMES]


cdef inline void frames_begin(Frames *frames, uint16_t number) noexcept nogil:
    """Another stream: its numbers follow those before."""
    frames.begun = True
    frames.started = False
    frames.target = NO_TARGET
    frames.number_offset = <uint16_t>(frames.last_number + 1 - number) if frames.numbered else 0
    frames.waiting = False
    memset(frames.decided, 0, sizeof(frames.decided))


cdef inline void frames_end(Frames *frames) noexcept nogil:
    """The stream is gone; the next one may have no descriptors at all."""
    frames.begun = False
    frames.waiting = False


cdef inline bint needs_were_passed(const Frames *frames, const Frame *frame) noexcept nogil:
    """Whether the receiver got all that this frame refers to, as far as that is remembered."""
    cdef int i
    cdef const Decided *needed
    cdef uint16_t number
    if frame.references > MAX_REFERENCES:
        return False
    for i in range(frame.references):
        number = frame.number - frame.reference[i]
        needed = &frames.decided[number % FRAMES]
        if (
            frame.reference[i] >= FRAMES or not needed.used or needed.number != number
            or not needed.passed
        ):
            return False
    return True


cdef inline bint may_turn(
    const Frames *frames, const Structure *structure, const Frame *frame, int target
) noexcept nogil:
    """Whether a receiver can decode `target` from this frame on."""
    if frame.indication[target] == NOT_PRESENT:
        return False
    if (
        frames.target == NO_TARGET or frame.keyframe
        or target_below(structure, target, frames.target)
    ):
        return True
    return frame.indication[target] == SWITCH and needs_were_passed(frames, frame)


cdef inline bint target_below(const Structure *structure, int target, int other) noexcept nogil:
    """Whether `target` has no frame that `other` has not."""
    cdef int i
    for i in range(structure.templates):
        if (
            structure.indication[i][target] != NOT_PRESENT
            and structure.indication[i][other] == NOT_PRESENT
        ):
            return False
    return True


cdef inline uint8_t shown_by(const Structure *structure, int target) noexcept nogil:
    """The highest spatial layer of a target's frames."""
    cdef int i
    cdef uint8_t spatial = 0
    for i in range(structure.templates):
        if structure.indication[i][target] != NOT_PRESENT:
            spatial = max(spatial, structure.spatial[i])
    return spatial


cdef inline bint frame_passes(
    Frames *frames, const Structure *structure, const Frame *frame, int spatial, int temporal
) noexcept nogil:
    """Whether packets of this frame are sent, under these limits; the same for all of a frame."""
    cdef Decided *decided = &frames.decided[frame.number % FRAMES]
    cdef int wanted
    if decided.used and decided.number == frame.number:
        return decided.passed
    if not frames.started or <int16_t>(frame.number - frames.newest) > 0:
        frames.started = True
        frames.newest = frame.number
        if frame.keyframe:
            frames.target = NO_TARGET  # targets are numbered anew
        wanted = structure.target_within[min(spatial, TOP_SPATIAL)][min(temporal, TOP_TEMPORAL)]
        frames.waiting = False
        if wanted != frames.target and wanted != NO_TARGET:
            if may_turn(frames, structure, frame, wanted):
                frames.target = wanted
                frames.spatial = shown_by(structure, wanted)
            else:
                frames.waiting = frames.target != NO_TARGET and (
                    shown_by(structure, wanted) != frames.spatial
                )
    decided.used = True
    decided.number = frame.number
    decided.passed = (
        frames.target < structure.targets and frame.indication[frames.target] != NOT_PRESENT
    )
    return decided.passed
