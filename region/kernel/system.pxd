"""What the kernel uses of Linux and of libsrtp, declared once."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <unistd.h>

    /* A fair lock: whoever waits is served before the holder can take it again
       (the pump would otherwise starve Python under load). */
    typedef struct { pthread_mutex_t next, main; int waiting; } fair_lock;
    static inline void fair_init(fair_lock *l) {
        pthread_mutex_init(&l->next, 0); pthread_mutex_init(&l->main, 0); l->waiting = 0;
    }
    static inline void fair_destroy(fair_lock *l) {
        pthread_mutex_destroy(&l->next); pthread_mutex_destroy(&l->main);
    }
    static inline void fair_acquire(fair_lock *l) {
        __atomic_add_fetch(&l->waiting, 1, __ATOMIC_RELAXED);
        pthread_mutex_lock(&l->next); pthread_mutex_lock(&l->main); pthread_mutex_unlock(&l->next);
        __atomic_sub_fetch(&l->waiting, 1, __ATOMIC_RELAXED);
    }
    static inline void fair_release(fair_lock *l) { pthread_mutex_unlock(&l->main); }
    static inline int fair_wanted(fair_lock *l) {
        return __atomic_load_n(&l->waiting, __ATOMIC_RELAXED);
    }

    static inline uint32_t load_acquire(uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void store_release(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

    static inline void prefetch(const void *p) { __builtin_prefetch(p, 1); }

    static inline int64_t monotonic_ns(void) {
        struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }

    /* Socket addresses as 19 bytes, IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2), the port,
       and 0 for UDP or 1 for TCP; and back in the family of the socket. The scope of a
       link-local address is kept beside them. */
    static const uint8_t v4_mapped[12] = {0,0,0,0,0,0,0,0,0,0,0xff,0xff};
    static inline int address_from_sockaddr(const struct sockaddr_storage *s, uint8_t *out) {
        out[18] = 0;
        if (s->ss_family == AF_INET6) {
            const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)s;
            memcpy(out, &a->sin6_addr, 16); memcpy(out + 16, &a->sin6_port, 2); return 1;
        }
        if (s->ss_family == AF_INET) {
            const struct sockaddr_in *a = (const struct sockaddr_in *)s;
            memcpy(out, v4_mapped, 12); memcpy(out + 12, &a->sin_addr, 4);
            memcpy(out + 16, &a->sin_port, 2); return 1;
        }
        return 0;
    }
    /* Large enough for both families, and a fifth of a sockaddr_storage. */
    typedef union { struct sockaddr_in v4; struct sockaddr_in6 v6; } socket_address;
    static inline socklen_t sockaddr_from_address(int family, const uint8_t *in, socket_address *s) {
        memset(s, 0, sizeof *s);
        if (family == AF_INET6) {
            s->v6.sin6_family = AF_INET6;
            memcpy(&s->v6.sin6_addr, in, 16); memcpy(&s->v6.sin6_port, in + 16, 2);
            return sizeof s->v6;
        }
        if (memcmp(in, v4_mapped, 12)) return 0;  /* an IPv6 address, but the socket is IPv4 */
        s->v4.sin_family = AF_INET;
        memcpy(&s->v4.sin_addr, in + 12, 4); memcpy(&s->v4.sin_port, in + 16, 2);
        return sizeof s->v4;
    }
    /* A message of several datagrams of the same size, but for the last (UDP GSO). */
    #ifndef SOL_UDP
    #define SOL_UDP 17
    #endif
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103
    #endif
    typedef union { struct cmsghdr head; uint8_t room[CMSG_SPACE(sizeof(uint16_t))]; } segment_size;
    static inline void segment_message(struct msghdr *m, segment_size *control, uint16_t bytes) {
        m->msg_control = control; m->msg_controllen = sizeof control->room;
        control->head.cmsg_level = SOL_UDP; control->head.cmsg_type = UDP_SEGMENT;
        control->head.cmsg_len = CMSG_LEN(sizeof bytes);
        memcpy(CMSG_DATA(&control->head), &bytes, sizeof bytes);
    }
    /* What waits to be received and how much may, as Linux accounts for it; 0 of 0 when it won't say. */
    #ifndef SO_MEMINFO
    #define SO_MEMINFO 55
    #endif
    static inline void receive_queue(int fd, uint32_t *waiting, uint32_t *room) {
        uint32_t info[16] = {0}; socklen_t n = sizeof info;
        if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &n)) info[0] = info[1] = 0;
        *waiting = info[0]; *room = info[1];
    }
    static inline int socket_family(int fd) {
        struct sockaddr_storage s; socklen_t n = sizeof s;
        return getsockname(fd, (struct sockaddr *)&s, &n) ? -1 : s.ss_family;
    }
    """
    ctypedef struct fair_lock:
        pass
    void fair_init(fair_lock *) nogil
    void fair_destroy(fair_lock *) nogil
    void fair_acquire(fair_lock *) nogil
    void fair_release(fair_lock *) nogil
    int fair_wanted(fair_lock *) nogil

    uint32_t load_acquire(uint32_t *) nogil
    void store_release(uint32_t *, uint32_t) nogil
    int64_t monotonic_ns() nogil
    void prefetch(const void *) nogil
    void *aligned_alloc(size_t, size_t) nogil

    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        pass
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    cdef struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    cdef struct timespec:
        pass
    int AF_INET, AF_INET6, MSG_DONTWAIT, MSG_TRUNC
    ssize_t recv(int, void *, size_t, int) nogil
    int recvmmsg(int, mmsghdr *, unsigned int, int, timespec *) nogil
    int sendmmsg(int, mmsghdr *, unsigned int, int) nogil
    ssize_t sendto(int, const void *, size_t, int, const sockaddr *, socklen_t) nogil
    int address_from_sockaddr(const sockaddr_storage *, uint8_t *) nogil
    ctypedef struct socket_address:
        pass
    ctypedef union segment_size:
        pass
    void segment_message(msghdr *, segment_size *, uint16_t) nogil
    socklen_t sockaddr_from_address(int, const uint8_t *, socket_address *) nogil
    int socket_family(int) nogil
    void receive_queue(int, uint32_t *, uint32_t *) nogil

    ctypedef union epoll_data_t:
        int fd
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int EPOLLIN, EPOLL_CTL_ADD, EPOLL_CLOEXEC, EFD_NONBLOCK, EFD_CLOEXEC
    int EPOLLOUT, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int epoll_create1(int) nogil
    int epoll_ctl(int, int, int, epoll_event *) nogil
    int epoll_wait(int, epoll_event *, int, int) nogil
    int eventfd(unsigned int, int) nogil
    ssize_t read(int, void *, size_t) nogil
    ssize_t write(int, const void *, size_t) nogil
    int close(int) nogil
    int errno, EAGAIN, EINTR

# srtp_protect, srtp_unprotect and their RTCP forms: context, packet in place, length in and out.
ctypedef int (*srtp_function)(void *, void *, int *) noexcept nogil
