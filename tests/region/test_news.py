"""What the pump wakes Python for, which looks at its counters at times of its own otherwise."""

import time

import pytest

from relay.payload import HeaderExtension
from tests.region.rig import Peer, Rig
from tests.region.sent import answer
from tests.strategies.rtp import rtp

SSRC, SLOT = 0x1111, 0x2222
OPUS, VP8, WIRE_ID, TRANSPORT_SEQUENCE = 111, 96, 5, 3
SILENT, LOUD = 127, 20
"""−dBov, RFC 6464."""
A_MOMENT_S = 0.16
"""Paths are read a few times a second."""
PRESSES_S = 1.02
"""Over-use that lasts is news again."""
UNANSWERED_S = 0.4
"""After so long without feedback something may be wrong."""
STILL_S = 1.02
"""A stream without packets for longer begins anew."""


def speaking(rig: Rig) -> tuple[int, Peer, Peer]:
    """A stream, who sends it, and a receiver that reports what arrives."""
    sender = rig.peer()
    receiver = rig.peer(extensions={WIRE_ID: TRANSPORT_SEQUENCE})
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    slot = rig.pump.add_egress(receiver.transport, SLOT, video=False, trunk=False, numbered=True)
    rig.pump.set_source(slot, stream)
    return stream, sender, receiver


def say(sender: Peer, receiver: Peer, number: int) -> None:
    sender.send(rtp(sequence=number, timestamp=number, ssrc=SSRC, payload_type=OPUS))
    receiver.receive()


def report(
    rig: Rig, receiver: Peer, arrived_us: int, number: int, datagrams: int, lost: int = 0
) -> None:
    """That the packet of this number arrived then, and so many before it did not.

    `datagrams`: what the pump has read with this.
    """
    fci = answer((number, arrived_us), base=number - lost)
    words = (12 + len(fci)) // 4 - 1
    compound = bytes.fromhex("8fcd") + words.to_bytes(2) + bytes(8) + fci
    receiver.send_raw(receiver.outbound.protect_rtcp(compound))
    rig.wait_for_datagrams(datagrams)


def test_a_stream_that_begins_is_news_and_its_next_packets_are_none(rig: Rig) -> None:
    stream, sender, receiver = speaking(rig)
    assert rig.pump.news() is None
    say(sender, receiver, 1)
    assert rig.pump.news() == {stream}
    say(sender, receiver, 2)
    assert rig.pump.news() is None


def test_a_stream_that_was_still_begins_anew(rig: Rig) -> None:
    stream, sender, receiver = speaking(rig)
    say(sender, receiver, 1)
    assert rig.pump.news() == {stream}
    time.sleep(STILL_S)
    say(sender, receiver, 2)
    assert rig.pump.news() == {stream}


def test_a_picture_that_begins_or_ends_has_changed_once(rig: Rig) -> None:
    sender = rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=True, clock_rate=90_000, csrc=4)
    assert rig.pump.changed_streams(time.monotonic()) == frozenset()
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=VP8))
    rig.wait_for_datagrams(1)
    now = time.monotonic()
    assert rig.pump.changed_streams(now) == {stream}
    assert rig.pump.changed_streams(now) == frozenset()
    assert rig.pump.changed_streams(now + STILL_S) == {stream}
    assert rig.pump.changed_streams(now + 2 * STILL_S) == frozenset()


def test_a_voice_that_is_heard_after_silence_is_news_once_and_has_changed_when_it_ends(
    rig: Rig,
) -> None:
    sender = rig.peer(extensions={WIRE_ID: HeaderExtension.AUDIO_LEVEL})
    stream = rig.pump.add_stream(sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4)
    said = [(SILENT, {stream}), (SILENT, None), (LOUD, {stream}), (LOUD, None)]
    for number, (level, news) in enumerate(said, 1):
        sender.send(
            rtp(
                sequence=number,
                timestamp=number,
                ssrc=SSRC,
                payload_type=OPUS,
                extensions=((WIRE_ID, bytes([level])),),
            )
        )
        rig.wait_for_datagrams(number)
        assert rig.pump.news() == news
        assert rig.pump.changed_streams(time.monotonic()) == frozenset()
    assert rig.pump.changed_streams(time.monotonic() + STILL_S) == {stream}


