"""A bridge's conferences when people offer again, and when the bridge is told to stop."""

import math
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from region import conferences as region_conferences
from region.conferences import Conferences
from region.demux import Demux
from region.offer import MAX_SECTIONS
from region.participant import Reach
from region.trunks import TrunkAnnounced, TrunkDown, TrunkUp
from relay.control import Allocate, Allocated, FromBridge, MidKind, Refused, Route
from relay.ids import (
    Address,
    BridgeId,
    ConferenceId,
    ParticipantId,
    SourceId,
    SourceKind,
    Ssrc,
    source_id,
)
from relay.trunk_messages import RelayedEncoding, RelayedSource, Wanted
from tests.region.answering import AIORTC, changed
from tests.region.forwarding import SilentTrunks
from tests.region.rig import Rig
from tests.region.seating import ANNA, CAMERA, seat, state_of

ME, PEER = BridgeId("frankfurt-1"), BridgeId("singapore-1")
OFFER = AIORTC
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


def conferences_on(rig: Rig, told: list[FromBridge]) -> Conferences:
    return Conferences(
        ME,
        pump=rig.pump,
        demux=Demux(rig.pump),
        reach=Reach(udp=(Address(host="127.0.0.1", port=10_000),), tcp=()),
        tell_focus=told.append,
    )


async def test_a_trunk_may_go_down_after_the_participants_are_gone(rig: Rig) -> None:
    told: list[FromBridge] = []
    conferences = conferences_on(rig, told)
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


@pytest.fixture
async def bridge(rig: Rig) -> AsyncIterator[tuple[Conferences, list[FromBridge]]]:
    """Its conferences, which run, and what the focus was told."""
    told: list[FromBridge] = []
    conferences = conferences_on(rig, told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conferences.run, SilentTrunks())
        await wait_all_tasks_blocked()
        yield conferences, told
        nursery.cancel_scope.cancel()


Bridge = tuple[Conferences, list[FromBridge]]


def renewal(number: int, *replacements: tuple[str, str], camera: str = "1") -> Allocate:
    """ALLOCATE's peer connection offers again, with some of its text replaced."""
    return replace(
        ALLOCATE,
        request=1 + number,
        offer=changed(OFFER, *replacements),
        renews=True,
        sources=(ALLOCATE.sources[0], MidKind(mid=camera, kind=SourceKind.CAMERA)),
    )


async def test_a_renewed_offer_cannot_have_a_camera_in_another_section(bridge: Bridge) -> None:
    conferences, told = bridge
    conferences.on_allocate(ALLOCATE)
    again = renewal(1, ("BUNDLE 0 1", "BUNDLE 0 x"), ("mid:1\r", "mid:x\r"), camera="x")
    conferences.on_allocate(again)
    assert [type(each) for each in told] == [Allocated, Refused]
    conferences.on_allocate(renewal(2))
    assert isinstance(told[-1], Allocated)


async def test_offers_that_are_renewed_for_ever_have_no_more_slots_than_one_may(
    bridge: Bridge,
) -> None:
    conferences, told = bridge
    conferences.on_allocate(ALLOCATE)
    for number in range(MAX_SECTIONS):
        name = f"x{number}"
        conferences.on_allocate(
            renewal(number, ("BUNDLE 0 1 2", f"BUNDLE 0 1 {name}"), ("mid:2\r", f"mid:{name}\r"))
        )
    slots_before = len(OFFER.split("a=recvonly")) - 1
    allowed = 1 + MAX_SECTIONS - slots_before
    kinds = [type(each) for each in told]
    assert kinds == [Allocated] * allowed + [Refused] * (1 + MAX_SECTIONS - allowed)


async def test_nothing_is_demanded_any_more_for_whom_the_focus_has_forgotten(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_conferences, "UNSEATED_S", 0.0)
    tell, told = trio.open_memory_channel[tuple[Wanted, ...]](math.inf)

    class Trunks(SilentTrunks):
        def demand(self, _: BridgeId, __: ConferenceId, wanted: tuple[Wanted, ...]) -> None:
            tell.send_nowait(wanted)

    async def told_of(sources: list[SourceId]) -> None:
        async for wanted in told:
            if [want.source for want in wanted] == sources:
                return

    conferences = conferences_on(rig, [])
    camera = source_id(ANNA, CAMERA)
    announced = RelayedSource(
        source=camera,
        encodings=(RelayedEncoding(ssrc=Ssrc(0x1111), rtx_ssrc=Ssrc(0x1112)),),
        origin=PEER,
        hops=1,
    )
    routes = (Route(origin=PEER, upstream=PEER, downstream=()),)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conferences.run, Trunks())
        await wait_all_tasks_blocked()
        conferences.on_trunk_event(TrunkUp(peer=PEER, transport=rig.pump.add_transport()))
        conferences.on_state(state_of((seat(ANNA, PEER, CAMERA),), routes))
        conferences.on_allocate(ALLOCATE)
        conferences.on_trunk_event(
            TrunkAnnounced(peer=PEER, conference=ALLOCATE.conference, sources=(announced,))
        )
        with trio.fail_after(30):
            await told_of([camera])
            await told_of([])
        assert conferences.participants == 0
        nursery.cancel_scope.cancel()
