"""One bridge process: opens its ports, composes its parts, and runs them until cancelled."""

import secrets
import socket
import time
from collections import Counter
from dataclasses import replace
from typing import assert_never

import structlog
import trio

from region.addresses import media_addresses, relay_addresses
from region.beats import beat
from region.conferences import Conferences
from region.demux import Demux, StunArrival
from region.enrolment import IdentityStore, load_or_enrol
from region.focus_link import FocusLink
from region.ice import IceCredentials, IceLite
from region.kernel import Pump
from region.metrics import BridgeMetrics, registry_of
from region.participant import Reach
from region.settings import RegionSettings
from region.tcp import MediaListener
from region.trunks import Trunks
from relay.control import (
    HEARTBEAT_S,
    Allocate,
    Challenge,
    ConferenceState,
    Denied,
    FromFocus,
    Heartbeat,
    Mesh,
    Release,
    Renewed,
    View,
    Welcome,
)
from relay.errors import RemoteProtocolError, SettingsError
from relay.ids import Generation
from relay.ops import Health, serve_ops
from relay.ports import WantedPort, bind

SOCKET_BUFFER_BYTES = 4 << 20
"""Some 30 ms of 100,000 packets/s; the system may grant less (net.core.rmem_max)."""
# <linux/in.h>, <linux/in6.h>; Python 3.11's socket has no names for them.
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_IP_PMTUDISC_PROBE = 3

_FREE_PORT_TRIES = 8

PING_UFRAG = "ping"
"""ICE user fragment by which anybody may measure the round trip to this bridge."""


