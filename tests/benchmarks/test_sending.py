"""What the engine sends of a script, and what it makes of the bridge's wishes."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import trio

from benchmarks.load.media import Frame
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO
from region.rtcp import (
    Nack,
    Pli,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    build_compound,
    parse_compound_untrusted,
)
from relay.ids import Ssrc
from relay.payload import HeaderExtension
from tests.benchmarks.line import MAGIC, MARK, NACK, OPUS, RTX, VP8, Line, line, picture, rtp

OURS, OURS_RTX = 77, 78
FRAME_US = 20_000
MARK_AT = 16
PAUSE_S = 0.1
SEVERAL_ROUNDS_S = 0.3
"""Feedback is given each 75 ms, and asked is again each round trip, here taken for 100 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """An RTP packet from the engine, as a bridge would read it."""

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    extensions: dict[int, bytes]
    payload: bytes

    @property
    def picture(self) -> int:
        return int.from_bytes(self.payload[2:4], "big") & 0x7FFF

    @property
    def base(self) -> int:
        return self.payload[4]

    @property
    def temporal(self) -> int:
        return self.payload[5] >> 6

    @property
    def keyframe(self) -> bool:
        return self.payload[0] & 0x10 != 0 and self.payload[6] & 1 == 0

    @classmethod
    def read(cls, data: bytes) -> "Packet":
        at = 12
        extensions: dict[int, bytes] = {}
        if data[0] & 0x10:
            profile, words = struct.unpack_from("!HH", data, 12)
            assert profile == 0xBEDE
            at = 16
            end = at + 4 * words
            while at < end:
                if data[at] == 0:
                    at += 1
                    continue
                length = (data[at] & 0x0F) + 1
                extensions[data[at] >> 4] = data[at + 1 : at + 1 + length]
                at += 1 + length
        return cls(
            marker=data[1] & 0x80 != 0,
            payload_type=data[1] & 0x7F,
            sequence=int.from_bytes(data[2:4], "big"),
            timestamp=int.from_bytes(data[4:8], "big"),
            ssrc=int.from_bytes(data[8:12], "big"),
            extensions=extensions,
            payload=data[at:],
        )


def is_media(packet: bytes) -> bool:
    return not 192 <= packet[1] < 224


async def packets(wire: Line, count: int) -> list[Packet]:
    return [Packet.read(await wire.next(is_media)) for _ in range(count)]


async def keyframe(wire: Line) -> Packet:
    """The first packet of the next one."""
    while True:
        (packet,) = await packets(wire, 1)
        if packet.keyframe:
            return packet


def frames(*sizes: int, temporal: Sequence[int] = (0,)) -> tuple[Frame, ...]:
    return tuple(
        Frame(offset_us=n * FRAME_US, size_bytes=size, temporal=temporal[n % len(temporal)])
        for n, size in enumerate(sizes)
    )


def play(wire: Line, script: Sequence[Frame], *, keyframe_bytes: int = 0) -> int:
    """A camera's middle encoding, with all that it may have; its sender."""
    sender = wire.engine.add_sender(
        wire.client,
        kind=PAYLOAD_VIDEO,
        ssrc=OURS,
        payload_type=VP8,
        layer=1,
        rtx_ssrc=OURS_RTX,
        rtx_payload_type=RTX,
        mid=b"1",
        rid=b"h",
    )
    number = wire.engine.add_script(
        script, cycle_us=len(script) * FRAME_US, keyframe_bytes=keyframe_bytes, packet_bytes=1_000
    )
    wire.engine.set_active(sender, True)
    wire.engine.play(sender, number)
    return sender


async def test_a_frame_is_packets_of_nearly_one_size_and_a_marker_on_the_last() -> None:
    async with line() as wire:
        play(wire, frames(2_501))
        sent = await packets(wire, 3)
        assert [len(each.payload) - 6 for each in sent] == [833, 834, 834]
        assert [each.marker for each in sent] == [False, False, True]
        assert len({each.timestamp for each in sent}) == 1
        assert [each.payload[0] & 0x10 for each in sent] == [0x10, 0, 0]


async def test_numbers_run_on_over_the_end_of_the_script() -> None:
    async with line() as wire:
        play(wire, frames(*[500] * 4, temporal=(0, 2, 1, 2)))
        sent = await packets(wire, 9)
        first = sent[0]
        assert [each.sequence - first.sequence for each in sent] == list(range(9))
        assert [(each.picture - first.picture) % 0x8000 for each in sent] == list(range(9))
        assert [(each.base - first.base) % 256 for each in sent] == [0, 0, 0, 0, 1, 1, 1, 1, 2]
        assert [each.temporal for each in sent] == [0, 2, 1, 2, 0, 2, 1, 2, 0]
        ticks = FRAME_US * 90_000 // 1_000_000
        steps = {(b.timestamp - a.timestamp) % 2**32 for a, b in pairwise(sent)}
        assert max(abs(step - ticks) for step in steps) <= 1
        numbers = [
            int.from_bytes(each.extensions[HeaderExtension.TRANSPORT_SEQUENCE], "big")
            for each in sent
        ]
        assert [(each - numbers[0]) % 65_536 for each in numbers] == list(range(9))


async def test_every_payload_is_marked() -> None:
    async with line() as wire:
        sender = play(wire, frames(1_500))
        for number, packet in enumerate(await packets(wire, 4), start=1):
            mark = MARK.unpack_from(packet.payload, MARK_AT)
            assert mark[:3] == (MAGIC, sender, 1)
            assert mark[6] == number


