"""Of whom a bridge asks the keyframes that its receivers wait for: of whoever has any."""

import os
import time
from typing import Any

import pytest

from region.kernel import reference
from region.participant import Slot
from relay.ids import MediaKind, SourceKind, Ssrc
from relay.payload import PayloadType
from tests.region.forwarding import SSRC, Onlooker, Relayed
from tests.region.rig import running
from tests.region.seating import CAMERA, SCREEN
from tests.strategies.rtp import KEYFRAME

SLOT = Ssrc(7)
FORGOTTEN_AFTER_S = 1.05
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
        relayed.forwarder.look(time.monotonic() + LATER_S, {}, frozenset(rig.pump.awaiting()))
        assert relayed.trunks.asked == ({SSRC} if is_asked else set())


@pytest.mark.parametrize("is_gone", [True, False], ids=["gone", "still kept"])
def test_what_a_browser_misses_and_cannot_have_any_more_costs_a_keyframe(is_gone: bool) -> None:
    """Else its picture stands still for three seconds, until it asks by itself."""
    with running() as rig:
        types = {each.value: each.value for each in (PayloadType.VP8, PayloadType.VP8_RTX)}
        relayed, browser = Relayed.of(rig, CAMERA), rig.peer(payload_types=types)
        egress = rig.pump.add_egress(
            browser.transport, SLOT, video=True, trunk=False, rtx_ssrc=SLOT + 1
        )
        slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=SLOT, egress=egress, numbered=False)
        onlooker: Any = Onlooker(browser.transport, (slot,))
        relayed.join(onlooker)
        relayed.forwarder.replan(time.monotonic())
        relayed.send(KEYFRAME)
        missed = reference.parse_untrusted(browser.receive())
        relayed.trunks.asked.clear()
        end = time.monotonic() + (FORGOTTEN_AFTER_S if is_gone else 0)
        while time.monotonic() < end:  # the kernel's clock cannot be moved
            os.sched_yield()
        now = time.monotonic() + LATER_S
        relayed.forwarder.rtcp.slot_nack(onlooker, SLOT, [missed.sequence], now)
        assert relayed.trunks.asked == ({SSRC} if is_gone else set())
