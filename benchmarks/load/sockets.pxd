"""Sockets that say of each datagram when it came, and hand over as one what was sent as one."""

from libc.stdint cimport int64_t, uint32_t

from region.kernel.system cimport msghdr

cdef enum:
    CONTROL_BYTES = 128  # room for what the system says of a message

cdef extern from *:
    """
    #include <errno.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/prctl.h>
    #include <sys/socket.h>
    #include <time.h>
    #ifndef UDP_GRO
    #define UDP_GRO 104  /* <linux/udp.h> */
    #endif
    #ifndef SCM_TIMESTAMPNS
    #define SCM_TIMESTAMPNS SO_TIMESTAMPNS
    #endif
    /* When the system had it, of what size its segments are (0 where it does not say), and how
       many came so far for which the socket had no room. */
    static inline void read_control(
        struct msghdr *m, int64_t *at_ns, int *segment, uint32_t *overflowed
    ) {
        struct cmsghdr *c;
        *at_ns = 0; *segment = 0;
        for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                struct timespec t; memcpy(&t, CMSG_DATA(c), sizeof t);
                *at_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
            } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
                memcpy(segment, CMSG_DATA(c), sizeof *segment);
            } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
                memcpy(overflowed, CMSG_DATA(c), sizeof *overflowed);
            }
        }
    }
    static inline int ask_for_control(int fd) {
        int one = 1;
        return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one)
            || setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one)
            || setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one);
    }
    static inline void set_control(struct msghdr *m, void *room) {
        m->msg_control = room; m->msg_controllen = 128;
    }
    static inline void enlarge(int fd, int bytes) {
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    static inline void wake_exactly(void) { prctl(PR_SET_TIMERSLACK, 1000); }
    """
    void read_control(msghdr *, int64_t *, int *, uint32_t *) nogil
    int ask_for_control(int) nogil
    void set_control(msghdr *, void *) nogil
    void enlarge(int, int) nogil
    void wake_exactly() nogil
    int ECONNREFUSED
