/* What a benchmark must do faster than Python can: the floor's loop, and emptying sockets.

   Compiled by benchmarks/native.py. The floor does what the bridge's pump does (epoll, one
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
