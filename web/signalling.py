"""One browser's signalling WebSocket, from upgrade to close; `web/PROTOCOL.md` tells the order."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import assert_never

import structlog
import trio
from prometheus_client import Counter
from starlette.websockets import WebSocket, WebSocketDisconnect

from focus import notices
from focus.placement import Wish
from focus.service import Focus
from focus.session import Session
from relay.control import Picture
from relay.errors import MalformedError, RemoteProtocolError
from relay.ids import Region, SourceId
from web.ice_servers import TurnServers
from web.messages import (
    MAX_SIGNALLING_BYTES,
    Error,
    IceServer,
    Join,
    Leave,
    Mute,
    Offer,
    ToBrowser,
    View,
    parse_browser_message_untrusted,
)
from web.rate import TokenBucket
from web.rooms import room_of
from web.translation import display_name_of, kind_of, to_browser

MESSAGES_PER_S = 50.0
MESSAGE_BURST = 100
PLANS_PER_S = 5.0
PLAN_BURST = 25
"""Offers and views make a bridge plan anew who gets what: they are taken more slowly."""
MAX_BAD_REQUESTS = 3
"""A program that is wrong so often will not get it right; the last one closes the socket."""

# RFC 6455 §7.4.1
_NORMAL, _POLICY, _TOO_BIG = 1000, 1008, 1009

log = structlog.get_logger()


class BrowserGone(Exception):
    """The socket is closed: there is nobody to tell anything."""


class Browser:
    """One browser's connection; `run` returns when the socket is closed.

    A browser that sends too fast is read more slowly; one that does not read is cut off.
    """

    def __init__(
        self, websocket: WebSocket, focus: Focus, turn: TurnServers | None, malformed: Counter
    ) -> None:
        self._websocket = websocket
        self._focus = focus
        self._turn = turn
        self._malformed = malformed
        self._messages = TokenBucket(MESSAGES_PER_S, MESSAGE_BURST)
        self._plans = TokenBucket(PLANS_PER_S, PLAN_BURST)
        self._bad_requests = 0
        self._left_alone = False
        """Whether the socket closed before anybody said goodbye."""
        self._sending = trio.Lock()

    async def run(self) -> None:
        """Until one of both sides closes."""
        await self._websocket.accept()
        with self._focus.session() as session:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, session, nursery.cancel_scope)
                await self._read(session)
                nursery.cancel_scope.cancel()
            if self._left_alone:
                session.linger()

    async def _read(self, session: Session) -> None:
        try:
            while True:
                text = await self._receive()
                await _pay(self._messages)
                if len(text) > MAX_SIGNALLING_BYTES:
                    self._malformed.inc()
                    await self._close(_TOO_BIG)
                    return
                try:
                    message = parse_browser_message_untrusted(text)
                    if isinstance(message, Leave):
                        session.close()
                        await self._close(_NORMAL)
                        return
                    if isinstance(message, Offer | View):
                        await _pay(self._plans)
                    self._take(message, session)
                except (MalformedError, RemoteProtocolError) as error:
                    if not await self._complain(str(error)):
                        return
        except BrowserGone:
            self._left_alone = True

    def _take(self, message: Join | Offer | Mute | View, session: Session) -> None:
        match message:
            case Join(room=room, name=name, region=region, rtts_ms=rtts_ms, resume=resume):
                try:
                    conference, shown = room_of(room), display_name_of(name)
                except ValueError as error:
                    raise MalformedError(str(error)) from None
                wish = Wish(
                    region=Region(region) if region else None,
                    rtts_ms={Region(measured): rtt_ms for measured, rtt_ms in rtts_ms.items()},
                )
                session.join(conference, shown, wish, resume)
            case Offer(attempt=attempt, renews=renews, sdp=sdp, sources=sources):
                kinds = {mid: kind_of(kind) for mid, kind in sources.items()}
                session.offer(attempt, sdp, kinds, renews=renews)
            case Mute(kind=kind, muted=muted):
                session.mute(kind_of(kind), muted=muted)
            case View(pictures=wanted, last_n=last_n, height_px=height_px):
                pictures = (
                    None
                    if wanted is None
                    else tuple(
                        Picture(source=SourceId(it.source), height_px=it.height_px, stage=it.stage)
                        for it in wanted
                    )
                )
                session.view(pictures, last_n, height_px)
            case _:
                assert_never(message)

    async def _write(self, session: Session, scope: trio.CancelScope) -> None:
        """Passes notices on; ends the connection when they end or one is final."""
        try:
            await self._pass_on(session)
            await self._close(_POLICY)
        except BrowserGone:
            self._left_alone = True
        scope.cancel()

    async def _pass_on(self, session: Session) -> None:
        # In a large room newcomers come faster than all can be told of each of their steps.
        async for notice in session.notices:
            for each in notices.newest([notice, *_waiting(session.notices)]):
                message = to_browser(each, self._ice_servers(each), session.secret)
                await self._send(message)
                if isinstance(message, Error) and message.fatal:
                    return

    def _ice_servers(self, notice: notices.Notice) -> tuple[IceServer, ...]:
        if self._turn is None or not isinstance(notice, notices.Joined):
            return ()
        return (self._turn.for_participant(notice.you.participant, time.time()),)

    async def _complain(self, reason: str) -> bool:
        """Tells the browser what was wrong with its message; False when that was the last."""
        self._malformed.inc()
        self._bad_requests += 1
        final = self._bad_requests >= MAX_BAD_REQUESTS
        log.info("bad-request", reason=reason, final=final)
        await self._send(Error(code="bad-request", message=reason, fatal=final))
        if final:
            await self._close(_POLICY)
        return not final

    async def _receive(self) -> str:
        """The next frame; a binary one counts as its length in blanks, which is no JSON."""
        try:
            message = await self._websocket.receive()
        except RuntimeError:
            raise BrowserGone from None
        if message["type"] != "websocket.receive":
            raise BrowserGone
        text = message.get("text")
        return text if isinstance(text, str) else " " * len(message.get("bytes") or b"")

    async def _send(self, message: ToBrowser) -> None:
        try:
            async with self._sending:
                await self._websocket.send_text(message.model_dump_json())
        except (WebSocketDisconnect, RuntimeError):
            raise BrowserGone from None

    async def _close(self, code: int) -> None:
        try:
            async with self._sending:
                await self._websocket.close(code)
        except (WebSocketDisconnect, RuntimeError):
            raise BrowserGone from None


def _waiting(channel: trio.MemoryReceiveChannel[notices.Notice]) -> Iterator[notices.Notice]:
    """What can be had of it at once."""
    with suppress(trio.WouldBlock, trio.EndOfChannel):
        while True:
            yield channel.receive_nowait()


async def _pay(bucket: TokenBucket) -> None:
    """Takes a token, and waits until it is paid for."""
    wait_s = bucket.take(trio.current_time())
    if wait_s > 0:
        await trio.sleep(wait_s)
