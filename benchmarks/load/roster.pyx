# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""Whose media the engine moves: clients, senders and scripts.

Contracts stand in `roster.pyi`. Each change parses its arguments first, then takes the lock.
"""

import secrets

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pylibsrtp._binding import ffi

from benchmarks.load.entries cimport *
from benchmarks.load.sums cimport sum_client
from benchmarks.load.tally cimport LAYERS, Stream
from region.kernel.arrivals cimport Arrivals
from region.kernel.history cimport history_free
from region.kernel.system cimport *
from relay.errors import CapacityError, LocalProtocolError
from relay.payload import HeaderExtension

PAYLOAD_AUDIO = AUDIO
PAYLOAD_VIDEO = VIDEO
PAYLOAD_VIDEO_RTX = VIDEO_RTX

cdef void *context_of(session) except NULL:
    """libsrtp's own, of a `pylibsrtp.Session`."""
    return <void *><uintptr_t>int(ffi.cast("uintptr_t", session._srtp[0]))


cdef void free_stream(Stream *stream) noexcept nogil:
    free(stream.gaps)
    free(stream)


cdef void free_sender(Sender *sender) noexcept nogil:
    history_free(&sender.history)
    free(sender)


cdef void free_client(Client *client) noexcept nogil:
    cdef uint32_t i
    for i in range(client.streams):
        free_stream(client.stream[i])
    for i in range(client.senders):
        free_sender(client.sender[i])
    free(client.ssrc)
    free(client.stream)
    free(client.repairs)
    free(client.arrivals)
    free(client)


