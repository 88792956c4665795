import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from region import trunk_supervisor
from region.demux import Demux
from region.kernel import Pump
from region.rtcp import Pli, build_compound
from region.trunks import (
    HANDSHAKE_TIMEOUT_S,
    MAX_HANDSHAKES_PER_HOST,
    TrunkAnnounced,
    TrunkDemanded,
    TrunkDown,
    TrunkEvent,
    TrunkRtcp,
    Trunks,
    TrunkUp,
)
from relay.control import Peer, TrunkReport
from relay.errors import RemoteProtocolError, SettingsError
from relay.framing import frame
from relay.identity import Identity, MeshAuthority, make_request, trunk_ssl_context
from relay.ids import (
    TOP_LAYER,
    Address,
    BridgeId,
    ConferenceId,
    ParticipantId,
    Region,
    SourceKind,
    Ssrc,
    source_id,
)
from relay.link import Link, PeerClosed
from relay.trunk_messages import RelayedEncoding, RelayedSource, TrunkHello, Wanted

E = TypeVar("E")

DEADLINE_S = 5.0
FRANKFURT = BridgeId("frankfurt-1")
SINGAPORE = BridgeId("singapore-1")
GARDEN = ConferenceId("garden")
CAMERA = source_id(ParticipantId(7), SourceKind.CAMERA)
ANNOUNCED = (
    RelayedSource(
        source=CAMERA,
        encodings=(RelayedEncoding(ssrc=Ssrc(4711), rtx_ssrc=Ssrc(4712)),),
        origin=FRANKFURT,
        hops=1,
    ),
)
WANTED = (Wanted(source=CAMERA, layers=(TOP_LAYER,)),)
PLI = build_compound(Pli(sender_ssrc=Ssrc(1), media_ssrc=Ssrc(4711)))

MESH = MeshAuthority.create(time.time())


def identity_of(bridge: BridgeId, authority: MeshAuthority = MESH) -> Identity:
    key_pem, csr_pem = make_request()
    certificate = authority.issue(csr_pem, bridge, Region("earth"), time.time(), 3_600)
    return Identity(certificate_pem=certificate, key_pem=key_pem, mesh_ca_pem=MESH.certificate_pem)


class Bridge:
    """As much of a bridge as trunks need, on a loopback address."""

    def __init__(self, name: BridgeId, host: str = "127.0.0.1") -> None:
        self.name = name
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((host, 0))
        self.udp.setblocking(False)
        self.media = Address(host=host, port=self.udp.getsockname()[1])
        self.told: tuple[Address, ...] = (self.media,)
        self.relay = Address(host=host, port=0)
        self.pump = Pump(self.udp.fileno())
        self.demux = Demux(self.pump)
        self.events: list[TrunkEvent] = []
        self._changed = trio.Event()
        self._scope = trio.CancelScope()

    def make_trunks(self) -> None:
        identity = identity_of(self.name)
        self.trunks = Trunks(
            identity=lambda: identity,
            bridge=self.name,
            pump=self.pump,
            demux=self.demux,
            media_addresses=self.told,
            on_event=self._on_event,
        )

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.make_trunks()
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, self.pump.run)
                nursery.start_soon(self.demux.run)
                try:
                    port = await nursery.start(self.trunks.run, self.relay.host, 0)
                    self.relay = Address(host=self.relay.host, port=port)
                    task_status.started()
                    await trio.sleep_forever()
                finally:
                    self.pump.stop()
        self.udp.close()

    def kill(self) -> None:
        self._scope.cancel()

    def as_peer(self) -> Peer:
        return Peer(bridge=self.name, region=Region("earth"), relay_addresses=(self.relay,))

    def report(self) -> TrunkReport:
        (report,) = self.trunks.reports()
        return report

    async def next_event(self, kind: type[E]) -> E:
        """The next event, which must be of this kind."""
        await self.until(lambda: bool(self.events))
        event = self.events.pop(0)
        assert isinstance(event, kind)
        return event

    async def skip_to(self, kind: type[E]) -> E:
        """The next event of this kind, whatever was before it."""
        await self.until(lambda: any(isinstance(event, kind) for event in self.events))
        while not isinstance(self.events[0], kind):
            self.events.pop(0)
        return await self.next_event(kind)

    async def until(self, holds: Callable[[], bool]) -> None:
        with trio.fail_after(DEADLINE_S):
            while not holds():
                self._changed = trio.Event()
                with trio.move_on_after(0.02):  # For what no event tells.
                    await self._changed.wait()

    def _on_event(self, event: TrunkEvent) -> None:
        self.events.append(event)
        self._changed.set()


