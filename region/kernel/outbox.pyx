# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=False, embedsignature=True
"""What leaves the socket: packets gather in one arena, are encrypted there and sent together.

Those of one stream to one egress go as one message, which Linux cuts into datagrams (UDP GSO):
of one size but for the last, so shorter ones are padded (RFC 3550 section 5.1).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pylibsrtp._binding import ffi, lib

from region.kernel.crypt cimport (
    CRYPT_OK,
    Crypt,
    Index,
    crypt_index,
    crypt_seal,
    crypt_seal_rtcp,
    may_seal,
)
from region.kernel.entries cimport Egress, Transport
from region.kernel.path cimport path_sent
from region.kernel.system cimport *
from region.kernel.transports cimport *
from region.kernel.wire cimport store16

cdef enum:
    TAG_BYTES = 16  # that SRTP adds to a media packet: AES-GCM's tag (RFC 7714), or fewer
    MOST_GROUPED = 65_000  # bytes of one message: Linux makes one datagram of it first


cdef srtp_function libsrtp(str name) except NULL:
    """The address of one of libsrtp's functions, as pylibsrtp has it."""
    return <srtp_function><uintptr_t>int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))


cdef srtp_function srtp_protect = libsrtp("srtp_protect")
cdef srtp_function srtp_protect_rtcp = libsrtp("srtp_protect_rtcp")


cdef inline int padding_of(const Parcel *parcel) noexcept nogil:
    """How much padding it has, and more than any has where no more can be added."""
    cdef int padding = 0
    if parcel.data[0] & 0x20:
        padding = parcel.data[parcel.length - 1]
    return padding if padding + MOST_PADDING <= 0xFF else MOST_PADDING + 0xFF


cdef inline void pad(Parcel *parcel, int more) noexcept nogil:
    cdef int padding = padding_of(parcel)
    if more == 0:
        return
    memset(parcel.data + parcel.length, 0, more)
    parcel.length += more
    parcel.data[parcel.length - 1] = <uint8_t>(padding + more)
    parcel.data[0] |= 0x20


