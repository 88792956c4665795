"""What the pump wakes Python for, which looks at its counters at times of its own otherwise."""

import time
from dataclasses import dataclass

import pytest

from region.kernel import ALIVE_S
from relay.payload import HeaderExtension, PayloadType
from tests.region.rig import DEADLINE_S, Peer, Rig, give_keys
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
GONE_S = 1.0
"""After so long it is time to see to it."""
STILL_S = 1.02
"""A stream without packets for longer begins anew."""
STRAY_LOSSES = 2
"""Between two reports; no path is without them."""
SEEN_S = 0.2
"""Within which the pump sees what is not told it by a packet."""


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


class Voice:
    """Somebody who says how loud each packet is."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._sender = rig.peer(extensions={WIRE_ID: HeaderExtension.AUDIO_LEVEL})
        self.stream = rig.pump.add_stream(
            self._sender.transport, SSRC, video=False, clock_rate=48_000, csrc=4
        )

    def speak(self, number: int, level: int) -> None:
        """The packet of that number, of so many −dBov, which the pump has read after this."""
        self._sender.send(
            rtp(
                sequence=number,
                timestamp=number,
                ssrc=SSRC,
                payload_type=OPUS,
                extensions=((WIRE_ID, bytes([level])),),
            )
        )
        self._rig.wait_for_datagrams(number)


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
    voice = Voice(rig)
    stream = voice.stream
    said = [(SILENT, {stream}), (SILENT, None), (LOUD, {stream}), (LOUD, None)]
    for number, (level, news) in enumerate(said, 1):
        voice.speak(number, level)
        assert rig.pump.news() == news
        assert rig.pump.changed_streams(time.monotonic()) == frozenset()
    assert rig.pump.changed_streams(time.monotonic() + STILL_S) == {stream}


@dataclass(slots=True)
class Heartbeat:
    """Somebody whose packets keep the pump awake."""

    rig: Rig
    sender: Peer
    sent: int = 0

    @classmethod
    def of(cls, rig: Rig) -> "Heartbeat":
        """One that has begun, of which has been told."""
        heartbeat = cls(rig, rig.peer())
        rig.pump.add_stream(
            heartbeat.sender.transport, SSRC + 1, video=False, clock_rate=48_000, csrc=5
        )
        heartbeat.beat()
        rig.pump.news()
        return heartbeat

    def beat(self) -> None:
        """A packet, with which the pump has dealt when this returns."""
        datagrams = self.rig.pump.counters()["datagrams_in"] + 1
        self.sent += 1
        self.sender.send(
            rtp(sequence=self.sent, timestamp=self.sent, ssrc=SSRC + 1, payload_type=OPUS)
        )
        self.rig.wait_for_datagrams(datagrams)

    def until_news(self) -> float:
        """When there is some, which names no stream."""
        end = time.monotonic() + DEADLINE_S
        while (news := self.rig.pump.news()) is None:
            assert time.monotonic() < end
            self.beat()
            time.sleep(0.01)
        assert news == frozenset()
        return time.monotonic()

    def has_none(self) -> bool:
        """Whether there is none in the time in which all is seen."""
        end = time.monotonic() + 2 * SEEN_S
        while time.monotonic() < end:
            self.beat()
            time.sleep(0.01)
        return self.rig.pump.news() is None


def test_a_picture_that_ends_is_news_until_it_is_asked_for(rig: Rig) -> None:
    heartbeat, sender = Heartbeat.of(rig), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=True, clock_rate=90_000, csrc=4)
    sender.send(rtp(sequence=1, timestamp=1, ssrc=SSRC, payload_type=VP8))
    rig.wait_for_datagrams(2)
    sent_s = time.monotonic()
    assert rig.pump.news() == {stream}
    assert rig.pump.changed_streams(sent_s) == {stream}
    assert heartbeat.until_news() >= sent_s + ALIVE_S - A_MOMENT_S
    heartbeat.until_news()
    assert rig.pump.changed_streams(time.monotonic()) == {stream}
    rig.pump.news()
    assert heartbeat.has_none()


def test_a_picture_that_comes_in_another_codec_has_changed_and_that_is_news(rig: Rig) -> None:
    heartbeat = Heartbeat.of(rig)
    sender = rig.peer(payload_types={96: PayloadType.VP8, 98: PayloadType.VP9})
    stream = rig.pump.add_stream(sender.transport, SSRC, video=True, clock_rate=90_000, csrc=4)
    for number, payload_type in enumerate((96, 96, 98, 98), 1):
        sender.send(rtp(sequence=number, timestamp=1, ssrc=SSRC, payload_type=payload_type))
        rig.wait_for_datagrams(heartbeat.sent + number)
        if number == 3:
            rig.pump.news()
            heartbeat.until_news()
        is_other = number in (1, 3)
        named = rig.pump.changed_streams(time.monotonic())
        assert named == ({stream} if is_other else frozenset())


def test_a_slot_whose_path_is_there_at_last_is_news_as_it_waits_for_a_keyframe(rig: Rig) -> None:
    heartbeat, sender, viewer = Heartbeat.of(rig), rig.peer(), rig.pump.add_transport()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=True, clock_rate=90_000, csrc=4)
    slot = rig.pump.add_egress(viewer, SLOT, video=True, trunk=False)
    rig.pump.set_source(slot, stream)
    assert rig.pump.awaiting() == []
    give_keys(rig.pump, viewer)
    rig.pump.select_address(viewer, sender.address)
    heartbeat.until_news()
    assert heartbeat.has_none()
    assert rig.pump.awaiting() == [slot]
    assert heartbeat.has_none()


def test_a_slot_that_was_named_as_waiting_is_none(rig: Rig) -> None:
    heartbeat, sender, viewer = Heartbeat.of(rig), rig.peer(), rig.peer()
    stream = rig.pump.add_stream(sender.transport, SSRC, video=True, clock_rate=90_000, csrc=4)
    slot = rig.pump.add_egress(viewer.transport, SLOT, video=True, trunk=False)
    rig.pump.set_source(slot, stream)
    assert rig.pump.awaiting() == [slot]
    assert heartbeat.has_none()


def test_a_voice_is_heard_no_more_when_only_silence_comes(rig: Rig) -> None:
    voice = Voice(rig)
    stream = voice.stream
    for number, level in enumerate([LOUD] * 20 + [SILENT] * 60, 1):
        voice.speak(number, level)
        if number == 20:
            assert rig.pump.changed_streams(time.monotonic()) == frozenset()
    assert rig.pump.stream_stats(stream).level == SILENT
    assert rig.pump.changed_streams(time.monotonic()) == {stream}


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


def heard_of_an_ample_path(rig: Rig, packets: int = 4) -> tuple[Peer, Peer, float]:
    """Who sends some on it, their receiver, and when what it said of the first was read."""
    _, sender, receiver = speaking(rig)
    for number in range(packets):
        say(sender, receiver, number)
    rig.pump.set_path(receiver.transport, ample=True)
    now = time.monotonic()
    report(rig, receiver, 8_000, 0, packets + 1)
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
        rig.pump.set_path(receiver.transport, ample=False)
    elif word == "something was lost":
        report(rig, receiver, 8_002, 2, 6, lost=1)
    else:
        say(sender, receiver, 4)
        later = now + UNANSWERED_S + A_MOMENT_S
    assert receiver.transport in rig.pump.path_reports(later)


@pytest.mark.parametrize("lost", [0, STRAY_LOSSES, STRAY_LOSSES + 1])
def test_that_much_is_lost_on_it_is_news_but_a_stray_loss_is_none(rig: Rig, lost: int) -> None:
    _, receiver, now = heard_of_an_ample_path(rig, STRAY_LOSSES + 3)
    heartbeat = Heartbeat.of(rig)
    sent = rig.pump.counters()["datagrams_in"]
    report(rig, receiver, 8_002, 1 + lost, sent + 1, lost=lost)
    if lost > STRAY_LOSSES:
        heartbeat.until_news()
    else:
        assert heartbeat.has_none()
    assert (receiver.transport in rig.pump.path_reports(now + A_MOMENT_S)) == bool(lost)


def test_that_nothing_is_answered_on_it_is_news(rig: Rig) -> None:
    sender, receiver, _ = heard_of_an_ample_path(rig)
    say(sender, receiver, number := 4)
    said_s = time.monotonic()
    rig.pump.news()
    while rig.pump.news() is None:
        assert time.monotonic() < said_s + DEADLINE_S
        time.sleep(0.01)
        say(sender, receiver, number := number + 1)
    assert time.monotonic() >= said_s + GONE_S - A_MOMENT_S


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