class Wire:
    """A UDP proxy before one bridge's media port: it can be cut, and it remembers."""

    def __init__(self, behind: Bridge) -> None:
        self.cut = False
        self.seen: list[bytes] = []
        self._behind = (behind.media.host, behind.media.port)
        self._ports: dict[tuple[str, int], trio.socket.SocketType] = {}

    async def run(self, *, task_status: trio.TaskStatus[Address]) -> None:
        front = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await front.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            task_status.started(Address(host="127.0.0.1", port=front.getsockname()[1]))
            while True:
                data, source = await front.recvfrom(2_048)
                if self.cut:
                    continue
                if source not in self._ports:
                    back = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    await back.bind(("127.0.0.1", 0))
                    self._ports[source] = back
                    nursery.start_soon(self._return, front, back, source)
                self.seen.append(data)
                await self._ports[source].sendto(data, self._behind)

    async def _return(
        self,
        front: trio.socket.SocketType,
        back: trio.socket.SocketType,
        source: tuple[str, int],
    ) -> None:
        while True:
            data, _ = await back.recvfrom(2_048)
            if not self.cut:
                await front.sendto(data, source)

    async def repeat(self) -> None:
        """Send once more, from where the originals came, whatever went to the bridge."""
        (back,) = self._ports.values()
        for data in tuple(self.seen):
            await back.sendto(data, self._behind)


@asynccontextmanager
async def running(*bridges: Bridge) -> AsyncIterator[None]:
    """All of them serve, and know each other."""
    async with trio.open_nursery() as nursery:
        for bridge in bridges:
            await nursery.start(bridge.run)
        for bridge in bridges:
            bridge.trunks.set_peers(tuple(other.as_peer() for other in bridges))
        yield
        for bridge in bridges:
            bridge.kill()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Bridge, Bridge]]:
    """Two bridges with a trunk that is up at both ends."""
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    async with running(frankfurt, singapore):
        await frankfurt.next_event(TrunkUp)
        await singapore.next_event(TrunkUp)
        yield frankfurt, singapore


async def test_two_bridges_of_a_mesh_connect_and_measure_their_path() -> None:
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    async with running(frankfurt, singapore):
        assert (await frankfurt.next_event(TrunkUp)).peer == SINGAPORE
        assert (await singapore.next_event(TrunkUp)).peer == FRANKFURT
        for bridge in (frankfurt, singapore):
            await bridge.until(lambda bridge=bridge: bridge.report().jitter_ms is not None)  # type: ignore[misc]
            report = bridge.report()
            assert report.up
            assert report.rtt_ms is not None
            assert 0 < report.rtt_ms < 100
            assert report.rtt_min_ms is not None
            assert report.rtt_p95_ms is not None
            assert report.rtt_min_ms <= report.rtt_p95_ms
        await frankfurt.until(lambda: frankfurt.report().sent_bps > 0)
        await frankfurt.until(lambda: frankfurt.report().received_bps > 0)


async def test_bridges_connect_over_ipv6() -> None:
    frankfurt, singapore = Bridge(FRANKFURT, "::1"), Bridge(SINGAPORE, "::1")
    async with running(frankfurt, singapore):
        await frankfurt.next_event(TrunkUp)
        await singapore.next_event(TrunkUp)


async def test_a_wildcard_listener_takes_ipv4_too() -> None:
    frankfurt = Bridge(FRANKFURT)
    frankfurt.relay = Address(host="::", port=0)
    async with running(frankfurt):
        tcp = await trio.open_tcp_stream("127.0.0.1", frankfurt.relay.port)
        await tcp.aclose()


async def test_announcements_and_demands_cross_and_are_counted_as_sources() -> None:
    async with connected() as (frankfurt, singapore):
        frankfurt.trunks.announce(SINGAPORE, GARDEN, ANNOUNCED)
        announced = await singapore.next_event(TrunkAnnounced)
        assert announced == TrunkAnnounced(peer=FRANKFURT, conference=GARDEN, sources=ANNOUNCED)
        assert singapore.report().sources_in == 0
        singapore.trunks.demand(FRANKFURT, GARDEN, WANTED)
        demanded = await frankfurt.next_event(TrunkDemanded)
        assert demanded == TrunkDemanded(peer=SINGAPORE, conference=GARDEN, wanted=WANTED)
        assert (frankfurt.report().sources_out, frankfurt.report().sources_in) == (1, 0)
        assert (singapore.report().sources_out, singapore.report().sources_in) == (0, 1)
        singapore.trunks.demand(FRANKFURT, GARDEN, ())
        assert (await frankfurt.next_event(TrunkDemanded)).wanted == ()
        assert frankfurt.report().sources_out == 0


