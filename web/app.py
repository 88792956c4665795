"""The web application: pages, their data, and the WebSockets of browsers and bridges."""

from pathlib import Path
from typing import Annotated

import trio
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket

from focus.service import Focus
from relay.errors import MalformedError, RemoteProtocolError
from relay.ids import region_of
from web.control import serve_bridge
from web.headers import SecurityHeaders
from web.ice_servers import TurnServers
from web.mesh_key import MeshKey
from web.rooms import room_of
from web.signalling import Browser
from web.views import mesh_json, regions_json, settings_json

STATIC = Path(__file__).parent / "static"
MAX_ENROL_BYTES = 64 << 10
_PAGE = ["GET", "HEAD"]
_NO_STORE = {"Cache-Control": "no-store"}


class _EnrolRequest(BaseModel):
    token: Annotated[str, Field(min_length=1, max_length=4_096)]
    csr: Annotated[str, Field(min_length=1, max_length=16_384)]
    region: Annotated[str, Field(min_length=1, max_length=32), AfterValidator(region_of)]


class _RevalidatedFiles(StaticFiles):
    """Static files that a browser keeps but asks about each time: names carry no version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.setdefault("Cache-Control", "no-cache")
        return response


def create_app(
    focus: Focus,
    metrics: CollectorRegistry,
    mesh_key: MeshKey | None,
    turn: TurnServers | None,
    static: Path = STATIC,
) -> FastAPI:
    """The application on that focus; all of it runs on trio.

    Without a `mesh_key` everybody is told the names on the mesh page.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SecurityHeaders)
    malformed = Counter(
        "octomesh_web_bad_requests",
        "Messages and requests that were refused because of their form.",
        ["door"],
        registry=metrics,
    )

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"ok": True}, headers=_NO_STORE)

    @app.get("/api/regions")
    async def regions() -> Response:
        return JSONResponse(regions_json(focus.state), headers=_NO_STORE)

    @app.get("/api/settings")
    async def settings() -> Response:
        view = settings_json(focus.state, turn=turn is not None)
        return JSONResponse(view, headers=_NO_STORE)

    @app.get("/api/mesh")
    async def mesh(request: Request) -> Response:
        shown = request.headers.get("Authorization", "")
        names = mesh_key is None or mesh_key.is_shown_by(shown)
        view = mesh_json(focus.state, trio.current_time(), names=names)
        return JSONResponse(view, headers=_NO_STORE)

    @app.post("/api/bridges/enrol")
    async def enrol(request: Request) -> Response:
        try:
            body = await _bounded_body(request)
            if body is None:
                malformed.labels("enrol").inc()
                return _refusal(413, f"the request is over {MAX_ENROL_BYTES} bytes")
            wanted = _EnrolRequest.model_validate_json(body)
            enrolled = await focus.enrol(
                wanted.token, wanted.csr.encode(), region_of(wanted.region)
            )
        except ClientDisconnect:
            return _refusal(400, "the request was not finished")
        except ValidationError:
            malformed.labels("enrol").inc()
            return _refusal(
                400, 'the request has to be {"token": "…", "csr": "PEM", "region": "name"}'
            )
        except MalformedError as error:
            malformed.labels("enrol").inc()
            return _refusal(400, str(error))
        except RemoteProtocolError as error:
            return _refusal(403, str(error))
        return JSONResponse(
            {
                "certificate": enrolled.certificate_pem.decode(),
                "mesh_ca": enrolled.mesh_ca_pem.decode(),
                "bridge": enrolled.bridge,
                "region": enrolled.region,
            },
            headers=_NO_STORE,
        )

    @app.websocket("/api/bridges/control")
    async def control(websocket: WebSocket) -> None:
        await serve_bridge(websocket, focus)

    @app.websocket("/api/signal")
    async def signal(websocket: WebSocket) -> None:
        await Browser(websocket, focus, turn, malformed.labels("signal")).run()

    @app.api_route("/", methods=_PAGE)
    async def landing() -> Response:
        return _page(static / "index.html")

    @app.api_route("/mesh", methods=_PAGE)
    async def mesh_page() -> Response:
        return _page(static / "mesh.html")

    @app.api_route("/favicon.ico", methods=_PAGE)
    async def favicon() -> Response:
        return Response(status_code=204, headers={"Cache-Control": "max-age=86400"})

    app.mount("/static", _RevalidatedFiles(directory=static), name="static")

    @app.api_route("/{room}", methods=_PAGE)
    async def meeting(room: str) -> Response:
        try:
            room_of(room)
        except ValueError as error:
            return PlainTextResponse(f"{error}\n", status_code=404, headers=_NO_STORE)
        return _page(static / "index.html")

    return app


def _page(path: Path) -> Response:
    return FileResponse(path, headers=_NO_STORE)


def _refusal(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status_code=status, headers=_NO_STORE)


async def _bounded_body(request: Request) -> bytes | None:
    """The body; None as soon as it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_ENROL_BYTES:
            return None
    return bytes(body)
