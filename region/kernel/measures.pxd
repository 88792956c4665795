"""What a transport's path does now: what comes through it, the delay in its queue, a probe.

Judges nothing. draft-ietf-rmcat-gcc-02 section 5.5 for the incoming rate.
"""

from libc.stdint cimport int16_t, int64_t, uint16_t

cdef enum:
    RATE_WINDOW_US = 500_000  # section 5.5: over half a second to one second
    BUCKET_US = 10_000  # what comes within such a time is counted together
    BUCKETS = 64  # more than a window has
    MAX_STEP_BACK_US = 2_000_000
    BASE_DELAY_US = 10_000_000
    MAX_PROBE_US = 1_000_000

cdef struct Bucket:
    int64_t at_us
    int64_t bytes

cdef struct RateWindow:
    # Bytes over the last half second of whatever clock its times are from.
    Bucket bucket[BUCKETS]  # a ring
    unsigned int first, count
    int64_t bytes
    int64_t since_us  # how long it has not been empty

cdef struct QueueDelay:
    # Over the shortest one-way delay of the last ten seconds or so: two overlapping minima, as
    # clocks drift apart and routes change.
    bint known, next_known
    int64_t base_us, next_base_us
    int64_t base_from_us
    int64_t queue_us

cdef struct Burst:
    # Packets that were sent for one purpose.
    int packets
    int64_t bytes
    int64_t first_sent_us, last_sent_us
    int64_t first_received_us, last_received_us
    int first_received_bytes, last_sent_bytes

cdef struct ProbeMeasure:
    uint16_t cluster  # 0 before the first
    Burst burst  # from the cluster's first packet to its last
    Burst behind  # what may yet turn out to stand between two of its packets


cdef inline void rate_advance(RateWindow *window, int64_t end_us) noexcept nogil:
    """Drop what is before the window; an empty window begins anew."""
    cdef Bucket *first
    while window.count:
        first = &window.bucket[window.first % BUCKETS]
        if first.at_us > end_us - RATE_WINDOW_US:
            return
        window.bytes -= first.bytes
        window.first += 1
        window.count -= 1


cdef inline void rate_add(RateWindow *window, int size_bytes, int64_t at_us) noexcept nogil:
    """So many bytes at this time; what comes out of order counts as of the latest."""
    cdef Bucket *last = &window.bucket[(window.first + window.count - 1) % BUCKETS]
    if window.count and at_us - last.at_us < BUCKET_US:
        if at_us - last.at_us >= -MAX_STEP_BACK_US:
            last.bytes += size_bytes
            window.bytes += size_bytes
            return
        # Another clock, whatever the reason.
        window.count = 0
        window.bytes = 0
    rate_advance(window, at_us)
    if window.count == 0:
        window.since_us = at_us
    last = &window.bucket[(window.first + window.count) % BUCKETS]
    window.count += 1
    last.at_us = at_us
    last.bytes = size_bytes
    window.bytes += size_bytes


cdef inline int64_t rate_latest_us(const RateWindow *window) noexcept nogil:
    return window.bucket[(window.first + window.count - 1) % BUCKETS].at_us


cdef inline double rate_bps(RateWindow *window, int64_t now_us) noexcept nogil:
    """As of `now_us`, which is `rate_latest_us` or later.

    Negative before a full window, and after a pause.
    """
    rate_advance(window, now_us)
    if window.count == 0 or now_us - window.since_us < RATE_WINDOW_US:
        return -1
    return window.bytes * 8e6 / RATE_WINDOW_US


cdef inline void queue_update(QueueDelay *queue, int64_t delay_us, int64_t at_us) noexcept nogil:
    """The least delay in one feedback, and when: the other packets waited for their own."""
    if at_us - queue.base_from_us > BASE_DELAY_US:
        queue.known = queue.next_known
        queue.base_us = queue.next_base_us
        queue.next_known = False
        queue.base_from_us = at_us
    if not queue.next_known or delay_us < queue.next_base_us:
        queue.next_known = True
        queue.next_base_us = delay_us
    if not queue.known or delay_us < queue.base_us:
        queue.known = True
        queue.base_us = delay_us
    queue.queue_us = delay_us - queue.base_us


cdef inline void burst_add(
    Burst *burst, int size_bytes, int64_t sent_us, int64_t received_us
) noexcept nogil:
    if burst.packets == 0 or sent_us < burst.first_sent_us:
        burst.first_sent_us = sent_us
    if burst.packets == 0 or sent_us > burst.last_sent_us:
        burst.last_sent_us = sent_us
        burst.last_sent_bytes = size_bytes
    if burst.packets == 0 or received_us < burst.first_received_us:
        burst.first_received_us = received_us
        burst.first_received_bytes = size_bytes
    if burst.packets == 0 or received_us > burst.last_received_us:
        burst.last_received_us = received_us
    burst.packets += 1
    burst.bytes += size_bytes


cdef inline void burst_join(Burst *burst, const Burst *behind) noexcept nogil:
    """What is behind belongs to it."""
    if behind.packets == 0:
        return
    if behind.first_sent_us < burst.first_sent_us:
        burst.first_sent_us = behind.first_sent_us
    if behind.last_sent_us > burst.last_sent_us:
        burst.last_sent_us = behind.last_sent_us
        burst.last_sent_bytes = behind.last_sent_bytes
    if behind.first_received_us < burst.first_received_us:
        burst.first_received_us = behind.first_received_us
        burst.first_received_bytes = behind.first_received_bytes
    if behind.last_received_us > burst.last_received_us:
        burst.last_received_us = behind.last_received_us
    burst.packets += behind.packets
    burst.bytes += behind.bytes


cdef inline double burst_sent_bps(const Burst *burst) noexcept nogil:
    """The rate at which it left; 0 where that cannot be told."""
    cdef int64_t took_us = burst.last_sent_us - burst.first_sent_us
    if not 0 < took_us <= MAX_PROBE_US:
        return 0
    # An interval begins when its first packet is complete: n packets have n - 1 intervals.
    return (burst.bytes - burst.last_sent_bytes) * 8e6 / took_us


cdef inline double burst_received_bps(const Burst *burst) noexcept nogil:
    """The rate at which it came; 0 where that cannot be told."""
    cdef int64_t took_us = burst.last_received_us - burst.first_received_us
    if not 0 < took_us <= MAX_PROBE_US:
        return 0
    return (burst.bytes - burst.first_received_bytes) * 8e6 / took_us


cdef inline bint probe_add(
    ProbeMeasure *probe, uint16_t cluster, int size_bytes, int64_t sent_us, int64_t received_us
) noexcept nogil:
    """A packet that arrived, in the order of sequence; whether that changes what is measured."""
    cdef bint newer = cluster and (
        probe.cluster == 0 or <int16_t>(cluster - probe.cluster) > 0
    )
    if newer:
        probe.cluster = cluster
        probe.burst.packets = 0
        probe.burst.bytes = 0
    if probe.cluster == 0:
        return False
    if cluster == probe.cluster:
        if not newer:
            burst_join(&probe.burst, &probe.behind)
        burst_add(&probe.burst, size_bytes, sent_us, received_us)
        probe.behind.packets = 0
        probe.behind.bytes = 0
        return True
    if sent_us - probe.burst.first_sent_us <= MAX_PROBE_US:
        burst_add(&probe.behind, size_bytes, sent_us, received_us)
    return False
