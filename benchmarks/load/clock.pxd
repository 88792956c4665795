"""The wall clock, by which marks and sender reports are; all else goes by the monotonic one."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline int64_t wall_ns(void) {
        struct timespec t; clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    /* RFC 3550 section 4: seconds since 1900 and their fraction. */
    static inline uint64_t ntp_of(int64_t wall) {
        uint64_t s = wall / 1000000000, ns = wall % 1000000000;
        return (s + 2208988800u) << 32 | (ns << 32) / 1000000000u;
    }
    /* A time in RTP ticks of so many a second. */
    static inline int64_t ticks_of(int64_t ns, int64_t rate) {
        return ns / 1000000000 * rate + ns % 1000000000 * rate / 1000000000;
    }
    static inline int64_t thread_cpu_ns(void) {
        struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static inline void sleep_until(int64_t at_ns) {
        struct timespec t = { at_ns / 1000000000, at_ns % 1000000000 };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0);
    }
    """
    int64_t wall_ns() nogil
    uint64_t ntp_of(int64_t) nogil
    int64_t ticks_of(int64_t, int64_t) nogil
    int64_t thread_cpu_ns() nogil
    void sleep_until(int64_t) nogil
