# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""Whom the pump talks to: transports, their addresses, keys and numberings, and the counters.

Contracts stand in `transports.pyi`. Each change parses its arguments first, then takes the
lock for as long as the pump may wait for.
"""

import secrets
from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from pylibsrtp._binding import ffi

from region.kernel.crypt cimport *
from region.kernel.consent cimport MAX_USERNAME, Consent, has_seen
from region.kernel.counter_names import COUNTER_NAMES
from region.kernel.digest cimport BLOCK_BYTES, hmac_key
from region.kernel.entries cimport *
from region.kernel.path cimport Path, path_free, path_new
from region.kernel.session_keys import RTCP_LABEL, RTP_LABEL, session_keys
from region.kernel.system cimport *
from relay.errors import CapacityError, LocalProtocolError
from relay.payload import HeaderExtension

cdef enum:
    DEFAULT_RTT_NS = 100_000_000  # until it is measured

CRYPT_WAYS = tuple(
    [name for way, name in ((GCM_AESNI, "aes-ni"), (GCM_VAES, "vaes")) if gcm_ways() & way]
)
cdef int fastest_way = (
    GCM_VAES if gcm_ways() & GCM_VAES else GCM_AESNI if gcm_ways() & GCM_AESNI else GCM_NONE
)

cdef uint8_t TRANSPORT_SEQUENCE = HeaderExtension.TRANSPORT_SEQUENCE
cdef frozenset LOCAL = frozenset(each for each in HeaderExtension if not each.forwarded)

assert len(COUNTER_NAMES) == COUNTERS


class TransportStats(NamedTuple):
    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    last_packet_s: float
    last_consent_s: float


cdef uint32_t free_place(void **table, uint32_t *used, uint32_t *first_free) noexcept nogil:
    """The lowest handle that may be free, searched from where the last one was given back."""
    cdef uint32_t at = first_free[0]
    while at < used[0] and table[at] != NULL:
        at += 1
    return at


cdef Crypt *new_crypt(bytes master, int way, uint64_t serial) except NULL:
    """For media, and with it that for RTCP."""
    cdef Crypt *crypt = derived_crypt(master, RTP_LABEL, way, serial)
    try:
        crypt.rtcp = derived_crypt(master, RTCP_LABEL, way, serial)
    except BaseException:
        crypt_free(crypt)
        raise
    return crypt


cdef Crypt *derived_crypt(bytes master, int label, int way, uint64_t serial) except NULL:
    cdef Crypt *crypt
    key, salt = session_keys(master, label)
    crypt = <Crypt *>new_entry(sizeof(Crypt))
    if crypt == NULL:
        raise MemoryError
    gcm_expand(&crypt.key, <const uint8_t *>PyBytes_AS_STRING(key))
    memcpy(crypt.salt, PyBytes_AS_STRING(salt), GCM_NONCE_BYTES)
    crypt.way = way
    crypt.serial = serial
    return crypt


cdef void free_transport(Transport *transport) noexcept nogil:
    crypt_free(transport.crypt_in)
    crypt_free(transport.crypt_out)
    free(transport.arrivals)
    free(transport.consent)
    path_free(transport.path)
    free(transport)


cdef class Transports:
    def __cinit__(self, int fd):
        cdef uint64_t seed = int.from_bytes(secrets.token_bytes(8), "little")
        fair_init(&self.lock)
        self.family = socket_family(fd)
        if self.family != AF_INET6 and self.family != AF_INET:
            raise LocalProtocolError("the pump needs a bound UDP socket of IPv4 or IPv6")
        self.sessions = {}
        self.transports = <Transport **>calloc(MAX_TABLE, sizeof(void *))
        if self.transports == NULL or not map_init(&self.by_address, 256, seed):
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.transports_used):
            if self.transports[i] != NULL:
                free_transport(self.transports[i])
        free(self.transports)
        free(self.by_address.slots)
        fair_destroy(&self.lock)

    cdef Transport *transport_of(self, uint32_t handle) noexcept nogil:
        return self.transports[handle] if handle < self.transports_used else NULL

    def add_transport(self):
        """A transport without address or keys; its handle."""
        cdef uint32_t at
        cdef Transport *transport = <Transport *>new_entry(sizeof(Transport))
        if transport == NULL:
            raise MemoryError
        memset(transport.canonical_payload, NO_PAYLOAD, 128)
        memset(transport.wire_payload, NO_PAYLOAD, 128)
        transport.rtt_ns = DEFAULT_RTT_NS
        with nogil:
            fair_acquire(&self.lock)
            at = free_place(
                <void **>self.transports, &self.transports_used, &self.transports_free
            )
            if at < MAX_TABLE:
                self.transports[at] = transport
                self.transports_free = at + 1
                if at == self.transports_used:
                    self.transports_used += 1
            fair_release(&self.lock)
        if at >= MAX_TABLE:
            free(transport)
            raise CapacityError("the bridge has no room for another transport")
        return at

    def bind_address(self, uint32_t transport, bytes address not None):
        """Accept from this address too (at most 8; the oldest unselected one makes room)."""
        self._bind(transport, address, False)

    def select_address(self, uint32_t transport, bytes address not None):
        """Send to this address from now on; also binds it."""
        self._bind(transport, address, True)

    cdef _bind(self, uint32_t handle, bytes address, bint select):
        cdef const uint8_t *packed = <const uint8_t *>PyBytes_AS_STRING(address)
        cdef socket_address to
        cdef socklen_t to_length
        cdef Transport *transport
        cdef bint stored = True
        if len(address) != ADDRESS_BYTES:
            raise LocalProtocolError("a packed address has 19 bytes")
        to_length = sockaddr_from_address(self.family, packed, &to)
        if to_length == 0:
            raise LocalProtocolError("an IPv6 address on an IPv4 socket")
        with nogil:
            fair_acquire(&self.lock)
            transport = self.transport_of(handle)
            if transport != NULL:
                stored = self._bind_locked(handle, transport, packed)
                if stored and select:
                    memcpy(transport.selected, packed, ADDRESS_BYTES)
                    transport.to = to
                    transport.to_length = to_length
                    transport.ungrouped = False
                    transport.connection = 0
            fair_release(&self.lock)
        if transport == NULL:
            raise LocalProtocolError(f"there is no transport {handle}")
        if not stored:
            raise MemoryError

    cdef bint _bind_locked(
        self, uint32_t handle, Transport *transport, const uint8_t *packed
    ) noexcept nogil:
        cdef Key key
        cdef uint32_t owner
        cdef int i
        address_key(packed, &key)
        owner = map_get(&self.by_address, &key)
        if owner == handle:
            return True
        if owner != NONE:  # an address that a new client has taken over
            self._unbind(self.transports[owner], packed)
        if transport.addresses == MAX_ADDRESSES:
            i = 0
            if transport.to_length and memcmp(transport.address[0], transport.selected, ADDRESS_BYTES) == 0:
                i = 1
            self._unbind(transport, transport.address[i])
        if not map_put(&self.by_address, &key, handle):
            return False
        memcpy(transport.address[transport.addresses], packed, ADDRESS_BYTES)
        transport.addresses += 1
        return True

    cdef void _unbind(self, Transport *transport, const uint8_t *packed) noexcept nogil:
        cdef Key key
        cdef int i
        address_key(packed, &key)
        map_remove(&self.by_address, &key)
        for i in range(transport.addresses):
            if memcmp(transport.address[i], key.bytes, ADDRESS_BYTES) == 0:
                break
        else:
            return
        transport.addresses -= 1
        for i in range(i, transport.addresses):
            memcpy(transport.address[i], transport.address[i + 1], ADDRESS_BYTES)

    def set_srtp(self, uint32_t transport, inbound, outbound, *, keys=None, str way=None):
        """Give it two `pylibsrtp.Session`s; from now on only the pump may use them."""
        cdef Crypt *crypt_in = NULL
        cdef Crypt *crypt_out = NULL
        cdef int chosen = fastest_way
        cdef void *srtp_in = <void *><uintptr_t>int(ffi.cast("uintptr_t", inbound._srtp[0]))
        cdef void *srtp_out = <void *><uintptr_t>int(ffi.cast("uintptr_t", outbound._srtp[0]))
        cdef Transport *to
        if way is not None:
            if way not in CRYPT_WAYS:
                raise LocalProtocolError(f"this processor cannot encrypt by {way}")
            chosen = GCM_VAES if way == "vaes" else GCM_AESNI
        if keys is not None and chosen != GCM_NONE:
            self.crypts += 2
            crypt_in = new_crypt(keys[0], chosen, self.crypts)
            try:
                crypt_out = new_crypt(keys[1], chosen, self.crypts - 1)
            except BaseException:
                crypt_free(crypt_in)
                raise
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL:
                to.srtp_in = srtp_in
                to.srtp_out = srtp_out
                to.crypt_in, crypt_in = crypt_in, to.crypt_in
                to.crypt_out, crypt_out = crypt_out, to.crypt_out
            fair_release(&self.lock)
        crypt_free(crypt_in)
        crypt_free(crypt_out)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        self.sessions[transport] = (inbound, outbound)  # the old pair, if any, is freed now

    def answer_checks(self, uint32_t transport, bytes username not None, bytes password not None):
        """Let the pump answer checks that do no more than renew consent."""
        cdef Consent *consent
        cdef Transport *to
        cdef int username_length = <int>len(username), password_length = <int>len(password)
        if username_length > MAX_USERNAME or password_length > BLOCK_BYTES:
            return  # Python answers these as it does all others
        consent = <Consent *>calloc(1, sizeof(Consent))
        if consent == NULL:
            raise MemoryError
        memcpy(consent.username, PyBytes_AS_STRING(username), username_length)
        consent.username_length = username_length
        hmac_key(&consent.key, <const uint8_t *>PyBytes_AS_STRING(password), password_length)
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL:
                to.consent, consent = consent, to.consent
            fair_release(&self.lock)
        free(consent)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    def saw_check(self, uint32_t transport, bytes transaction not None):
        """Whether the pump has answered a check of this transaction before."""
        cdef Transport *of
        cdef bint seen = False
        cdef const uint8_t *first = <const uint8_t *>PyBytes_AS_STRING(transaction)
        if len(transaction) != 12:
            raise LocalProtocolError("a STUN transaction has 12 bytes")
        with nogil:
            fair_acquire(&self.lock)
            of = self.transport_of(transport)
            if of != NULL and of.consent != NULL:
                seen = has_seen(of.consent, first)
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        return seen

    def set_path(self, uint32_t transport, *, rtt_s=None, repeats_bps=None, ample=None):
        """What is known of its path; None leaves a figure as it is."""
        cdef Transport *to
        cdef int64_t rtt_ns = 0
        cdef double ns_a_byte = 0
        cdef bint tells_ample = ample is not None, is_ample = bool(ample)
        if rtt_s is not None:
            rtt_ns = <int64_t>(min(max(<double>rtt_s, 0.005), 1.0) * 1e9)
        if repeats_bps is not None:
            if repeats_bps <= 0:
                raise LocalProtocolError("retransmissions need some bandwidth")
            ns_a_byte = 8e9 / repeats_bps
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL:
                if rtt_ns:
                    to.rtt_ns = rtt_ns
                if ns_a_byte:
                    to.repeat_ns_a_byte = ns_a_byte
                if tells_ample and to.path != NULL:
                    to.path.ample = is_ample
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    def set_payload_types(self, uint32_t transport, dict canonical_by_wire):
        """Which payload types it uses for what; both directions."""
        cdef uint8_t canonical[128]
        cdef uint8_t wire[128]
        cdef Transport *to
        memset(canonical, NO_PAYLOAD, 128)
        memset(wire, NO_PAYLOAD, 128)
        for wire_type, canonical_type in canonical_by_wire.items():
            if not (0 <= wire_type < 128 and 0 <= canonical_type < 128):
                raise LocalProtocolError("a payload type is between 0 and 127")
            canonical[<int>wire_type] = canonical_type
            wire[<int>canonical_type] = wire_type
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL:
                memcpy(to.canonical_payload, canonical, 128)
                memcpy(to.wire_payload, wire, 128)
            fair_release(&self.lock)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    def set_extensions(self, uint32_t transport, dict canonical_by_wire):
        """Which header extension ids it uses for what; both directions."""
        cdef uint8_t canonical[256]
        cdef uint8_t wire[256]
        cdef uint8_t number_id = 0
        cdef Path *path = NULL
        cdef Transport *to
        memset(canonical, 0, 256)
        memset(wire, 0, 256)
        for wire_id, canonical_id in canonical_by_wire.items():
            if not (0 < wire_id < 256 and 0 < canonical_id < 256):
                raise LocalProtocolError("an extension id is between 1 and 255")
            canonical[<int>wire_id] = canonical_id
            if canonical_id not in LOCAL:
                wire[<int>canonical_id] = wire_id
            if canonical_id == TRANSPORT_SEQUENCE:
                number_id = wire_id
        if number_id:
            path = path_new()
            if path == NULL:
                raise MemoryError
        with nogil:
            fair_acquire(&self.lock)
            to = self.transport_of(transport)
            if to != NULL:
                memcpy(to.canonical_extension, canonical, 256)
                memcpy(to.wire_extension, wire, 256)
                to.number_id = number_id
                if to.path == NULL:
                    to.path = path
                    path = NULL
            fair_release(&self.lock)
        path_free(path)
        if to == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")

    def transport_stats(self, uint32_t transport):
        """Counters of a transport."""
        cdef Transport copy
        cdef Transport *of
        with nogil:
            fair_acquire(&self.lock)
            of = self.transport_of(transport)
            if of != NULL:
                copy = of[0]
            fair_release(&self.lock)
        if of == NULL:
            raise LocalProtocolError(f"there is no transport {transport}")
        return TransportStats(
            copy.packets_in, copy.bytes_in, copy.packets_out, copy.bytes_out,
            copy.last_ns / 1e9, copy.consent_ns / 1e9,
        )

    def counters(self):
        """Totals of the pump since it was made."""
        cdef uint64_t copy[COUNTERS]
        with nogil:
            fair_acquire(&self.lock)
            memcpy(copy, self.counter, sizeof(copy))
            fair_release(&self.lock)
        return {name: copy[i] for i, name in enumerate(COUNTER_NAMES)}
