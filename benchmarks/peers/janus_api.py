"""Janus's HTTP API: a client's session, its handles on a plugin, and the long poll for events.

It knows requests and events of any plugin, and nothing of what they are about.
https://janus.conf.meetecho.com/docs/rest.html
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import trio

from benchmarks.peers.groups import single
from relay.errors import RemoteProtocolError

ANSWER_TIMEOUT_S = 20.0
POLL_TIMEOUT_S = 40.0
"""Janus answers a poll after 30 s, events or not; a session lives for 60 s without one."""
CLOSE_TIMEOUT_S = 10.0
EVENTS_A_POLL = 100


class RefusedError(RemoteProtocolError):
    """Janus, or a plugin, will not do what it was asked for."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"Janus refuses: {reason} ({code})")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a plugin says to a request."""

    data: Mapping[str, Any]
    sdp: str | None
    """Its offer or answer, where there is one."""


class Handle:
    """A session's end at a plugin: at most one WebRTC connection. It goes with its session."""

    def __init__(self, session: "Session", number: int) -> None:
        self._session = session
        self._path = f"/{number}"
        self._up = trio.Event()

    async def ask(
        self,
        body: Mapping[str, Any],
        *,
        offer: str | None = None,
        answer: str | None = None,
    ) -> Reply:
        """Send the plugin a request with a description of ours; returns when it is carried out.

        An offer with several encodings has the lowest first. RefusedError.
        """
        message: dict[str, Any] = {"janus": "message", "body": body}
        if offer is not None:
            message["jsep"] = {"type": "offer", "sdp": offer, "rid_order": "lmh"}
        elif answer is not None:
            message["jsep"] = {"type": "answer", "sdp": answer}
        said = await self._session.ask(self._path, message)
        data = said.get("plugindata", {}).get("data", {})
        if "error_code" in data:
            raise RefusedError(data["error_code"], data["error"])
        return Reply(data=data, sdp=said.get("jsep", {}).get("sdp"))

    async def wait_until_up(self) -> None:
        """Until Janus says that media can flow; RemoteProtocolError when it does not say so."""
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            await self._up.wait()
            return
        raise RemoteProtocolError(f"Janus was not connected within {ANSWER_TIMEOUT_S:g} s.")

    def on_up(self) -> None:
        """Its connection has ICE and DTLS behind it."""
        self._up.set()


class Session:
    """One client's, made by `open_session`."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self._handles: dict[int, Handle] = {}
        self._awaited: dict[str, trio.MemorySendChannel[dict[str, Any]]] = {}

    async def begin(self) -> None:
        """Have Janus make it."""
        made = await self.ask("", {"janus": "create"})
        self._url += f"/{made['data']['id']}"

    async def attach(self, plugin: str) -> Handle:
        """A new handle."""
        number = (await self.ask("", {"janus": "attach", "plugin": plugin}))["data"]["id"]
        self._handles[number] = Handle(self, number)
        return self._handles[number]

    async def ask(self, path: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Post that; what it answers, now or in the event that tells of the outcome."""
        transaction = secrets.token_hex(8)
        sending, receiving = trio.open_memory_channel[dict[str, Any]](1)
        self._awaited[transaction] = sending
        try:
            with trio.move_on_after(ANSWER_TIMEOUT_S):
                response = await self._http.post(
                    self._url + path, json={**message, "transaction": transaction}
                )
                said: dict[str, Any] = response.json()
                if said["janus"] == "ack":
                    said = await receiving.receive()
                if said["janus"] == "error":
                    raise RefusedError(said["error"]["code"], said["error"]["reason"])
                return said
        except (httpx.HTTPError, ValueError) as error:
            raise RemoteProtocolError(f"Janus cannot be asked: {error}") from error
        finally:
            self._awaited.pop(transaction, None)
        raise RemoteProtocolError(f"Janus did not answer within {ANSWER_TIMEOUT_S:g} s.")

    async def poll(self) -> None:
        """Take events for ever; RemoteProtocolError when Janus ends the session or a connection."""
        while True:
            try:
                response = await self._http.get(
                    self._url, params={"maxev": EVENTS_A_POLL}, timeout=POLL_TIMEOUT_S
                )
                said = response.json()
            except (httpx.HTTPError, ValueError) as error:
                raise RemoteProtocolError(f"Janus has no more events: {error}") from error
            for event in said if isinstance(said, list) else [said]:
                self._take(event)

    async def end(self) -> None:
        """Have Janus forget it, with its handles and their connections."""
        with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True), contextlib.suppress(httpx.HTTPError):
            await self._http.post(self._url, json={"janus": "destroy", "transaction": "end"})

    def _take(self, event: dict[str, Any]) -> None:
        match event["janus"]:
            case "event" if event.get("transaction") in self._awaited:
                self._awaited.pop(event["transaction"]).send_nowait(event)
            case "webrtcup" if event["sender"] in self._handles:
                self._handles[event["sender"]].on_up()
            case "hangup":
                raise RemoteProtocolError(f"Janus hangs up: {event.get('reason')}")
            case "timeout":
                raise RemoteProtocolError("Janus has ended the session.")
            case "error":
                raise RefusedError(event["error"]["code"], event["error"]["reason"])


@contextlib.asynccontextmanager
async def open_session(url: str) -> AsyncIterator[Session]:
    """A session at the API at `url`, until the context ends, and then its connections too.

    What is inside is cancelled when Janus ends it; RemoteProtocolError then.
    """
    http = httpx.AsyncClient(
        # None is kept but the one that polls: Janus takes about a thousand.
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=ANSWER_TIMEOUT_S,
        trust_env=False,
        verify=False,  # there is no TLS, and reading the trusted certificates takes its time
    )
    try:
        async with http, trio.open_nursery() as nursery:
            session = Session(http, url)
            await session.begin()
            nursery.start_soon(session.poll)
            try:
                yield session
            finally:
                nursery.cancel_scope.cancel()
                await session.end()
    except BaseExceptionGroup as group:
        raise single(group) from None
