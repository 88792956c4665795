"""Packets of one stream that come together leave together, to each receiver as one message."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from region.kernel import reference
from region.kernel.report import Path
from relay.payload import HeaderExtension
from tests.region.playing import Call
from tests.region.rig import BATCH, Peer, Rig, running
from tests.region.sent import answer
from tests.region.tcp_rig import TcpPeer
from tests.region.together import padding_added, receive_whole
from tests.region.viewing import (
    HEADER_BYTES,
    SLOT,
    TAG_BYTES,
    TYPES,
    Camera,
    Viewer,
    arrive,
    seen,
    whole_viewer,
)
from tests.strategies import scalable, vp8
from tests.strategies.calls import Arrives, Source, schedules
from tests.strategies.rtp import near_wrap

NUMBER_ID = 5

SLOW = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


def messages_of(rig: Rig, sizes: Sequence[int], paddings: Iterable[int] = ()) -> list[list[int]]:
    """How the packets of a first frame leave: sizes of payloads, by message."""
    camera = Camera(rig)
    viewer = whole_viewer(rig, camera)
    arrive(rig, ((camera, packet) for packet in camera.frame(sizes, paddings)))
    return [
        [len(each) - HEADER_BYTES for each in message] for message in viewer.received(len(sizes))
    ]


# Which leave together


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_packets_of_about_one_size_leave_as_one_message_padded(host: str) -> None:
    with running(host) as rig:
        sizes = [1_000, 998, 1_000, 990, 1_000, 1_000, 999, 400]
        assert messages_of(rig, sizes) == [[1_000] * 7 + [400]]


@pytest.mark.parametrize(
    ("sizes", "messages"),
    [
        ([500], [[500]]),
        ([500, 400], [[500, 400]]),
        ([500, 468, 500], [[500, 500, 500]]),
        ([500, 467, 500], [[500, 467], [500]]),
        ([468, 500], [[500, 500]]),
        ([467, 500], [[467], [500]]),
        ([468, 500, 500, 501], [[500, 500, 500], [501]]),
        ([468, 480, 500, 20, 20], [[500, 500, 500, 20], [20]]),
    ],
)
def test_no_packet_is_padded_by_more_than_32_bytes(
    rig: Rig, sizes: list[int], messages: list[list[int]]
) -> None:
    assert messages_of(rig, sizes) == messages


@pytest.mark.parametrize("padding", [1, 100, 223])
def test_what_is_padded_already_is_padded_more(rig: Rig, padding: int) -> None:
    assert messages_of(rig, [500, 468, 500], [0, padding, 0]) == [[500, 500, 500]]


def test_padding_never_grows_beyond_what_its_length_can_say(rig: Rig) -> None:
    assert messages_of(rig, [500, 490, 500], [0, 250, 0]) == [[500, 490], [500]]


def test_a_long_frame_leaves_in_several_messages(rig: Rig) -> None:
    assert [len(each) for each in messages_of(rig, [1_000] * 40)] == [32, 8]


def test_a_message_has_no_more_bytes_than_a_datagram_can(rig: Rig) -> None:
    messages = messages_of(rig, [2_020] * 40)
    assert sum(map(len, messages)) == 40
    assert rig.pump.counters()["ungrouped"] == 0
    assert rig.dropped() == {}


def test_streams_that_come_in_turns_leave_each_by_itself(rig: Rig) -> None:
    cameras = [Camera(rig, index) for index in range(3)]
    viewers = [whole_viewer(rig, *cameras) for _ in range(3)]
    arrive(rig, ((camera, packet) for camera in cameras for packet in camera.frame([20])))
    for viewer in viewers:
        viewer.received(3)
    frames = [[(camera, packet) for packet in camera.frame([700] * 5)] for camera in cameras]
    arrive(rig, (each for turn in zip(*frames, strict=True) for each in turn))
    for viewer in viewers:
        messages = [[reference.parse_untrusted(each) for each in m] for m in viewer.received(15)]
        assert [[(each.ssrc, each.sequence) for each in message] for message in messages] == [
            [(SLOT + index, sequence) for sequence in range(1, 6)] for index in range(3)
        ]


def test_what_comes_by_itself_leaves_as_it_is(rig: Rig) -> None:
    camera = Camera(rig)
    viewer = whole_viewer(rig, camera)
    for size in (900, 899, 300):
        (packet,) = camera.frame([size])
        arrive(rig, [(camera, packet)])
        assert [len(each) for each in viewer.received(1)[0]] == [size + HEADER_BYTES]


# What they are

_paddings = st.sampled_from([0] * 12 + [1, 30, 200, 222, 223, 224, 255])


@dataclass(frozen=True, slots=True)
class Frame:
    sizes: list[int]
    """Of payloads."""
    paddings: list[int]
    """That they have already."""
    keyframe: bool


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    most = draw(st.integers(20, 1_300))
    spread = draw(st.sampled_from([0, 2, 20, 32, 33, 40, most]))
    count = draw(st.integers(1, 8) | st.integers(1, 40))
    smaller = draw(st.lists(st.integers(0, spread), min_size=count, max_size=count))
    return Frame(
        sizes=[max(most - each, 6) for each in smaller],
        paddings=draw(st.lists(_paddings, min_size=count, max_size=count)),
        keyframe=draw(st.integers(0, 7)) == 7,
    )


@SLOW
@given(
    made=st.lists(st.lists(frames(), min_size=1, max_size=4), min_size=1, max_size=3),
    firsts=st.lists(st.tuples(near_wrap(1 << 15), near_wrap(1 << 15)), min_size=3, max_size=3),
    order=st.randoms(use_true_random=False),
    given_to=st.lists(st.integers(1, 7), min_size=4, max_size=4),
)
def test_every_receiver_gets_every_packet_once_and_whole(
    made: list[list[Frame]], firsts: list[tuple[int, int]], order: Random, given_to: list[int]
) -> None:
    with running() as rig:
        cameras = [
            Camera(rig, index, sequence=firsts[index][0] + 50_000, picture_id=firsts[index][1])
            for index in range(len(made))
        ]
        single, whole, trunk = (rig.peer(payload_types=TYPES) for _ in range(3))
        for peer in (whole, trunk):
            receive_whole(peer)
        peers: list[Peer | TcpPeer] = [single, whole, trunk, TcpPeer(rig, payload_types=TYPES)]
        viewers = [
            Viewer(rig, peer, [each for each in cameras if wanted >> each.index & 1], peer is trunk)
            for peer, wanted in zip(peers, given_to, strict=True)
        ]
        queues = [
            [
                data
                for each in of_it
                for data in camera.frame(each.sizes, each.paddings, each.keyframe)
            ]
            for camera, of_it in zip(cameras, made, strict=True)
        ]
        turns = [index for index, queue in enumerate(queues) for _ in queue]
        order.shuffle(turns)
        batch = [(cameras[index], queues[index].pop(0)) for index in turns[: 2 * BATCH]]
        arrive(rig, batch)
        read = seen(batch)
        for viewer in viewers:
            expected = viewer.expected(read)
            messages = viewer.received(len(expected))
            got = [each for message in messages for each in message]
            for ssrc in range(SLOT, SLOT + len(cameras)):
                for data, to in zip(of(got, ssrc), of(expected, ssrc), strict=True):
                    added = padding_added(data, to)
                    assert added is not None
                    assert not (added and isinstance(viewer.peer, TcpPeer))
            assert all(len({ssrc_of(each) for each in message}) == 1 for message in messages)
        rig.wait_for_datagrams(len(batch))
        assert all(viewer.peer.has_nothing() for viewer in viewers)
        assert rig.dropped() == {}
        assert rig.pump.counters()["ungrouped"] == 0


def ssrc_of(packet: bytes) -> int:
    return reference.parse_untrusted(packet).ssrc


def of(packets: Iterable[bytes], ssrc: int) -> list[bytes]:
    return [each for each in packets if ssrc_of(each) == ssrc]


def test_a_slot_switches_in_the_middle_of_a_batch(rig: Rig) -> None:
    old, new = (
        vp8.Camera(encoder=vp8.Encoder(picture_id=n, tl0picidx=n), sequence=n, timestamp=n)
        for n in (100, 200)
    )

    def in_turns(of_old: list[bytes], of_new: list[bytes]) -> list[Arrives]:
        pairs = zip(of_old, of_new, strict=True)
        return [Arrives(stream, each) for pair in pairs for stream, each in enumerate(pair)]

    call = Call(rig, 2, together=True)
    call.play([Source(0), *in_turns(old.take(2), new.take(2))])
    call.passed.clear()
    before, between, behind = (old.take(shape) for shape in (2, 2, 62))
    too_early, keyframe, then = (new.take(shape) for shape in (2, 62, 2))
    batch = in_turns(before, too_early) + in_turns(between, keyframe) + in_turns(behind, then)
    passed = [each.packet for each in call.play([Source(1), *batch])]
    assert passed == before + between[:1] + keyframe + then


@SLOW
@given(data=st.data())
def test_slots_of_vp8_agree_with_the_reference_whatever_comes_together(
    rig: Rig, data: st.DataObject
) -> None:
    made = data.draw(vp8.cameras(data.draw(st.integers(1, 3))))
    call = Call(rig, len(made), together=True)
    try:
        call.play(data.draw(schedules(made, impaired=True)))
        call.repeat()
    finally:
        call.close()


@SLOW
@given(data=st.data())
def test_slots_with_layers_agree_with_the_reference_whatever_comes_together(
    rig: Rig, data: st.DataObject
) -> None:
    made = data.draw(scalable.cameras(data.draw(st.integers(1, 3))))
    call = Call(rig, len(made), together=True)
    try:
        call.play(data.draw(schedules(made, impaired=True)))
        call.repeat()
    finally:
        call.close()


def test_a_repeated_packet_is_as_it_came_whatever_padding_it_left_with(rig: Rig) -> None:
    camera = Camera(rig)
    viewer = whole_viewer(rig, camera)
    frame = camera.frame([800, 790, 770, 800], [0, 0, 5, 0])
    arrive(rig, ((camera, packet) for packet in frame))
    (message,) = viewer.received(4)
    assert [len(each) for each in message] == [800 + HEADER_BYTES] * 4
    assert rig.pump.retransmit(viewer.slots[0], [0, 1, 2, 3]).sent == 4
    for number, packet in enumerate(frame):
        ((again,),) = viewer.received(1)
        # RFC 4588 §4: the original's number before its payload.
        original = reference.parse_untrusted(packet)
        assert reference.parse_untrusted(again).payload == number.to_bytes(2) + original.payload
        assert reference.parse_untrusted(again).padding == original.padding


# What the path accounts


def test_numbers_follow_the_order_of_leaving_and_sizes_include_padding(rig: Rig) -> None:
    numbers = {NUMBER_ID: HeaderExtension.TRANSPORT_SEQUENCE.value}
    cameras = [Camera(rig, index) for index in range(2)]
    viewer = whole_viewer(rig, *cameras, extensions=numbers)
    transport = viewer.peer.transport
    sizes = [[800, 780, 790, 800, 400, 410], [300, 299, 298, 270, 900, 100]]
    batch = [
        (camera, packet)
        for camera, of_it in zip(cameras, sizes, strict=True)
        for packet in camera.frame(of_it)
    ]
    arrive(rig, batch)
    wires = [each for message in viewer.received(len(batch)) for each in message]
    numbered = [reference.parse_untrusted(each).extensions for each in wires]
    assert numbered == [((NUMBER_ID, struct.pack("!H", n)),) for n in range(len(batch))]
    # They arrive over more than half a second, says the receiver: of that the rate is told.
    fci = answer(*((number, number * 60_000) for number in range(len(batch))))
    viewer.peer.send_raw(viewer.peer.outbound.protect_rtcp(feedback(fci)))
    rig.wait_for_datagrams(len(batch) + 1)
    report = rig.pump.path_reports(1.0)[transport]
    path = Path()
    for wire in wires:
        path.sent(len(wire) + TAG_BYTES, 1.0)
    assert path.feedback(fci, 1.0)
    assert (report.acked_packets, report.acked_bps) == (len(batch), path.read(1.0).acked_bps)
    stats = rig.pump.transport_stats(transport)
    assert stats.packets_out == len(batch)
    assert stats.bytes_out == sum(len(wire) + TAG_BYTES for wire in wires)


def feedback(fci: bytes) -> bytes:
    """RFC 4585 §6.1: RTPFB with format 15."""
    return struct.pack("!BBHII", 0x8F, 205, 2 + len(fci) // 4, 1, 2) + fci


def test_what_must_not_leave_takes_no_number(rig: Rig) -> None:
    camera = Camera(rig)
    numbers = {NUMBER_ID: HeaderExtension.TRANSPORT_SEQUENCE.value}
    viewer = whole_viewer(rig, camera, extensions=numbers)
    arrive(rig, ((camera, packet) for packet in camera.frame([20])))
    viewer.received(1)
    # Another slot of the same SSRC would send numbers that are used.
    Viewer(rig, viewer.peer, [camera])
    for frame in (camera.frame([20] * 3, keyframe=True), camera.frame([20])):
        arrive(rig, ((camera, packet) for packet in frame))
        last = reference.parse_untrusted(viewer.received(len(frame))[-1][-1])
    assert last.extensions == ((NUMBER_ID, struct.pack("!H", 4)),)