async def test_rtcp_crosses_and_probes_are_kept_back() -> None:
    async with connected() as (frankfurt, singapore):
        await singapore.until(lambda: (singapore.report().jitter_ms or 0) > 0)
        assert singapore.events == []
        assert frankfurt.trunks.send_rtcp(SINGAPORE, PLI)
        arrived = await singapore.next_event(TrunkRtcp)
        assert (arrived.peer, arrived.packet) == (FRANKFURT, PLI)
        assert abs(time.monotonic() - arrived.received_s) < DEADLINE_S


async def test_without_a_trunk_nothing_is_sent_and_nothing_breaks() -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        frankfurt.trunks.announce(SINGAPORE, GARDEN, ANNOUNCED)
        frankfurt.trunks.demand(SINGAPORE, GARDEN, WANTED)
        assert not frankfurt.trunks.send_rtcp(SINGAPORE, PLI)
        frankfurt.trunks.set_peers((Bridge(SINGAPORE).as_peer(),))
        assert not frankfurt.report().up
        assert frankfurt.report().rtt_ms is None


async def test_a_lost_path_is_down_within_a_second_and_carries_all_again_when_it_returns() -> None:
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    wire = Wire(singapore)
    async with trio.open_nursery() as nursery:
        singapore.told = (await nursery.start(wire.run),)
        # Frankfurt must not be found around the wire.
        frankfurt.told = ()
        async with running(frankfurt, singapore):
            await frankfurt.next_event(TrunkUp)
            await singapore.next_event(TrunkUp)
            frankfurt.trunks.announce(SINGAPORE, GARDEN, ANNOUNCED)
            await singapore.next_event(TrunkAnnounced)
            singapore.trunks.demand(FRANKFURT, GARDEN, WANTED)
            await frankfurt.next_event(TrunkDemanded)

            wire.cut = True
            cut_s = time.monotonic()
            # Who notices first withdraws everything, which may reach the other just before.
            assert (await frankfurt.skip_to(TrunkDown)).peer == SINGAPORE
            assert (await singapore.skip_to(TrunkDown)).peer == FRANKFURT
            assert 0.4 < time.monotonic() - cut_s < 1.0
            assert not frankfurt.report().up
            assert frankfurt.report().rtt_ms is None
            await frankfurt.until(lambda: frankfurt.report().sources_out == 0)

            wire.cut = False
            await frankfurt.next_event(TrunkUp)
            frankfurt.trunks.announce(SINGAPORE, GARDEN, ANNOUNCED)
            await singapore.next_event(TrunkUp)
            assert (await singapore.next_event(TrunkAnnounced)).sources == ANNOUNCED
            singapore.trunks.demand(FRANKFURT, GARDEN, WANTED)
            assert (await frankfurt.next_event(TrunkDemanded)).wanted == WANTED
        nursery.cancel_scope.cancel()


async def test_what_was_announced_before_the_path_was_up_comes_behind_trunk_up() -> None:
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    wire = Wire(singapore)
    wire.cut = True
    async with trio.open_nursery() as nursery:
        singapore.told = (await nursery.start(wire.run),)
        frankfurt.told = ()
        with capture_logs() as logs:
            async with running(frankfurt, singapore):
                await frankfurt.until(lambda: [e["event"] for e in logs].count("trunk-open") == 2)
                frankfurt.trunks.announce(SINGAPORE, GARDEN, ANNOUNCED)
                singapore.trunks.demand(FRANKFURT, GARDEN, WANTED)
                await frankfurt.until(lambda: frankfurt.report().sources_out == 1)
                assert frankfurt.events == singapore.events == []
                wire.cut = False
                await frankfurt.next_event(TrunkUp)
                assert (await frankfurt.next_event(TrunkDemanded)).wanted == WANTED
                await singapore.next_event(TrunkUp)
                assert (await singapore.next_event(TrunkAnnounced)).sources == ANNOUNCED
        nursery.cancel_scope.cancel()


