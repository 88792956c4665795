# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What flows: incoming streams, egresses, and which of them carries which.

Contracts stand in `tables.pyi`; `transports.pyx` tells how tables are changed.
"""

import secrets
from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from region.kernel.connections cimport Connections
from region.kernel.crypt cimport crypt_forget
from region.kernel.entries cimport *
from region.kernel.flow cimport FIRST_CYCLE, enlist, unlist
from region.kernel.history cimport history_free
from region.kernel.system cimport *
from region.kernel.transports cimport *
from relay.errors import CapacityError, LocalProtocolError

NO_STREAM = -1

cdef enum:
    FIRST_CREDIT = 32  # packets that an egress may send again before it has sent many


class Sizes(NamedTuple):
    transports: int
    streams: int
    egresses: int


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
    ssrc: int
    rtx_ssrc: int
    payload_type: int
    layer_bytes: tuple
    spatial_layers: int
    report_ntp: int
    reported_s: float


class EgressStats(NamedTuple):
    packets: int
    bytes: int
    stream: int
    wanted: int
    last_packet_s: float


cdef inline void free_stream(Stream *stream) noexcept nogil:
    history_free(&stream.history)
    free(stream.structure)
    free(stream.egress)
    free(stream)


cdef inline void free_egress(Egress *egress) noexcept nogil:
    free(egress.sent)
    free(egress.frames)
    free(egress)


cdef class Tables(Connections):
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
        """Also removes its addresses, streams and egresses, and closes its connections."""
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
                self._close_connections_of(gone)
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
        uint32_t csrc, uint32_t rtx_ssrc=0, bint repairable=False, bint upper=False,
        bytes mid=b"", bytes rid=b"",
    ):
        """Expect this SSRC from this transport; packets of others are dropped and counted."""
        cdef Stream *stream
        cdef Transport *owner
        cdef uint32_t at = NONE
        cdef bint taken = False, room = True
        if len(mid) > MAX_NAME or len(rid) > MAX_NAME or (ssrc == 0 and not mid):
            raise LocalProtocolError("a stream needs an SSRC, or a MID and RID of at most 16 bytes")
        stream = <Stream *>new_entry(sizeof(Stream))
        if stream == NULL:
            raise MemoryError
        stream.video = video
        stream.transport = transport
        stream.ssrc = ssrc
        stream.csrc = csrc
        stream.clock_rate = clock_rate
        stream.level_16 = SILENCE * 16
        stream.rtx_ssrc = rtx_ssrc
        stream.repairable = repairable or rtx_ssrc != 0
        stream.payload = stream.told_payload = NO_PAYLOAD
        stream.upper = upper
        if ssrc == 0:
            stream.mid_length = <uint8_t>len(mid)
            stream.rid_length = <uint8_t>len(rid)
            memcpy(stream.mid, PyBytes_AS_STRING(mid), len(mid))
            memcpy(stream.rid, PyBytes_AS_STRING(rid), len(rid))
        with nogil:
            fair_acquire(&self.lock)
            owner = self.transport_of(transport)
            if owner != NULL:
                taken = self._is_taken(transport, ssrc) or self._is_taken(transport, rtx_ssrc)
                room = ssrc != 0 or owner.unnamed_count < MAX_UNNAMED
            if owner != NULL and not taken and room:
                at = free_place(<void **>self.streams, &self.streams_used, &self.streams_free)
                if at < MAX_TABLE and self._name_stream(at, transport, ssrc, rtx_ssrc):
                    self.serials += 1
                    stream.serial = self.serials
                    self.streams[at] = stream
                    self.streams_free = at + 1
                    if at == self.streams_used:
                        self.streams_used += 1
                    if ssrc == 0:
                        owner.unnamed[owner.unnamed_count] = at
                        owner.unnamed_count += 1
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

    cdef bint _is_taken(self, uint32_t transport, uint32_t ssrc) noexcept nogil:
        cdef Key key
        stream_key(transport, ssrc, &key)
        return ssrc != 0 and map_get(&self.by_ssrc, &key) != NONE

    cdef bint _name_stream(
        self, uint32_t handle, uint32_t transport, uint32_t ssrc, uint32_t rtx_ssrc
    ) noexcept nogil:
        """Both SSRCs (those that are not 0) or none; False when memory is out."""
        cdef Key key, rtx_key
        stream_key(transport, ssrc, &key)
        stream_key(transport, rtx_ssrc, &rtx_key)
        if ssrc and not map_put(&self.by_ssrc, &key, handle):
            return False
        if rtx_ssrc and not map_put(&self.by_ssrc, &rtx_key, handle | RETRANSMISSIONS):
            if ssrc:
                map_remove(&self.by_ssrc, &key)
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
        cdef Transport *owner = self.transports[stream.transport]
        cdef Egress *egress
        cdef uint32_t i
        cdef int unnamed
        cdef Key key
        for i in range(stream.egresses):
            egress = stream.egress[i]
            if egress.stream == handle:
                egress.stream = NONE
            if egress.wanted == handle:
                egress.wanted = NONE
        for unnamed in range(owner.unnamed_count):
            if owner.unnamed[unnamed] == handle:
                owner.unnamed_count -= 1
                owner.unnamed[unnamed] = owner.unnamed[owner.unnamed_count]
                break
        if stream.ssrc:
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
        self, uint32_t transport, uint32_t ssrc, *, bint video, bint trunk, uint32_t rtx_ssrc=0,
        bint numbered=False,
    ):
        """An outgoing stream: a client's slot, or a trunk's leg."""
        cdef Egress *egress = <Egress *>new_entry(sizeof(Egress))
        cdef Transport *owner
        cdef uint32_t at = NONE
        if egress == NULL:
            raise MemoryError
        egress.video = video
        egress.trunk = trunk
        egress.numbered = numbered
        egress.ssrc = ssrc
        egress.rtx_ssrc = rtx_ssrc
        egress.credit = FIRST_CREDIT
        egress.spatial = egress.temporal = egress.temporal_now = 0xFF
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
        if egress.transport.probe.egress == egress:
            egress.transport.probe.egress = NULL
        if egress.trunk and egress.transport.crypt_out != NULL:
            crypt_forget(egress.transport.crypt_out, egress.ssrc)
            crypt_forget(egress.transport.crypt_out, egress.rtx_ssrc)
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

    def set_layer(self, uint32_t egress, uint8_t spatial, uint8_t temporal):
        """Pass no higher layers than these from the next place on where a decoder can follow."""
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = egress < self.egresses_used and self.egresses[egress] != NULL
            if found:
                self.egresses[egress].spatial = spatial
                self.egresses[egress].temporal = temporal
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no egress {egress}")

    # ---- counters

    def stream_stats(self, uint32_t stream):
        """Counters of an incoming stream."""
        cdef Stream copy
        cdef int spatials = 0, i
        cdef bint found
        with nogil:
            fair_acquire(&self.lock)
            found = stream < self.streams_used and self.streams[stream] != NULL
            if found:
                copy = self.streams[stream][0]
                if copy.structure != NULL:
                    spatials = copy.structure.spatials
            fair_release(&self.lock)
        if not found:
            raise LocalProtocolError(f"there is no stream {stream}")
        return StreamStats(
            copy.packets, copy.bytes, <int64_t>copy.highest - FIRST_CYCLE, <int64_t>copy.base - FIRST_CYCLE,
            copy.jitter_16 >> 4,
            copy.level_16 >> 4, copy.last_ns / 1e9, copy.last_timestamp, copy.gaps.given_up,
            copy.ssrc, copy.rtx_ssrc, -1 if copy.payload == NO_PAYLOAD else copy.payload,
            tuple([copy.layer_bytes[i] for i in range(LAYERS)]), spatials,
            copy.report_ntp, copy.reported_ns / 1e9,
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
            copy.last_ns / 1e9,
        )

    def sizes(self):
        """How many transports, streams and egresses there are."""
        cdef uint32_t i, transports = 0, streams = 0, egresses = 0
        with nogil:
            fair_acquire(&self.lock)
            for i in range(self.transports_used):
                transports += self.transports[i] != NULL
            for i in range(self.streams_used):
                streams += self.streams[i] != NULL
            for i in range(self.egresses_used):
                egresses += self.egresses[i] != NULL
            fair_release(&self.lock)
        return Sizes(transports, streams, egresses)
