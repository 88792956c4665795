"""The tables' types; the code is `tables.pyx`."""

from typing import NamedTuple

from region.kernel.connections import Connections

NO_STREAM: int

class Sizes(NamedTuple):
    """How many entries the tables have."""

    transports: int
    """Of clients, and of trunks."""
    streams: int
    egresses: int

class StreamStats(NamedTuple):
    """Counters of an incoming stream, RFC 3550 §6.4.1 and appendix A.3."""

    packets: int
    bytes: int
    highest_sequence: int
    """Extended by the count of wrap-arounds."""
    base_sequence: int
    jitter_ticks: int
    level: int
    """RFC 6464: average of the last packets in −dBov, 0 loud to 127 silent."""
    last_packet_s: float
    last_timestamp: int
    given_up: int
    """Packets that were asked for and never came."""
    ssrc: int
    """0 until it is learnt."""
    rtx_ssrc: int
    """Of its retransmissions; 0 until it is known."""
    payload_type: int
    """The last packet's, a `PayloadType`; −1 before the first."""
    layer_bytes: tuple[int, ...]
    """What came of each layer: 9 sums, at 3 × spatial + temporal; higher ones count as the top."""
    spatial_layers: int
    """As the last dependency structure tells (AV1 RTP specification, appendix A); 0 without one."""
    report_ntp: int
    """Of its sender's last report, the middle 32 bits (RFC 3550 §6.4.1); 0 before the first."""
    reported_s: float
    """When that came."""

class EgressStats(NamedTuple):
    """Counters and present mapping of an outgoing stream."""

    packets: int
    bytes: int
    stream: int
    """The stream that is being forwarded, or NO_STREAM."""
    wanted: int
    """The stream that shall be; it differs while the switch waits for a keyframe."""
    last_packet_s: float

class Tables(Connections):
    """Incoming streams and egresses; as for transports, any thread, between two packets."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound UDP socket (dual-stack AF_INET6, or AF_INET)."""

    def remove_transport(self, transport: int) -> None:
        """Also removes its addresses, streams and egresses, and closes its connections."""

    def add_stream(
        self,
        transport: int,
        ssrc: int,
        *,
        video: bool,
        clock_rate: int,
        csrc: int,
        rtx_ssrc: int = 0,
        repairable: bool = False,
        upper: bool = False,
        mid: bytes = b"",
        rid: bytes = b"",
    ) -> int:
        """Expect this SSRC from this transport; packets of others are dropped and counted.

        `upper`: its source has a lower encoding, so that it is the first to go when too much comes.
        With `rtx_ssrc` (RFC 4588) what is missing is asked for by NACK and taken from there.
        SSRC 0 is learnt: from the first authentic packet whose MID and RID (RFC 8852) are these,
        or whose MID is this and which has no RID, where `rid` is empty. What retransmits it,
        if it is `repairable`, is learnt in the same way, by the repaired RID.
        """

    def remove_stream(self, stream: int) -> None:
        """Egresses that carried it fall silent."""

    def add_egress(
        self,
        transport: int,
        ssrc: int,
        *,
        video: bool,
        trunk: bool,
        rtx_ssrc: int = 0,
        numbered: bool = False,
    ) -> int:
        """An outgoing stream: a client's slot, or a trunk's leg.

        Either is continuous over all that it carries. A slot names the source by CSRC, a leg
        does not. A `numbered` one takes part in the transport's feedback: its packets have a
        transport-wide sequence number, where the transport has an extension for that.
        """

    def remove_egress(self, egress: int) -> None:
        """Nothing is sent there any more.

        The SSRCs of a trunk's leg must not be used again under the same keys, which know nothing
        more of them: a packet number that comes twice gives away what was encrypted.
        """

    def set_source(self, egress: int, stream: int) -> None:
        """Forward `stream` (or NO_STREAM) there.

        Video goes on with the old one until a keyframe of the new one comes.
        """

    def set_layer(self, egress: int, spatial: int, temporal: int) -> None:
        """Pass no higher layers than these, from the next place on where a decoder can follow.

        Of what has a dependency descriptor both count, of VP8 the temporal one; 2 and more are
        no limit. What is left out leaves no gap in sequence numbers and VP8 picture ids.
        """

    def sizes(self) -> Sizes: ...
    def stream_stats(self, stream: int) -> StreamStats: ...
    def egress_stats(self, egress: int) -> EgressStats: ...
