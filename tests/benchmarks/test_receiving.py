"""What the engine finds in what arrives."""

import struct

import trio

from benchmarks.load.counts import BUCKET_BOUNDS_NS
from region.rtcp import Nack, Other, Pli, ReceiverReport, parse_compound_untrusted
from tests.benchmarks.line import NACK, OPUS, RTX, RTX_SSRC, SSRC, Line, line, picture, rtp

PLI, FEEDBACK = b"\x81\xce", (b"\x8f\xcd", b"\xaf\xcd")
"""RFC 4585 §6.1, behind an empty receiver report, as `NACK`."""
SETTLED_S = 0.05
"""Sweeps of the engine's that find nothing more."""


async def send_numbered(wire: Line, *sequences: int) -> None:
    for sequence in sequences:
        number = sequence & 0x7FFF
        wire.send(rtp(sequence, picture(number, number & 0xFF, keyframe=sequence == 1)))


async def test_packets_in_order_are_counted_and_nothing_else_is() -> None:
    async with line() as wire:
        await send_numbered(wire, *range(1, 101))
        stream = await wire.counted(lambda it: it.packets == 100)
        assert stream.missing == stream.given_up == stream.duplicates == stream.reordered == 0
        assert stream.picture_jumps == stream.base_jumps == stream.unmarked == 0
        assert stream.keyframes == 1
        assert (stream.sender, stream.layer, stream.layer_packets) == (7, 1, (0, 100, 0))


async def test_packets_that_come_as_one_are_told_apart() -> None:
    async with line() as wire:
        keyframe = picture(1, 1, keyframe=True)
        pictures = [keyframe, *(picture(number, number) for number in range(2, 10))]
        packets = [rtp(number, each) for number, each in enumerate(pictures, start=1)]
        wire.send_as_one([*packets[:-1], packets[-1][:-4]])
        stream = await wire.counted(lambda it: it.packets == 9)
        assert (stream.missing, stream.undecryptable, stream.picture_jumps) == (0, 0, 0)


async def test_what_finds_no_room_in_the_socket_is_the_loads_own_loss() -> None:
    async with line(asleep=True, decrypt_one_in=0) as wire:
        for number in range(20_000):
            wire.socket.send(rtp(number, bytes(1_200)))
        wire.begin()
        await wire.counted(lambda it: it.packets > 0)
        wire.socket.send(rtp(20_000, bytes(1_200)))
        await wire.until(lambda: wire.engine.totals().overflowed > 0)
        stream = await wire.counted(lambda it: it.given_up > 0)
        assert stream.packets + wire.engine.totals().overflowed == 20_001


async def test_a_number_is_missing_until_it_comes() -> None:
    async with line() as wire:
        await send_numbered(wire, 1, 2, 5)
        assert (await wire.counted(lambda it: it.packets == 3)).missing == 2
        await send_numbered(wire, 4)
        stream = await wire.counted(lambda it: it.packets == 4)
        assert (stream.missing, stream.reordered, stream.given_up) == (1, 1, 0)


async def test_what_is_a_window_behind_is_given_up() -> None:
    async with line() as wire:
        await send_numbered(wire, 1, 3, *range(4, 1_024))
        assert (await wire.counted(lambda it: it.packets == 1_022)).missing == 1
        await send_numbered(wire, *range(1_024, 1_034))
        stream = await wire.counted(lambda it: it.packets == 1_032)
        assert (stream.missing, stream.given_up) == (0, 1)


async def test_a_gap_of_more_than_a_window_is_given_up_at_once() -> None:
    async with line() as wire:
        await send_numbered(wire, 1, 3, 2_004)
        stream = await wire.counted(lambda it: it.packets == 3)
        assert (stream.missing, stream.given_up) == (0, 2_001)


async def test_numbers_wrap() -> None:
    async with line() as wire:
        await send_numbered(wire, 65_534, 65_535, 65_536, 65_538)
        stream = await wire.counted(lambda it: it.packets == 4)
        assert (stream.missing, stream.given_up) == (1, 0)


async def test_what_comes_twice_is_a_duplicate_and_no_packet() -> None:
    async with line() as wire:
        packet = rtp(1, picture(1, 1, keyframe=True))
        wire.send(packet)
        await wire.counted(lambda it: it.packets == 1)
        wire.socket.send(packet)  # libsrtp is not even asked
        stream = await wire.counted(lambda it: it.duplicates == 1)
        assert (stream.packets, stream.undecryptable) == (1, 0)


async def test_what_is_encrypted_otherwise_is_undecryptable() -> None:
    async with line() as wire:
        wire.socket.send(rtp(1, picture(1, 1)) + bytes(16))
        assert (await wire.counted(lambda it: it.undecryptable == 1)).packets == 1


async def test_without_decryption_order_is_checked_all_the_same() -> None:
    async with line(decrypt_one_in=0) as wire:
        wire.socket.send(rtp(1, bytes(50)))
        wire.socket.send(rtp(3, bytes(50)))
        stream = await wire.counted(lambda it: it.packets == 2)
        assert (stream.missing, stream.undecryptable, stream.unmarked) == (1, 0, 0)


async def test_a_share_of_the_packets_is_decrypted() -> None:
    async with line(decrypt_one_in=10) as wire:
        await send_numbered(wire, *range(1, 1_001))
        stream = await wire.counted(lambda it: it.packets == 1_000)
        assert 50 < sum(stream.layer_packets) < 200