def test_feedback_from_a_path_on_which_all_is_well_is_none(rig: Rig) -> None:
    _, sender, receiver = speaking(rig)
    for number in range(3):
        say(sender, receiver, number)
    rig.pump.news()
    report(rig, receiver, 8_000, 0, 4)
    report(rig, receiver, 8_001, 1, 5)
    assert rig.pump.news() is None


def test_over_use_is_news_at_once_and_again_after_a_second(rig: Rig) -> None:
    _, sender, receiver = speaking(rig)
    count = 60
    for number in range(count):
        say(sender, receiver, number)
        time.sleep(0.006)  # groups of their own: 5 ms by draft-ietf-rmcat-gcc-02, section 5.2
    rig.pump.news()
    news = 0
    for number in range(count):
        # Each takes 30 ms more than the one before.
        report(rig, receiver, number * 36_000, number, count + 1 + number)
        news += rig.pump.news() is not None
    assert news == 1
    rig.pump.path_reports(time.monotonic())
    say(sender, receiver, count)
    report(rig, receiver, count * 36_000, count, 2 * count + 2)
    assert rig.pump.news() is None
    for _ in range(2):  # the stream goes on meanwhile
        time.sleep(PRESSES_S / 2)
        count += 1
        say(sender, receiver, count)
    report(rig, receiver, count * 36_000, count, 2 * count + 1)
    assert rig.pump.news() == frozenset()


def heard_of_an_ample_path(rig: Rig) -> tuple[Peer, Peer, float]:
    """Who sends four packets on it, their receiver, and when what it said of the first was read."""
    _, sender, receiver = speaking(rig)
    for number in range(4):
        say(sender, receiver, number)
    rig.pump.set_ample(receiver.transport, True)
    now = time.monotonic()
    report(rig, receiver, 8_000, 0, 5)
    assert receiver.transport in rig.pump.path_reports(now)
    return sender, receiver, now


def test_a_path_that_carries_all_that_is_wanted_is_reported_each_second(rig: Rig) -> None:
    _, receiver, now = heard_of_an_ample_path(rig)
    report(rig, receiver, 8_001, 1, 6)
    assert rig.pump.path_reports(now + A_MOMENT_S) == {}
    assert receiver.transport in rig.pump.path_reports(now + 1.0)


@pytest.mark.parametrize("word", ["it is too narrow", "something was lost", "nothing is answered"])
def test_a_path_that_no_longer_does_is_reported_as_soon_as_others(rig: Rig, word: str) -> None:
    sender, receiver, now = heard_of_an_ample_path(rig)
    later = now + A_MOMENT_S
    if word == "it is too narrow":
        report(rig, receiver, 8_001, 1, 6)
        rig.pump.set_ample(receiver.transport, False)
    elif word == "something was lost":
        report(rig, receiver, 8_002, 2, 6, lost=1)
    else:
        say(sender, receiver, 4)
        later = now + UNANSWERED_S + A_MOMENT_S
    assert receiver.transport in rig.pump.path_reports(later)


def test_a_path_on_which_all_is_well_is_not_reported_twice_within_a_moment(rig: Rig) -> None:
    _, sender, receiver = speaking(rig)
    for number in range(2):
        say(sender, receiver, number)
    now = time.monotonic()
    report(rig, receiver, 8_000, 0, 3)
    assert receiver.transport in rig.pump.path_reports(now)
    report(rig, receiver, 8_001, 1, 4)
    assert rig.pump.path_reports(now + A_MOMENT_S / 2) == {}
    assert rig.pump.path_reports(now + A_MOMENT_S)[receiver.transport].acked_packets == 1
