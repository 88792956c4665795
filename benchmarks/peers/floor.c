/* The floor: what a bridge cannot do without. It does what the bridge's pump does (epoll, recvmmsg,
   sendmmsg from separate buffers) without cryptography and rewriting: each media packet is copied
   and sent to every destination. Its one argument is the address to listen on; it prints the port.

   A datagram of three bytes, the last two a room's number, makes who sent it one of the room's
   destinations ('+'), or no longer ('-'), or the one whose media the room gets ('*'): by its port,
   so that no two of them have the same. Other than media is received and no more. It ends with
   its standard input. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH_IN = 64, BATCH_OUT = 128, BYTES = 2048, DESTINATIONS = 4096, ROOMS = 4096, BUFFER = 4 << 20 };

struct room {
    struct sockaddr_in6 *destination;
    int destinations;
};

static struct sockaddr_in6 in_address[BATCH_IN];
static uint8_t in_data[BATCH_IN][BYTES], out_data[BATCH_OUT][BYTES];
static struct iovec in_vector[BATCH_IN], out_vector[BATCH_OUT];
static struct mmsghdr in_message[BATCH_IN], out_message[BATCH_OUT];
static struct room room_of[ROOMS];
static uint16_t by_port[1 << 16];
static int queued;

static void flush(int fd) {
    int at = 0;
    while (at < queued) {
        int sent = sendmmsg(fd, out_message + at, queued - at, MSG_DONTWAIT);
        if (sent > 0) at += sent;
        else if (errno != EINTR) break;
    }
    queued = 0;
}

static void forward(int fd, const struct room *room, const uint8_t *data, unsigned length) {
    for (int d = 0; d < room->destinations; d++) {
        if (queued == BATCH_OUT) flush(fd);
        memcpy(out_data[queued], data, length);
        out_vector[queued] = (struct iovec){out_data[queued], length};
        out_message[queued].msg_hdr = (struct msghdr){
            .msg_iov = &out_vector[queued], .msg_iovlen = 1,
            .msg_name = &room->destination[d], .msg_namelen = sizeof room->destination[d]};
        queued++;
    }
}

static void change(const uint8_t *data, const struct sockaddr_in6 *who) {
    int number = data[1] << 8 | data[2], d = 0;
    if (number >= ROOMS) return;
    struct room *room = &room_of[number];
    if (!room->destination) room->destination = calloc(DESTINATIONS, sizeof *who);
    if (!room->destination) abort();
    if (data[0] == '*') by_port[who->sin6_port] = number;
    while (d < room->destinations && memcmp(&room->destination[d], who, sizeof *who)) d++;
    if (data[0] == '+' && d == room->destinations && d < DESTINATIONS)
        room->destination[room->destinations++] = *who;
    if (data[0] == '-' && d < room->destinations)
        room->destination[d] = room->destination[--room->destinations];
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
                if (size == 3) change(data, &in_address[i]);
                else if (size >= 12 && data[0] >> 6 == 2 && (data[1] < 192 || data[1] > 223))
                    forward(fd, &room_of[by_port[in_address[i].sin6_port]], data, size);
            }
            flush(fd);
        } while (received == BATCH_IN);
    }
}