async def run(
    settings: RegionSettings, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve one bridge until cancelled; started once its ports are open and it has an identity.

    SettingsError, in one line, when a port is taken or the focus will not enrol it.
    """
    media, clients = _bind_media(settings.listen_host, settings.media_port)
    with media, clients:
        media.setblocking(False)
        media.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        media.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        _never_fragment(media)
        store = await load_or_enrol(settings)
        structlog.contextvars.bind_contextvars(bridge=store.bridge)  # in this task and its children
        await _Bridge(settings, store, media, clients).run(task_status)


class _Bridge:
    """The parts, and what passes between them."""

    def __init__(
        self,
        settings: RegionSettings,
        store: IdentityStore,
        media: socket.socket,
        clients: socket.socket,
    ) -> None:
        """`media` is the UDP socket, `clients` listens on TCP; the caller closes them."""
        self._settings = settings
        self._store = store
        self._pump = Pump(media.fileno())
        self._listener = MediaListener(clients, self._pump)
        self._demux = Demux(self._pump)
        self._addresses = media_addresses(settings, media.getsockname()[1])
        self._ping_password = secrets.token_hex(16)
        self._ping = IceLite(IceCredentials(PING_UFRAG, self._ping_password), None)
        self._load = _Load(self._pump)
        self._mesh_generation = Generation(0)
        self._link: FocusLink | None = None
        self._conferences = Conferences(
            store.bridge,
            pump=self._pump,
            demux=self._demux,
            reach=Reach(udp=self._addresses, tcp=self._addresses),
            tell_focus=lambda message: self._link.send(message) if self._link else None,
        )
        self._trunks = Trunks(
            identity=lambda: store.identity,
            bridge=store.bridge,
            pump=self._pump,
            demux=self._demux,
            media_addresses=self._addresses,
            on_event=self._conferences.on_trunk_event,
        )
        self._last_heartbeat = self._measured()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        metrics = BridgeMetrics(
            self._pump,
            heartbeat=lambda: self._last_heartbeat,
            conferences=lambda: self._conferences.count,
            drops=lambda: self._drops().items(),
        )
        self._demux.claim_ufrag(PING_UFRAG, self._on_ping)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_run_pump, self._pump)
            nursery.start_soon(self._demux.run)
            nursery.start_soon(self._listener.run)
            nursery.start_soon(self._conferences.run, self._trunks)
            nursery.start_soon(self._measure_each_second)
            relay_port = await nursery.start(
                self._trunks.run, self._settings.listen_host, self._settings.relay_port
            )
            self._link = FocusLink(
                self._settings,
                self._store,
                media_addresses=self._addresses,
                relay_addresses=relay_addresses(self._settings, relay_port),
                ping_password=self._ping_password,
                heartbeat=lambda: self._last_heartbeat,
                on_message=self._on_focus,
            )
            await nursery.start(self._serve_ops, metrics)
            nursery.start_soon(self._link.run)
            task_status.started()

    async def _serve_ops(
        self, metrics: BridgeMetrics, *, task_status: trio.TaskStatus[int]
    ) -> None:
        await serve_ops(
            self._settings.ops_host,
            self._settings.ops_port,
            health=self._health,
            registry=registry_of(metrics),
            task_status=task_status,
        )

    def _on_ping(self, arrival: StunArrival) -> None:
        address = arrival.datagram.address
        reply = self._ping.receive_check(arrival.message, address, arrival.datagram.received_s)
        if reply.response is not None:
            self._pump.send(address, reply.response)

    def _on_focus(self, message: FromFocus) -> None:
        match message:
            case Welcome():
                self._mesh_generation = Generation(0)
                self._conferences.focus_is_new()
            case Mesh():
                if message.generation > self._mesh_generation:
                    self._mesh_generation = message.generation
                    self._trunks.set_peers(message.peers)
            case ConferenceState():
                self._conferences.on_state(message)
            case Allocate():
                self._conferences.on_allocate(message)
            case View():
                self._conferences.on_view(message)
            case Release():
                self._conferences.on_release(message)
            case Challenge() | Denied() | Renewed():
                raise RemoteProtocolError(f"{type(message).__name__} at the wrong time")
            case _:
                assert_never(message)

    async def _measure_each_second(self) -> None:
        """Metrics and health need the figures also while there is no focus to tell them to."""
        while True:
            await beat(HEARTBEAT_S)
            self._last_heartbeat = self._measured()

    def _measured(self) -> Heartbeat:
        cpu, packets_per_s = self._load.measure()
        return Heartbeat(
            participants=self._conferences.participants,
            cpu=cpu,
            packets_per_s=packets_per_s,
            trunks=self._trunks.reports(),
        )

    def _health(self) -> Health:
        connected = self._link is not None and self._link.connected
        trunks = self._last_heartbeat.trunks
        return Health(
            ok=connected,
            detail={
                "bridge": self._store.bridge,
                "region": self._store.region,
                "focus_connected": connected,
                "trunks_up": sum(trunk.up for trunk in trunks),
                "trunks": len(trunks),
                "participants": self._conferences.participants,
            },
        )

    def _drops(self) -> Counter[str]:
        """Everything that Python dropped; the pump counts for itself."""
        drops = self._demux.dropped + self._conferences.dropped + self._trunks.dropped
        drops += self._listener.dropped
        return drops + self._link.dropped if self._link else drops


def _bind_media(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """The media port for UDP, and for TCP under the same number; SettingsError when one is taken.

    The TCP socket listens. Of any free port (0) both may not be free at the first try.
    """
    wanted = WantedPort(option="--media-port", kind=socket.SOCK_DGRAM, host=host, port=port)
    tries_left = 1 if port else _FREE_PORT_TRIES
    while True:
        media = bind(wanted)
        same = replace(wanted, kind=socket.SOCK_STREAM, port=media.getsockname()[1])
        try:
            return media, bind(same)
        except SettingsError:
            media.close()
            tries_left -= 1
            if not tries_left:
                raise


def _never_fragment(media: socket.socket) -> None:
    """Set DF, and heed no forged word about the path's MTU (RFC 8899 §4.6.1).

    What WebRTC sends fits every path that it runs on; and Linux numbers no fragments then,
    which is a tenth of what sending a datagram costs.
    """
    media.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
    if media.family == socket.AF_INET6:
        media.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IP_PMTUDISC_PROBE)


class _Load:
    """CPU and packets since the last measurement."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._at_s = time.monotonic()
        self._cpu_s = time.process_time()
        self._packets = 0

    def measure(self) -> tuple[float, float]:
        """Share of one core, packets in and out per second."""
        now, cpu_s = time.monotonic(), time.process_time()
        counters = self._pump.counters()
        packets = counters["packets_in"] + counters["packets_out"]
        elapsed_s = max(now - self._at_s, 1e-3)
        cpu = (cpu_s - self._cpu_s) / elapsed_s
        rate = (packets - self._packets) / elapsed_s
        self._at_s, self._cpu_s, self._packets = now, cpu_s, packets
        return cpu, rate


async def _run_pump(pump: Pump) -> None:
    """Own the pump's thread: it ends with the nursery that this runs in."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_when_cancelled, pump)
        await trio.to_thread.run_sync(pump.run)
        nursery.cancel_scope.cancel()


async def _stop_when_cancelled(pump: Pump) -> None:
    try:
        await trio.sleep_forever()
    finally:
        pump.stop()