cdef class Roster:
    def __cinit__(self):
        fair_init(&self.lock)
        self.sessions = {}
        self.clients = <Client **>calloc(MAX_CLIENTS, sizeof(void *))
        self.senders = <Sender **>calloc(MAX_SENDERS_IN_ALL, sizeof(void *))
        self.scripts = <Script **>calloc(MAX_SCRIPTS, sizeof(void *))
        if self.clients == NULL or self.senders == NULL or self.scripts == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.clients_used):
            if self.clients[i] != NULL:
                free_client(self.clients[i])
        for i in range(self.scripts_used):
            free(self.scripts[i].frame)
            free(self.scripts[i])
        free(self.clients)
        free(self.senders)
        free(self.scripts)
        fair_destroy(&self.lock)

    cdef Client *client_of(self, uint32_t handle) noexcept nogil:
        return self.clients[handle] if handle < self.clients_used else NULL

    cdef Sender *sender_of(self, uint32_t handle) noexcept nogil:
        return self.senders[handle] if handle < self.senders_used else NULL

    cdef void _forgotten(self, Client *client) noexcept nogil:
        """The client is about to be no more."""

    # ---- clients

    def add_client(
        self, int fd, outbound, inbound, *, dict payload_types not None,
        dict extensions not None, dict repairs not None, uint32_t decrypt_one_in=1,
        bint feedback=True, bint reports=True, bint nacks=True, bint plis=True,
    ):
        """A connected socket whose media is moved from now on; its handle."""
        cdef uint32_t at = 0
        cdef Client *client = <Client *>calloc(1, sizeof(Client))
        cdef uint32_t chance = secrets.randbits(32)
        if client == NULL:
            raise MemoryError
        try:
            client.srtp_out = context_of(outbound)
            client.srtp_in = context_of(inbound)
            self._number(client, payload_types, extensions, repairs)
        except:
            free_client(client)
            raise
        client.fd = fd
        client.decrypt_one_in = decrypt_one_in
        client.feedback, client.reports = feedback, reports
        client.nacks, client.plis = nacks, plis
        client.own_ssrc = 1
        client.round_trip_ns = NO_ROUND_TRIP_NS
        client.number = <uint16_t>chance
        # Those of one process do not all report at the same moment.
        client.feedback_ns = client.report_ns = monotonic_ns() + chance % 1_000_000_000
        with nogil:
            fair_acquire(&self.lock)
            while at < self.clients_used and self.clients[at] != NULL:
                at += 1
            if at < MAX_CLIENTS:
                client.handle = at
                self.clients[at] = client
                self.clients_used = max(self.clients_used, at + 1)
            fair_release(&self.lock)
        if at == MAX_CLIENTS:
            free_client(client)
            raise CapacityError("the engine has no room for another client")
        self.sessions[at] = (outbound, inbound)
        return at

    def renumber(
        self, uint32_t client, *, dict payload_types not None, dict extensions not None,
        dict repairs not None,
    ):
        """A later description's numbers."""
        cdef Client numbered
        cdef Client *of
        memset(&numbered, 0, sizeof(Client))
        try:
            self._number(&numbered, payload_types, extensions, repairs)
            with nogil:
                fair_acquire(&self.lock)
                of = self.client_of(client)
                if of != NULL:
                    memcpy(of.kind_of, numbered.kind_of, sizeof(of.kind_of))
                    memcpy(
                        of.canonical_extension, numbered.canonical_extension,
                        sizeof(of.canonical_extension),
                    )
                    of.number_id, of.level_id = numbered.number_id, numbered.level_id
                    of.mid_id, of.rid_id = numbered.mid_id, numbered.rid_id
                    of.repaired_rid_id = numbered.repaired_rid_id
                    of.repairs, numbered.repairs = numbered.repairs, of.repairs
                    of.repair_pairs = numbered.repair_pairs
                    if of.arrivals == NULL:
                        of.arrivals, numbered.arrivals = numbered.arrivals, of.arrivals
                fair_release(&self.lock)
        finally:
            free(numbered.repairs)
            free(numbered.arrivals)
        if of == NULL:
            raise LocalProtocolError(f"there is no client {client}")

    cdef _number(self, Client *client, dict payload_types, dict extensions, dict repairs):
        cdef int number, meaning
        cdef uint32_t i = 0
        for number, meaning in payload_types.items():
            if not 0 <= number < 128:
                raise LocalProtocolError("a payload type is between 0 and 127")
            client.kind_of[number] = meaning
        for meaning, number in extensions.items():
            if not 0 < number < 15:
                raise LocalProtocolError("an extension id is between 1 and 14")
            client.canonical_extension[number] = meaning
        client.number_id = extensions.get(HeaderExtension.TRANSPORT_SEQUENCE, 0)
        client.level_id = extensions.get(HeaderExtension.AUDIO_LEVEL, 0)
        client.mid_id = extensions.get(HeaderExtension.MID, 0)
        client.rid_id = extensions.get(HeaderExtension.RID, 0)
        client.repaired_rid_id = extensions.get(HeaderExtension.REPAIRED_RID, 0)
        if client.number_id:
            client.arrivals = <Arrivals *>calloc(1, sizeof(Arrivals))
            if client.arrivals == NULL:
                raise MemoryError
        client.repairs = <uint32_t *>calloc(max(1, len(repairs)), 2 * sizeof(uint32_t))
        if client.repairs == NULL:
            raise MemoryError
        for retransmissions, original in repairs.items():
            client.repairs[2 * i] = retransmissions
            client.repairs[2 * i + 1] = original
            i += 1
        client.repair_pairs = i

    def remove_client(self, uint32_t client):
        """Let go of its socket and its sessions; what was counted stays in `totals`."""
        cdef Client *gone
        cdef uint32_t i
        with nogil:
            fair_acquire(&self.lock)
            gone = self.client_of(client)
            if gone != NULL:
                self._forgotten(gone)
                sum_client(&self.gone, gone)
                self.clients[client] = NULL
                for i in range(gone.senders):
                    self.senders[gone.sender[i].handle] = NULL
                free_client(gone)
            fair_release(&self.lock)
        if gone == NULL:
            raise LocalProtocolError(f"there is no client {client}")
        del self.sessions[client]

    # ---- senders and scripts

    def add_sender(
        self, uint32_t client, *, int kind, uint32_t ssrc, int payload_type, int layer=0,
        uint32_t rtx_ssrc=0, int rtx_payload_type=-1, bytes mid not None=b"",
        bytes rid not None=b"",
    ):
        """A stream that the client sends, once it is active and has a script; its handle."""
        cdef Sender *sender
        cdef Client *of
        cdef uint32_t at = 0
        cdef bint full = False
        if len(mid) > MAX_NAME or len(rid) > MAX_NAME:
            raise LocalProtocolError(f"a MID or RID has at most {MAX_NAME} bytes")
        if not 0 <= layer < LAYERS or kind not in (AUDIO, VIDEO):
            raise LocalProtocolError("a sender is of sound, or of one of three layers of pictures")
        sender = <Sender *>calloc(1, sizeof(Sender))
        if sender == NULL:
            raise MemoryError
        sender.ssrc, sender.kind, sender.layer = ssrc, kind, layer
        sender.payload_type = payload_type
        if rtx_payload_type >= 0:
            sender.rtx_ssrc, sender.rtx_payload_type = rtx_ssrc, rtx_payload_type
        sender.mid_length, sender.rid_length = len(mid), len(rid)
        memcpy(sender.mid, <const char *>mid, len(mid))
        memcpy(sender.rid, <const char *>rid, len(rid))
        sender.wanted = True
        sender.keyframe_wanted = True
        # RFC 3711 section 3.3.1: the lower half, so that an early loss cannot look like a wrap.
        sender.sequence, sender.rtx_sequence = secrets.randbits(15), secrets.randbits(15)
        sender.timestamp_offset = secrets.randbits(32)
        sender.picture, sender.base = secrets.randbits(15), secrets.randbits(8)
        with nogil:
            fair_acquire(&self.lock)
            of = self.client_of(client)
            while at < self.senders_used and self.senders[at] != NULL:
                at += 1
            if of != NULL:
                full = at == MAX_SENDERS_IN_ALL or of.senders == MAX_SENDERS
                if not full:
                    sender.handle, sender.client = at, client
                    self.senders[at] = sender
                    self.senders_used = max(self.senders_used, at + 1)
                    if of.senders == 0:
                        of.own_ssrc = ssrc
                    of.sender[of.senders] = sender
                    of.senders += 1
            fair_release(&self.lock)
        if of == NULL or full:
            free_sender(sender)
            if of == NULL:
                raise LocalProtocolError(f"there is no client {client}")
            raise CapacityError(f"a client has at most {MAX_SENDERS} senders")
        return at

    def add_script(
        self, frames not None, *, int64_t cycle_us, uint32_t keyframe_bytes=0,
        uint32_t packet_bytes,
    ):
        """What a sender plays again and again; its handle."""
        cdef Script *script
        cdef ScriptFrame *frame
        cdef uint32_t i, count = len(frames), at
        cdef int64_t before = 0
        if count == 0 or packet_bytes == 0 or packet_bytes > 1_400:
            raise LocalProtocolError("a script has frames, and packets of at most 1400 bytes")
        script = <Script *>calloc(1, sizeof(Script))
        frame = <ScriptFrame *>calloc(count, sizeof(ScriptFrame))
        if script == NULL or frame == NULL:
            free(script)
            free(frame)
            raise MemoryError
        try:
            for i, (offset_us, size_bytes, temporal, keyframe, level) in enumerate(frames):
                if not before <= offset_us * 1_000 < cycle_us * 1_000:
                    raise LocalProtocolError("frames follow each other within the cycle")
                before = offset_us * 1_000
                frame[i].offset_ns = before
                frame[i].bytes = size_bytes
                frame[i].temporal, frame[i].keyframe, frame[i].level = temporal, keyframe, level
        except:
            free(script)
            free(frame)
            raise
        script.frame, script.frames = frame, count
        script.cycle_ns = cycle_us * 1_000
        script.keyframe_bytes, script.packet_bytes = keyframe_bytes, packet_bytes
        with nogil:
            fair_acquire(&self.lock)
            at = self.scripts_used
            if at < MAX_SCRIPTS:
                self.scripts[at] = script
                self.scripts_used += 1
            fair_release(&self.lock)
        if at == MAX_SCRIPTS:
            free(frame)
            free(script)
            raise CapacityError(f"the engine has room for {MAX_SCRIPTS} scripts")
        return at