async def test_replayed_and_forged_datagrams_change_nothing() -> None:
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    wire = Wire(singapore)
    async with trio.open_nursery() as nursery:
        singapore.told = (await nursery.start(wire.run),)
        frankfurt.told = ()
        async with running(frankfurt, singapore):
            await frankfurt.next_event(TrunkUp)
            await singapore.next_event(TrunkUp)
            frankfurt.trunks.send_rtcp(SINGAPORE, PLI)
            await singapore.next_event(TrunkRtcp)
            await wire.repeat()
            await singapore.until(lambda: singapore.pump.counters()["dropped_replay"] > 0)
            wire.seen = [data[:-1] + bytes([data[-1] ^ 1]) for data in wire.seen]
            await wire.repeat()
            await singapore.until(lambda: singapore.pump.counters()["dropped_authentication"] > 0)
            await singapore.until(lambda: singapore.trunks.dropped["check_refused"] > 0)
            assert singapore.events == []
            assert frankfurt.events == []
            assert singapore.report().up
            refused = singapore.trunks.dropped["check_refused"]
            singapore.trunks.set_peers(())
            assert singapore.trunks.dropped["check_refused"] >= refused  # who leaves takes no count
        nursery.cancel_scope.cancel()


async def test_a_killed_peer_is_down_and_the_trunk_returns_with_it() -> None:
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    async with running(frankfurt):
        async with trio.open_nursery() as nursery:
            await nursery.start(singapore.run)
            frankfurt.trunks.set_peers((singapore.as_peer(),))
            singapore.trunks.set_peers((frankfurt.as_peer(),))
            await frankfurt.next_event(TrunkUp)
            singapore.kill()
        await frankfurt.next_event(TrunkDown)
        reborn = Bridge(SINGAPORE)
        async with trio.open_nursery() as nursery:
            await nursery.start(reborn.run)
            frankfurt.trunks.set_peers((reborn.as_peer(),))
            reborn.trunks.set_peers((frankfurt.as_peer(),))
            await frankfurt.next_event(TrunkUp)
            await reborn.next_event(TrunkUp)
            reborn.kill()


async def test_who_leaves_the_mesh_loses_its_trunk_at_once_and_is_told_why() -> None:
    async with connected() as (frankfurt, singapore):
        frankfurt.trunks.set_peers(())
        assert isinstance(frankfurt.events[0], TrunkDown)
        assert "not in the mesh" in (await singapore.next_event(TrunkDown)).reason
        assert frankfurt.trunks.reports() == ()


async def test_the_larger_id_dials_when_the_smaller_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trunk_supervisor, "BACKUP_DIAL_S", 0.05)
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    async with trio.open_nursery() as nursery:
        await nursery.start(frankfurt.run)
        await nursery.start(singapore.run)
        nowhere = Address(host="127.0.0.1", port=1)
        unreachable = Peer(bridge=SINGAPORE, region=Region("earth"), relay_addresses=(nowhere,))
        frankfurt.trunks.set_peers((unreachable,))
        singapore.trunks.set_peers((frankfurt.as_peer(),))
        await frankfurt.next_event(TrunkUp)
        await singapore.next_event(TrunkUp)
        assert frankfurt.trunks.dropped["dial_failed"] > 0
        frankfurt.kill()
        singapore.kill()


async def test_when_both_dial_one_trunk_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_supervisor, "BACKUP_DIAL_S", 0.0)
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    with capture_logs() as logs:
        async with running(frankfurt, singapore):
            await frankfurt.until(lambda: frankfurt.report().up)
            await singapore.until(lambda: singapore.report().up)
            await frankfurt.until(lambda: frankfurt.report().jitter_ms is not None)
            opened = [line for line in logs if line["event"] == "trunk-open"]
            closed = [line for line in logs if line["event"] == "trunk-closed"]
            assert [line["dialler"] for line in opened].count(FRANKFURT) == 2
            assert all(line["dialler"] == SINGAPORE for line in closed)
            assert frankfurt.report().up


async def test_an_address_where_another_bridge_answers_is_passed_over() -> None:
    frankfurt, singapore, tokyo = Bridge(FRANKFURT), Bridge(SINGAPORE), Bridge(BridgeId("tokyo-1"))
    async with trio.open_nursery() as nursery:
        for bridge in (frankfurt, singapore, tokyo):
            await nursery.start(bridge.run)
        addresses = (tokyo.relay, singapore.relay)
        confusing = Peer(bridge=SINGAPORE, region=Region("earth"), relay_addresses=addresses)
        frankfurt.trunks.set_peers((confusing,))
        # Singapore cannot help by dialling itself.
        deaf = Peer(bridge=FRANKFURT, region=Region("earth"), relay_addresses=())
        singapore.trunks.set_peers((deaf,))
        tokyo.trunks.set_peers((frankfurt.as_peer(),))
        assert (await frankfurt.next_event(TrunkUp)).peer == SINGAPORE
        assert tokyo.events == []
        for bridge in (frankfurt, singapore, tokyo):
            bridge.kill()


