"""A bridge's conferences when the bridge is told to stop."""

from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from region.conferences import Conferences
from region.demux import Demux
from region.participant import Reach
from region.trunks import TrunkDown, TrunkUp
from relay.control import Allocate, Allocated, FromBridge, MidKind
from relay.ids import Address, BridgeId, ConferenceId, ParticipantId, SourceKind
from tests.region.forwarding import SilentTrunks
from tests.region.rig import Rig

ME, PEER = BridgeId("frankfurt-1"), BridgeId("singapore-1")
OFFER = (Path(__file__).parent / "offers" / "aiortc.sdp").read_text()
ALLOCATE = Allocate(
    request=1,
    conference=ConferenceId("garden"),
    participant=ParticipantId(7),
    offer=OFFER,
    sources=(
        MidKind(mid="0", kind=SourceKind.MICROPHONE),
        MidKind(mid="1", kind=SourceKind.CAMERA),
    ),
)


async def test_a_trunk_may_go_down_after_the_participants_are_gone(rig: Rig) -> None:
    told: list[FromBridge] = []
    conferences = Conferences(
        ME,
        pump=rig.pump,
        demux=Demux(rig.pump),
        reach=Reach(udp=(Address(host="127.0.0.1", port=10_000),), tcp=()),
        tell_focus=told.append,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conferences.run, SilentTrunks())
        await wait_all_tasks_blocked()
        conferences.on_trunk_event(TrunkUp(peer=PEER, transport=rig.pump.add_transport()))
        conferences.on_allocate(ALLOCATE)
        assert [type(each) for each in told] == [Allocated]
        assert conferences.participants == 1
        nursery.cancel_scope.cancel()
    conferences.on_trunk_event(TrunkDown(peer=PEER, reason="shutting down"))
    assert conferences.participants == 0
