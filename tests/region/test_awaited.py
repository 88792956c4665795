"""Of whom a bridge asks the keyframes that its receivers wait for: of whoever has any."""

import time

import pytest

from region.participant import Slot
from relay.ids import MediaKind, SourceKind, Ssrc
from tests.region.forwarding import SSRC, Onlooker, Relayed
from tests.region.rig import running
from tests.region.seating import CAMERA, SCREEN

SLOT = Ssrc(7)
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
