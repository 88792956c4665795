"""The kernel's receive path: a script becomes datagrams to a pump that runs on loopback.

Each script meets transports of its own, made anew, and is repeated, each time with a byte or
two changed, until it has sent a batch. Executions are datagrams that the pump has dealt with.
"""

import contextlib
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from random import Random
from zlib import crc32

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi

from region.kernel import NO_STREAM, Pump, pack_address, reference
from region.rtcp import ReceiverReport, SenderReport, parse_compound_untrusted
from relay.errors import LocalProtocolError, MalformedError
from relay.ids import Ssrc
from relay.payload import HeaderExtension, PayloadType
from tests.fuzz.framed import ADDRESS, FramedClient, framed
from tests.fuzz.script import Op, records

MAX_SCRIPT_BYTES = 8_192
BATCH = 64
DEADLINE_S = 10.0
_ROUNDS = 2 * BATCH
"""A script without datagrams ends."""
_RECEIVE_BYTES = 4 << 20
_SEND_LIMIT_BYTES = 2_200
"""A little more than the kernel takes."""
_SEALED_BYTES = 1_356
"""pylibsrtp's own buffer."""

# libsrtp's srtp_crypto_policy_t: cipher, its key's length, authentication, its key's length, its
# tag's, services. Without any, what arrives ends where the datagram does, which is where
# AddressSanitizer looks, and each of libFuzzer's changes reaches the parser.
_NO_PROTECTION = struct.pack("iiiiii", 0, 30, 0, 0, 0, 0)
_KEY = bytes(range(30))
_SEALED_PROFILE = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
_SEALED_KEY = _KEY[:28]
"""All of it that this profile uses: the kernel encrypts media by itself then."""


def _session(*, inbound: bool, sealed: bool) -> Session:
    policy = Policy(
        key=_KEY,
        ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=_SEALED_PROFILE if sealed else Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    )
    if not sealed:
        for part in (policy._policy.rtp, policy._policy.rtcp):
            ffi.buffer(ffi.addressof(part), len(_NO_PROTECTION))[:] = _NO_PROTECTION
    return Session(policy)


def _bound() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _RECEIVE_BYTES)
    bound.bind(("127.0.0.1", 0))
    bound.setblocking(False)
    return bound


@dataclass(slots=True)
class _End:
    """A transport of the pump, and who is at its other end."""

    sealed: bool
    bound: socket.socket = field(default_factory=_bound)
    transport: int = -1
    outbound: Session | None = None
    streams: list[int] = field(default_factory=list)
    egresses: list[int] = field(default_factory=list)

    @property
    def address(self) -> bytes:
        return pack_address(*self.bound.getsockname())


_RTX = 0x10
"""Added to an SSRC: that of its retransmissions, where there are any."""
_SSRCS = ((1, True, True), (2, False, True), (3, True, False))
"""Of the streams of each sender: SSRC, video, with retransmissions."""
_SLOTS = ((0x61, True, False), (0x62, False, False), (0x43, True, True), (0x44, False, True))
"""Of the egresses of each receiver: SSRC, video, trunk."""
_FIRST_SLOT = 0x60
"""From here on they are clients' slots, whose packets name their source, below are legs."""
_SRTCP_INDEX_BYTES = 4
_LEFT = {ssrc + more for ssrc, _, _ in _SLOTS for more in (0, _RTX)}
_NUMBERS = {number.value: number for number in PayloadType}
_IDS = {
    1: HeaderExtension.AUDIO_LEVEL,
    5: HeaderExtension.TRANSPORT_SEQUENCE,
    9: HeaderExtension.DEPENDENCY_DESCRIPTOR,
    20: HeaderExtension.VIDEO_ORIENTATION,
    200: 200,
}
_PROBE_BPS, _PROBE_S = 10_000_000, 0.001


