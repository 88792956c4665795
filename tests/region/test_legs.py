"""What crosses a trunk while there is hardly room for it."""

import itertools
from collections import Counter

import pytest

from region.feed import Feed
from region.legs import Legs, LinkSsrcs, TrunkSide
from relay.errors import CapacityError
from relay.ids import Layer, Ssrc, source_id
from tests.region.rig import Rig
from tests.region.seating import ANNA, CAMERA, B

SOURCE = source_id(ANNA, CAMERA)
ALL = tuple(Layer(spatial, 2) for spatial in range(3))


def egresses_until_full(rig: Rig) -> list[int]:
    transport, egresses = rig.peer().transport, list[int]()
    try:
        for ssrc in itertools.count(1):
            egresses.append(rig.pump.add_egress(transport, ssrc, video=True, trunk=False))
    except CapacityError:
        return egresses


@pytest.mark.parametrize("room", [0, 1, 2])
def test_legs_for_which_there_is_no_room_are_added_when_there_is(rig: Rig, room: int) -> None:
    dropped = Counter[str]()
    sender, trunk = rig.peer(), rig.peer()
    streams = [
        rig.pump.add_stream(sender.transport, ssrc, video=True, clock_rate=90_000, csrc=SOURCE)
        for ssrc in (11, 12, 13)
    ]
    feeds = {SOURCE: Feed(SOURCE, streams)}
    side = TrunkSide(transport=trunk.transport, ssrcs=LinkSsrcs(Ssrc(2)))
    legs = Legs(B, side, rig.pump, dropped)
    names = legs.names(SOURCE, len(streams))
    filling = egresses_until_full(rig)
    for _ in range(room):
        rig.pump.remove_egress(filling.pop())
    legs.carry({SOURCE: ALL}, feeds)
    assert dropped == {"legs_refused": 1}
    assert [legs.of_ssrc(each.ssrc) is not None for each in names] == [at < room for at in range(3)]
    for _ in range(3 - room):
        rig.pump.remove_egress(filling.pop())
    legs.carry({SOURCE: ALL}, feeds)
    assert dropped == {"legs_refused": 1}
    assert all(legs.of_ssrc(each.ssrc) for each in names)