async def test_pictures_that_do_not_go_on_from_those_before_are_jumps() -> None:
    async with line() as wire:
        wire.send(rtp(1, picture(10, 1, keyframe=True), marker=False))
        wire.send(rtp(2, picture(10, 1, begins=False)))
        wire.send(rtp(3, picture(11, 1, temporal=2)))
        assert (await wire.counted(lambda it: it.packets == 3)).picture_jumps == 0
        wire.send(rtp(4, picture(13, 2)))
        stream = await wire.counted(lambda it: it.packets == 4)
        assert (stream.picture_jumps, stream.base_jumps) == (1, 0)
        wire.send(rtp(5, picture(14, 4)))
        stream = await wire.counted(lambda it: it.packets == 5)
        assert (stream.picture_jumps, stream.base_jumps) == (1, 1)


async def test_padding_behind_a_payload_is_no_part_of_it() -> None:
    async with line() as wire:
        wire.send(rtp(1, picture(1, 1, keyframe=True), padding=4))
        wire.send(rtp(2, b"", padding=200))
        stream = await wire.counted(lambda it: it.packets == 2)
        assert (stream.padding, stream.unmarked, stream.malformed) == (1, 0, 0)


async def test_delays_are_told_by_the_age_of_the_mark() -> None:
    async with line() as wire:
        wire.send(rtp(1, picture(1, 1, keyframe=True, age_s=0.2)))
        await wire.counted(lambda it: it.packets == 1)
        audio, video = wire.engine.delays()
        (bucket,) = (index for index, count in enumerate(video) if count)
        assert sum(audio) == 0
        assert 0.2e9 * 31 / 32 <= BUCKET_BOUNDS_NS[bucket] < 1e9


async def test_media_of_an_unknown_type_is_unexpected() -> None:
    async with line() as wire:
        wire.send(rtp(1, bytes(50), payload_type=100))
        await wire.until(lambda: wire.engine.client_stats(wire.client).unexpected == 1)
        assert wire.engine.streams(wire.client) == []


async def test_what_is_missing_is_asked_for_at_once_and_again() -> None:
    async with line() as wire:
        await send_numbered(wire, 1, 2, 5)
        for _ in range(2):
            packet = await wire.next(lambda it: it[8:10] == NACK)
            _, nack = parse_compound_untrusted(packet)
            assert isinstance(nack, Nack)
            assert (nack.media_ssrc, nack.sequences) == (SSRC, (3, 4))


async def test_a_retransmission_fills_the_gap() -> None:
    async with line() as wire:
        await send_numbered(wire, 1, 3)
        await wire.counted(lambda it: it.missing == 1)
        again = struct.pack("!H", 2) + picture(2, 2)
        wire.send(rtp(500, again, ssrc=RTX_SSRC, payload_type=RTX))
        stream = await wire.counted(lambda it: it.packets == 3)
        assert (stream.missing, stream.recovered, stream.reordered) == (0, 1, 0)
        wire.send(rtp(501, again, ssrc=RTX_SSRC, payload_type=RTX))
        await wire.until(lambda: wire.engine.client_stats(wire.client).unneeded == 1)
        assert wire.engine.client_stats(wire.client).retransmissions == 2


async def test_a_retransmission_that_overtakes_its_original_counts_in_its_place() -> None:
    async with line() as wire:
        await send_numbered(wire, 1)
        await wire.counted(lambda it: it.packets == 1)
        again = struct.pack("!H", 2) + picture(2, 2)
        wire.send(rtp(500, again, ssrc=RTX_SSRC, payload_type=RTX))
        await wire.counted(lambda it: it.packets == 2)
        await send_numbered(wire, 2, 3)
        stream = await wire.counted(lambda it: it.packets == 3)
        assert (stream.recovered, stream.duplicates, stream.missing) == (1, 1, 0)


async def test_sound_is_not_asked_for_again() -> None:
    async with line() as wire:
        for sequence in (1, 3):
            wire.send(rtp(sequence, bytes(50), payload_type=OPUS))
        await wire.counted(lambda it: it.missing == 1)
        await trio.sleep(SETTLED_S)
        assert wire.engine.client_stats(wire.client).nacks_sent == 0


async def test_a_picture_without_a_keyframe_has_one_asked_for() -> None:
    async with line() as wire:
        wire.send(rtp(1, picture(1, 1)))
        packet = await wire.next(lambda it: it[8:10] == PLI)
        pli = parse_compound_untrusted(packet)[1]
        assert isinstance(pli, Pli)
        assert pli.media_ssrc == SSRC


async def test_numbered_packets_are_reported_on() -> None:
    async with line() as wire:
        for number in (7, 8, 10):
            wire.send(rtp(number, picture(number, number, keyframe=True), number=number))
        packet = await wire.next(lambda it: it[8:10] in FEEDBACK)
        feedback = parse_compound_untrusted(packet)[1]
        assert isinstance(feedback, Other)
        first, count = struct.unpack_from("!HH", feedback.body, 8)
        assert (first, count) == (7, 4)


async def test_every_stream_is_in_the_receiver_reports() -> None:
    async with line(feedback=False, nacks=False) as wire:
        for ssrc in range(2_000, 2_040):
            for sequence in (1, 2, 4):
                wire.send(rtp(sequence, bytes(50), ssrc=ssrc, payload_type=OPUS))
        reported: dict[int, int] = {}
        while len(reported) < 40:
            packet = await wire.next(lambda it: it[1] == 201 and it[0] & 0x1F > 0)
            (report,) = parse_compound_untrusted(packet)
            assert isinstance(report, ReceiverReport)
            assert len(report.reports) <= 31
            reported |= {block.ssrc: block.packets_lost for block in report.reports}
        assert set(reported) == set(range(2_000, 2_040))
        assert set(reported.values()) == {1}
