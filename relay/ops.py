"""The operator's door of a process: `/healthz` and `/metrics`, and nothing else.

A bare ASGI application, so that a bridge pays for no web framework. It says nothing secret,
but listens on the loopback interface unless told otherwise.
"""

import json
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from relay.ports import WantedPort, bind

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether a process does its work, and what an operator may want to know of it."""

    ok: bool
    detail: dict[str, object] = field(default_factory=dict)


async def serve_ops(
    host: str,
    port: int,
    *,
    health: Callable[[], Health],
    registry: CollectorRegistry,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; starts with the port, once it is bound.

    `/healthz` is 200 or 503 with JSON, `/metrics` what Prometheus asks for.
    SettingsError when the port cannot be bound.
    """
    wanted = WantedPort(option="--ops-port", kind=socket.SOCK_STREAM, host=host, port=port)
    listener = bind(wanted)
    bound_port = int(listener.getsockname()[1])
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]  # Hypercorn closes it.
    config.graceful_timeout = 0.5
    config.include_server_header = False
    config.accesslog = None
    errors = logging.getLogger("octomesh.ops")
    errors.setLevel(logging.WARNING)
    config.errorlog = errors

    async def answer(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _respond(scope, send, health, registry)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, answer, config)
        task_status.started(bound_port)


async def _serve(app: Any, config: Config, *, task_status: trio.TaskStatus[list[str]]) -> None:
    await serve(
        app, config, mode="asgi", shutdown_trigger=trio.sleep_forever, task_status=task_status
    )


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _respond(
    scope: _Scope, send: _Send, health: Callable[[], Health], registry: CollectorRegistry
) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        await _send(send, 405, b"only GET and HEAD\n", "text/plain")
    elif scope["path"] == "/healthz":
        state = health()
        body = json.dumps({"ok": state.ok, **state.detail}).encode() + b"\n"
        await _send(send, 200 if state.ok else 503, body, "application/json")
    elif scope["path"] == "/metrics":
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        encode, content_type = choose_encoder(accept)
        await _send(send, 200, encode(registry), content_type)
    else:
        await _send(send, 404, b"here are /healthz and /metrics\n", "text/plain")


async def _send(send: _Send, status: int, body: bytes, content_type: str) -> None:
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode("latin-1")),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
