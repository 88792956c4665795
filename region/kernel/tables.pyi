"""The tables' types; the code is `tables.pyx`."""

from typing import NamedTuple

from region.kernel.transports import Transports

NO_STREAM: int

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

class EgressStats(NamedTuple):
    """Counters and present mapping of an outgoing stream."""

    packets: int
    bytes: int
    stream: int
    """The stream that is being forwarded, or NO_STREAM."""
    wanted: int
    """The stream that shall be; it differs while the switch waits for a keyframe."""
    timestamp_offset: int
    """Outgoing minus incoming RTP timestamp, modulo 2^32."""
    last_packet_s: float

class Tables(Transports):
    """Incoming streams and egresses; as for transports, any thread, between two packets."""

    def __init__(self, fd: int) -> None:
        """`fd`: a bound UDP socket (dual-stack AF_INET6, or AF_INET)."""

    def remove_transport(self, transport: int) -> None:
        """Also removes its addresses, streams and egresses."""

    def add_stream(
        self,
        transport: int,
        ssrc: int,
        *,
        video: bool,
        clock_rate: int,
        csrc: int,
        rtx_ssrc: int = 0,
    ) -> int:
        """Expect this SSRC from this transport; packets of others are dropped and counted.

        With `rtx_ssrc` (RFC 4588) what is missing is asked for by NACK and taken from there.
        """

    def remove_stream(self, stream: int) -> None:
        """Egresses that carried it fall silent."""

    def add_egress(
        self, transport: int, ssrc: int, *, video: bool, trunk: bool, rtx_ssrc: int = 0
    ) -> int:
        """An outgoing stream: a client's slot, or a trunk's leg.

        A slot is continuous over all sources that it carries and names them by CSRC; a leg
        keeps the origin's sequence numbers and timestamps, and carries no CSRC.
        """

    def remove_egress(self, egress: int) -> None: ...
    def set_source(self, egress: int, stream: int) -> None:
        """Forward `stream` (or NO_STREAM) there.

        Video goes on with the old one until a keyframe of the new one comes.
        """

    def stream_stats(self, stream: int) -> StreamStats: ...
    def egress_stats(self, egress: int) -> EgressStats: ...
    def awaiting(self) -> list[int]:
        """Egresses that have a path and wait for a keyframe of the stream they shall carry."""
