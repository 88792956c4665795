/* The floor: what a bridge cannot do without. It does what the bridge's pump does (epoll, recvmmsg,
   sendmmsg from separate buffers) without cryptography and rewriting: each media packet is copied
   and sent to every destination. Its one argument is the address to listen on; it prints the port.

   A datagram of one byte makes its sender a destination ('+'), or no longer ('-'). Other than
   media is received and no more. It ends with its standard input. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH_IN = 64, BATCH_OUT = 128, BYTES = 2048, DESTINATIONS = 4096, BUFFER = 4 << 20 };

static struct sockaddr_in6 in_address[BATCH_IN], destination[DESTINATIONS];
static uint8_t in_data[BATCH_IN][BYTES], out_data[BATCH_OUT][BYTES];
static struct iovec in_vector[BATCH_IN], out_vector[BATCH_OUT];
static struct mmsghdr in_message[BATCH_IN], out_message[BATCH_OUT];
static int destinations, queued;

static void flush(int fd) {
    int at = 0;
    while (at < queued) {
        int sent = sendmmsg(fd, out_message + at, queued - at, MSG_DONTWAIT);
        if (sent > 0) at += sent;
        else if (errno != EINTR) break;
    }
    queued = 0;
}

static void forward(int fd, const uint8_t *data, unsigned length) {
    for (int d = 0; d < destinations; d++) {
        if (queued == BATCH_OUT) flush(fd);
        memcpy(out_data[queued], data, length);
        out_vector[queued] = (struct iovec){out_data[queued], length};
        out_message[queued].msg_hdr = (struct msghdr){
            .msg_iov = &out_vector[queued], .msg_iovlen = 1,
            .msg_name = &destination[d], .msg_namelen = sizeof destination[d]};
        queued++;
    }
}

static void change(uint8_t what, const struct sockaddr_in6 *who) {
    int d = 0;
    while (d < destinations && memcmp(&destination[d], who, sizeof *who)) d++;
    if (what == '+' && d == destinations && d < DESTINATIONS) destination[destinations++] = *who;
    if (what == '-' && d < destinations) destination[d] = destination[--destinations];
}

int main(int count, char **argument) {
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    socklen_t length = sizeof own;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), poll = epoll_create1(0), room = BUFFER, no = 0;
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}}, end = {.events = EPOLLIN};
    if (count != 2 || inet_pton(AF_INET6, argument[1], &own.sin6_addr) != 1) return 2;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)&own, sizeof own)) return 1;
    if (getsockname(fd, (struct sockaddr *)&own, &length)) return 1;
    printf("%d\n", ntohs(own.sin6_port));
    fflush(stdout);
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    epoll_ctl(poll, EPOLL_CTL_ADD, 0, &end);
    for (int i = 0; i < BATCH_IN; i++) {
        in_vector[i] = (struct iovec){in_data[i], BYTES};
        in_message[i].msg_hdr = (struct msghdr){
            .msg_iov = &in_vector[i], .msg_iovlen = 1, .msg_name = &in_address[i]};
    }
    for (;;) {
        int received;
        if (epoll_wait(poll, &event, 1, -1) < 0) {
            if (errno == EINTR) continue;
            return 1;
        }
        if (event.data.fd == 0) return 0;
        do {
            for (int i = 0; i < BATCH_IN; i++)
                in_message[i].msg_hdr.msg_namelen = sizeof in_address[i];
            received = recvmmsg(fd, in_message, BATCH_IN, MSG_DONTWAIT, 0);
            for (int i = 0; i < received; i++) {
                const uint8_t *data = in_data[i];
                unsigned size = in_message[i].msg_len;
                if (size == 1) change(data[0], &in_address[i]);
                else if (size >= 12 && data[0] >> 6 == 2 && (data[1] < 192 || data[1] > 223))
                    forward(fd, data, size);
            }
            flush(fd);
        } while (received == BATCH_IN);
    }
}
