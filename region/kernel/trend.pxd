"""Whether a path's queue grows: the trend of one-way delay against a threshold that adapts.

Knows no rate. draft-ietf-rmcat-gcc-02 sections 5.2 to 5.4 for arrival groups, over-use detector and
adaptive threshold; like libwebrtc since 2017 it fits a line to the smoothed delay instead of the
Kalman filter of section 5.3, and the gains of the threshold are those fitted to that line.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t

cdef enum:
    USAGE_NORMAL = 0  # section 5.4: what the delay says of the path
    USAGE_OVER = 1  # queues grow
    USAGE_UNDER = 2  # queues drain
    GROUP_US = 5_000  # section 5.2: packets that were sent within such a time are one group
    MAX_BURST_US = 100_000
    SILENCE_US = 2_000_000  # what was learned before such a pause is forgotten
    TREND_GROUPS = 20  # the line is fitted to the delays of so many
    MAX_GAIN_GROUPS = 60

cdef extern from *:
    """
    #define TREND_SMOOTHING 0.9
    #define TREND_GAIN 4.0
    #define OVERUSE_MS 10.0          /* section 5.4: a shorter one is none */
    #define THRESHOLD_MS 12.5
    #define MIN_THRESHOLD_MS 6.0
    #define MAX_THRESHOLD_MS 600.0
    #define THRESHOLD_RISE 0.0087
    #define THRESHOLD_FALL 0.039
    #define MAX_EXCESS_MS 15.0       /* section 5.4: no adaptation to a spike */
    #define MAX_ADAPTATION_MS 100.0  /* nor over a longer time than this */
    """
    const double TREND_SMOOTHING
    const double TREND_GAIN
    const double OVERUSE_MS
    const double THRESHOLD_MS
    const double MIN_THRESHOLD_MS
    const double MAX_THRESHOLD_MS
    const double THRESHOLD_RISE
    const double THRESHOLD_FALL
    const double MAX_EXCESS_MS
    const double MAX_ADAPTATION_MS

cdef struct Trend:
    int usage
    bint grouped  # whether there is a group
    bint preceded  # and one before it
    int64_t groups
    int64_t first_sent_us, last_sent_us
    int64_t first_received_us, last_received_us
    int64_t before_sent_us, before_received_us
    double at_ms[TREND_GROUPS]  # a ring: since the first group
    double smoothed_at_ms[TREND_GROUPS]
    int64_t origin_us
    double delay_ms, smoothed_ms
    double trend
    bint over  # the threshold
    double over_ms
    int over_groups
    double threshold_ms
    int64_t adapted_us
    bint adapted


cdef inline void trend_begin(Trend *trend) noexcept nogil:
    trend.threshold_ms = THRESHOLD_MS
    trend_forget(trend)


cdef inline void trend_forget(Trend *trend) noexcept nogil:
    """All but the threshold."""
    trend.usage = USAGE_NORMAL
    trend.grouped = False
    trend.preceded = False
    trend.groups = 0
    trend.delay_ms = 0
    trend.smoothed_ms = 0
    trend.trend = 0
    trend.over = False
    trend.adapted = False


cdef inline void trend_add(Trend *trend, int64_t sent_us, int64_t received_us) noexcept nogil:
    """A packet that arrived, in the order of arrival; the clocks' origins may differ."""
    cdef int64_t since_sent_us, since_received_us
    if trend.grouped:
        since_sent_us = sent_us - trend.last_sent_us
        since_received_us = received_us - trend.last_received_us
        if since_sent_us > SILENCE_US or not -SILENCE_US <= since_received_us <= SILENCE_US:
            trend_forget(trend)
        elif sent_us < trend.first_sent_us:
            return  # it was overtaken by a whole group and says nothing of this one
        elif sent_us - trend.first_sent_us <= GROUP_US or (
            # Section 5.2: a burst that a pause of the path held back arrives at once.
            since_received_us <= GROUP_US
            and since_received_us < since_sent_us
            and received_us - trend.first_received_us < MAX_BURST_US
        ):
            if since_sent_us > 0:
                trend.last_sent_us = sent_us
            trend.last_received_us = received_us
            return
        else:
            trend_complete(trend)
    trend.grouped = True
    trend.first_sent_us = sent_us
    trend.last_sent_us = sent_us
    trend.first_received_us = received_us
    trend.last_received_us = received_us


