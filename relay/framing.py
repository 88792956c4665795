"""Frames on a byte stream: each payload behind its length, a 32-bit big-endian number."""

from relay.errors import LocalProtocolError, MalformedError

HEADER_BYTES = 4
_MAX_LENGTH = 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """The payload as it goes over the stream; an empty one means nothing and is our mistake."""
    if not 0 < len(payload) <= _MAX_LENGTH:
        raise LocalProtocolError(f"no frame of {len(payload)} bytes")
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream into payloads of at most `max_bytes` each; keeps no more than one of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def receive_untrusted(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes.

        MalformedError for a frame that is empty or longer than `max_bytes`, as soon as its
        header is there; the stream cannot be read on after that.
        """
        self._buffer += data
        payloads: list[bytes] = []
        position = 0
        while len(self._buffer) - position >= HEADER_BYTES:
            start = position + HEADER_BYTES
            length = int.from_bytes(self._buffer[position:start], "big")
            if not 0 < length <= self._max_bytes:
                raise MalformedError(f"a frame of {length} bytes is not 1 to {self._max_bytes}")
            if len(self._buffer) - start < length:
                break
            position = start + length
            payloads.append(bytes(self._buffer[start:position]))
        del self._buffer[:position]
        return payloads
