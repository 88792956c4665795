"""The process of focus and web: binds the ports, serves until cancelled."""

import logging
import socket
from dataclasses import dataclass
from typing import Any

import structlog
import trio
from hypercorn.config import Config
from hypercorn.protocol import ws_stream
from hypercorn.trio import serve
from prometheus_client import CollectorRegistry

from focus.service import Focus
from relay.ops import Health, serve_ops
from relay.ports import WantedPort, bind_each, check_free
from web.app import create_app
from web.certificate import given_web_certificate, load_web_certificate
from web.mesh_key import MeshKey
from web.settings import MeshNames, WebSettings

MAX_FRAME_BYTES = 1 << 20
"""On both WebSockets; the largest is a bridge's answer, 400,000 characters of SDP."""
PING_S = 5.0
PEER_TIMEOUT_MS = 8_000
"""A TCP peer that acknowledges nothing, or takes nothing, for so long is gone (RFC 5482)."""
SHUTDOWN_S = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """The ports that were bound; where settings say 0, free ones."""

    https_port: int
    http_port: int
    ops_port: int


async def run(
    settings: WebSettings,
    *,
    task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves browsers, bridges and operators until cancelled; SettingsError says what is wrong."""
    ops = WantedPort(
        option="--ops-port",
        kind=socket.SOCK_STREAM,
        host=settings.ops_host,
        port=settings.ops_port,
    )
    check_free([ops])
    metrics = CollectorRegistry()
    focus = Focus(settings.state_dir, metrics, settings.codecs, settings.last_n)
    mesh_key = MeshKey(settings.state_dir) if settings.mesh_names is MeshNames.KEY else None
    if settings.certificate and settings.certificate_key:
        certificate = given_web_certificate(settings.certificate, settings.certificate_key)
    else:
        certificate = load_web_certificate(settings.state_dir)
    https = _listeners(settings.listen_host, settings.https_port, "--https-port")
    try:
        http = _listeners(settings.http_host, settings.http_port, "--http-port")
    except BaseException:
        for listener in https:
            listener.close()
        raise
    https_port, http_port = https[0].getsockname()[1], http[0].getsockname()[1]

    config = Config()
    config.certfile, config.keyfile = str(certificate.certificate), str(certificate.key)
    config.bind = [f"fd://{listener.detach()}" for listener in https]  # Hypercorn closes them.
    config.insecure_bind = [f"fd://{listener.detach()}" for listener in http]
    # A WebSocket over HTTP/2 would share its connection's fate and flow control with the page's.
    config.alpn_protocols = ["http/1.1"]
    config.websocket_max_message_size = MAX_FRAME_BYTES
    config.websocket_ping_interval = PING_S
    config.graceful_timeout = SHUTDOWN_S
    config.ssl_handshake_timeout = 10
    config.include_server_header = False
    config.accesslog = None
    errors = logging.getLogger("octomesh.web")
    errors.setLevel(logging.WARNING)
    config.errorlog = errors

    async with trio.open_nursery() as nursery:
        await nursery.start(focus.run)
        ops_port = await nursery.start(_serve_ops, settings, focus, metrics)
        app = create_app(focus, metrics, mesh_key, settings.turn)
        await nursery.start(_serve_web, app, config)
        log.info("web-up", https_port=https_port, http_port=http_port, ops_port=ops_port)
        task_status.started(
            Listening(https_port=https_port, http_port=http_port, ops_port=ops_port)
        )


def _listeners(host: str, port: int, option: str) -> list[socket.socket]:
    """Bound sockets whose connections notice a vanished peer."""
    wanted = WantedPort(option=option, kind=socket.SOCK_STREAM, host=host, port=port)
    listeners = bind_each(wanted)
    for listener in listeners:
        # Linux hands both on to accepted connections. Hypercorn sends pings and awaits no pongs,
        # and it shields its sends from cancellation: TCP has to notice who is gone.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_TIMEOUT_MS)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listeners


async def _serve_ops(
    settings: WebSettings,
    focus: Focus,
    metrics: CollectorRegistry,
    *,
    task_status: trio.TaskStatus[int],
) -> None:
    def health() -> Health:
        state = focus.state
        return Health(
            ok=True,
            detail={
                "bridges": len(state.registry.bridges),
                "conferences": len(state.conferences),
            },
        )

    await serve_ops(
        settings.ops_host,
        settings.ops_port,
        health=health,
        registry=metrics,
        task_status=task_status,
    )


async def _serve_web(app: Any, config: Config, *, task_status: trio.TaskStatus[list[str]]) -> None:
    await serve(
        app, config, mode="asgi", shutdown_trigger=trio.sleep_forever, task_status=task_status
    )


class _BoundedBuffer(ws_stream.WebsocketBuffer):
    """Hypercorn's buffer of one message, which keeps nothing more once it is full.

    Hypercorn 0.18 answers an oversized message by a close frame and goes on collecting what
    a peer that ignores it sends.
    """

    def extend(self, event: Any) -> None:
        if self.length > self.max_length:
            raise ws_stream.FrameTooLargeError
        super().extend(event)


ws_stream.WebsocketBuffer = _BoundedBuffer  # type: ignore[misc]  # There is no hook for it.
