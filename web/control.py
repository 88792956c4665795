"""A bridge's WebSocket as the focus's message stream: binary frames."""

from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect

from focus.service import Focus
from relay.errors import PeerGone


class WebSocketStream:
    """An accepted WebSocket; text frames end it, as a bridge sends none."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def send(self, data: bytes) -> None:
        """Sends one message; PeerGone when the bridge is not there any more."""
        try:
            await self._websocket.send_bytes(data)
        except (WebSocketDisconnect, RuntimeError):
            # Starlette: RuntimeError after a close.
            raise PeerGone("the bridge closed") from None

    async def receive(self) -> bytes:
        """The next message; PeerGone when there is none."""
        try:
            message = await self._websocket.receive()
        except RuntimeError:
            raise PeerGone("the bridge closed") from None
        data = message.get("bytes")
        if message["type"] != "websocket.receive" or data is None:
            raise PeerGone("the bridge closed, or sent text")
        return bytes(data)


async def serve_bridge(websocket: WebSocket, focus: Focus) -> None:
    """One bridge's connection from upgrade to close."""
    await websocket.accept()
    await focus.serve_bridge(WebSocketStream(websocket))
    with suppress(WebSocketDisconnect, RuntimeError):  # where it closed first
        await websocket.close()
