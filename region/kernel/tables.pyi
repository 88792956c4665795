"""The tables' types; the code is `tables.pyx`."""

from typing import NamedTuple

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

class TransportStats(NamedTuple):
    """Counters of a transport."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    last_packet_s: float
    """The last authenticated one."""
    last_consent_s: float
    """The last check that the pump answered by itself; 0 before any."""

def pack_address(host: str, port: int) -> bytes:
    """A literal address as the kernel keys it; ValueError when `host` is no literal."""

def unpack_address(packed: bytes) -> tuple[str, int]:
    """Back to a literal (IPv4 where it was mapped) and a port."""

class Tables:
    """What the pump knows: transports, incoming streams, egresses.

    Every method may be called from any thread, and takes effect between two packets.
    Handles are small integers; one that was removed may come again. CapacityError when a
    table is full, LocalProtocolError for a handle that is not there.
    """

    def __init__(self, fd: int) -> None:
        """`fd`: a bound UDP socket (dual-stack AF_INET6, or AF_INET)."""

    def add_transport(self) -> int: ...
    def remove_transport(self, transport: int) -> None:
        """Also removes its addresses, streams and egresses."""

    def bind_address(self, transport: int, address: bytes) -> None:
        """Accept from this address too (at most 8; the oldest unselected one makes room)."""

    def select_address(self, transport: int, address: bytes) -> None:
        """Send to this address from now on; also binds it."""

    def set_srtp(self, transport: int, inbound: object, outbound: object) -> None:
        """Give it two `pylibsrtp.Session`s; from now on only the pump may use them."""

    def answer_checks(self, transport: int, username: bytes, password: bytes) -> None:
        """Let the pump answer checks that only renew consent (RFC 7675).

        Those from the selected address with this USERNAME, authentic by `password` and new.
        All others still come out of `drain`. Credentials that are very long change nothing.
        """

    def saw_check(self, transport: int, transaction: bytes) -> bool:
        """Whether the pump has answered a check of this transaction: another is a replay."""

    def set_rtt(self, transport: int, rtt_s: float) -> None:
        """How long to wait for what was asked for before asking again; 5 ms to 1 s."""

    def set_payload_types(self, transport: int, canonical_by_wire: dict[int, int]) -> None: ...
    def set_extensions(self, transport: int, canonical_by_wire: dict[int, int]) -> None: ...
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
    def transport_stats(self, transport: int) -> TransportStats: ...
    def awaiting(self) -> list[int]:
        """Egresses that have a path and wait for a keyframe of the stream they shall carry."""

    def counters(self) -> dict[str, int]:
        """Totals of the pump: `packets_in`, `packets_out`, and each named drop as `dropped_…`."""
