"""The channel of mediasoup's worker: requests to it, its answers, and what it says unasked.

A message is its length and its text; a request's text is `id:method:handler:json`, what the worker
says is JSON, or a line of its log. Nothing is known here of what requests are about. As Channel.js
and ChannelRequest.cpp of mediasoup 3.12 have it.
"""

import itertools
import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import trio

from relay.errors import RemoteProtocolError

ANSWER_TIMEOUT_S, SEND_TIMEOUT_S = 20.0, 10.0
READ_BYTES = 65_536

_LENGTH = struct.Struct("=I")
_JSON = "{"


class RefusedError(RemoteProtocolError):
    """The worker will not do what it was asked for."""


def request(number: int, method: str, handler: str | None, data: Mapping[str, Any] | None) -> bytes:
    """A request as the worker reads it; `handler`: whom it is for, if not the worker itself."""
    said = "undefined" if data is None else json.dumps(data)
    text = f"{number}:{method}:{handler or 'undefined'}:{said}".encode()
    return _LENGTH.pack(len(text)) + text


class Inbox:
    """What has come of a stream of messages; whole ones are taken out of it."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive(self, data: bytes) -> Iterator[str]:
        """The messages that are whole now, to be used up before the next call."""
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            text = self._data[_LENGTH.size : end].decode(errors="replace")
            del self._data[:end]
            yield text


class Channel:
    """Our end of it. Whoever makes it closes it.

    Members of a bridge share it. Each listens for as long as it is there, and one of those who do
    reads for all: so the worker is heard whoever comes and goes.
    """

    def __init__(self, end: socket.socket, log: Callable[[str], None]) -> None:
        self._end = trio.socket.from_stdlib_socket(end)
        self._log = log
        self._inbox = Inbox()
        self._numbers = itertools.count(1)
        self._asked: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._sending, self._reading = trio.Lock(), trio.Lock()

    async def ask(
        self, method: str, handler: str | None = None, data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """What the worker answers; while somebody listens. RefusedError."""
        number = next(self._numbers)
        sending, receiving = trio.open_memory_channel[dict[str, Any]](1)
        self._asked[number] = sending
        try:
            with trio.move_on_after(ANSWER_TIMEOUT_S):
                await self._send(request(number, method, handler, data))
                answer = await receiving.receive()
                if "error" in answer:
                    reason = answer.get("reason", answer["error"])
                    raise RefusedError(f"mediasoup refuses {method}: {reason}")
                return dict(answer.get("data") or {})
        except trio.EndOfChannel:
            raise RemoteProtocolError("mediasoup's worker has ended.") from None
        finally:
            self._asked.pop(number, None)
        raise RemoteProtocolError(f"mediasoup did not answer within {ANSWER_TIMEOUT_S:g} s.")

    async def tell(self, method: str, handler: str | None, data: Mapping[str, Any]) -> None:
        """Ask for what needs no answer."""
        await self._send(request(next(self._numbers), method, handler, data))

    async def listen(self) -> None:
        """Take what the worker says, for ever; RemoteProtocolError when it has ended."""
        async with self._reading:
            while data := await self._read():
                for text in self._inbox.receive(data):
                    self._take(text)
        for waiting in self._asked.values():
            waiting.close()
        raise RemoteProtocolError("mediasoup's worker has ended.")

    async def _read(self) -> bytes:
        try:
            return await self._end.recv(READ_BYTES)
        except ConnectionError:  # it has died with something unread
            return b""

    def _take(self, text: str) -> None:
        if not text.startswith(_JSON):
            self._log(text)
            return
        said = json.loads(text)
        asked = self._asked.pop(said.get("id", 0), None)
        if asked is not None:
            asked.send_nowait(said)

    async def _send(self, data: bytes) -> None:
        """The whole of it even if cancelled: half a message would spoil all that come after."""
        with trio.move_on_after(SEND_TIMEOUT_S, shield=True):
            async with self._sending:
                while data:
                    try:
                        data = data[await self._end.send(data) :]
                    except OSError as error:
                        raise RemoteProtocolError("mediasoup's worker has ended.") from error
                return
        raise RemoteProtocolError("mediasoup's worker does not read what it is asked for.")
