"""Messages as msgpack: a closed union of frozen dataclasses on the wire, and back.

A message is the two-element array `[class name, {field: value}]`. Fields that a newer
peer added are ignored; anything else that does not fit its dataclass is malformed.
"""

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Generic, TypeVar, get_args

import msgpack
from pydantic import TypeAdapter, ValidationError

from relay.errors import LocalProtocolError, MalformedError

M = TypeVar("M")


class Codec(Generic[M]):
    """Encodes and decodes the members of one closed union, each at most `max_bytes` long."""

    def __init__(self, union: object, *, max_bytes: int) -> None:
        members = get_args(union)
        self._adapters: dict[str, TypeAdapter[M]] = {
            member.__name__: TypeAdapter(member) for member in members
        }
        self._max_bytes = max_bytes

    def encode(self, message: M) -> bytes:
        """The message's bytes; LocalProtocolError when they would be too many for the peer."""
        name = type(message).__name__
        if name not in self._adapters:
            raise LocalProtocolError(f"{name} is no message of this protocol")
        data: bytes = msgpack.packb((name, _plain(message)))
        if len(data) > self._max_bytes:
            raise LocalProtocolError(f"{name} of {len(data)} bytes is over {self._max_bytes}")
        return data

    def decode_untrusted(self, data: bytes) -> M:
        """The message in `data`; MalformedError alone, and never with the message's contents."""
        if len(data) > self._max_bytes:
            raise MalformedError(f"message of {len(data)} bytes is over {self._max_bytes}")
        try:
            envelope = msgpack.unpackb(data, use_list=False, strict_map_key=True)
        except (ValueError, RecursionError) as error:
            # msgpack's own exceptions all descend from ValueError.
            raise MalformedError(f"not msgpack: {type(error).__name__}") from None
        match envelope:
            case (str(name), dict(body)) if name in self._adapters:
                try:
                    return self._adapters[name].validate_python(body)
                except ValidationError as error:
                    first = error.errors(include_input=False, include_url=False)[0]
                    where = ".".join(str(part) for part in first["loc"])
                    raise MalformedError(f"{name}.{where}: {first['type']}") from None
            case (str(name), dict()):
                raise MalformedError(f"unknown message {name[:40]!r}")
            case _:
                raise MalformedError("a message is [name, fields]")


def _plain(value: Any) -> Any:
    """Dataclasses as dicts and enums as values, for msgpack."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, frozenset)):
        return [_plain(item) for item in value]
    return value