cdef inline void trend_complete(Trend *trend) noexcept nogil:
    """The group has all its packets."""
    cdef double sent_ms, received_ms, slope
    cdef int at
    if trend.preceded:
        sent_ms = (trend.last_sent_us - trend.before_sent_us) / 1e3
        received_ms = (trend.last_received_us - trend.before_received_us) / 1e3
        if trend.groups == 0:
            trend.origin_us = trend.last_received_us
        at = <int>(trend.groups % TREND_GROUPS)
        trend.groups += 1
        trend.delay_ms += received_ms - sent_ms
        trend.smoothed_ms += (1 - TREND_SMOOTHING) * (trend.delay_ms - trend.smoothed_ms)
        trend.at_ms[at] = (trend.last_received_us - trend.origin_us) / 1e3
        trend.smoothed_at_ms[at] = trend.smoothed_ms
        slope = trend.trend
        if trend.groups >= TREND_GROUPS:
            slope = trend_slope(trend, trend.trend)
        trend_detect(trend, slope, sent_ms)
    trend.preceded = True
    trend.before_sent_us = trend.last_sent_us
    trend.before_received_us = trend.last_received_us


cdef inline double trend_slope(const Trend *trend, double otherwise) noexcept nogil:
    """Of the least-squares line, section 5.3's gradient; `otherwise` when all is at one time."""
    cdef double mean_at = 0, mean_delay = 0, spread = 0, product = 0, distance
    cdef int i
    for i in range(TREND_GROUPS):
        mean_at += trend.at_ms[i]
        mean_delay += trend.smoothed_at_ms[i]
    mean_at /= TREND_GROUPS
    mean_delay /= TREND_GROUPS
    for i in range(TREND_GROUPS):
        distance = trend.at_ms[i] - mean_at
        spread += distance * distance
        product += distance * (trend.smoothed_at_ms[i] - mean_delay)
    return product / spread if spread > 0 else otherwise


cdef inline void trend_detect(Trend *trend, double slope, double sent_ms) noexcept nogil:
    """Section 5.4."""
    cdef double offset_ms = min(trend.groups, <int64_t>MAX_GAIN_GROUPS) * slope * TREND_GAIN
    if offset_ms > trend.threshold_ms:
        if not trend.over:
            trend.over = True
            trend.over_ms = -sent_ms / 2
            trend.over_groups = 0
        trend.over_ms += sent_ms
        trend.over_groups += 1
        if trend.over_ms > OVERUSE_MS and trend.over_groups > 1 and slope >= trend.trend:
            trend.over_ms = 0
            trend.over_groups = 0
            trend.usage = USAGE_OVER
    else:
        trend.over = False
        trend.usage = USAGE_UNDER if offset_ms < -trend.threshold_ms else USAGE_NORMAL
    trend.trend = slope
    trend_adapt(trend, fabs(offset_ms))


cdef inline void trend_adapt(Trend *trend, double offset_ms) noexcept nogil:
    """Section 5.4: the threshold follows the offset, slower up than down."""
    cdef double elapsed_ms = 0, gain
    if trend.adapted:
        elapsed_ms = (trend.last_received_us - trend.adapted_us) / 1e3
    trend.adapted = True
    trend.adapted_us = trend.last_received_us
    if offset_ms > trend.threshold_ms + MAX_EXCESS_MS:
        return
    gain = THRESHOLD_FALL if offset_ms < trend.threshold_ms else THRESHOLD_RISE
    trend.threshold_ms += gain * (offset_ms - trend.threshold_ms) * min(
        elapsed_ms, MAX_ADAPTATION_MS
    )
    trend.threshold_ms = min(max(trend.threshold_ms, MIN_THRESHOLD_MS), MAX_THRESHOLD_MS)
