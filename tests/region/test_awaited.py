"""Of whom a bridge asks the keyframes that its receivers wait for: of whoever has any."""

import itertools
import os
import time
from typing import Any

import pytest

from region.downlink import LEAST_RTT_S
from region.kernel import reference
from region.keyframes import MIN_INTERVAL_S
from region.news import News
from region.participant import Slot
from region.rtcp_router import MADE_GOOD_S
from relay.errors import CapacityError
from relay.ids import MediaKind, SourceKind, Ssrc, source_id
from relay.payload import PayloadType
from tests.region.forwarding import HEARD, SSRC, Onlooker, Relayed
from tests.region.rig import DEADLINE_S, Rig, running
from tests.region.seating import ANNA, CAMERA, SCREEN
from tests.strategies.rtp import KEYFRAME

SLOT = Ssrc(7)
FORGOTTEN_AFTER_S, MARGIN_S = 1.05, 0.05
CLOCK_S = 0.002
"""The kernel notes in milliseconds when something was sent again."""
LATER_S = 0.5
"""A keyframe that was asked for before may be asked for again."""


@pytest.mark.parametrize(
    ("kind", "packets", "is_asked"),
    [(CAMERA, 0, False), (CAMERA, 1, True), (SCREEN, 0, True)],
    ids=["a camera that sends nothing", "a camera that sends", "a screen that stands still"],
)
def test_keyframes_are_asked_of_what_sends_and_of_screens(
    kind: SourceKind, packets: int, is_asked: bool
) -> None:
    with running() as rig:
        relayed, browser = Relayed.of(rig, kind), rig.peer()
        egress = rig.pump.add_egress(browser.transport, SLOT, video=True, trunk=False)
        slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=SLOT, egress=egress, numbered=False)
        relayed.join(Onlooker(browser.transport, (slot,)))
        relayed.forwarder.replan(time.monotonic())
        relayed.trunks.asked.clear()
        for _ in range(packets):
            relayed.send()
        relayed.forwarder.look(
            time.monotonic() + LATER_S, News(awaiting=frozenset(rig.pump.awaiting()))
        )
        assert relayed.trunks.asked == ({SSRC} if is_asked else set())


def test_of_a_screen_that_does_not_answer_no_keyframe_is_asked_again_for_ever() -> None:
    with running() as rig:
        relayed, browser = Relayed.of(rig, SCREEN), rig.peer()
        egress = rig.pump.add_egress(browser.transport, SLOT, video=True, trunk=False)
        slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=SLOT, egress=egress, numbered=False)
        relayed.join(Onlooker(browser.transport, (slot,)))
        asks_s = time.monotonic()
        relayed.forwarder.replan(asks_s)
        for elapsed_s in (MIN_INTERVAL_S / 2, 1.5 * MIN_INTERVAL_S):
            relayed.forwarder.look(asks_s + elapsed_s, News(awaiting=frozenset({egress})))
        assert not relayed.forwarder.rtcp.defers


def test_what_was_deferred_is_forgotten_with_the_encodings_that_it_was_of() -> None:
    source = source_id(ANNA, CAMERA)
    with running() as rig:
        relayed = Relayed.of(rig, CAMERA)
        relayed.offer(CAMERA, 3)
        began_s = time.monotonic()
        relayed.forwarder.replan(began_s)
        for _ in range(2):
            relayed.forwarder.rtcp.request_keyframe(source, 2, began_s)
        assert relayed.forwarder.rtcp.defers
        relayed.offer(CAMERA, 1)
        relayed.trunks.asked.clear()
        relayed.forwarder.replan(began_s + MIN_INTERVAL_S / 2)
        relayed.forwarder.rtcp.request_keyframe(source, 0, began_s + 2 * MIN_INTERVAL_S)
        relayed.forwarder.look(began_s + 4 * MIN_INTERVAL_S, News())
        assert relayed.trunks.asked == {SSRC}