cdef class Outbox(Alerts):
    def __cinit__(self, int fd):
        self.fd = fd
        self.out_data = <uint8_t *>calloc(1, ARENA_BYTES)
        if self.out_data == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.out_data)

    # ---- writing

    cdef void _make_place(self) noexcept nogil:
        """For RUN packets of any size: until they are dispatched nothing else is sent."""
        if (
            self.messages >= MESSAGES or self.parcels >= PARCELS
            or self.out_at + RUN * OUT_BYTES > ARENA_BYTES
        ):
            self._flush()

    cdef inline uint8_t *_next(self) noexcept nogil:
        """Where the next packet is to be written, of at most OUT_BYTES."""
        return self.out_data + self.out_at

    cdef inline void _written(self, Parcel *parcel, int length) noexcept nogil:
        """What stands at `_next` is so long; the next one goes behind it."""
        parcel.data = self.out_data + self.out_at
        parcel.length = length
        self.out_at += (length + MOST_PADDING + TRAILER_BYTES + LINE - 1) // LINE * LINE

    # ---- encrypting

    cdef int _dispatch(
        self, Egress *egress, Parcel *parcel, int count, int64_t now_ns
    ) noexcept nogil:
        """Encrypt what is to go to one egress and queue it; how many bytes that were."""
        cdef int first = 0, size, end, i, bytes_ = 0
        cdef bint joins
        while first < count:
            end = first + self._group(egress, parcel + first, count - first, &size)
            joins = False
            for i in range(first, end):
                if i + 1 < end:
                    pad(&parcel[i], size - parcel[i].length)
                if self._seal(egress, &parcel[i], now_ns):
                    self._push(egress, &parcel[i], joins)
                    bytes_ += parcel[i].length
                    joins = True
            first = end
        return bytes_

    cdef int _group(
        self, const Egress *egress, const Parcel *parcel, int count, int *size
    ) noexcept nogil:
        """How many of these go as one message, each padded to `size` but for the last."""
        cdef int i, least = parcel[0].length, padding = padding_of(&parcel[0])
        size[0] = least
        if count == 1 or egress.transport.connection or egress.transport.ungrouped:
            return 1
        for i in range(1, count):
            if (i + 1) * (max(size[0], parcel[i].length) + TAG_BYTES) > MOST_GROUPED:
                return i
            # All before this one get the size of the largest; this one may be shorter, as the last.
            if max(size[0], parcel[i].length) - least > min(MOST_PADDING, 0xFF - padding):
                return i
            size[0] = max(size[0], parcel[i].length)
            least = min(least, parcel[i].length)
            padding = max(padding, padding_of(&parcel[i]))
        return count

    cdef bint _seal(self, Egress *egress, Parcel *parcel, int64_t now_ns) noexcept nogil:
        """Number and encrypt; False, and counted, when it must not leave."""
        cdef Transport *transport = egress.transport
        cdef Crypt *crypt = transport.crypt_out
        cdef Index *index = NULL
        if crypt != NULL:
            if egress.keyed != crypt.serial:
                egress.keyed = crypt.serial
                egress.index = crypt_index(crypt, egress.ssrc)
                egress.rtx_index = crypt_index(crypt, egress.rtx_ssrc) if egress.rtx_ssrc else NULL
            index = egress.rtx_index if parcel.repeats else egress.index
            if index == NULL or not may_seal(index, parcel.data):
                self.counter[DROPPED_PROTECT] += 1
                return False
        if parcel.number != NULL:
            store16(
                parcel.number,
                path_sent(transport.path, parcel.length + TAG_BYTES, now_ns, parcel.cluster),
            )
        if crypt != NULL:
            if crypt_seal(crypt, index, parcel.data, &parcel.length) == CRYPT_OK:
                return True
        elif srtp_protect(transport.srtp_out, parcel.data, &parcel.length) == 0:
            return True
        self.counter[DROPPED_PROTECT] += 1
        return False

    cdef bint _seal_rtcp(self, Transport *transport, uint8_t *packet, int *length) noexcept nogil:
        """Encrypt a compound in place, which has room for a trailer; False when it cannot leave."""
        if transport.srtp_out == NULL or transport.to_length == 0:
            return False
        if transport.crypt_out != NULL:
            return crypt_seal_rtcp(transport.crypt_out.rtcp, packet, length) == CRYPT_OK
        return srtp_protect_rtcp(transport.srtp_out, packet, length) == 0

    # ---- sending

    cdef void _push(self, Egress *egress, const Parcel *parcel, bint joins) noexcept nogil:
        """To the egress's transport; `joins`: in one message with the packet before it."""
        cdef Transport *transport = egress.transport
        cdef msghdr *message
        if transport.connection:
            if self._send_frame(transport.connection - 1, parcel.data, parcel.length):
                self._count(egress, parcel.length)
            return
        if joins:
            message = &self.out_message[self.messages - 1].msg_hdr
            if message.msg_iovlen == 1:
                segment_message(
                    message, &self.out_segment[self.messages - 1],
                    <uint16_t>message.msg_iov.iov_len,
                )
            message.msg_iovlen += 1
        else:
            message = &self.out_message[self.messages].msg_hdr
            message.msg_name = &transport.to
            message.msg_namelen = transport.to_length
            message.msg_iov = &self.out_vector[self.parcels]
            message.msg_iovlen = 1
            message.msg_control = NULL
            message.msg_controllen = 0
            self.out_first[self.messages] = self.parcels
            self.messages += 1
        self.out_vector[self.parcels].iov_base = parcel.data
        self.out_vector[self.parcels].iov_len = parcel.length
        self.out_egress[self.parcels] = egress
        self.parcels += 1

    cdef void _flush(self) noexcept nogil:
        cdef int sent, at = 0, end
        while at < self.messages:
            sent = sendmmsg(self.fd, self.out_message + at, self.messages - at, MSG_DONTWAIT)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:  # the socket's buffer is full: the rest is lost
                    self.counter[DROPPED_SEND] += self.parcels - self.out_first[at]
                    break
                self._refused(at)
                at += 1
                continue
            end = self.parcels
            if at + sent < self.messages:
                end = self.out_first[at + sent]
            self._left(self.out_first[at], end - self.out_first[at])
            at += sent
        self.messages = 0
        self.parcels = 0
        self.out_at = 0

    cdef void _refused(self, int message) noexcept nogil:
        """It has no route, say, and is lost; or the path takes no messages of several packets."""
        cdef msghdr *header = &self.out_message[message].msg_hdr
        cdef Transport *transport = self.out_egress[self.out_first[message]].transport
        cdef int i, first = self.out_first[message], count = <int>header.msg_iovlen
        cdef bint ungrouped = False
        if count == 1:
            self.counter[DROPPED_SEND] += 1
            return
        for i in range(first, first + count):
            if sendto(
                self.fd, self.out_vector[i].iov_base, self.out_vector[i].iov_len, MSG_DONTWAIT,
                <sockaddr *>&transport.to, transport.to_length,
            ) >= 0:
                ungrouped = True
                self._left(i, 1)
            else:
                self.counter[DROPPED_SEND] += 1
        if ungrouped:  # what goes by itself and not together
            transport.ungrouped = True
            self.counter[UNGROUPED] += 1

    cdef inline void _left(self, int first, int count) noexcept nogil:
        """Count packets that are on their way."""
        cdef int i
        for i in range(first, first + count):
            self._count(self.out_egress[i], self.out_vector[i].iov_len)

    cdef inline void _count(self, Egress *egress, size_t length) noexcept nogil:
        egress.packets += 1
        egress.bytes += length
        egress.transport.packets_out += 1
        egress.transport.bytes_out += length
        self.counter[PACKETS_OUT] += 1
