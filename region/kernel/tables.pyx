# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What flows: incoming streams, egresses, and which of them carries which.

Contracts stand in `tables.pyi`; `transports.pyx` tells how tables are changed.
"""

import secrets
from typing import NamedTuple

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from region.kernel.entries cimport *
from region.kernel.flow cimport FIRST_CYCLE, enlist, unlist
from region.kernel.history cimport history_free
from region.kernel.system cimport *
from region.kernel.transports cimport *
from relay.errors import CapacityError, LocalProtocolError

NO_STREAM = -1

cdef enum:
    FIRST_CREDIT = 32  # packets that an egress may send again before it has sent many

    MAX_AWAITING = 4096  # named at once; the others are at the next look

class StreamStats(NamedTuple):
    packets: int
    bytes: int
    highest_sequence: int
    base_sequence: int
    jitter_ticks: int
    level: int
    last_packet_s: float
    last_timestamp: int
    given_up: int


class EgressStats(NamedTuple):
    packets: int
    bytes: int
    stream: int
    wanted: int
    timestamp_offset: int
    last_packet_s: float


cdef inline void free_stream(Stream *stream) noexcept nogil:
    history_free(&stream.history)
    free(stream.egress)
    free(stream)


cdef inline void free_egress(Egress *egress) noexcept nogil:
    free(egress.sent)
    free(egress)


cdef class Tables(Transports):
    def __cinit__(self, int fd):
        cdef uint64_t seed = int.from_bytes(secrets.token_bytes(8), "little")
        self.streams = <Stream **>calloc(MAX_TABLE, sizeof(void *))
        self.egresses = <Egress **>calloc(MAX_TABLE, sizeof(void *))
        if (
            self.streams == NULL or self.egresses == NULL
            or not map_init(&self.by_ssrc, 256, seed)
        ):
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.streams_used):
            if self.streams[i] != NULL:
                free_stream(self.streams[i])
        for i in range(self.egresses_used):
            if self.egresses[i] != NULL:
                free_egress(self.egresses[i])
        free(self.streams)
        free(self.egresses)
        free(self.by_ssrc.slots)

    # ---- transports

    def remove_transport(self, uint32_t transport):
        """Also removes its addresses, streams and egresses."""
        cdef Transport *gone
        cdef uint32_t i
        cdef Key key
        cdef int a
        with nogil:
            fair_acquire(&self.lock)
            gone = self.transport_of(transport)
            if gone != NULL:
                for i in range(self.egresses_used):
                    if self.egresses[i] != NULL and self.egresses[i].transport == gone:
                        self._drop_egress(i)
                for i in range(self.streams_used):
                    if self.streams[i] != NULL and self.streams[i].transport == transport:
                        self._drop_stream(i)
                for a in range(gone.addresses):
                    address_key(gone.address[a], &key)
                    map_remove(&self.by_address, &key)
                self.transports[transport] = NULL
                if transport < self.transports_free:
                    self.transports_free = transport
            fair_release(&self.lock)
        if gone == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        free_transport(gone)
        self.sessions.pop(transport, None)

    # ---- streams

    def add_stream(
        self, uint32_t transport, uint32_t ssrc, *, bint video, uint32_t clock_rate,
        uint32_t csrc, uint32_t rtx_ssrc=0,
    ):
        """Expect this SSRC from this transport; packets of others are dropped and counted."""
        cdef Stream *stream = <Stream *>new_entry(sizeof(Stream))
        cdef Transport *owner
        cdef uint32_t at = NONE
        cdef bint taken = False
        cdef Key key, rtx_key
        if stream == NULL:
            raise MemoryError
        stream.video = video
        stream.transport = transport
        stream.ssrc = ssrc
        stream.csrc = csrc
        stream.clock_rate = clock_rate
        stream.level_16 = 127 * 16
        stream.rtx_ssrc = rtx_ssrc
        stream_key(transport, ssrc, &key)
        stream_key(transport, rtx_ssrc, &rtx_key)
        with nogil:
            fair_acquire(&self.lock)
            owner = self.transport_of(transport)
            taken = map_get(&self.by_ssrc, &key) != NONE or (
                rtx_ssrc != 0 and map_get(&self.by_ssrc, &rtx_key) != NONE
            )
            if owner != NULL and not taken:
                at = free_place(<void **>self.streams, &self.streams_used, &self.streams_free)
                if at < MAX_TABLE and self._name_stream(at, &key, &rtx_key if rtx_ssrc else NULL):
                    self.serials += 1
                    stream.serial = self.serials
                    self.streams[at] = stream
                    self.streams_free = at + 1
                    if at == self.streams_used:
                        self.streams_used += 1
                else:
                    at = NONE
            fair_release(&self.lock)
        if at == NONE:
            free(stream)
            if owner == NULL:
                raise LocalProtocolError(f"there is no transport {transport}")
            if taken:
                raise LocalProtocolError(f"SSRC {ssrc} stands already on transport {transport}")
            raise CapacityError("the bridge has no room for another stream")
        return at

    cdef bint _name_stream(self, uint32_t handle, const Key *key, const Key *rtx_key) noexcept nogil:
        """Both SSRCs or none; False when memory is out."""
        if not map_put(&self.by_ssrc, key, handle):
            return False
        if rtx_key != NULL and not map_put(&self.by_ssrc, rtx_key, handle | RETRANSMISSIONS):
            map_remove(&self.by_ssrc, key)
            return False
        return True

    def remove_stream(self, uint32_t stream):
        """Egresses that carried it fall silent."""
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = stream < self.streams_used and self.streams[stream] != NULL
            if found:
                self._drop_stream(stream)
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no stream {stream}")

    cdef void _drop_stream(self, uint32_t handle) noexcept nogil:
        cdef Stream *stream = self.streams[handle]
        cdef Egress *egress
        cdef uint32_t i
        cdef Key key
        for i in range(stream.egresses):
            egress = stream.egress[i]
            if egress.stream == handle:
                egress.stream = NONE
            if egress.wanted == handle:
                egress.wanted = NONE
        stream_key(stream.transport, stream.ssrc, &key)
        map_remove(&self.by_ssrc, &key)
        if stream.rtx_ssrc:
            stream_key(stream.transport, stream.rtx_ssrc, &key)
            map_remove(&self.by_ssrc, &key)
        free_stream(stream)
        self.streams[handle] = NULL
        if handle < self.streams_free:
            self.streams_free = handle

    # ---- egresses

    def add_egress(
        self, uint32_t transport, uint32_t ssrc, *, bint video, bint trunk, uint32_t rtx_ssrc=0
    ):
        """An outgoing stream: a client's slot, or a trunk's leg."""
        cdef Egress *egress = <Egress *>new_entry(sizeof(Egress))
        cdef Transport *owner
        cdef uint32_t at = NONE
        if egress == NULL:
            raise MemoryError
        egress.video = video
        egress.trunk = trunk
        egress.ssrc = ssrc
        egress.rtx_ssrc = rtx_ssrc
        egress.credit = FIRST_CREDIT
        egress.stream = egress.wanted = NONE
        with nogil:
            fair_acquire(&self.lock)
            owner = self.transport_of(transport)
            if owner != NULL:
                at = free_place(<void **>self.egresses, &self.egresses_used, &self.egresses_free)
                if at < MAX_TABLE:
                    egress.transport = owner
                    self.egresses[at] = egress
                    self.egresses_free = at + 1
                    if at == self.egresses_used:
                        self.egresses_used += 1
                else:
                    at = NONE
            fair_release(&self.lock)
        if at == NONE:
            free(egress)
            if owner == NULL:
                raise LocalProtocolError(f"there is no transport {transport}")
            raise CapacityError("the bridge has no room for another outgoing stream")
        return at

    def remove_egress(self, uint32_t egress):
        """Nothing is sent there any more."""
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                self._drop_egress(egress)
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")

    cdef void _drop_egress(self, uint32_t handle) noexcept nogil:
        cdef Egress *egress = self.egresses[handle]
        if egress.stream != NONE:
            unlist(self.streams[egress.stream], egress)
        if egress.wanted != NONE and egress.wanted != egress.stream:
            unlist(self.streams[egress.wanted], egress)
        free_egress(egress)
        self.egresses[handle] = NULL
        if handle < self.egresses_free:
            self.egresses_free = handle

    def set_source(self, uint32_t egress, int64_t stream):
        """Forward `stream` (or NO_STREAM) there; video waits for a keyframe of the new one."""
        cdef bint found, known = True, listed = True
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found and stream != -1:
                known = 0 <= stream < self.streams_used and self.streams[stream] != NULL
            if found and known:
                listed = self._set_source(egress, NONE if stream == -1 else <uint32_t>stream)
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")
        if not known:
            raise LocalProtocolError(f"there is no stream {stream}")
        if not listed:
            raise MemoryError

    cdef bint _set_source(self, uint32_t handle, uint32_t wanted) noexcept nogil:
        cdef Egress *egress = self.egresses[handle]
        if egress.wanted == wanted and (wanted != NONE or egress.stream == NONE):
            return True
        if wanted != NONE and wanted != egress.stream and not enlist(self.streams[wanted], egress):
            return False
        if wanted != NONE and egress.rtx_ssrc:
            self.streams[wanted].kept = True
        if egress.wanted != NONE and egress.wanted != egress.stream:
            unlist(self.streams[egress.wanted], egress)
        if wanted == NONE and egress.stream != NONE:
            unlist(self.streams[egress.stream], egress)
            egress.stream = NONE
        egress.wanted = wanted
        return True

    # ---- counters

    def stream_stats(self, uint32_t stream):
        """Counters of an incoming stream."""
        cdef Stream copy
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = stream < self.streams_used and self.streams[stream] != NULL
            if found:
                copy = self.streams[stream][0]
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no stream {stream}")
        return StreamStats(
            copy.packets, copy.bytes, <int64_t>copy.highest - FIRST_CYCLE, <int64_t>copy.base - FIRST_CYCLE,
            copy.jitter_16 >> 4,
            copy.level_16 >> 4, copy.last_ns / 1e9, copy.last_timestamp, copy.gaps.given_up,
        )

    def egress_stats(self, uint32_t egress):
        """Counters and present mapping of an outgoing stream."""
        cdef Egress copy
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                copy = self.egresses[egress][0]
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")
        return EgressStats(
            copy.packets, copy.bytes,
            NO_STREAM if copy.stream == NONE else copy.stream,
            NO_STREAM if copy.wanted == NONE else copy.wanted,
            copy.timestamp_offset, copy.last_ns / 1e9,
        )

    def awaiting(self):
        """Egresses that have a path and wait for a keyframe, in no order."""
        cdef uint32_t found[MAX_AWAITING]
        cdef int count = 0
        cdef uint32_t i
        cdef Egress *egress
        cdef Transport *transport
        with nogil:
            fair_acquire(&self.lock)
            for i in range(self.egresses_used):
                egress = self.egresses[i]
                if egress == NULL or egress.wanted == egress.stream or egress.wanted == NONE:
                    continue
                transport = egress.transport
                if egress.video and transport.srtp_out != NULL and transport.to_length:
                    found[count] = i
                    count += 1
                    if count == MAX_AWAITING:
                        break
            fair_release(&self.lock)
        return [found[j] for j in range(count)]
