"""A conference's forwarder on a running pump, and a trunk over which something may come."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from region.forwarder import Forwarder
from region.kernel import PathReport
from region.kernel.report import Usage
from region.legs import LinkSsrcs, TrunkSide
from region.participant import Slot
from region.rtcp import Pli, parse_compound_untrusted
from relay.control import Route
from relay.ids import BridgeId, ConferenceId, ParticipantId, SourceKind, Ssrc, source_id
from relay.trunk_messages import RelayedEncoding, RelayedSource
from tests.region.rig import Peer, Rig
from tests.region.seating import ANNA, BRUNO, A, B, seat, state_of
from tests.strategies.rtp import DELTA, rtp

CONFERENCE = ConferenceId("garden")
SSRC = Ssrc(0x1111)
"""Of what comes over the trunk."""
VP8 = 96
HEARD = PathReport(
    usage=Usage.NORMAL,
    heard=True,
    acked_bps=300e3,
    sent_bps=300e3,
    queue_s=0.0,
    acked_packets=30,
    lost_packets=0,
    rtt_s=0.01,
    unanswered_s=None,
    never_sent=0,
    probe=None,
)
"""What a path says of itself on which all is well."""


@dataclass(slots=True)
class SilentTrunks:
    """On which nothing is said; they keep of whose streams keyframes were asked."""

    asked: set[Ssrc] = field(default_factory=set)

    def announce(self, *_: object) -> None: ...

    def demand(self, *_: object) -> None: ...

    def send_rtcp(self, _: BridgeId, packet: bytes) -> bool:
        packets = parse_compound_untrusted(packet)
        self.asked |= {each.media_ssrc for each in packets if isinstance(each, Pli)}
        return True


@dataclass(frozen=True, slots=True)
class Onlooker:
    """A participant who sends nothing."""

    transport: int
    slots: tuple[Slot, ...] = ()
    id: ParticipantId = BRUNO
    sources: tuple[()] = ()


@dataclass(slots=True)
class Relayed:
    """Anna's picture would come over a trunk."""

    rig: Rig
    trunk: Peer
    trunks: SilentTrunks
    forwarder: Forwarder
    dropped: Counter[str]
    sent: int = 0

    @classmethod
    def of(cls, rig: Rig, kind: SourceKind) -> "Relayed":
        """Known to the forwarder and not planned for yet."""
        trunk, trunks, dropped = rig.peer(), SilentTrunks(), Counter[str]()
        sides: Mapping[BridgeId, TrunkSide] = {
            B: TrunkSide(transport=trunk.transport, ssrcs=LinkSsrcs(Ssrc(2)))
        }
        taken: Any = trunks
        forwarder = Forwarder(
            CONFERENCE,
            A,
            pump=rig.pump,
            trunks=taken,
            sides=sides,
            tell_focus=lambda message: None,
            dropped=dropped,
            small=False,
        )
        routes = (Route(origin=B, upstream=B, downstream=()),)
        forwarder.state = state_of((seat(ANNA, B, kind),), routes)
        relayed = cls(rig, trunk, trunks, forwarder, dropped)
        relayed.offer(kind, 1)
        return relayed

    def offer(self, kind: SourceKind, encodings: int) -> None:
        """The trunk's peer announces that picture anew, and nothing else."""
        names = [Ssrc(SSRC + 2 * number) for number in range(encodings)]
        source = RelayedSource(
            source=source_id(ANNA, kind),
            encodings=tuple(RelayedEncoding(ssrc=it, rtx_ssrc=Ssrc(it + 1)) for it in names),
            origin=B,
            hops=1,
        )
        self.forwarder.offered(B, [source])

    def join(self, onlooker: Onlooker) -> None:
        """The forwarder hears of them; it has not planned for them yet."""
        participant: Any = onlooker
        self.forwarder.join(participant)

    def send(self, payload: bytes = DELTA) -> None:
        """The next packet of that picture, which the pump has read when this returns."""
        self.sent += 1
        packet = rtp(sequence=self.sent, timestamp=1, ssrc=SSRC, payload_type=VP8, payload=payload)
        self.trunk.send(packet)
        self.rig.wait_for_datagrams(self.sent)
