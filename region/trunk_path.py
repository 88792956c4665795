"""A trunk's UDP half: opens the path between two bridges' media ports, and probes it.

A shell around `region.path` (which address works) and `relay.probe` (how well). It owns one
transport of the pump, which exists while the trunk's TLS connection does.
"""

import base64
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import trio
from pylibsrtp import Policy, Session

from region.beats import beat
from region.demux import Demux, StunArrival
from region.ice import IceCredentials
from region.kernel import RTCP, Datagram, Pump, pack_address
from region.path import PathChecker
from region.rtcp import App, RtcpPacket, build_compound, parse_compound_untrusted
from relay.errors import MalformedError
from relay.ids import Address, Ssrc
from relay.payload import HeaderExtension, PayloadType
from relay.probe import (
    PROBE_INTERVAL_S,
    PROBE_NAME,
    PathMeter,
    PathSummary,
    ProbeKind,
    encode_probe,
)
from relay.trunk_messages import SRTP_KEY_BYTES, TrunkHello

TRUNK_SSRC = Ssrc(1)
"""Of what a bridge says for itself on a trunk; announced SSRCs are others."""
SRTP_WINDOW_PACKETS = 1_024
"""RFC 3711 §3.3.2: half a second of a stream at 2,000 packets/s may be overtaken."""
MAX_EARLY_CHECKS = 4
"""The peer's checks that came before its hello, of as many addresses; it sends them again."""
_CHECKING_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class PathSecrets:
    """What our end draws for one trunk, and tells the peer in the hello."""

    ice: IceCredentials
    srtp_key: bytes = field(repr=False)

    @classmethod
    def draw(cls) -> "PathSecrets":
        """Fresh ones: RFC 8839 §5.4 wants characters of base64, these many bytes need no `=`."""
        ufrag = base64.b64encode(secrets.token_bytes(6)).decode()
        password = base64.b64encode(secrets.token_bytes(24)).decode()
        return cls(
            ice=IceCredentials(ufrag, password), srtp_key=secrets.token_bytes(SRTP_KEY_BYTES)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PathHandlers:
    """Whom the path tells; none may block or raise."""

    up: Callable[[], None]
    """A probe was echoed: both directions carry SRTP."""
    down: Callable[[str], None]
    """Called before the transport goes, and only after `up`."""
    rtcp: Callable[[bytes, float], None]
    """A compound of the peer that is not probes alone, and when the pump received it."""


class TrunkPath:
    """One path; `close` must be called, and is what ends it."""

    def __init__(
        self,
        *,
        pump: Pump,
        demux: Demux,
        secrets: PathSecrets,
        handlers: PathHandlers,
        dropped: Counter[str],
    ) -> None:
        """From now on the peer's checks are expected. CapacityError when the pump is full.

        What of the peer's is not taken is counted in `dropped`, by reason.
        """
        self._pump = pump
        self._demux = demux
        self._secrets = secrets
        self._handlers = handlers
        self._meter = PathMeter(dropped=dropped)
        self._checker: PathChecker | None = None
        self._opened = trio.Event()
        self._early: list[StunArrival] = []
        self._selected: bytes | None = None
        self._expected: set[bytes] = set()
        self._up = False
        self._closed = False
        self._dropped = dropped
        self.transport = pump.add_transport()
        demux.claim_ufrag(secrets.ice.ufrag, self._on_check)
        demux.claim_transport(self.transport, self._on_datagram)

    @property
    def up(self) -> bool:
        """Whether media may be sent."""
        return self._up

    def open(self, hello: TrunkHello, *, controlling: bool) -> None:
        """The peer's hello has come: check its addresses, answer and ask."""
        inbound = Policy(
            key=hello.srtp_key,
            ssrc_type=Policy.SSRC_ANY_INBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        )
        outbound = Policy(
            key=self._secrets.srtp_key,
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        )
        inbound.window_size = outbound.window_size = SRTP_WINDOW_PACKETS
        # With GCM a packet that is protected twice would break the key: RFC 7714 §9.
        inbound.allow_repeat_tx = outbound.allow_repeat_tx = False
        self._pump.set_srtp(
            self.transport,
            Session(inbound),
            Session(outbound),
            keys=(hello.srtp_key, self._secrets.srtp_key),
        )
        self._pump.set_payload_types(self.transport, {int(each): int(each) for each in PayloadType})
        self._pump.set_extensions(
            self.transport, {int(each): int(each) for each in HeaderExtension}
        )
        self._pump.echo_probes(self.transport)
        self._checker = PathChecker(
            self._secrets.ice,
            IceCredentials(hello.ice_ufrag, hello.ice_pwd),
            self._packed_untrusted(hello.media_addresses),
            controlling,
            secrets.randbits(64),
            lambda: secrets.token_bytes(12),
        )
        self._opened.set()
        early, self._early = self._early, []
        for arrival in early:
            self._on_check(arrival)
        self._tick(time.monotonic())

    async def run(self) -> None:
        """Keep checking and probing, from `open` on, until cancelled."""
        await self._opened.wait()
        while True:
            self._demux.dispatch()  # echoes wake nobody
            self._tick(time.monotonic())
            # The paths of all trunks probe together.
            await beat(PROBE_INTERVAL_S if self._selected else _CHECKING_TICK_S)

    def close(self, reason: str) -> None:
        """Say that the path is down, if it was up, then remove the transport; again is harmless."""
        if self._closed:
            return
        self._closed = True
        self._go_down(reason)
        self._demux.release_ufrag(self._secrets.ice.ufrag)
        self._demux.release_transport(self.transport)
        for transaction in self._expected:
            self._demux.forget_response(transaction)
        self._pump.remove_transport(self.transport)

    def send_rtcp(self, packet: bytes) -> bool:
        """Protect and send a compound; False when there is no path or no room."""
        return not self._closed and self._pump.send_rtcp(self.transport, packet)

    def summary(self) -> PathSummary:
        """The path as measured of late."""
        return self._meter.summary(time.monotonic())

    def _tick(self, now: float) -> None:
        """Everything that time alone brings about."""
        if self._closed or self._checker is None:
            return
        if self._selected is not None:
            if self._meter.is_up(now):
                self._probe(now)
            else:
                self._go_down("the path does not answer")
        self._check(now)

    def _probe(self, now: float) -> None:
        data = encode_probe(self._meter.next_probe(now))
        app = App(subtype=ProbeKind.PROBE, ssrc=TRUNK_SSRC, name=PROBE_NAME, data=data)
        self._pump.send_rtcp(self.transport, build_compound(app))

    def _go_down(self, reason: str) -> None:
        """Whatever path there was is none any more; look for one from the beginning."""
        was_up, self._up, self._selected = self._up, False, None
        self._meter.path_changed()
        if self._checker is not None:
            self._checker.reset()
        if was_up:
            self._handlers.down(reason)

    def _check(self, now: float) -> None:
        assert self._checker is not None
        for check in self._checker.poll(now):
            # A repeated request has the same transaction: expecting it again changes nothing.
            self._demux.expect_response(check.transaction_id, self._on_response)
            self._expected.add(check.transaction_id)
            self._pump.send(check.address, check.data)
        for transaction in self._checker.abandoned():
            self._demux.forget_response(transaction)
            self._expected.discard(transaction)

    def _on_check(self, arrival: StunArrival) -> None:
        """The peer (or a forger) asks for our ufrag."""
        if self._checker is None:
            if len(self._early) < MAX_EARLY_CHECKS:
                self._early.append(arrival)
            return
        now = time.monotonic()
        address = arrival.datagram.address
        reply = self._checker.receive_check(arrival.message, address, now)
        if reply.response is not None:
            self._pump.send(address, reply.response)
        if reply.valid:
            # It may be a NAT's: accept what the peer sends from there.
            self._pump.bind_address(self.transport, address)
            self._check(now)
        else:
            self._dropped["check_refused"] += 1

    def _on_response(self, arrival: StunArrival) -> None:
        if self._checker is None or self._closed:
            return
        message, datagram = arrival.message, arrival.datagram
        self._checker.receive_response(message, datagram.address, datagram.received_s)
        self._expected.discard(message.transaction_id)
        selected = self._checker.selected
        if selected is None or selected == self._selected:
            return
        first = self._selected is None
        self._selected = selected
        self._pump.select_address(self.transport, selected)
        if first:
            self._probe(time.monotonic())

    def _on_datagram(self, datagram: Datagram) -> None:
        if datagram.kind != RTCP:
            self._dropped["dtls_on_trunk"] += 1
            return
        try:
            packets = parse_compound_untrusted(datagram.data)
            ours = [packet for packet in packets if self._take_untrusted(packet, datagram)]
        except MalformedError:
            self._dropped["rtcp_malformed"] += 1
            return
        if self._up and len(ours) < len(packets):
            self._handlers.rtcp(datagram.data, datagram.received_s)

    def _take_untrusted(self, packet: RtcpPacket, datagram: Datagram) -> bool:
        """Whether the packet was a probe, which the pump has echoed, or an echo."""
        if not isinstance(packet, App) or packet.name != PROBE_NAME:
            return False
        if packet.subtype == ProbeKind.PROBE:
            self._meter.receive_probe_untrusted(packet.data, datagram.received_s)
        elif packet.subtype == ProbeKind.ECHO:
            self._meter.receive_echo_untrusted(packet.data, datagram.received_s)
            if self._meter.rtt_s is not None:
                self._pump.set_path(self.transport, rtt_s=self._meter.rtt_s)
            self._note_echo()
        else:
            self._dropped["app_unknown"] += 1
        return True

    def _note_echo(self) -> None:
        if self._meter.measured and self._selected is not None and not self._up:
            self._up = True
            self._handlers.up()

    def _packed_untrusted(self, addresses: tuple[Address, ...]) -> list[bytes]:
        packed = []
        for address in addresses:
            try:
                packed.append(pack_address(address.host, address.port))
            except ValueError:
                self._dropped["address_no_literal"] += 1
        return packed
