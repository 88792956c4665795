"""Authentic packets that are wrong inside: dropped or bounded, counted, and no matter to others."""

import struct
from itertools import count

import pytest

from region.gcc import BandwidthEstimator
from region.kernel import NO_STREAM, reference
from region.kernel.report import PathReport
from relay.errors import LocalProtocolError, MalformedError
from relay.payload import HeaderExtension, PayloadType
from tests.region.rig import Peer, Rig
from tests.region.twcc import parse_feedback_untrusted
from tests.strategies.descriptors import L3T3, L3T3_KEY, Scalability
from tests.strategies.rtp import DELTA, KEYFRAME, rtp
from tests.strategies.scalable import Encoder
from tests.strategies.twcc import MALFORMED
from tests.strategies.vp8 import descriptor

SSRC, DECENT_SSRC, SLOT, DECENT_SLOT = 0x1111, 0x1112, 0x2222, 0x2223
MALLORY, DECENT = 4, 8
"""Their CSRCs."""
ORIENTATION, NUMBER, DEPENDENCIES, MID, RID, REPAIRED = 1, 3, 4, 5, 6, 7
IDS = {
    ORIENTATION: HeaderExtension.VIDEO_ORIENTATION,
    NUMBER: HeaderExtension.TRANSPORT_SEQUENCE,
    DEPENDENCIES: HeaderExtension.DEPENDENCY_DESCRIPTOR,
    MID: HeaderExtension.MID,
    RID: HeaderExtension.RID,
    REPAIRED: HeaderExtension.REPAIRED_RID,
}
TYPES = {each.value: each.value for each in PayloadType}
WITHOUT_RED = {each: each for each in TYPES if each != PayloadType.OPUS_RED}
ONE_BYTE, TWO_BYTE = 0xBEDE, 0x1000
VP8, AV1, RED, OPUS = PayloadType.VP8, PayloadType.AV1, PayloadType.OPUS_RED, PayloadType.OPUS


class Room:
    """Mallory and somebody decent send, one receiver has a slot for each."""

    def __init__(
        self, rig: Rig, *, first: bytes | None = None, types: dict[int, int] | None = None
    ) -> None:
        """`first`: from where on the receiver is shown what Mallory sends, by her VP8 if None."""
        self.rig = rig
        self.pump = rig.pump
        self.mallory = rig.peer(payload_types=TYPES, extensions=dict(IDS))
        self.decent = rig.peer(payload_types=TYPES, extensions=dict(IDS))
        self.receiver = rig.peer(payload_types=types or TYPES, extensions=dict(IDS))
        self.stream = self._stream(self.mallory, SSRC, MALLORY, True)
        self.slot = self._slot(SLOT, self.stream, True)
        decent = self._stream(self.decent, DECENT_SSRC, DECENT, True)
        self._slot(DECENT_SLOT, decent, True)
        self._numbers = count(65_530)
        self._received = 0
        self.send(packet(0, KEYFRAME) if first is None else first)
        assert self.next().ssrc == SLOT
        self.goes_on()

    def _stream(self, peer: Peer, ssrc: int, csrc: int, video: bool) -> int:
        return self.pump.add_stream(peer.transport, ssrc, video=video, clock_rate=90_000, csrc=csrc)

    def _slot(self, ssrc: int, stream: int, video: bool) -> int:
        slot = self.pump.add_egress(
            self.receiver.transport, ssrc, video=video, trunk=False, numbered=True
        )
        self.pump.set_source(slot, stream)
        return slot

    def send(self, data: bytes) -> None:
        """Mallory's packet, authentic."""
        self.mallory.send(data)

    def next(self) -> reference.Packet:
        """The next packet that the receiver gets."""
        return reference.parse_untrusted(self.receiver.receive())

    def goes_on(self) -> None:
        """Nothing more than was looked at came of Mallory, and the decent stream has no gap."""
        number = next(self._numbers)
        self.decent.send(packet(number, KEYFRAME + number.to_bytes(4), ssrc=DECENT_SSRC))
        got = self.next()
        assert (got.ssrc, got.sequence) == (DECENT_SLOT, number % 65_536)
        assert got.payload == KEYFRAME + number.to_bytes(4)

    def answer(self, rtcp: bytes, peer: Peer | None = None) -> None:
        """RTCP of the receiver, or of another."""
        peer = peer or self.receiver
        peer.send_raw(peer.outbound.protect_rtcp(rtcp))


