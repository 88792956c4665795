"""Sums over streams and senders: what was counted of all clients together."""

from libc.stdint cimport uint32_t

from benchmarks.load.entries cimport Client, Sums
from benchmarks.load.tally cimport Stream


cdef inline void sum_stream(Sums *sums, const Stream *stream) noexcept nogil:
    sums.packets += stream.packets
    sums.bytes += stream.bytes
    sums.missing += stream.missing
    sums.given_up += stream.given_up
    sums.reordered += stream.reordered
    sums.recovered += stream.recovered
    sums.duplicates += stream.duplicates
    sums.undecryptable += stream.undecryptable
    sums.malformed += stream.malformed
    sums.unmarked += stream.unmarked
    sums.padding += stream.padding
    sums.picture_jumps += stream.picture_jumps
    sums.base_jumps += stream.base_jumps


cdef inline void sum_client(Sums *sums, const Client *client) noexcept nogil:
    cdef uint32_t i
    for i in range(client.streams):
        sum_stream(sums, client.stream[i])
    for i in range(client.senders):
        sums.sent_packets += client.sender[i].packets
        sums.sent_bytes += client.sender[i].bytes
        sums.skipped += client.sender[i].skipped
        sums.retransmitted += client.sender[i].retransmitted
        sums.keyframes_asked += client.sender[i].keyframes_asked
    sums.retransmissions += client.retransmissions
    sums.unneeded += client.unneeded
    sums.unexpected += client.unexpected
    sums.overflowed += client.overflowed
    sums.malformed += client.malformed
    sums.padding += client.padding
    sums.unsent += client.unsent
