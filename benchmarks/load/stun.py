"""STUN as connectivity checks need it, by hand: a load does it by the thousand.

RFC 8489 with short-term credentials, RFC 8445 §7. Knows no socket.
"""

import hmac
import secrets
import socket
import struct
from dataclasses import dataclass
from zlib import crc32

from relay.errors import MalformedError

BINDING_REQUEST, BINDING_RESPONSE, BINDING_ERROR = 0x0001, 0x0101, 0x0111
TRANSACTION_BYTES = 12

_COOKIE = 0x2112A442
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")
_USERNAME, _INTEGRITY, _XOR_MAPPED_ADDRESS = 0x0006, 0x0008, 0x0020
_PRIORITY, _USE_CANDIDATE, _FINGERPRINT = 0x0024, 0x0025, 0x8028
_CONTROLLED, _CONTROLLING = 0x8029, 0x802A
_FINGERPRINT_XOR = 0x5354554E
_INTEGRITY_BYTES, _FINGERPRINT_BYTES = 24, 8
_PEER_REFLEXIVE_PRIORITY = 110 << 24 | 0xFFFF << 8 | 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What came, its integrity not yet checked."""

    type: int
    transaction: bytes
    username: str
    """Empty where there is none."""
    use_candidate: bool
    _signed: bytes
    _signature: bytes

    def is_signed_by(self, password: bytes) -> bool:
        """RFC 8489 §14.5: whether whoever wrote it knows the password."""
        return hmac.compare_digest(hmac.digest(password, self._signed, "sha1"), self._signature)


def is_stun(data: bytes) -> bool:
    """RFC 7983 §7."""
    return len(data) >= _HEADER.size and data[0] < 4


def write_check(
    *,
    username: str,
    password: bytes,
    controlling: bool,
    tie_breaker: int,
    nominates: bool,
) -> tuple[bytes, bytes]:
    """A binding request to the peer whose password it is; its transaction, and the datagram."""
    role = _CONTROLLING if controlling else _CONTROLLED
    attributes = _attribute(_USERNAME, username.encode())
    attributes += _attribute(_PRIORITY, _PEER_REFLEXIVE_PRIORITY.to_bytes(4, "big"))
    attributes += _attribute(role, tie_breaker.to_bytes(8, "big"))
    if nominates:
        attributes += _attribute(_USE_CANDIDATE, b"")
    transaction = secrets.token_bytes(TRANSACTION_BYTES)
    return transaction, _signed(BINDING_REQUEST, transaction, attributes, password)


def write_response(transaction: bytes, address: tuple[str, int], password: bytes) -> bytes:
    """The answer to a check that came from that literal address."""
    host, port = address
    if ":" in host:
        family, packed = 2, socket.inet_pton(socket.AF_INET6, host)
    else:
        family, packed = 1, socket.inet_aton(host)
    mask = _COOKIE.to_bytes(4, "big") + transaction
    xored = bytes(a ^ b for a, b in zip(packed, mask, strict=False))
    value = struct.pack("!BBH", 0, family, port ^ _COOKIE >> 16) + xored
    return _signed(BINDING_RESPONSE, transaction, _attribute(_XOR_MAPPED_ADDRESS, value), password)


def parse_untrusted(data: bytes) -> Message:
    """The message that fills `data`; MalformedError when it is none, or nobody signed it."""
    if not is_stun(data) or len(data) % 4:
        raise MalformedError(f"STUN of {len(data)} bytes")
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if cookie != _COOKIE or length != len(data) - _HEADER.size:
        raise MalformedError("STUN header")
    username, use_candidate, at = "", False, _HEADER.size
    while at + _ATTRIBUTE.size <= len(data):
        name, size = _ATTRIBUTE.unpack_from(data, at)
        value = data[at + _ATTRIBUTE.size : at + _ATTRIBUTE.size + size]
        if len(value) != size:
            raise MalformedError("STUN attribute")
        if name == _USERNAME:
            username = value.decode("utf-8", "replace")
        elif name == _USE_CANDIDATE:
            use_candidate = True
        elif name == _INTEGRITY:
            # RFC 8489 §14.5: the length is that up to here, and what comes behind does not count.
            signed_length = at + _INTEGRITY_BYTES - _HEADER.size
            signed = _HEADER.pack(kind, signed_length, cookie, transaction)
            return Message(
                type=kind,
                transaction=transaction,
                username=username,
                use_candidate=use_candidate,
                _signed=signed + data[_HEADER.size : at],
                _signature=value,
            )
        at += _ATTRIBUTE.size + size + (-size & 3)
    raise MalformedError("STUN without integrity")


def _attribute(name: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(name, len(value)) + value + bytes(-len(value) & 3)


def _signed(kind: int, transaction: bytes, attributes: bytes, password: bytes) -> bytes:
    """With MESSAGE-INTEGRITY and FINGERPRINT (RFC 8489 §14.5, §14.7)."""
    length = len(attributes) + _INTEGRITY_BYTES
    text = _HEADER.pack(kind, length, _COOKIE, transaction) + attributes
    attributes += _attribute(_INTEGRITY, hmac.digest(password, text, "sha1"))
    text = _HEADER.pack(kind, length + _FINGERPRINT_BYTES, _COOKIE, transaction) + attributes
    return text + _attribute(_FINGERPRINT, (crc32(text) ^ _FINGERPRINT_XOR).to_bytes(4, "big"))