def streams_until_full(rig: Rig) -> list[int]:
    sender, streams = rig.peer().transport, list[int]()
    try:
        for ssrc in itertools.count(1):
            streams.append(rig.pump.add_stream(sender, ssrc, video=True, clock_rate=90_000, csrc=4))
    except CapacityError:
        return streams


def test_a_source_for_which_there_is_no_room_is_refused_and_has_its_turn_later() -> None:
    with running() as rig:
        relayed = Relayed.of(rig, CAMERA)
        relayed.offer(CAMERA, 3)
        filling = streams_until_full(rig)
        for _ in range(2):
            rig.pump.remove_stream(filling.pop())
        relayed.forwarder.replan(time.monotonic())
        assert relayed.dropped == {"sources_refused": 1}
        rig.pump.remove_stream(filling.pop())
        relayed.forwarder.replan(time.monotonic())
        assert relayed.dropped == {"sources_refused": 1}


class Watching:
    """A browser that takes retransmissions has had the first packet of what the trunk brings."""

    def __init__(self, rig: Rig) -> None:
        types = {each.value: each.value for each in (PayloadType.VP8, PayloadType.VP8_RTX)}
        self.pump = rig.pump
        self.relayed, browser = Relayed.of(rig, CAMERA), rig.peer(payload_types=types)
        self.egress = rig.pump.add_egress(
            browser.transport, SLOT, video=True, trunk=False, rtx_ssrc=SLOT + 1
        )
        slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=SLOT, egress=self.egress, numbered=False)
        self.browser: Any = Onlooker(browser.transport, (slot,))
        self.relayed.join(self.browser)
        self.relayed.forwarder.replan(time.monotonic())
        self.relayed.send(KEYFRAME)
        self.had = reference.parse_untrusted(browser.receive()).sequence
        self.relayed.trunks.asked.clear()


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "still kept"])
def test_what_a_browser_misses_and_cannot_have_any_more_costs_a_keyframe(is_gone: bool) -> None:
    """Else its picture stands still for three seconds, until it asks by itself."""
    with running() as rig:
        room = Watching(rig)
        end = time.monotonic() + (FORGOTTEN_AFTER_S if is_gone else 0)
        while time.monotonic() < end:  # the kernel's clock cannot be moved
            os.sched_yield()
        now = time.monotonic() + LATER_S
        room.relayed.forwarder.rtcp.slot_nack(room.browser, SLOT, [room.had], now)
        assert room.relayed.trunks.asked == ({SSRC} if is_gone else set())


def test_what_was_lost_before_a_keyframe_costs_no_other_one() -> None:
    with running() as rig:
        room = Watching(rig)
        end = time.monotonic() + FORGOTTEN_AFTER_S
        while time.monotonic() < end:  # the kernel's clock cannot be moved
            os.sched_yield()
        asked = []
        now = time.monotonic() + LATER_S
        for elapsed_s in (0.0, MADE_GOOD_S / 2, MADE_GOOD_S - MARGIN_S, MADE_GOOD_S):
            room.relayed.trunks.asked.clear()
            room.relayed.forwarder.rtcp.slot_nack(room.browser, SLOT, [room.had], now + elapsed_s)
            asked.append(bool(room.relayed.trunks.asked))
        assert asked == [True, False, False, True]


@pytest.mark.parametrize("rtt_s", [0.001, 4 * LEAST_RTT_S])
def test_what_was_sent_again_is_on_its_way_for_a_round_trip_of_its_path_or_a_moment(
    rtt_s: float,
) -> None:
    with running() as rig:
        room = Watching(rig)
        reports = {room.browser.transport: HEARD._replace(rtt_s=rtt_s)}
        room.relayed.forwarder.look(time.monotonic(), News(reports=reports))
        began = time.monotonic()
        assert room.pump.retransmit(room.egress, [room.had]).sent == 1
        while not room.pump.retransmit(room.egress, [room.had]).sent:
            assert time.monotonic() < began + DEADLINE_S
            os.sched_yield()
        assert time.monotonic() - began >= max(rtt_s, LEAST_RTT_S) - CLOCK_S