def packet(sequence: int, payload: bytes, *, ssrc: int = SSRC, payload_type: int = VP8) -> bytes:
    return rtp(
        sequence=sequence,
        timestamp=sequence * 3_000,
        ssrc=ssrc,
        payload_type=payload_type,
        payload=payload,
    )


def extended(
    sequence: int,
    profile: int,
    body: bytes,
    *,
    payload: bytes = DELTA,
    payload_type: int = VP8,
    ssrc: int = SSRC,
) -> bytes:
    """With an extension as it is given, filled up to 32 bits."""
    plain = packet(sequence, b"", payload_type=payload_type, ssrc=ssrc)
    body += bytes(-len(body) % 4)
    header = struct.pack("!HH", profile, len(body) // 4)
    return bytes([plain[0] | 0x10]) + plain[1:] + header + body + payload


def padded(sequence: int, payload: bytes) -> bytes:
    """With the P bit, whatever the payload's last byte says."""
    plain = packet(sequence, payload)
    return bytes([plain[0] | 0x20]) + plain[1:]


# Headers

WRONG = {
    "a one-byte element past the end": extended(1, ONE_BYTE, bytes([ORIENTATION << 4 | 15, 1])),
    "a one-byte element of one byte too many": extended(1, ONE_BYTE, b"\x00\x00\x00\x10"),
    "a two-byte element of length 255": extended(1, TWO_BYTE, bytes([ORIENTATION, 255, 1, 2])),
    "a two-byte element of one byte too many": extended(1, TWO_BYTE, bytes([1, 3, 1, 2])),
    "a two-byte element without its length": extended(1, TWO_BYTE, bytes([1, 1, 7, 2])),
    "an unknown element past the end": extended(1, ONE_BYTE, b"\xef\x00\x00\x00"),
    "no padding where some is announced": padded(1, DELTA + b"\x00"),
    "padding of one byte more than there is": padded(1, DELTA + b"\x04"),
    "padding of 255 bytes": padded(1, DELTA + b"\xff"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_packet_that_reaches_past_its_end_is_malformed_and_goes_nowhere(
    rig: Rig, what: str
) -> None:
    room = Room(rig)
    with pytest.raises(MalformedError):
        reference.parse_untrusted(WRONG[what])
    room.send(WRONG[what])
    room.goes_on()
    assert rig.dropped() == {"malformed": 1}
    room.send(packet(2, DELTA + b"fine"))
    assert room.next().payload == DELTA + b"fine"
    room.goes_on()


@pytest.mark.parametrize(
    ("first", "words"), [(0x90, 9), (0x90, 0xFFFF), (0x8F, 0), (0x9F, 0), (0x9F, 0xFFFF)]
)
def test_lengths_that_not_even_srtp_can_pass_over_are_dropped_and_counted(
    rig: Rig, first: int, words: int
) -> None:
    room = Room(rig)
    wire = room.mallory.outbound.protect(extended(1, ONE_BYTE, b"", payload=DELTA))
    room.mallory.send_raw(bytes([first]) + wire[1:14] + struct.pack("!H", words) + wire[16:])
    room.goes_on()
    dropped = rig.dropped()
    assert sum(dropped.values()) == 1
    assert dropped.keys() <= {"unprotect", "authentication", "malformed"}


def test_of_an_extension_only_what_was_negotiated_is_passed_on(rig: Rig) -> None:
    room = Room(rig)
    bodies = {
        # RFC 8285 §4.2: what is behind id 15 is not looked at.
        bytes([ORIENTATION << 4, 7, 0xF0, 1, ORIENTATION << 4, 8]): ((ORIENTATION, b"\x07"),),
        # An id of 0 with a length is nobody's.
        bytes([3, 1, 2, 3, 4]): (),
        bytes([14 << 4 | 3, 1, 2, 3, 4]): (),
    }
    for sequence, (body, known) in enumerate(bodies.items(), 1):
        data = extended(sequence, ONE_BYTE, body + bytes(-len(body) % 4))
        room.send(data)
        got = room.next()
        passed = tuple(each for each in got.extensions if each[0] != NUMBER)
        assert (passed, got.payload) == (known, DELTA)
    room.send(extended(9, 0x1234, b"\xff" * 40))  # of no profile that we know
    assert [number for number, _ in room.next().extensions] == [NUMBER]
    assert rig.dropped() == {}
    room.goes_on()


def test_elements_without_bound_are_bounded(rig: Rig) -> None:
    room = Room(rig)
    for sequence, size in enumerate((0, 1, 17, 200, 255), 1):
        body = bytes([ORIENTATION, size, *bytes(size)]) * (1_000 // (size + 2))
        room.send(extended(sequence, TWO_BYTE, body))
        got = room.next()
        passed = [data for number, data in got.extensions if number == ORIENTATION]
        assert 1 <= len(passed) <= reference.MAX_EXTENSIONS
        assert sum(2 + len(data) for data in passed) <= reference.MAX_EXTENSION_BYTES
        assert set(passed) == {bytes(size)}
        assert got.payload == DELTA
    room.goes_on()


def test_a_packet_of_contributors_or_of_nothing_is_the_sources_alone(rig: Rig) -> None:
    room = Room(rig)
    everybody = rtp(sequence=1, timestamp=1, ssrc=SSRC, payload=DELTA, csrcs=(DECENT,) * 15)
    room.send(everybody)
    data = room.receiver.receive()
    assert (data[0] & 15, data[12:16]) == (1, MALLORY.to_bytes(4))
    room.send(packet(2, b""))
    assert room.next().payload == b""
    room.send(padded(3, bytes(3) + b"\x04"))  # all of it is padding, as probes are
    assert room.next().payload == bytes(3) + b"\x04"
    assert rig.dropped() == {}
    room.goes_on()


# Names


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("size", [0, 17, 255])
def test_names_of_impossible_length_name_nobody(rig: Rig, size: int, repaired: bool) -> None:
    room = Room(rig)
    payload_type = PayloadType.VP8_RTX if repaired else VP8
    rid_id = REPAIRED if repaired else RID
    streams = [
        room.pump.add_stream(
            room.mallory.transport,
            0,
            video=True,
            clock_rate=90_000,
            csrc=MALLORY,
            repairable=True,
            mid=mid,
            rid=rid,
        )
        for mid, rid in ((b"m" * 16, b""), (b"m", b"r" * 16), (b"m", b"r"))
    ]
    names = ((b"m" * size, b""), (b"m", b"r" * size), (b"m" * size, b"r" * size))
    for sequence, (mid, rid) in enumerate(names):
        body = bytes([MID, len(mid)]) + mid + bytes([rid_id, len(rid)]) + rid
        room.send(extended(sequence, TWO_BYTE, body, payload_type=payload_type, ssrc=77))
    room.goes_on()
    assert rig.dropped() == {"unknown_ssrc": 3}
    assert [room.pump.stream_stats(each)[9:11] for each in streams] == [(0, 0)] * 3


def test_who_announces_a_name_that_is_too_long_is_refused(rig: Rig) -> None:
    peer = rig.peer()
    for mid, rid in ((b"m" * 17, b""), (b"m", b"r" * 17), (b"", b"r")):
        with pytest.raises(LocalProtocolError, match="16 bytes"):
            rig.pump.add_stream(
                peer.transport, 0, video=True, clock_rate=90_000, csrc=4, mid=mid, rid=rid
            )


def test_more_rids_than_were_announced_are_dropped_and_the_announced_go_on(rig: Rig) -> None:
    room = Room(rig)
    stream = room.pump.add_stream(
        room.mallory.transport,
        0,
        video=True,
        clock_rate=90_000,
        csrc=MALLORY,
        mid=b"1",
        rid=b"q",
    )
    room.pump.set_source(room.slot, stream)

    def named(ssrc: int, rid: bytes, sequence: int) -> bytes:
        names = bytes([MID << 4, ord("1"), RID << 4 | len(rid) - 1]) + rid
        return extended(sequence, ONE_BYTE, names, payload=KEYFRAME, ssrc=ssrc)

    room.send(named(500, b"q", 1))
    assert room.next().ssrc == SLOT
    for number in range(200):
        room.send(named(1_000 + number, b"x%d" % number, 1))
        room.send(named(2_000 + number, b"q", 1))  # its place is taken
        rig.wait_for_datagrams(3 + 2 * number)  # a socket does not hold them all
    room.send(named(500, b"q", 2))
    assert room.next().ssrc == SLOT
    room.goes_on()
    assert rig.dropped() == {"unknown_ssrc": 400}
    assert room.pump.counters()["learnt"] == 1
    assert room.pump.stream_stats(stream).packets == 2


def test_an_ssrc_is_of_the_transport_on_which_it_comes(rig: Rig) -> None:
    room = Room(rig)
    for sequence in range(70_000, 70_100):
        room.send(packet(sequence, KEYFRAME + b"forged", ssrc=DECENT_SSRC))
    room.goes_on()
    assert rig.dropped() == {"unknown_ssrc": 100}
    # Announced it is a stream of one's own, and no more.
    own = room.pump.add_stream(
        room.mallory.transport, DECENT_SSRC, video=True, clock_rate=90_000, csrc=MALLORY
    )
    room.send(packet(70_100, KEYFRAME + b"forged", ssrc=DECENT_SSRC))
    room.goes_on()
    assert room.pump.stream_stats(own).packets == 1
    with pytest.raises(LocalProtocolError, match="stands already"):
        room.pump.add_stream(
            room.mallory.transport, DECENT_SSRC, video=True, clock_rate=90_000, csrc=12
        )
    with pytest.raises(LocalProtocolError, match="stands already"):
        room.pump.add_stream(
            room.mallory.transport, 9, video=True, clock_rate=90_000, csrc=12, rtx_ssrc=SSRC
        )
    room.send(packet(4, DELTA, ssrc=SSRC))
    assert room.next().ssrc == SLOT


def test_payload_types_that_were_not_announced_are_dropped_and_counted(rig: Rig) -> None:
    room = Room(rig)
    unknown = [each for each in range(128) if each not in TYPES and not 64 <= each < 96]
    for sequence, each in enumerate(unknown, 1):
        room.send(packet(sequence, KEYFRAME, payload_type=each))
    room.goes_on()
    assert rig.dropped() == {"unknown_payload": len(unknown)}


# Dependency descriptors


def described(sequence: int, data: bytes, *, keyframe: bool = False) -> bytes:
    """An AV1 packet with that dependency descriptor."""
    payload = bytes([0x18 if keyframe else 0x10]) + b"obu"
    body = bytes([DEPENDENCIES, len(data)]) + data
    return extended(sequence, TWO_BYTE, body, payload=payload, payload_type=AV1)


def descriptors_in(got: reference.Packet) -> list[bytes]:
    return [data for number, data in got.extensions if number == DEPENDENCIES]


@pytest.mark.parametrize("mode", [L3T3, L3T3_KEY], ids=lambda mode: mode.name)
def test_a_structure_that_is_cut_anywhere_is_none(rig: Rig, mode: Scalability) -> None:
    room = Room(rig)
    encoder = Encoder(mode)
    keyframe = encoder.describe(encoder.unit()[0])
    assert len(keyframe) > 50
    for cut in range(len(keyframe)):
        room.send(described(1 + cut, keyframe[:cut]))
        assert descriptors_in(room.next()) == []
    assert room.pump.stream_stats(room.stream).spatial_layers == 0
    room.pump.set_source(room.slot, NO_STREAM)
    room.pump.set_source(room.slot, room.stream)
    room.send(described(1 + len(keyframe), keyframe, keyframe=True))
    assert descriptors_in(room.next()) == [keyframe]
    # What has no more than the three bytes that must be there is a frame of the last structure.
    for cut in range(len(keyframe)):
        room.send(described(2 + len(keyframe) + cut, keyframe[:cut]))
        assert descriptors_in(room.next()) == ([keyframe[:3]] if cut == 3 else [])
    assert room.pump.stream_stats(room.stream).spatial_layers == 3
    room.goes_on()


class Bits:
    """What libwebrtc would never write."""

    def __init__(self) -> None:
        self._text = ""

    def add(self, value: int, width: int, times: int = 1) -> "Bits":
        self._text += f"{value:0{width}b}" * times
        return self

    def bytes(self) -> bytes:
        size = -(-len(self._text) // 8)
        return int(self._text.ljust(8 * size, "0"), 2).to_bytes(size)


SAME, HIGHER_TEMPORAL, HIGHER_SPATIAL, LAST = range(4)
"""Section A.8.3, next_layer_idc."""


def structure(*steps: int, template: int = 0, number: int = 0, flags: int = 0b10000) -> bytes:
    """A keyframe of one decode target, no chains, with templates that follow by these steps."""
    templates = len(steps) + 1
    bits = Bits().add(0b11, 2).add(template, 6).add(number, 16).add(flags, 5)
    bits.add(0, 6).add(0, 5)
    for each in (*steps, LAST):
        bits.add(each, 2)
    bits.add(0b10, 2, templates).add(0, 1, templates)
    return bits.add(0, 1).add(0, 1).bytes()


def test_so_many_templates_are_kept_and_one_more_is_none(rig: Rig) -> None:
    room = Room(rig, first=described(0, structure(*[SAME] * 63), keyframe=True))
    assert room.pump.stream_stats(room.stream).spatial_layers == 1
    most = structure(*[SAME] * 63, template=63, number=1)
    room.send(described(1, most))
    assert descriptors_in(room.next()) == [most]
    for sequence, wrong in enumerate(
        (
            structure(*[SAME] * 64),
            structure(*[HIGHER_SPATIAL] * 4),
            structure(*[HIGHER_TEMPORAL] * 8),
            structure(*[SAME] * 900),
            structure(SAME, template=2),
            b"\xff" * 255,
        ),
        2,
    ):
        room.send(described(sequence, wrong[:255]))
        assert descriptors_in(room.next()) == []
    # The structure of before is as it was.
    room.send(described(8, bytes([0xC0 | 63, 0, 2])))
    assert descriptors_in(room.next()) == [bytes([0xC0 | 63, 0, 2])]
    room.goes_on()


def test_chains_and_targets_as_many_as_can_be_told_are_no_more_than_there_is_room_for(
    rig: Rig,
) -> None:
    room = Room(rig)
    for sequence, targets in enumerate((1, 2, 3, 16, 17, 31, 32), 1):
        width = (targets + 1).bit_length()
        bits = Bits().add(0b11, 2).add(0, 6).add(sequence, 16).add(0b11111, 5)
        bits.add(0, 6).add(targets - 1, 5).add(LAST, 2).add(0b10, 2, targets).add(0, 1)
        # ns(n) with all its bits set is the highest value: as many chains as targets.
        bits.add((1 << width) - 1, width).add(0xFFFF, 16, 110)
        room.send(described(sequence, bits.bytes()[:255], keyframe=True))
        room.next()
    room.goes_on()
    assert rig.dropped() == {}


def test_references_of_a_frame_without_end_are_none(rig: Rig) -> None:
    room = Room(rig, first=described(0, structure(), keyframe=True))
    endless = Bits().add(0b11, 2).add(0, 6).add(1, 16).add(0b00010, 5).add(0b01, 2)
    room.send(described(1, endless.add(0b1111_01, 6, 300).bytes()[:255]))
    assert descriptors_in(room.next()) == []
    many = Bits().add(0b11, 2).add(0, 6).add(2, 16).add(0b00010, 5)
    many.add(0b01_1111, 6, 200).add(0, 2)
    room.send(described(2, many.bytes()))
    assert len(descriptors_in(room.next())) == 1
    room.goes_on()


def test_no_target_is_active_and_nothing_is_shown_of_that(rig: Rig) -> None:
    room = Room(rig, first=described(0, structure(), keyframe=True))
    silent = Bits().add(0b11, 2).add(0, 6).add(1, 16).add(0b01000, 5).add(0, 1).bytes()
    room.send(described(1, silent))
    room.send(described(2, structure(number=2), keyframe=True))
    # The receiver stays with the target that it had.
    assert [room.next().sequence for _ in range(2)] == [1, 2]
    room.goes_on()


# Layers that there are not


def layer_bytes(room: Room) -> dict[int, int]:
    """Those that are not 0."""
    counted = room.pump.stream_stats(room.stream).layer_bytes
    assert len(counted) == 9
    return {index: size for index, size in enumerate(counted) if size}


@pytest.mark.parametrize(
    ("steps", "template", "index"),
    [
        ((HIGHER_SPATIAL,) * 3, 3, 6),
        ((HIGHER_TEMPORAL,) * 7, 7, 2),
        ((HIGHER_SPATIAL,) * 3 + (HIGHER_TEMPORAL,) * 7, 10, 8),
        ((HIGHER_SPATIAL, HIGHER_TEMPORAL), 2, 4),
    ],
    ids=["spatial 3", "temporal 7", "both", "within"],
)
def test_layers_above_the_top_count_as_the_top(
    rig: Rig, steps: tuple[int, ...], template: int, index: int
) -> None:
    room = Room(rig, first=described(0, structure(*steps), keyframe=True))
    before = layer_bytes(room)
    assert set(before) == {0}
    data = described(1, bytes([0xC0 | template, 0, 1]))
    room.send(data)
    assert room.next().sequence == 1
    assert layer_bytes(room) == before | {index: len(data)}
    for spatial in range(3):
        for temporal in range(3):
            room.pump.set_layer(room.slot, spatial, temporal)
            room.send(described(2 + spatial * 3 + temporal, bytes([0xC0 | template, 0, 2])))
            room.next()  # one target has all: there is no less to choose
    assert layer_bytes(room) == before | {index: 10 * len(data)}
    room.goes_on()


def vp8(number: int, temporal: int) -> bytes:
    return descriptor(picture_id=number, tl0picidx=number, temporal=temporal, key_index=1)


def test_a_fourth_temporal_layer_of_vp8_counts_as_the_third(rig: Rig) -> None:
    room = Room(rig, first=packet(0, vp8(0, 0) + b"\x00key"))
    before = layer_bytes(room)
    data = packet(1, vp8(1, 3) + b"\x01delta")
    room.send(data)
    assert room.next().sequence == 1
    assert layer_bytes(room) == before | {2: len(data)}
    room.pump.set_layer(room.slot, 2, 1)
    room.send(packet(2, vp8(2, 3) + b"\x01delta"))
    room.send(packet(3, vp8(3, 0) + b"\x01delta"))
    assert room.next().sequence == 2
    assert rig.dropped() == {"layer": 1}
    room.goes_on()


def test_a_vp8_descriptor_that_is_cut_anywhere_passes_as_it_is(rig: Rig) -> None:
    room = Room(rig, first=packet(0, vp8(0, 0) + b"\x00key"))
    room.pump.set_layer(room.slot, 2, 0)
    room.send(packet(1, vp8(1, 2) + b"\x01delta"))  # left out: picture ids move from here on
    whole = vp8(1, 2)
    assert len(whole) == 6
    for cut in range(len(whole) + 1):
        room.send(packet(2 + cut, whole[:cut]))
        got = room.next()
        assert (got.sequence, got.payload) == (1 + cut, whole[:cut])
    assert set(layer_bytes(room)) == {0, 2}
    assert rig.dropped() == {"layer": 1}
    room.goes_on()


@pytest.mark.parametrize("payload_type", [PayloadType.VP9, PayloadType.H264, AV1])
def test_payloads_of_no_sense_pass_as_they_are(rig: Rig, payload_type: PayloadType) -> None:
    room = Room(rig)
    sequence = 1
    for first in range(256):
        for rest in (b"", b"\xff", b"\xf8\x00", b"\x00\x00\x05"):
            payload = bytes([first]) + rest
            room.send(packet(sequence, payload, payload_type=payload_type))
            assert room.next().payload == payload
            sequence += 1
    assert rig.dropped() == {}
    room.goes_on()


# Redundant audio

NO_RED = {
    "no block": b"",
    "nothing but headers": bytes([0x80 | OPUS, 0, 0, 0]),
    "a header that is cut": bytes([0x80 | OPUS, 0, 0]),
    "a block past the end": bytes([0x80 | OPUS, 0, 0, 5, OPUS]) + b"1234",
    "a block of 1,023 bytes": bytes([0x80 | OPUS, 0, 3, 255, OPUS]) + b"abc",
    "no room for the primary": bytes([0x80 | OPUS, 0, 0, 3, OPUS]) + b"abc",
    "headers without end": bytes([0xFF]) * 1_000,
    "nine blocks": bytes([0x80 | OPUS, 0, 0, 1]) * 9 + bytes([OPUS]) + b"123456789x",
}


@pytest.mark.parametrize("types", [TYPES, WITHOUT_RED], ids=["with red", "without red"])
@pytest.mark.parametrize("what", NO_RED)
def test_redundancy_that_reaches_past_its_end_is_malformed(
    rig: Rig, what: str, types: dict[int, int]
) -> None:
    room = Room(rig, types=types)
    sound = room.pump.add_stream(
        room.mallory.transport, 9, video=False, clock_rate=48_000, csrc=MALLORY
    )
    slot = room.pump.add_egress(room.receiver.transport, 10, video=False, trunk=False)
    room.pump.set_source(slot, sound)
    room.send(packet(1, NO_RED[what], ssrc=9, payload_type=RED))
    room.goes_on()
    assert rig.dropped() == {"red_malformed": 1}
    eight = bytes([0x80 | OPUS, 0, 0, 1]) * 8 + bytes([OPUS]) + b"12345678"
    room.send(packet(2, eight + b"new", ssrc=9, payload_type=RED))
    assert room.next().payload == (eight + b"new" if types is TYPES else b"new")
    room.goes_on()


# Feedback

MIN_BPS, START_BPS, MAX_BPS = 50_000, 300_000, 2_000_000


def feedback(fci: bytes) -> bytes:
    """RFC 4585 §6.1: RTPFB with format 15, filled up to 32 bits."""
    fci += bytes(-len(fci) % 4)
    return struct.pack("!BBHII", 0x8F, 205, 2 + len(fci) // 4, 1, SLOT) + fci


def stays_malformed(fci: bytes) -> bool:
    """What is filled up to 32 bits may become another feedback."""
    try:
        parse_feedback_untrusted(fci + bytes(-len(fci) % 4))
    except MalformedError:
        return True
    return False


WRONG_FEEDBACK = [each for each in MALFORMED.values() if stays_malformed(each)]
WRONG_FEEDBACK += [b"", struct.pack("!HHI", 0, 0xFFFF, 0), struct.pack("!HHI", 0, 0, 0)]
WRONG_FEEDBACK += [struct.pack("!HHI10H", 0, 0xFFFF, 0, *[0x3FFF] * 10)]


def bounded(estimator: BandwidthEstimator, report: PathReport, now_s: float) -> bool:
    estimator.on_report(report, now_s)
    estimator.on_timer(now_s)
    return MIN_BPS <= estimator.estimate_bps <= MAX_BPS


def test_feedback_against_the_rules_is_counted_and_tells_nothing(rig: Rig) -> None:
    room = Room(rig)
    assert len(WRONG_FEEDBACK) >= 10
    room.pump.path_reports(1.0)
    for each in WRONG_FEEDBACK:
        room.answer(feedback(each))
    room.goes_on()
    assert rig.dropped() == {"feedback_malformed": len(WRONG_FEEDBACK)}
    report = room.pump.path_reports(1.2)[room.receiver.transport]
    assert (report.heard, report.acked_packets, report.lost_packets) == (False, 0, 0)
    assert report.never_sent == 0
    assert rig.pump.drain() == []  # and nobody else is bothered with it


LIES = {
    "packets that were never sent": struct.pack("!HHIH", 1_000, 200, 1 << 8, 0x20C8) + b"\1" * 200,
    "packets of before the first": struct.pack("!HHIH", 0xFF00, 200, 1 << 8, 0x20C8) + b"\1" * 200,
    "as many as can be claimed": struct.pack("!HHIH", 2, 1_300, 1 << 8, 0x2514) + bytes(1_300),
    "that all arrived at once": struct.pack("!HHIH", 0, 50, 1 << 8, 0x2032) + bytes(50),
    "that all came before they left": (
        struct.pack("!HHIH", 0, 50, 0xFFFFFF << 8, 0x4032) + b"\x80\x00" * 50
    ),
    "a clock that leaps": struct.pack("!HHIH", 0, 50, 0x7FFFFF << 8, 0x4032) + b"\x7f\xff" * 50,
    "that all were lost": struct.pack("!HHI9H", 0, 0xFFFF, 1 << 8, *[0x1FFF] * 9),
}


@pytest.mark.parametrize("what", LIES)
def test_feedback_that_lies_moves_no_more_than_the_liars_estimate_and_that_within_its_bounds(
    rig: Rig, what: str
) -> None:
    room = Room(rig)
    honest = rig.peer(payload_types=TYPES, extensions=dict(IDS))
    slot = rig.pump.add_egress(honest.transport, 5, video=True, trunk=False, numbered=True)
    rig.pump.set_source(slot, room.stream)
    room.send(packet(1, KEYFRAME))
    honest.receive()
    assert room.next().sequence == 1
    estimator = BandwidthEstimator(START_BPS, MIN_BPS, MAX_BPS)
    now_s, never_sent = 1.0, 0
    for sequence in range(2, 52):
        room.send(packet(sequence, DELTA))
        honest.receive()
        room.next()
        room.answer(feedback(LIES[what]))
        room.goes_on()
        now_s += 0.2
        reports = rig.pump.path_reports(now_s)
        never_sent += reports[room.receiver.transport].never_sent
        assert bounded(estimator, reports[room.receiver.transport], now_s)
        theirs = reports[honest.transport]
        assert (theirs.heard, theirs.never_sent, theirs.lost_packets) == (False, 0, 0)
    assert rig.dropped() == {}
    assert (never_sent > 0) == (what not in ("that all were lost",))


# Requests to send again


def test_a_storm_of_requests_is_bounded_and_all_of_it_counted(rig: Rig) -> None:
    room = Room(rig)
    repairable = room.pump.add_stream(
        room.mallory.transport, 9, video=True, clock_rate=90_000, csrc=MALLORY, rtx_ssrc=10
    )
    slot = room.pump.add_egress(room.receiver.transport, 11, video=True, trunk=False, rtx_ssrc=12)
    room.pump.set_source(slot, repairable)
    for sequence in range(300):
        room.send(packet(sequence, KEYFRAME, ssrc=9))
        assert room.next().ssrc == 11
    asked = again = 0
    for _ in range(5):
        for first in range(0, 10_000, 500):
            again += room.pump.retransmit(slot, list(range(first, first + 500))).sent
            asked += 500
    assert 0 < again <= 128
    got = [room.next() for _ in range(again)]
    assert {each.ssrc for each in got} == {12}
    assert len({each.payload[:2] for each in got}) == again
    dropped = rig.dropped()
    assert dropped.keys() == {"nack_unknown", "nack_repeated", "nack_limited"}
    assert sum(dropped.values()) + again == asked
    assert room.pump.counters()["retransmitted"] == again
    room.goes_on()


def test_a_request_for_too_many_packets_is_cut(rig: Rig) -> None:
    room = Room(rig)
    slot = room.pump.add_egress(room.receiver.transport, 11, video=True, trunk=False, rtx_ssrc=12)
    room.pump.set_source(slot, room.stream)
    room.send(packet(1, KEYFRAME))
    assert {room.next().ssrc, room.next().ssrc} == {SLOT, 11}
    assert room.pump.retransmit(slot, list(range(10_000))).sent == 1
    assert room.next().ssrc == 12
    assert rig.dropped() == {"nack_unknown": 511}
    room.goes_on()
