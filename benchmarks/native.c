/* What a benchmark must do faster than Python can: hearing what comes to many sockets.

   Compiled by benchmarks/native.py; benchmarks/ears.py has the same structures. Sockets are looked
   at each 5 ms and nobody waits to be woken: receivers are on other machines in truth, and a wake-up
   for each packet would be charged to whoever sends it. */

#define _GNU_SOURCE
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH_IN = 64, BYTES = 2048 };
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
