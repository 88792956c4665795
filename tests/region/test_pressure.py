"""A pump that is far behind what has come: what it leaves out, and that it comes back."""

import time

import pytest

from region.kernel.reference import parse_untrusted
from tests.region.rig import BATCH, Peer, Rig
from tests.strategies.rtp import DELTA, KEYFRAME, rtp

LOWEST, UPPER, VOICE = 0x1111, 0x2222, 0x3333
LOWEST_SLOT, UPPER_SLOT, VOICE_SLOT = 0x4444, 0x5555, 0x6666
OPUS = 111
OF_EACH = 230
FILL = bytes(1_000)
"""So much of it, three times OF_EACH, that the pump's socket is more than half full."""
DEADLINE_S = 10.0
ALL_UPPER = 3


@pytest.fixture
def people(rig: Rig) -> tuple[Peer, Peer]:
    """Who shows a picture in two encodings and speaks, and who gets all of it."""
    sender, receiver = rig.peer(), rig.peer()
    for ssrc, slot, upper in (
        (LOWEST, LOWEST_SLOT, False),
        (UPPER, UPPER_SLOT, True),
        (VOICE, VOICE_SLOT, False),
    ):
        video = ssrc != VOICE
        stream = rig.pump.add_stream(
            sender.transport, ssrc, video=video, clock_rate=90_000, csrc=4, upper=upper
        )
        egress = rig.pump.add_egress(receiver.transport, slot, video=video, trunk=False)
        rig.pump.set_source(egress, stream)
    return sender, receiver


def send(sender: Peer, ssrc: int, number: int, *, keyframe: bool = False) -> None:
    if ssrc == VOICE:
        packet = rtp(sequence=number, timestamp=number, ssrc=ssrc, payload_type=OPUS)
    else:
        payload = (KEYFRAME if keyframe else DELTA) + FILL
        packet = rtp(sequence=number, timestamp=number, ssrc=ssrc, payload=payload)
    sender.send(packet)


def received(receiver: Peer, counts: dict[int, int]) -> dict[int, list[int]]:
    """Sequence numbers by slot, until there are so many of each."""
    came: dict[int, list[int]] = {slot: [] for slot in (LOWEST_SLOT, UPPER_SLOT, VOICE_SLOT)}
    while any(len(came[slot]) < count for slot, count in counts.items()):
        packet = parse_untrusted(receiver.receive())
        came[packet.ssrc].append(packet.sequence)
    return came


def test_upper_encodings_go_first_and_sound_never(rig: Rig, people: tuple[Peer, Peer]) -> None:
    sender, receiver = people
    for ssrc in (LOWEST, UPPER):
        send(sender, ssrc, 0, keyframe=True)
    received(receiver, {LOWEST_SLOT: 1, UPPER_SLOT: 1})
    with rig.holding():
        for number in range(OF_EACH):
            for ssrc in (UPPER, LOWEST, VOICE):
                send(sender, ssrc, number + 1)
    came = received(receiver, {VOICE_SLOT: OF_EACH})
    rig.wait_for_datagrams(2 + 3 * OF_EACH)
    assert came[VOICE_SLOT] == list(range(1, OF_EACH + 1))
    # What came with the first batch was read before the pump knew how much is behind it.
    at_least = OF_EACH - BATCH // 3 - 1
    assert at_least <= rig.dropped()["overload"] <= 2 * OF_EACH
    assert len(came[UPPER_SLOT]) <= BATCH // 3 + 1
    assert rig.pump.pressure_level() >= ALL_UPPER


def test_that_the_pump_falls_behind_is_news(rig: Rig, people: tuple[Peer, Peer]) -> None:
    sender, _ = people
    send(sender, LOWEST, 0, keyframe=True)
    rig.wait_for_datagrams(1)
    rig.pump.changed_streams(time.monotonic())
    rig.pump.news()
    with rig.holding():
        for number in range(3 * OF_EACH):
            send(sender, LOWEST, number + 1)
    rig.wait_for_datagrams(1 + 3 * OF_EACH)
    assert rig.pump.news() == frozenset()


def test_what_was_left_out_comes_again_when_the_pump_keeps_up(
    rig: Rig, people: tuple[Peer, Peer]
) -> None:
    sender, receiver = people
    send(sender, UPPER, 0, keyframe=True)
    received(receiver, {UPPER_SLOT: 1})
    with rig.holding():
        for number in range(3 * OF_EACH):
            send(sender, UPPER, number + 1)
    rig.wait_for_datagrams(1 + 3 * OF_EACH)
    assert rig.dropped()["overload"] > 0
    end = time.monotonic() + DEADLINE_S
    while rig.pump.pressure_level():
        assert time.monotonic() < end
        time.sleep(0.05)
    send(sender, UPPER, 3 * OF_EACH + 1, keyframe=True)
    before = rig.dropped()["overload"]
    rig.wait_for_datagrams(2 + 3 * OF_EACH)
    assert rig.dropped()["overload"] == before
