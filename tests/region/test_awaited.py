"""Of whom a bridge asks the keyframes that its receivers wait for: of whoever has any."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from region.forwarder import Forwarder
from region.legs import LinkSsrcs, TrunkSide
from region.participant import Slot
from region.rtcp import Pli, parse_compound_untrusted
from relay.control import Route
from relay.ids import BridgeId, ConferenceId, MediaKind, ParticipantId, SourceKind, Ssrc, source_id
from relay.trunk_messages import RelayedEncoding, RelayedSource
from tests.region.rig import running
from tests.region.seating import ANNA, BRUNO, CAMERA, SCREEN, A, B, seat, state_of
from tests.strategies.rtp import rtp

SSRC, VP8 = 0x1111, 96
LATER_S = 0.5
"""A keyframe that was asked for before may be asked for again."""


@dataclass(slots=True)
class Trunks:
    """Trunks that keep of whose streams keyframes were asked."""

    asked: set[Ssrc] = field(default_factory=set)

    def announce(self, *_: object) -> None: ...

    def demand(self, *_: object) -> None: ...

    def send_rtcp(self, _: BridgeId, packet: bytes) -> bool:
        packets = parse_compound_untrusted(packet)
        self.asked |= {each.media_ssrc for each in packets if isinstance(each, Pli)}
        return True


@dataclass(frozen=True, slots=True)
class Viewer:
    """A participant with a slot for a picture."""

    transport: int
    slots: tuple[Slot, ...]
    id: ParticipantId = BRUNO
    sources: tuple[()] = ()


@pytest.mark.parametrize(
    ("kind", "packets", "is_asked"),
    [(CAMERA, 0, False), (CAMERA, 1, True), (SCREEN, 0, True)],
    ids=["a camera that sends nothing", "a camera that sends", "a screen that stands still"],
)
def test_keyframes_are_asked_of_what_sends_and_of_screens(
    kind: SourceKind, packets: int, is_asked: bool
) -> None:
    trunks: Any = Trunks()
    with running() as rig:
        trunk, browser = rig.peer(), rig.peer()
        forwarder = Forwarder(
            ConferenceId("garden"),
            A,
            pump=rig.pump,
            trunks=trunks,
            sides={B: TrunkSide(transport=trunk.transport, ssrcs=LinkSsrcs(Ssrc(2)))},
            tell_focus=lambda message: None,
            small=False,
        )
        egress = rig.pump.add_egress(browser.transport, 7, video=True, trunk=False)
        slot = Slot(media=MediaKind.VIDEO, index=0, ssrc=Ssrc(7), egress=egress, numbered=False)
        viewer: Any = Viewer(browser.transport, (slot,))
        forwarder.state = state_of(
            (seat(ANNA, B, kind),), (Route(origin=B, upstream=B, downstream=()),)
        )
        encoding = RelayedEncoding(ssrc=Ssrc(SSRC), rtx_ssrc=Ssrc(SSRC + 1))
        picture = RelayedSource(
            source=source_id(ANNA, kind), encodings=(encoding,), origin=B, hops=1
        )
        forwarder.offered(B, [picture])
        forwarder.join(viewer)
        forwarder.replan(time.monotonic())
        trunks.asked.clear()
        for number in range(packets):
            trunk.send(rtp(sequence=number, timestamp=number, ssrc=SSRC, payload_type=VP8))
        rig.wait_for_datagrams(packets)
        forwarder.look(time.monotonic() + LATER_S, {}, frozenset(rig.pump.awaiting()))
        assert trunks.asked == ({SSRC} if is_asked else set())
