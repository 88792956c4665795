/* What a benchmark must do faster than Python can: the floor's loop, and emptying sockets.

   Compiled by benchmarks/native.py, which has the same structures. The floor does what the bridge's pump does (epoll, one
   recvmmsg, sendmmsg in batches of 128 from separate buffers) without cryptography and
   rewriting: each received datagram is copied and sent to every destination. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_IN = 64, BATCH_OUT = 128, BYTES = 2048 };

static struct sockaddr_in6 in_address[BATCH_IN];
static uint8_t in_data[BATCH_IN][BYTES], out_data[BATCH_OUT][BYTES];
static struct iovec in_vector[BATCH_IN], out_vector[BATCH_OUT];
static struct mmsghdr in_message[BATCH_IN], out_message[BATCH_OUT];

static long flush(int fd, int count) {
    int at = 0;
    while (at < count) {
        int sent = sendmmsg(fd, out_message + at, count - at, MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            return at;
        }
        at += sent;
    }
    return at;
}

/* Forward until a datagram of one byte comes; how many were sent. */
long floor_run(int fd, const struct sockaddr_in6 *to, int destinations) {
    int poll = epoll_create1(0), queued = 0, received;
    long sent = 0;
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    for (int i = 0; i < BATCH_IN; i++) {
        in_vector[i] = (struct iovec){in_data[i], BYTES};
        in_message[i].msg_hdr = (struct msghdr){
            .msg_iov = &in_vector[i], .msg_iovlen = 1, .msg_name = &in_address[i]};
    }
    for (;;) {
        if (epoll_wait(poll, &event, 1, -1) < 0 && errno != EINTR) break;
        do {
            for (int i = 0; i < BATCH_IN; i++)
                in_message[i].msg_hdr.msg_namelen = sizeof in_address[i];
            received = recvmmsg(fd, in_message, BATCH_IN, MSG_DONTWAIT, 0);
            for (int i = 0; i < received; i++) {
                unsigned length = in_message[i].msg_len;
                if (length == 1) {
                    sent += flush(fd, queued);
                    close(poll);
                    return sent;
                }
                for (int d = 0; d < destinations; d++) {
                    if (queued == BATCH_OUT) {
                        sent += flush(fd, queued);
                        queued = 0;
                    }
                    memcpy(out_data[queued], in_data[i], length);
                    out_vector[queued] = (struct iovec){out_data[queued], length};
                    out_message[queued].msg_hdr = (struct msghdr){
                        .msg_iov = &out_vector[queued], .msg_iovlen = 1,
                        .msg_name = (void *)&to[d], .msg_namelen = sizeof to[d]};
                    queued++;
                }
            }
            sent += flush(fd, queued);
            queued = 0;
        } while (received == BATCH_IN);
    }
    close(poll);
    return sent;
}

/* Read and count what arrives on the sockets until *stop is set.

   It looks each 5 ms and does not wait to be woken: receivers are on other machines in
   truth, and a wake-up for each packet would be charged to whoever sends it. */
void drain(const int *fds, int count, const volatile int *stop, volatile long *datagrams) {
    static struct iovec vector[BATCH_IN];
    static struct mmsghdr message[BATCH_IN];
    static uint8_t data[BATCH_IN][BYTES];
    const struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; i < BATCH_IN; i++) {
        vector[i] = (struct iovec){data[i], BYTES};
        message[i].msg_hdr = (struct msghdr){.msg_iov = &vector[i], .msg_iovlen = 1};
    }
    while (!*stop) {
        nanosleep(&pause, 0);
        for (int i = 0; i < count; i++) {
            int got;
            while ((got = recvmmsg(fds[i], message, BATCH_IN, MSG_DONTWAIT, 0)) > 0)
                *datagrams += got;
        }
    }
}

enum { ARRIVALS = 1 << 13, STREAMS = 64, SAYINGS = 1 << 12, SAYING_BYTES = 1500 };

struct stream {
    uint32_t ssrc;
    uint16_t sequence, payload_type;
    uint64_t packets;
};

