"""Admission of a bridge: it proves on its connection that it holds a certificate of the mesh."""

import secrets
import time
from contextlib import suppress
from typing import Protocol

import trio

from relay.control import (
    CONTROL_VERSION,
    FROM_BRIDGE,
    FROM_FOCUS,
    Challenge,
    Denied,
    Hello,
)
from relay.errors import PeerGone, RemoteProtocolError
from relay.identity import verify_certificate_untrusted, verify_challenge
from relay.ids import BridgeId, Region

HELLO_TIMEOUT_S = 10.0
GOODBYE_TIMEOUT_S = 1.0
_NONCE_BYTES = 32
_REASON_CHARS = 500


class BridgeStream(Protocol):
    """A bridge's connection as whole binary messages."""

    async def send(self, data: bytes) -> None:
        """Sends one message; PeerGone when the bridge is not there any more."""

    async def receive(self) -> bytes:
        """The next message, bounded in size by the transport; PeerGone when there is none."""


async def admit(stream: BridgeStream, mesh_ca_pem: bytes) -> tuple[Hello, BridgeId, Region]:
    """Challenges the bridge; what it says of itself, and who it proved to be.

    MalformedError, RemoteProtocolError: it is not let in, for that reason. PeerGone: it went.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    try:
        with trio.fail_after(HELLO_TIMEOUT_S):
            challenge = Challenge(versions=(CONTROL_VERSION,), nonce=nonce)
            await stream.send(FROM_FOCUS.encode(challenge))
            hello = FROM_BRIDGE.decode_untrusted(await stream.receive())
    except trio.TooSlowError:
        raise RemoteProtocolError(f"no hello within {HELLO_TIMEOUT_S:.0f} s") from None
    if not isinstance(hello, Hello):
        raise RemoteProtocolError("the first message has to be a hello")
    if hello.version != CONTROL_VERSION:
        raise RemoteProtocolError(
            f"control version {hello.version} is not spoken here, {CONTROL_VERSION} is"
        )
    bridge, region = verify_certificate_untrusted(hello.certificate_pem, mesh_ca_pem, time.time())
    verify_challenge(hello.certificate_pem, nonce, hello.signature)
    return hello, bridge, region


async def close_politely(stream: BridgeStream, reason: str) -> None:
    """Tells the bridge why it is sent away, if it listens."""
    with trio.move_on_after(GOODBYE_TIMEOUT_S), suppress(PeerGone):
        await stream.send(FROM_FOCUS.encode(Denied(reason=reason[:_REASON_CHARS])))
