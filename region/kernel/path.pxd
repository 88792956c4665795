"""What was sent on a transport, how its receiver says that it fared, what that tells of the path.

Judges nothing: `region/gcc.py` does, a few times a second, by what is read here.
draft-holmer-rmcat-transport-wide-cc-extensions-01 section 2: the sender keeps the send times.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free

from region.kernel.feedback cimport LOST, NO_MORE, Fates, deltas_of, fates_begin, next_fate
from region.kernel.measures cimport (
    ProbeMeasure,
    QueueDelay,
    RateWindow,
    burst_received_bps,
    burst_sent_bps,
    probe_add,
    queue_update,
    rate_add,
    rate_bps,
    rate_latest_us,
)
from region.kernel.trend cimport USAGE_OVER, Trend, trend_add, trend_begin
from region.kernel.wire cimport load16, load32

cdef enum:
    DEPARTURES = 4096  # that are remembered, of the 65,536 numbers: none is ambiguous
    KEPT_US = 5_000_000  # feedback on what was sent longer ago says nothing of the path as it is
    TICK_US = 250
    SORTED = 512  # arrivals of one feedback that are put in their order together
    READS_NS = 150_000_000  # between two reports, but for over-use
    AMPLE_READS_NS = 950_000_000  # the same of a path that carries all that is wanted
    AMPLE_UNANSWERED_NS = 400_000_000  # longer than feedback takes: it may be so no more
    ALARMING_UNANSWERED_NS = 1_000_000_000  # longer than it takes on any path: it may be gone
    STRAY_LOSSES = 2  # between two reports; what is lost beyond that may be for want of room
    ALARMING_LOSSES = 10  # of so many packets one beyond the strays
    PRESSES_NS = 1_000_000_000  # between two times that over-use is news
    QUIET_US = 1_000_000  # since the last packet: nobody waits for feedback any more
    DEPARTURE_UNANSWERED = 0
    DEPARTURE_LOST = 1
    DEPARTURE_ARRIVED = 2

cdef struct Departure:
    int64_t sent_us
    uint16_t size_bytes  # on the wire
    uint16_t cluster  # the probe of which it is a part, 0 for none
    uint8_t fate

cdef struct Landing:
    int64_t received_us
    int64_t sent_us
    int size_bytes

cdef struct Landings:
    # Of one feedback.
    Landing landing[SORTED]  # by arrival
    int count
    int64_t least_us  # from sending to arrival, whatever the clocks' origins
    int64_t last_received_us, last_sent_us  # of the last that arrived
cdef struct PathReport:
    # What there is to know since the report before.
    int usage
    bint heard
    double acked_bps, sent_bps  # negative where unknown
    int64_t queue_us
    int64_t acked_packets, lost_packets
    int64_t rtt_us  # negative where unknown
    int64_t unanswered_ns  # 0 where there is nothing
    int64_t never_sent
    bint probed  # whether what follows is news
    uint16_t probe_cluster
    int probe_packets
    int64_t probe_bytes
    double probe_sent_bps, probe_received_bps

cdef struct Path:
    int64_t next  # number, without the wrap-around
    int64_t unanswered_ns  # when the first packet was sent since the last feedback, 0 for none
    RateWindow sent
    RateWindow acked
    Trend trend
    QueueDelay queue
    ProbeMeasure probe
    bint clocked  # whether there is a reference time
    int64_t reference_ticks  # the receiver's clock without its wrap-around each 12 days
    bint answered  # ever
    bint ample  # whether it carries more than is wanted, as Python said
    int64_t read_ns  # when Python was last told of it
    int64_t pressed_ns  # when it was last said that over-use should not wait for a report
    # Since the last report:
    bint heard, over, probed
    int64_t acked_packets, lost_packets, never_sent
    int64_t rtt_us
    Departure departure[DEPARTURES]  # by number modulo DEPARTURES


cdef inline Path *path_new() noexcept nogil:
    """NULL when there is no memory; `path_free` frees it."""
    cdef Path *path = <Path *>calloc(1, sizeof(Path))
    if path != NULL:
        path.rtt_us = -1
        trend_begin(&path.trend)
    return path


cdef inline void path_free(Path *path) noexcept nogil:
    free(path)


cdef inline uint16_t path_sent(
    Path *path, int size_bytes, int64_t now_ns, uint16_t cluster
) noexcept nogil:
    """The number that the packet gets; times go on from call to call."""
    cdef int64_t number = path.next, now_us = now_ns // 1_000
    cdef Departure *departure = &path.departure[number & (DEPARTURES - 1)]
    path.next = number + 1
    departure.sent_us = now_us
    departure.size_bytes = <uint16_t>size_bytes
    departure.cluster = cluster
    departure.fate = DEPARTURE_UNANSWERED
    rate_add(&path.sent, size_bytes, now_us)
    if path.unanswered_ns == 0:
        path.unanswered_ns = now_ns
    return <uint16_t>number


cdef inline bint path_feedback(
    Path *path, const uint8_t *fci, int length, int64_t now_ns
) noexcept nogil:
    """What one feedback says; False where it is malformed, and nothing has changed.

    A loss counts once, and no more should the packet arrive after all.
    """
    cdef int deltas = deltas_of(fci, length), fate
    cdef Fates fates
    cdef Departure *departure
    # The number nearest to the newest one that ends in these 16 bits.
    cdef int64_t newest = path.next - 1
    cdef int64_t base, at, oldest, end, horizon_us, reference_ticks
    cdef int64_t acked = 0, lost = 0
    cdef Landings landings
    if deltas < 0:
        return False
    fates_begin(&fates, fci, deltas)
    fate = next_fate(&fates)
    if newest < 0:
        while fate != NO_MORE:
            path.never_sent += fate != LOST
            fate = next_fate(&fates)
        return True
    base = newest + <int16_t>(load16(fci) - <uint16_t>newest)
    oldest = max(<int64_t>0, path.next - DEPARTURES)
    horizon_us = path.departure[newest & (DEPARTURES - 1)].sent_us - KEPT_US
    reference_ticks = path_reference(path, load32(fci + 4) >> 8)
    landings_begin(&landings)
    # It may claim 65,535 losses in 20 bytes: look only where there are packets.
    at = max(base, oldest)
    while fate != NO_MORE:
        end = base + fates.offset
        if fate == LOST:
            end = min(end, path.next)
            while at < end:
                departure = &path.departure[at & (DEPARTURES - 1)]
                if departure.fate == DEPARTURE_UNANSWERED and departure.sent_us >= horizon_us:
                    departure.fate = DEPARTURE_LOST
                    lost += 1
                at += 1
        elif not 0 < end <= path.next:
            path.never_sent += 1
        elif end > oldest:
            at = end
            departure = &path.departure[(end - 1) & (DEPARTURES - 1)]
            if departure.fate != DEPARTURE_ARRIVED and departure.sent_us >= horizon_us:
                acked += 1
                lost -= departure.fate == DEPARTURE_LOST
                departure.fate = DEPARTURE_ARRIVED
                path_arrived(
                    path, &landings, departure, (reference_ticks + fates.ticks) * TICK_US
                )
        fate = next_fate(&fates)
    if acked:
        path_land(path, &landings)
        queue_update(&path.queue, landings.least_us, landings.last_sent_us)
        path_round_trip(path, now_ns // 1_000 - landings.last_received_us + landings.least_us)
        if path.trend.usage == USAGE_OVER:
            path.over = True
    if acked or lost:
        path.heard = path.answered = True
        path.unanswered_ns = 0
        path.acked_packets += acked
        path.lost_packets += lost
    return True


cdef inline bint path_presses(Path *path, int64_t now_ns) noexcept nogil:
    """Whether there is over-use that should be read at once: what lasts is read soon anyway."""
    if not path.over or (path.pressed_ns and now_ns - path.pressed_ns < PRESSES_NS):
        return False
    path.pressed_ns = now_ns
    return True


cdef inline int64_t path_reference(Path *path, uint32_t reference) noexcept nogil:
    """The reference time, which counts 64 ms in 24 bits, in ticks and without its wrap-around."""
    cdef int64_t step
    if not path.clocked or not -1 <= path.reference_ticks >> 50 <= 0:
        path.clocked = True
        path.reference_ticks = <int64_t>reference << 8
        return path.reference_ticks
    step = (<int64_t>reference - (path.reference_ticks >> 8)) & 0xFFFFFF
    if step >= 1 << 23:
        step -= 1 << 24
    path.reference_ticks += step * 256
    return path.reference_ticks


cdef inline void landings_begin(Landings *landings) noexcept nogil:
    landings.count = 0
    landings.least_us = <int64_t>1 << 62
    landings.last_received_us = -(<int64_t>1 << 62)
    landings.last_sent_us = 0


cdef inline void path_arrived(
    Path *path, Landings *landings, const Departure *departure, int64_t received_us
) noexcept nogil:
    """A packet of a feedback, in the order of sequence: to its place in that of arrival."""
    cdef int i
    if landings.count == SORTED:
        path_land(path, landings)
    i = landings.count
    landings.count += 1
    while i > 0 and landings.landing[i - 1].received_us > received_us:
        landings.landing[i] = landings.landing[i - 1]
        i -= 1
    landings.landing[i].received_us = received_us
    landings.landing[i].sent_us = departure.sent_us
    landings.landing[i].size_bytes = departure.size_bytes
    if probe_add(
        &path.probe, departure.cluster, departure.size_bytes, departure.sent_us, received_us
    ):
        path.probed = True


cdef inline void path_land(Path *path, Landings *landings) noexcept nogil:
    """What the arrivals so far tell."""
    cdef const Landing *landing
    cdef int i
    for i in range(landings.count):
        landing = &landings.landing[i]
        trend_add(&path.trend, landing.sent_us, landing.received_us)
        rate_add(&path.acked, landing.size_bytes, landing.received_us)
        landings.least_us = min(landings.least_us, landing.received_us - landing.sent_us)
        if landing.received_us >= landings.last_received_us:
            landings.last_received_us = landing.received_us
            landings.last_sent_us = landing.sent_us
    landings.count = 0


cdef inline void path_round_trip(Path *path, int64_t rtt_us) noexcept nogil:
    """From sending to feedback, less what the receiver waited before it sent that."""
    rtt_us = max(<int64_t>0, rtt_us)
    if path.rtt_us < 0 or rtt_us < path.rtt_us:
        path.rtt_us = rtt_us


cdef inline bint path_is_unanswered(
    const Path *path, int64_t now_ns, int64_t since_ns
) noexcept nogil:
    return path.unanswered_ns != 0 and now_ns - path.unanswered_ns >= since_ns


cdef inline bint path_is_calm(const Path *path, int64_t now_ns) noexcept nogil:
    """Whether it carries all that is wanted, and nothing since the last report speaks against it."""
    return (
        path.ample and not path.probed and path.lost_packets <= 0
        and not path_is_unanswered(path, now_ns, AMPLE_UNANSWERED_NS)
    )


cdef inline bint path_tells(const Path *path, int64_t now_ns) noexcept nogil:
    """Whether there is anything to report: what was heard, or that nothing is while packets leave.

    Over-use is told at once, and all else not twice in a short while.
    """
    if path.over:
        return True
    if path.read_ns and now_ns - path.read_ns < (
        AMPLE_READS_NS if path_is_calm(path, now_ns) else READS_NS
    ):
        return False
    if path.heard or path.probed or path.never_sent:
        return True
    return (
        path.unanswered_ns != 0
        and now_ns // 1_000 - path.departure[(path.next - 1) & (DEPARTURES - 1)].sent_us < QUIET_US
    )


cdef inline bint path_alarms(const Path *path, int64_t now_ns) noexcept nogil:
    """Whether it was ample, and what there is to report of it should not wait for a second."""
    return path.ample and path_tells(path, now_ns) and (
        path_is_unanswered(path, now_ns, ALARMING_UNANSWERED_NS)
        or (path.lost_packets - STRAY_LOSSES) * ALARMING_LOSSES > path.acked_packets
    )


cdef inline void path_read(Path *path, PathReport *report, int64_t now_ns) noexcept nogil:
    """What was learned since this was called last."""
    path.read_ns = now_ns
    # An over-use that has come and gone is told too.
    report.usage = USAGE_OVER if path.over else path.trend.usage
    report.heard = path.heard
    report.acked_bps = rate_bps(&path.acked, rate_latest_us(&path.acked))
    report.sent_bps = rate_bps(&path.sent, now_ns // 1_000)
    report.queue_us = path.queue.queue_us
    report.acked_packets = path.acked_packets
    report.lost_packets = path.lost_packets
    report.rtt_us = path.rtt_us
    report.unanswered_ns = path.unanswered_ns
    report.never_sent = path.never_sent
    report.probed = path.probed
    report.probe_cluster = path.probe.cluster
    report.probe_packets = path.probe.burst.packets
    report.probe_bytes = path.probe.burst.bytes
    report.probe_sent_bps = burst_sent_bps(&path.probe.burst)
    report.probe_received_bps = burst_received_bps(&path.probe.burst)
    path.heard = False
    path.over = False
    path.probed = False
    path.acked_packets = 0
    path.lost_packets = 0
    path.never_sent = 0
    path.rtt_us = -1