/* What is kept of what comes to one socket. */
struct ear {
    uint64_t arrived, arrivals[ARRIVALS]; /* µs << 32 | bytes << 16 | transport-wide number */
    uint64_t stream_count;
    struct stream streams[STREAMS];
};

/* RTCP of all sockets, but for feedback, still encrypted. */
struct mouth {
    uint64_t said;
    struct {
        uint32_t ear, bytes;
        uint8_t data[SAYING_BYTES];
    } sayings[SAYINGS];
};

static uint16_t u16(const uint8_t *at) { return at[0] << 8 | at[1]; }

static void hear_rtp(struct ear *ear, const uint8_t *data, int size, uint64_t us, int number_id) {
    uint32_t ssrc = (uint32_t)u16(data + 8) << 16 | u16(data + 10);
    struct stream *stream = ear->streams, *end = stream + ear->stream_count;
    while (stream < end && stream->ssrc != ssrc) stream++;
    if (stream == ear->streams + STREAMS) return;
    if (stream == end) {
        *stream = (struct stream){.ssrc = ssrc};
        ear->stream_count++;
    }
    stream->sequence = u16(data + 2);
    stream->payload_type = data[1] & 0x7f;
    stream->packets++;
    int at = 12 + 4 * (data[0] & 0x0f);
    if (!(data[0] & 0x10) || at + 4 > size || u16(data + at) != 0xbede) return;
    for (int last = at + 4 + 4 * u16(data + at + 2), e = at + 4; e < last && last <= size;) {
        int id = data[e] >> 4, length = (data[e] & 0x0f) + 1;
        if (id == number_id && e + 2 < last) {
            uint64_t number = u16(data + e + 1), bytes = size;
            ear->arrivals[ear->arrived % ARRIVALS] = us << 32 | bytes << 16 | number;
            __atomic_store_n(&ear->arrived, ear->arrived + 1, __ATOMIC_RELEASE);
            return;
        }
        e += id ? 1 + length : 1;
    }
}

static uint64_t arrival_us(struct msghdr *message) {
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    struct timespec at;
    if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_TIMESTAMPNS)
        memcpy(&at, CMSG_DATA(control), sizeof at);
    else
        clock_gettime(CLOCK_REALTIME, &at);
    return (at.tv_sec * 1000000ull + at.tv_nsec / 1000) & 0xffffffff;
}

/* Listen on the sockets as receivers do who report what arrives when, until *stop is set. */
void listen_to(const int *fds, int count, int number_id, struct ear *ears, struct mouth *mouth,
               const volatile int *stop) {
    static struct iovec vector[BATCH_IN];
    static struct mmsghdr message[BATCH_IN];
    static uint8_t data[BATCH_IN][BYTES], control[BATCH_IN][64];
    const struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; i < BATCH_IN; i++) {
        vector[i] = (struct iovec){data[i], BYTES};
        message[i].msg_hdr = (struct msghdr){
            .msg_iov = &vector[i], .msg_iovlen = 1, .msg_control = control[i]};
    }
    while (!*stop) {
        nanosleep(&pause, 0);
        for (int i = 0; i < count; i++) {
            int got;
            do {
                for (int j = 0; j < BATCH_IN; j++)
                    message[j].msg_hdr.msg_controllen = sizeof control[j];
                got = recvmmsg(fds[i], message, BATCH_IN, MSG_DONTWAIT, 0);
                for (int j = 0; j < got; j++) {
                    int size = message[j].msg_len, type = data[j][1];
                    if (size < 12 || data[j][0] >> 6 != 2) continue;
                    if (type < 192 || type > 223) {
                        hear_rtp(&ears[i], data[j], size, arrival_us(&message[j].msg_hdr), number_id);
                    } else if (type != 205 && size <= SAYING_BYTES) {
                        uint64_t said = mouth->said;
                        mouth->sayings[said % SAYINGS].ear = i;
                        mouth->sayings[said % SAYINGS].bytes = size;
                        memcpy(mouth->sayings[said % SAYINGS].data, data[j], size);
                        __atomic_store_n(&mouth->said, said + 1, __ATOMIC_RELEASE);
                    }
                }
            } while (got == BATCH_IN);
        }
    }
}
