/* Compiled into the sanitized kernel ahead of everything else: says which parts of it ran, and
   lets AddressSanitizer see the ends of datagrams, which all lie in one allocation. */
#ifndef OCTOMESH_SANITIZE_H
#define OCTOMESH_SANITIZE_H

#define _GNU_SOURCE 1
#include <sanitizer/asan_interface.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Counters for libFuzzer. They count in the pump's thread alone: the others' polling would look
   like news. The addresses are relative, so that they mean the same in each run. */
#define OCTOMESH_COVERAGE_BITS 14
__attribute__((visibility("default")))
unsigned char octomesh_coverage[1 << OCTOMESH_COVERAGE_BITS];
static __thread int octomesh_counting;

__attribute__((visibility("hidden"), no_sanitize_coverage, no_sanitize("address", "undefined")))
void __sanitizer_cov_trace_pc(void) {
    if (octomesh_counting) {
        uint32_t at = (uint32_t)((uintptr_t)__builtin_return_address(0)
                                 - (uintptr_t)&__sanitizer_cov_trace_pc);
        octomesh_coverage[at * 2654435761u >> (32 - OCTOMESH_COVERAGE_BITS)]++;
    }
}

/* What is behind a datagram, and what is not filled, may not be read. */
static inline int octomesh_recvmmsg(
    int fd, struct mmsghdr *message, unsigned int count, int flags, struct timespec *timeout
) {
    int received;
    octomesh_counting = 1;
    for (unsigned int i = 0; i < count; i++)
        ASAN_UNPOISON_MEMORY_REGION(
            message[i].msg_hdr.msg_iov->iov_base, message[i].msg_hdr.msg_iov->iov_len);
    received = recvmmsg(fd, message, count, flags, timeout);
    for (unsigned int i = 0; i < count; i++) {
        const struct iovec *vector = message[i].msg_hdr.msg_iov;
        size_t used = (int)i < received ? message[i].msg_len : 0;
        ASAN_POISON_MEMORY_REGION((char *)vector->iov_base + used, vector->iov_len - used);
    }
    return received;
}
#define recvmmsg octomesh_recvmmsg

/* Nor what is behind a frame of TCP's. */
#define mark_received(start, used, room) do { \
        ASAN_UNPOISON_MEMORY_REGION((start), (room)); \
        ASAN_POISON_MEMORY_REGION((char *)(start) + (used), (room) - (used)); \
    } while (0)

/* What is sent may not have run into the next one's place. */
static inline int octomesh_sendmmsg(
    int fd, struct mmsghdr *message, unsigned int count, int flags
) {
    for (unsigned int i = 0; i + 1 < count; i++) {
        const struct iovec *vector = message[i].msg_hdr.msg_iov;
        const struct iovec *next = message[i + 1].msg_hdr.msg_iov;
        if (next->iov_base > vector->iov_base
            && (char *)vector->iov_base + vector->iov_len > (char *)next->iov_base)
            abort();
    }
    return sendmmsg(fd, message, count, flags);
}
#define sendmmsg octomesh_sendmmsg

#endif