def client_context(identity: Identity | None) -> ssl.SSLContext:
    if identity is not None:
        return trunk_ssl_context(identity, server_side=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def dial(bridge: Bridge, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    tcp = await trio.open_tcp_stream(bridge.relay.host, bridge.relay.port)
    return trio.SSLStream(tcp, context)


async def everything_from(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    """What comes until the stream ends, cleanly or not."""
    received = b""
    with trio.fail_after(DEADLINE_S):
        try:
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError:
            pass
    return received


@pytest.mark.parametrize(
    "identity",
    [None, identity_of(SINGAPORE, MeshAuthority.create(time.time()))],
    ids=["without a certificate", "with a foreign mesh's certificate"],
)
async def test_a_stranger_is_refused_and_the_running_trunk_does_not_notice(
    identity: Identity | None,
) -> None:
    async with connected() as (frankfurt, singapore):
        with capture_logs() as logs:
            stream = await dial(frankfurt, client_context(identity))
            assert await everything_from(stream) == b""
            await frankfurt.until(lambda: frankfurt.trunks.dropped["handshake_failed"] == 1)
        assert [line["event"] for line in logs] == ["trunk-refused"]
        assert frankfurt.report().up
        assert frankfurt.events == singapore.events == []


async def test_an_older_tls_is_refused() -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        frankfurt.trunks.set_peers((Bridge(SINGAPORE).as_peer(),))
        context = client_context(identity_of(SINGAPORE))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        await everything_from(await dial(frankfurt, context))
        await frankfurt.until(lambda: frankfurt.trunks.dropped["handshake_failed"] == 1)


async def test_a_bridge_that_the_focus_did_not_name_is_told_so_and_refused() -> None:
    async with connected() as (frankfurt, singapore):
        tokyo = BridgeId("tokyo-1")
        stream = await dial(frankfurt, client_context(identity_of(tokyo)))
        link = Link(hello_of(tokyo), FRANKFURT)
        link.start()
        (event,) = link.receive(await everything_from(stream))
        assert isinstance(event, PeerClosed)
        assert "not in the mesh" in event.reason
        await frankfurt.until(lambda: frankfurt.trunks.dropped["not_in_mesh"] == 1)
        assert frankfurt.report().up
        assert frankfurt.events == singapore.events == []


def hello_of(bridge: BridgeId, versions: tuple[int, ...] = (1,)) -> TrunkHello:
    return TrunkHello(
        versions=versions,
        features=(),
        bridge=bridge,
        srtp_key=b"secret key, of 28 bytes long",
        ice_ufrag="abcd",
        ice_pwd="p" * 22,
        media_addresses=(),
    )


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of 1195725856 bytes"),
        (frame(b"\x07"), "a message is"),
        (frame(b"\xc1"), "not msgpack"),
    ],
    ids=["no frames", "no message", "no msgpack"],
)
async def test_a_mesh_member_that_talks_nonsense_is_told_so_and_closed(
    said: bytes, answer: str
) -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        frankfurt.trunks.set_peers((Bridge(SINGAPORE).as_peer(),))
        stream = await dial(frankfurt, client_context(identity_of(SINGAPORE)))
        await stream.send_all(said)
        assert answer.encode() in await everything_from(stream)
        assert not frankfurt.report().up


async def test_a_peer_without_a_common_version_is_told_both_ends_versions() -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        frankfurt.trunks.set_peers((Bridge(SINGAPORE).as_peer(),))
        stream = await dial(frankfurt, client_context(identity_of(SINGAPORE)))
        link = Link(hello_of(SINGAPORE, versions=(7, 8)), FRANKFURT)
        link.start()
        await stream.send_all(link.data_to_send())
        received = await everything_from(stream)
        assert b"frankfurt-1 speaks 1, singapore-1 speaks 7, 8" in received
        with pytest.raises(RemoteProtocolError, match="singapore-1 speaks 7, 8"):
            link.receive(received)


async def test_a_peer_that_lets_too_much_wait_is_dropped_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connected() as (frankfurt, singapore):
        monkeypatch.setattr("region.trunk.MAX_UNSENT_BYTES", 10)
        frankfurt.trunks.announce(SINGAPORE, GARDEN, ANNOUNCED)
        assert "does not read" in (await frankfurt.next_event(TrunkDown)).reason
        monkeypatch.undo()
        await frankfurt.next_event(TrunkUp)
        await singapore.skip_to(TrunkUp)


async def test_a_half_open_connection_does_not_replace_the_running_trunk() -> None:
    async with connected() as (frankfurt, singapore):
        stream = await dial(singapore, client_context(identity_of(FRANKFURT)))
        await stream.do_handshake()
        assert await stream.receive_some()  # Its hello; we send none.
        assert singapore.report().up
        await stream.aclose()
        assert frankfurt.events == singapore.events == []


async def test_a_slow_handshake_is_cut_off(mock_clock: MockClock) -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        tcp = await trio.open_tcp_stream("127.0.0.1", frankfurt.relay.port)
        started_s = trio.current_time()
        mock_clock.autojump_threshold = 0.02
        assert await tcp.receive_some() == b""
        assert trio.current_time() - started_s == pytest.approx(HANDSHAKE_TIMEOUT_S, abs=1)
        await frankfurt.until(lambda: frankfurt.trunks.dropped["handshake_timeout"] == 1)


async def test_a_mesh_member_that_says_no_hello_is_closed(mock_clock: MockClock) -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        frankfurt.trunks.set_peers((Bridge(SINGAPORE).as_peer(),))
        stream = await dial(frankfurt, client_context(identity_of(SINGAPORE)))
        await stream.do_handshake()
        mock_clock.autojump_threshold = 0.02
        received = b""
        while data := await stream.receive_some():
            received += data
        assert b"no hello in time" in received


async def test_half_open_handshakes_of_one_host_are_bounded() -> None:
    frankfurt = Bridge(FRANKFURT)
    async with running(frankfurt):
        connect = partial(trio.open_tcp_stream, "127.0.0.1", frankfurt.relay.port)
        waiting = [await connect() for _ in range(MAX_HANDSHAKES_PER_HOST)]
        refused = await connect()
        with trio.fail_after(DEADLINE_S):
            assert await refused.receive_some() == b""
        await frankfurt.until(lambda: frankfurt.trunks.dropped["handshake_flood"] == 1)
        for tcp in waiting:
            await tcp.aclose()
        await frankfurt.until(
            lambda: frankfurt.trunks.dropped["handshake_failed"] == MAX_HANDSHAKES_PER_HOST
        )
        again = await connect()
        with trio.move_on_after(0.1) as still_open:
            await again.receive_some()
        assert still_open.cancelled_caught


async def test_a_dial_that_fails_backs_off_and_is_logged_once(
    mock_clock: MockClock,
) -> None:
    frankfurt = Bridge(FRANKFURT)
    with capture_logs() as logs:
        async with running(frankfurt):
            nowhere = Address(host="127.0.0.1", port=1)
            peer = Peer(bridge=SINGAPORE, region=Region("earth"), relay_addresses=(nowhere,))
            frankfurt.trunks.set_peers((peer,))
            mock_clock.autojump_threshold = 0.01
            await trio.sleep(60)
            assert 10 <= frankfurt.trunks.dropped["dial_failed"] <= 40
    failures = [line for line in logs if line["event"] == "trunk-dial-failed"]
    assert len(failures) == 1
    assert "refused" in failures[0]["reason"]


async def test_a_port_in_use_is_a_settings_error_that_names_it() -> None:
    frankfurt, singapore = Bridge(FRANKFURT), Bridge(SINGAPORE)
    async with running(frankfurt):
        singapore.make_trunks()
        port = frankfurt.relay.port
        with pytest.raises(SettingsError, match=f"relay port {port}/tcp is in use"):
            await singapore.trunks.run("127.0.0.1", port)


async def test_an_address_that_is_not_ours_is_a_settings_error() -> None:
    frankfurt = Bridge(FRANKFURT)
    frankfurt.make_trunks()
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        await frankfurt.trunks.run("192.0.2.1", 10_001)


async def test_no_key_is_logged() -> None:
    with capture_logs() as logs:
        async with connected() as (frankfurt, _):
            frankfurt.trunks.set_peers(())
    assert {"trunk-open", "trunk-up", "trunk-down", "trunk-closed"} <= {
        line["event"] for line in logs
    }
    known = {"event", "log_level", "peer", "dialler", "version", "transport", "reason"}
    assert all(line.keys() <= known for line in logs)
    assert "secret" not in repr(hello_of(FRANKFURT))
    assert "pppp" not in repr(hello_of(FRANKFURT))
