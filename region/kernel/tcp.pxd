"""One TCP connection as bytes: frames in and out (RFC 4571), and what waits of either, bounded.

Knows no transport and no table; whoever calls holds the tables' lock.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from region.kernel.entries cimport ADDRESS_BYTES
from region.kernel.ring cimport QUEUED_BYTES
from region.kernel.system cimport EAGAIN, EINTR, errno
from region.kernel.wire cimport load16, store16

cdef extern from *:
    """
    #include <sys/socket.h>

    static inline ssize_t send_pieces(
        int fd, const void *first, size_t first_length, const void *then, size_t then_length
    ) {
        struct iovec pieces[2] = {{(void *)first, first_length}, {(void *)then, then_length}};
        struct msghdr message;
        memset(&message, 0, sizeof message);
        message.msg_iov = pieces;
        message.msg_iovlen = 2;
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    /* For the fuzzer, which is to see where a frame ends. */
    #ifndef mark_received
    #define mark_received(start, used, room) ((void)0)
    #endif
    """
    ssize_t send_pieces(int, const void *, size_t, const void *, size_t) nogil
    void mark_received(void *, size_t, size_t) nogil
    int shutdown(int, int) nogil
    int SHUT_RDWR

cdef enum:
    FRAME_HEAD = 2
    MAX_FRAME = QUEUED_BYTES  # as of a datagram
    WAITING_BYTES = 1 << 16  # of one slow receiver: 0.3 s at 1.5 Mbit/s; a power of two

    MALFORMED = -1

    # What became of a frame that was to be sent.
    TAKEN = 0
    FULL = 1
    FAILED = 2

cdef struct Connection:
    int fd
    uint32_t serial  # no other connection has it, for a long time
    uint32_t transport  # NONE until a check has proved whose it is
    uint8_t address[ADDRESS_BYTES]
    bint greeted  # its first frame was STUN
    # What the socket has not taken: a ring, NULL while there is nothing. The positions run
    # freely modulo 2^32.
    uint8_t *waiting
    uint32_t waiting_first, waiting_end
    # The beginning of a frame whose rest has not come.
    int held
    uint8_t partial[FRAME_HEAD + MAX_FRAME]


cdef inline int frame_length(const uint8_t *data, int length) noexcept nogil:
    """Of the frame that begins here; 0 while it has not come whole, or MALFORMED.

    An empty frame, RFC 4571's null packet, is malformed too: no ICE agent has a use for it.
    """
    cdef int frame
    if length < FRAME_HEAD:
        return 0
    frame = load16(data)
    if frame == 0 or frame > MAX_FRAME:
        return MALFORMED
    return frame if FRAME_HEAD + frame <= length else 0


cdef inline int send_frame(Connection *to, const uint8_t *data, int length) noexcept nogil:
    """Send, or keep until the socket takes it, the whole frame or nothing: TAKEN, FULL or FAILED.

    A socket that FAILED is for whoever reads from it to close.
    """
    cdef uint8_t head[FRAME_HEAD]
    cdef ssize_t sent = 0
    if length > WAITING_BYTES - FRAME_HEAD:
        return FULL
    store16(head, <unsigned short>length)
    if to.waiting == NULL:
        sent = send_pieces(to.fd, head, FRAME_HEAD, data, length)
        if sent == FRAME_HEAD + length:
            return TAKEN
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                return FAILED
            sent = 0
        to.waiting = <uint8_t *>malloc(WAITING_BYTES)
        if to.waiting == NULL:
            if sent:  # behind a frame that is cut short nothing could be read
                shutdown(to.fd, SHUT_RDWR)
            return FULL
        to.waiting_first = to.waiting_end = 0
    elif to.waiting_end - to.waiting_first + FRAME_HEAD + length > WAITING_BYTES:
        return FULL
    if sent < FRAME_HEAD:
        keep_waiting(to, head + sent, FRAME_HEAD - <uint32_t>sent)
        sent = FRAME_HEAD
    keep_waiting(to, data + sent - FRAME_HEAD, length + FRAME_HEAD - <uint32_t>sent)
    return TAKEN


cdef inline void keep_waiting(Connection *of, const uint8_t *data, uint32_t length) noexcept nogil:
    """Append to the ring, which has room for it."""
    cdef uint32_t at = of.waiting_end & (WAITING_BYTES - 1)
    cdef uint32_t first = min(length, <uint32_t>WAITING_BYTES - at)
    memcpy(of.waiting + at, data, first)
    memcpy(of.waiting, data + first, length - first)
    of.waiting_end += length


cdef inline void send_waiting(Connection *to) noexcept nogil:
    """As much as the socket takes of what waits; a broken one takes nothing."""
    cdef uint32_t at = to.waiting_first & (WAITING_BYTES - 1)
    cdef uint32_t length = to.waiting_end - to.waiting_first
    cdef uint32_t first = min(length, <uint32_t>WAITING_BYTES - at)
    cdef ssize_t sent
    if to.waiting == NULL:
        return
    sent = send_pieces(to.fd, to.waiting + at, first, to.waiting, length - first)
    if sent > 0:
        to.waiting_first += <uint32_t>sent
        if to.waiting_first == to.waiting_end:
            free(to.waiting)
            to.waiting = NULL