class Harness:
    """One pump for the whole run; whoever makes it ends the process, the pump with it."""

    def __init__(self) -> None:
        self._socket = _bound()
        self._to = self._socket.getsockname()
        self._pump = Pump(self._socket.fileno())
        self._thread = threading.Thread(target=self._pump.run, daemon=True)
        self._thread.start()
        self._stranger = _bound()
        self._sent = self._written = 0
        self._crossed = False
        """Whether somebody sends to an address that is another's."""
        self._framed_to_sealed = False
        """Whether what comes by TCP may be encrypted."""
        self._client = FramedClient(self._pump)
        # The first two send, the last two are sent to; one of each kind is encrypted.
        self._ends = [_End(sealed=sealed) for sealed in (False, True, False, True)]

    def execute(self, script: bytes) -> int:
        """Run it; how many packets the pump has dealt with. AssertionError is a finding."""
        before = self._pump.counters()
        self._random = Random(crc32(script))
        self._sequences = count(self._random.randrange(1 << 16))
        self._indices = count(1)
        self._sent = self._written = 0
        self._crossed = self._framed_to_sealed = False
        self._missing: list[int] = []
        self._passed: list[int] = []
        for end in self._ends:
            self._add(end)
        self._connect()
        operations = list(records(script))
        for round_ in range(_ROUNDS):
            for operation, body in operations:
                self._do(operation, self._changed(body) if round_ else body)
            if self._sent + self._written >= BATCH or not operations:
                break
        done = self._wait(before["datagrams_in"])
        self._check_what_left()
        done += self._pump.counters()["tcp_frames_in"] - before["tcp_frames_in"]
        for end in self._ends:
            self._remove(end)
        self._pump.drain(1 << 16)
        return done

    def _changed(self, body: bytes) -> bytes:
        if not body:
            return body
        changed = bytearray(body)
        for _ in range(self._random.randrange(3)):
            at = self._random.randrange(len(body))
            # Lengths and ids are small numbers: off by one, by a bit, or anything.
            near = (changed[at] - 1, changed[at] + 1, changed[at] ^ 1 << self._random.randrange(8))
            changed[at] = self._random.choice((*near, self._random.randrange(256))) & 0xFF
        if self._random.randrange(8) == 0:
            del changed[self._random.randrange(len(body)) :]
        return bytes(changed)

    # ---- tables

    def _add(self, end: _End) -> None:
        pump = self._pump
        end.transport = pump.add_transport()
        end.outbound = _session(inbound=False, sealed=end.sealed)
        pump.set_srtp(
            end.transport,
            _session(inbound=True, sealed=end.sealed),
            _session(inbound=False, sealed=end.sealed),
            keys=(_SEALED_KEY, _SEALED_KEY) if end.sealed else None,
        )
        pump.set_payload_types(end.transport, _NUMBERS)
        pump.set_extensions(end.transport, _IDS)
        pump.select_address(end.transport, end.address)
        pump.echo_probes(end.transport)
        sends = end in self._ends[:2]
        end.streams = [self._stream(end, at) for at in (range(len(_SSRCS)) if sends else ())]
        end.egresses = [
            pump.add_egress(
                end.transport,
                ssrc,
                video=video,
                trunk=trunk,
                rtx_ssrc=ssrc + _RTX,
                numbered=not trunk,
            )
            for ssrc, video, trunk in (() if sends else _SLOTS)
        ]

    def _stream(self, end: _End, at: int) -> int:
        ssrc, video, repaired = _SSRCS[at]
        return self._pump.add_stream(
            end.transport,
            ssrc,
            video=video,
            clock_rate=90_000 if video else 48_000,
            csrc=0x100 + ssrc,
            rtx_ssrc=ssrc + _RTX if repaired else 0,
        )

    def _remove(self, end: _End) -> None:
        with contextlib.suppress(LocalProtocolError):
            self._pump.remove_transport(end.transport)

    def _connect(self) -> None:
        """Each egress to a stream of its medium, the encrypted ones' to the encrypted."""
        for receiver in self._ends[2:]:
            for at, egress in enumerate(receiver.egresses):
                sender = self._ends[at // 2]
                self._pump.set_source(egress, sender.streams[at % 2])

    # ---- operations

    def _do(self, operation: Op, body: bytes) -> None:
        plain, sealed = self._ends[:2]
        choice = body[0] if body else 0
        match operation:
            case Op.MEDIA:
                self._send(plain, self._media(body))
            case Op.FRAMES:
                self._frames(choice, body[1:])
            case Op.RESTORED:
                self._send(plain, self._retransmission(body))
            case Op.NACK:
                self._nack(choice, body)
            case Op.EXACT:
                self._send(plain, body)
            case Op.SEALED:
                self._send(sealed, self._protected(sealed, self._media(body)[:_SEALED_BYTES]))
            case Op.RAW:  # half of it gets as far as the tag, which is wrong
                self._send(sealed, self._media(body) if choice & 1 else body)
            case Op.STRANGER:
                self._send_from(self._stranger, body)
            case Op.RTCP:
                self._send(plain, self._rtcp(body))
            case Op.SEALED_RTCP:  # of some the tag is wrong
                compound = self._rtcp(body)[: min(len(body), _SEALED_BYTES)]
                wire = self._protected_rtcp(sealed, compound)
                self._send(sealed, wire[:-1] + bytes([wire[-1] ^ 1]) if choice & 0x40 else wire)
            case Op.SOURCE | Op.LAYER | Op.STREAM | Op.TRANSPORT | Op.MAPS | Op.ADDRESS:
                with contextlib.suppress(LocalProtocolError):
                    self._change(operation, choice, body)
            case Op.DRAIN:
                for datagram in self._pump.drain(choice):
                    assert len(datagram.data) >= 8
                if 8 <= len(body) <= 1_888:
                    self._pump.send_rtcp(self._ends[3].transport, body)
            case Op.LOOK:
                self._look()

    def _change(self, operation: Op, choice: int, body: bytes) -> None:
        end = self._ends[choice % 4]
        other = body[1] if len(body) > 1 else 0
        sender = self._ends[other % 2]
        match operation:
            case Op.SOURCE:
                receiver = self._ends[2 + choice % 2]
                egress = receiver.egresses[choice // 2 % len(_SLOTS)]
                at = other // 2 % (len(_SSRCS) + 1)
                self._pump.set_source(egress, [*sender.streams, NO_STREAM][at])
            case Op.LAYER:
                receiver = self._ends[2 + choice % 2]
                egress = receiver.egresses[choice // 2 % len(_SLOTS)]
                self._pump.set_layer(egress, other & 3, other >> 2 & 3)
                if other & 0xC0 == 0xC0:
                    self._pump.probe(receiver.transport, _PROBE_BPS, _PROBE_S, cluster=1)
            case Op.STREAM:
                at = choice % len(_SSRCS)
                self._pump.remove_stream(sender.streams[at])
                sender.streams[at] = self._stream(sender, at)
            case Op.TRANSPORT:
                self._remove(end)
                self._add(end)
                if other % 2:
                    self._connect()
            case Op.MAPS:
                pairs = list(zip(body[1::2], body[2::2], strict=False))
                self._pump.set_extensions(end.transport, {a: b for a, b in pairs if a and b})
                if choice & 0x80:
                    types = {a & 0x7F: b & 0x7F for a, b in pairs}
                    self._pump.set_payload_types(end.transport, types)
            case Op.ADDRESS:
                address = (self._stranger, self._ends[other % 4].bound)[choice // 4 % 2]
                packed = pack_address(*address.getsockname())
                if choice & 0x10:
                    packed = packed[:17] + bytes([other]) + packed[18:]  # to become too many
                if choice & 0x20:
                    self._crossed = True
                    self._pump.select_address(end.transport, packed)
                else:
                    self._pump.bind_address(end.transport, packed)

    def _frames(self, choice: int, body: bytes) -> None:
        """The first bits say whose the connection shall be, the others what happens to it."""
        self._client.connect(greets=choice & 0x40 == 0)
        end = self._ends[choice % 4]
        with contextlib.suppress(LocalProtocolError):
            if choice & 4:
                self._framed_to_sealed |= end.sealed
                self._pump.select_address(end.transport, ADDRESS)
            elif choice & 8:
                self._pump.bind_address(end.transport, ADDRESS)
        if choice & 0x10:
            self._client.write(body)
        elif body:
            self._client.write(framed(self._media(body) if body[0] & 1 else body))
        if choice & 0x20:
            self._client.read()
        if choice & 0xC0 == 0x80:
            self._pump.close_connection(ADDRESS)
        self._written += 1

    def _look(self) -> None:
        for end in self._ends:
            with contextlib.suppress(LocalProtocolError):
                self._pump.transport_stats(end.transport)
                for stream in end.streams:
                    self._pump.stream_stats(stream)
                for egress in end.egresses:
                    self._pump.egress_stats(egress)
        self._pump.awaiting()
        self._pump.path_reports(time.monotonic())
        self._pump.changed_streams(time.monotonic())
        self._pump.news()

    # ---- datagrams

    def _media(self, body: bytes) -> bytes:
        """The bytes as a packet that gets past version, SSRC and replay."""
        if len(body) < 12:
            return body
        packet = bytearray(body)
        packet[0] = 0x80 | packet[0] & 0x3F
        if 192 <= packet[1] < 224:
            packet[1] ^= 0x80
        if packet[2] & 3 == 3:  # a loss
            self._missing.append(next(self._sequences) & 0xFFFF)
        self._passed.append(next(self._sequences) & 0xFFFF)
        struct.pack_into("!H", packet, 2, self._passed[-1])
        struct.pack_into("!I", packet, 8, _SSRCS[packet[11] % len(_SSRCS)][0])
        return bytes(packet)

    def _retransmission(self, body: bytes) -> bytes:
        packet = bytearray(self._media(body))
        if len(packet) < 12 or not self._missing:
            return bytes(packet)
        wanted = self._missing[body[3] % len(self._missing)]
        packet[1] = packet[1] & 0x80 | (97 if packet[11] % 2 else 112)
        packet[11] += _RTX
        with contextlib.suppress(MalformedError):  # the original's number is first in the payload
            payload = len(reference.parse_untrusted(bytes(packet)).payload)
            at = len(packet) - payload
            packet[at:at] = struct.pack("!H", wanted)
        return bytes(packet)

    def _nack(self, choice: int, body: bytes) -> None:
        """By the numbers of packets that may have left, and by any."""
        receiver = self._ends[2 + choice % 2]
        self._pump.set_path(
            receiver.transport,
            rtt_s=choice / 255,
            repeats_bps=1 + choice * 20_000,
            ample=choice % 2 == 0,
        )
        wanted = [number << 8 for number in body[1:5]] + self._passed[-(choice % 40) :]
        with contextlib.suppress(LocalProtocolError):
            for egress in receiver.egresses:
                self._pump.retransmit(egress, wanted)

    def _rtcp(self, body: bytes) -> bytes:
        """As it would be behind SRTCP's checks: an index that is new (RFC 3711 §3.4)."""
        if len(body) < 2:
            return body
        packet_type = body[1] if 192 <= body[1] < 224 else 192 + body[1] % 32
        head = bytes([0x80 | body[0] & 0x3F, packet_type])
        return head + body[2:] + struct.pack("!I", next(self._indices))

    def _protected(self, end: _End, packet: bytes) -> bytes:
        assert end.outbound is not None
        try:
            return end.outbound.protect(packet)
        except SrtpError:  # it looks at the header too
            return packet

    def _protected_rtcp(self, end: _End, compound: bytes) -> bytes:
        assert end.outbound is not None
        try:
            return end.outbound.protect_rtcp(compound)
        except SrtpError:  # it is too short
            return compound

    def _send(self, end: _End, data: bytes) -> None:
        self._send_from(end.bound, data)

    def _send_from(self, sender: socket.socket, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            sender.sendto(data[:_SEND_LIMIT_BYTES], self._to)
            self._sent += 1

    # ---- what came of it

    def _wait(self, before: int) -> int:
        """Until the pump has seen all that was sent; a full socket may have lost some."""
        end_s = time.monotonic() + DEADLINE_S
        done, progress_s = 0, time.monotonic()
        while done < self._sent:
            assert self._thread.is_alive(), "the pump has ended"
            now = time.monotonic()
            seen = self._pump.counters()["datagrams_in"] - before
            if seen > done:
                done, progress_s = seen, now
            elif now > progress_s + 0.2 and self._socket_is_empty():
                break
            assert now < end_s, "the pump is stuck"
            os.sched_yield()
        return done

    def _socket_is_empty(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def _check_what_left(self) -> None:
        """What a receiver gets is well-formed, and of a stream that it was given."""
        plain, sealed = self._ends[2:]
        for end in (*self._ends[:2], sealed):
            _emptied(end.bound)
        _emptied(self._stranger)
        arrived = _emptied(plain.bound)
        by_tcp = self._client.finish()
        if not self._framed_to_sealed:
            arrived += [data for data in by_tcp if not 192 <= data[1] < 224]
        if self._crossed:  # then they may be others'
            return
        for data in arrived:
            if 192 <= data[1] < 224:  # RFC 5761 §4
                _check_report(data)
                continue
            packet = reference.parse_untrusted(data)
            assert packet.ssrc in _LEFT, data.hex()
            assert data[0] & 15 == (packet.ssrc >= _FIRST_SLOT), data.hex()


def _check_report(data: bytes) -> None:
    """A sender's report, passed on, is in the terms of a stream that the receiver was given."""
    ours, theirs = parse_compound_untrusted(data[:-_SRTCP_INDEX_BYTES])
    assert ours == ReceiverReport(ssrc=Ssrc(1)), data.hex()
    assert isinstance(theirs, SenderReport), data.hex()
    assert theirs.ssrc in {ssrc for ssrc, _, _ in _SLOTS}, data.hex()


def _emptied(bound: socket.socket) -> list[bytes]:
    received = []
    with contextlib.suppress(BlockingIOError):
        while True:
            received.append(bound.recv(4_096))
    return received
