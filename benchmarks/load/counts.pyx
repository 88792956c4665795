# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What was counted of clients, streams and senders, and how long packets took, for Python to read.

Contracts stand in `counts.pyi`.
"""

from typing import NamedTuple

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from benchmarks.load.entries cimport Client, Sender, Sums
from benchmarks.load.mark cimport BUCKETS, DIVISIONS, FIRST_POWER
from benchmarks.load.roster cimport Roster
from benchmarks.load.sums cimport sum_client
from benchmarks.load.tally cimport LAYERS, Stream
from region.kernel.system cimport *
from relay.errors import LocalProtocolError

BUCKET_BOUNDS_NS = tuple(
    (1 << FIRST_POWER + i // DIVISIONS) * (DIVISIONS + i % DIVISIONS) // DIVISIONS
    for i in range(BUCKETS)
)


class StreamStats(NamedTuple):
    ssrc: int
    kind: int
    packets: int
    bytes: int
    missing: int
    given_up: int
    reordered: int
    recovered: int
    duplicates: int
    undecryptable: int
    malformed: int
    unmarked: int
    padding: int
    picture_jumps: int
    base_jumps: int
    keyframes: int
    layer_packets: tuple
    layer_bytes: tuple
    csrc: int
    sender: int
    layer: int
    jitter_ticks: int


class ClientStats(NamedTuple):
    datagrams: int
    bytes: int
    first_media_ns: int
    overflowed: int
    unexpected: int
    malformed: int
    retransmissions: int
    retransmission_bytes: int
    padding: int
    unneeded: int
    feedbacks: int
    nacks_sent: int
    plis_sent: int
    consents: int
    rtcp_failed: int
    refused: int
    unsent: int
    round_trip_ns: int


class SenderStats(NamedTuple):
    packets: int
    bytes: int
    frames: int
    keyframes: int
    keyframes_asked: int
    nacked: int
    retransmitted: int
    skipped: int


class Totals(NamedTuple):
    packets: int
    bytes: int
    missing: int
    given_up: int
    reordered: int
    recovered: int
    duplicates: int
    undecryptable: int
    malformed: int
    unmarked: int
    padding: int
    picture_jumps: int
    base_jumps: int
    retransmissions: int
    unneeded: int
    unexpected: int
    overflowed: int
    sent_packets: int
    sent_bytes: int
    unsent: int
    skipped: int
    retransmitted: int
    keyframes_asked: int


cdef class Counts(Roster):
    def streams(self, uint32_t client):
        """What it has received so far, by stream."""
        cdef Client *of
        cdef Stream copy
        cdef uint32_t i = 0
        cdef bint found = True
        cdef list result = []
        while found:
            with nogil:
                fair_acquire(&self.lock)
                of = self.client_of(client)
                found = of != NULL and i < of.streams
                if found:
                    memcpy(&copy, of.stream[i], sizeof(Stream))
                fair_release(&self.lock)
            if found:
                result.append(stats_of(&copy))
            i += 1
        if of == NULL:
            raise LocalProtocolError(f"there is no client {client}")
        return result

    def client_stats(self, uint32_t client):
        """Its counters."""
        cdef Client *of
        cdef Client copy
        with nogil:
            fair_acquire(&self.lock)
            of = self.client_of(client)
            if of != NULL:
                memcpy(&copy, of, sizeof(Client))
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no client {client}")
        return ClientStats(
            copy.datagrams, copy.bytes, copy.first_media_ns, copy.overflowed, copy.unexpected, copy.malformed,
            copy.retransmissions, copy.retransmission_bytes, copy.padding, copy.unneeded,
            copy.feedbacks, copy.nacks_sent, copy.plis_sent, copy.consents, copy.rtcp_failed,
            copy.refused, copy.unsent, copy.round_trip_ns,
        )

    def sender_stats(self, uint32_t sender):
        """Its counters."""
        cdef Sender *of
        cdef Sender copy
        with nogil:
            fair_acquire(&self.lock)
            of = self.sender_of(sender)
            if of != NULL:
                memcpy(&copy, of, sizeof(Sender))
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no sender {sender}")
        return SenderStats(
            copy.packets, copy.bytes, copy.frames, copy.keyframes, copy.keyframes_asked,
            copy.nacked, copy.retransmitted, copy.skipped,
        )

    def totals(self):
        """Sums over all clients, those included that are gone."""
        cdef Sums sums
        cdef uint32_t i
        with nogil:
            fair_acquire(&self.lock)
            memcpy(&sums, &self.gone, sizeof(Sums))
            for i in range(self.clients_used):
                if self.clients[i] != NULL:
                    sum_client(&sums, self.clients[i])
            fair_release(&self.lock)
        return Totals(
            sums.packets, sums.bytes, sums.missing, sums.given_up, sums.reordered,
            sums.recovered, sums.duplicates, sums.undecryptable, sums.malformed, sums.unmarked,
            sums.padding, sums.picture_jumps, sums.base_jumps, sums.retransmissions,
            sums.unneeded, sums.unexpected, sums.overflowed, sums.sent_packets, sums.sent_bytes, sums.unsent,
            sums.skipped, sums.retransmitted, sums.keyframes_asked,
        )

    def delays(self):
        """How many marked packets had which delay: of sound and of pictures, by bucket."""
        cdef uint64_t audio[BUCKETS]
        cdef uint64_t video[BUCKETS]
        with nogil:
            fair_acquire(&self.lock)
            memcpy(audio, self.audio_delays, sizeof(audio))
            memcpy(video, self.video_delays, sizeof(video))
            fair_release(&self.lock)
        return [audio[i] for i in range(BUCKETS)], [video[i] for i in range(BUCKETS)]


cdef stats_of(const Stream *stream):
    return StreamStats(
        stream.ssrc, stream.kind, stream.packets, stream.bytes, stream.missing, stream.given_up,
        stream.reordered, stream.recovered, stream.duplicates, stream.undecryptable,
        stream.malformed, stream.unmarked, stream.padding, stream.picture_jumps,
        stream.base_jumps, stream.keyframes,
        tuple([stream.layer_packets[i] for i in range(LAYERS)]),
        tuple([stream.layer_bytes[i] for i in range(LAYERS)]),
        stream.csrc, stream.sender, stream.layer, stream.jitter >> 4,
    )
