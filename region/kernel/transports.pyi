"""The transports' types; the code is `transports.pyx`."""

from typing import NamedTuple

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

CRYPT_WAYS: tuple[str, ...]
"""How the kernel can encrypt on this processor, the fastest last; none where libsrtp does it."""

class Transports:
    """Whom the pump talks to.

    Every method may be called from any thread, and takes effect between two packets.
    Handles are small integers; one that was removed may come again. CapacityError when a
    table is full, LocalProtocolError for a handle that is not there.
    """

    def __init__(self, fd: int) -> None:
        """`fd`: a bound UDP socket (dual-stack AF_INET6, or AF_INET)."""

    def add_transport(self) -> int: ...
    def bind_address(self, transport: int, address: bytes) -> None:
        """Accept from this address too (at most 8; the oldest unselected one makes room)."""

    def select_address(self, transport: int, address: bytes) -> None:
        """Send to this address from now on; also binds it."""

    def set_srtp(
        self,
        transport: int,
        inbound: object,
        outbound: object,
        *,
        keys: tuple[bytes, bytes] | None = None,
        way: str | None = None,
    ) -> None:
        """Give it two `pylibsrtp.Session`s; from now on only the pump may use them.

        `keys`: where these are of AES-128-GCM, their master keys with salts (28 bytes each). The
        kernel encrypts by itself then, on processors that can, by one of `CRYPT_WAYS`
        (`way`; the fastest by default). libsrtp does all else.
        """

    def answer_checks(self, transport: int, username: bytes, password: bytes) -> None:
        """Let the pump answer checks that only renew consent (RFC 7675).

        Those from the selected address with this USERNAME, authentic by `password` and new.
        All others still come out of `drain`. Credentials that are very long change nothing.
        """

    def saw_check(self, transport: int, transaction: bytes) -> bool:
        """Whether the pump has answered a check of this transaction: another is a replay."""

    def set_path(
        self,
        transport: int,
        *,
        rtt_s: float | None = None,
        repeats_bps: int | None = None,
        ample: bool | None = None,
    ) -> None:
        """What is known of its path; None leaves a figure as it was.

        `rtt_s`: how long to wait for what was asked for before asking again; 5 ms to 1 s.
        `repeats_bps`: at most so much of what is sent may be retransmissions, but for 0.2 s'
        worth at once. Requests beyond that are dropped and counted; without a limit it is what
        was sent that limits them.
        `ample`: whether it carries more than is wanted. Then it is reported each second, and
        sooner only where something is lost or stays unanswered.
        """

    def set_payload_types(self, transport: int, canonical_by_wire: dict[int, int]) -> None: ...
    def set_extensions(self, transport: int, canonical_by_wire: dict[int, int]) -> None: ...
    def transport_stats(self, transport: int) -> TransportStats: ...
    def counters(self) -> dict[str, int]:
        """Totals of the pump: `packets_in`, `packets_out`, and each named drop as `dropped_…`.

        `handed_on` is what `drain` gets, `rtcp_taken` the compounds that the pump took itself,
        `offered` packets times the egresses that carried their streams or waited for them. Of
        each datagram, and of each offer, it counts what became of it.
        """