async def test_the_first_frame_is_a_keyframe_and_others_when_they_are_asked_for() -> None:
    async with line() as wire:
        sender = play(wire, frames(500), keyframe_bytes=900)
        sent = await packets(wire, 5)
        assert [each.keyframe for each in sent] == [True, False, False, False, False]
        assert [len(each.payload) - 6 for each in sent] == [900, 500, 500, 500, 500]
        wire.send_rtcp(build_compound(Pli(sender_ssrc=Ssrc(1), media_ssrc=Ssrc(OURS))))
        assert len((await keyframe(wire)).payload) - 6 == 900
        assert wire.engine.sender_stats(sender).keyframes_asked == 1


async def test_what_is_asked_for_is_sent_again_with_its_number() -> None:
    async with line() as wire:
        sender = play(wire, frames(500))
        sent = (await packets(wire, 3))[1]
        nack = Nack(sender_ssrc=Ssrc(1), media_ssrc=Ssrc(OURS), sequences=(sent.sequence, 0xFFFF))
        wire.send_rtcp(build_compound(nack))
        again = Packet.read(await wire.next(lambda it: is_media(it) and it[1] & 0x7F == RTX))
        assert again.ssrc == OURS_RTX
        assert again.payload == struct.pack("!H", sent.sequence) + sent.payload
        assert again.timestamp == sent.timestamp
        assert again.extensions[HeaderExtension.REPAIRED_RID] == b"h"
        stats = wire.engine.sender_stats(sender)
        assert (stats.nacked, stats.retransmitted) == (2, 1)


async def test_packets_are_named_until_the_bridge_has_reported_on_them() -> None:
    async with line() as wire:
        play(wire, frames(500))
        (packet,) = await packets(wire, 1)
        assert packet.extensions[HeaderExtension.MID] == b"1"
        assert packet.extensions[HeaderExtension.RID] == b"h"
        block = ReportBlock(
            ssrc=Ssrc(OURS),
            fraction_lost=0,
            packets_lost=0,
            highest_sequence=packet.sequence,
            jitter_ticks=0,
            last_sr=0,
            delay_since_last_sr=0,
        )
        wire.send_rtcp(build_compound(ReceiverReport(ssrc=Ssrc(1), reports=(block,))))
        while HeaderExtension.MID in packet.extensions:
            (packet,) = await packets(wire, 1)
        assert HeaderExtension.RID not in packet.extensions


async def test_what_nobody_wants_is_not_sent_and_comes_back_with_a_keyframe() -> None:
    async with line() as wire:
        sender = play(wire, frames(500))
        await packets(wire, 2)
        wire.engine.set_wanted(sender, False)
        paused = wire.engine.sender_stats(sender).frames
        await trio.sleep(PAUSE_S)
        assert wire.engine.sender_stats(sender).frames == paused
        wire.engine.set_wanted(sender, True)
        assert (await keyframe(wire)).ssrc == OURS
        assert wire.engine.sender_stats(sender).keyframes == 2


async def test_who_is_silenced_says_nothing_more_and_goes_on_counting() -> None:
    async with line() as wire:
        play(wire, frames(500))
        for sequence in (1, 3):  # 2 is asked for again and again
            wire.send(rtp(sequence, picture(sequence, sequence), number=sequence))
        await wire.next(lambda it: it[8:10] == NACK)
        wire.engine.silence(wire.client)
        wire.hear_out()
        wire.send(rtp(4, picture(4, 4), number=4))
        await wire.counted(lambda it: it.packets == 3)
        await trio.sleep(SEVERAL_ROUNDS_S)
        assert wire.hear_out() == []


async def test_a_paced_client_spreads_a_large_frame() -> None:
    async with line() as wire:
        wire.engine.pace(wire.client, 100_000)
        sender = play(wire, frames(50_000, *[500] * 500))
        await packets(wire, 1)
        await trio.sleep(PAUSE_S)
        assert 1 <= wire.engine.sender_stats(sender).packets < 50


async def test_sound_has_its_level_and_no_pacing() -> None:
    async with line() as wire:
        wire.engine.pace(wire.client, 1_000)
        sender = wire.engine.add_sender(
            wire.client, kind=PAYLOAD_AUDIO, ssrc=OURS, payload_type=OPUS
        )
        script = wire.engine.add_script(
            [Frame(offset_us=0, size_bytes=80, level=0x9E)], cycle_us=FRAME_US, packet_bytes=1_000
        )
        wire.engine.play(sender, script)
        wire.engine.set_active(sender, True)
        sent = await packets(wire, 3)
        assert [each.extensions[HeaderExtension.AUDIO_LEVEL] for each in sent] == [b"\x9e"] * 3
        assert [len(each.payload) for each in sent] == [80] * 3
        assert MARK.unpack_from(sent[0].payload, 1)[0] == MAGIC


async def test_each_stream_that_is_sent_is_reported() -> None:
    async with line() as wire:
        play(wire, frames(500))
        (packet,) = await packets(wire, 1)
        data = await wire.next(lambda it: it[1] == 200)
        (report,) = parse_compound_untrusted(data)
        assert isinstance(report, SenderReport)
        assert report.ssrc == OURS
        assert report.packets > 0
        assert (report.timestamp_ticks - packet.timestamp) % 2**32 < 5 * 90_000


async def test_what_is_removed_stays_in_the_totals() -> None:
    async with line() as wire:
        sender = play(wire, frames(500))
        await packets(wire, 3)
        wire.engine.set_active(sender, False)
        before = wire.engine.totals()
        assert before.sent_packets >= 3
        wire.leave()
        assert wire.engine.totals() == before
