"""Why a call to the focus failed, in words for the operator: libraries wrap causes wordlessly."""

import os
import socket
import ssl
from collections.abc import Iterator

import h11
import httpx
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from relay.errors import OctomeshError

NO_WEBSOCKET = (h11.ProtocolError, WebSocketProtocolError)
"""What trio-websocket raises where nothing answers that speaks it, besides its own errors."""
_SILENCE = (trio.TooSlowError, httpx.TimeoutException, TimeoutError, HandshakeError)
_PLAIN_CLOSES = (1000, 1001, 1005, 1006)
"""RFC 6455 §7.4.1: codes that say nothing beyond that it is over."""


def reason_of(error: BaseException) -> str:
    """The most telling of an error, its causes and the errors that it groups."""
    chain = list(_chain(error))
    for tell in (_certificate, _ours, _websocket, _system):
        for each in chain:
            if words := tell(each):
                return words
    if any(isinstance(each, _SILENCE) for each in chain):
        return "the focus does not answer"
    return next((str(each) for each in chain if str(each)), type(error).__name__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from _chain(error.exceptions[0])
        error = error.__cause__ or error.__context__


def _certificate(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return f"its certificate cannot be verified ({why}); see --focus-ca"
    return None


def _ours(error: BaseException) -> str | None:
    return str(error) if isinstance(error, OctomeshError) else None


def _websocket(error: BaseException) -> str | None:
    match error:
        case ConnectionRejected(status_code=status):
            return f"the focus does not answer like one (HTTP {status})"
        case ConnectionClosed(reason=closed):
            detail = "" if closed is None else closed.reason or ""
            if closed is not None and closed.code not in _PLAIN_CLOSES:
                detail = detail or f"{closed.code} {closed.name}"
            return "the focus closed the connection" + (f": {detail}" if detail else "")
        case h11.ProtocolError() | WebSocketProtocolError() | httpx.RemoteProtocolError():
            return "the focus does not answer like one"
    return None


def _system(error: BaseException) -> str | None:
    match error:
        case ssl.SSLError():  # an OSError whose number is OpenSSL's
            return f"TLS: {error.reason or error}".lower().replace("_", " ").replace("tls", "TLS")
        case socket.gaierror():
            return error.strerror
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
    return None
