"""Answers connectivity checks: what ICE leaves to a lite agent, and a full one's server half.

Knows no socket and sends no checks (`region.path` does). STUN is RFC 8489 with short-term
credentials, ICE is RFC 8445, consent is RFC 7675.
"""

import hmac
import re
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from zlib import crc32

from aioice import stun

from relay.errors import MalformedError

MAX_STUN_BYTES = 1_500
"""A check is about 100 bytes; nobody needs more than a datagram of an Ethernet frame."""
REMEMBERED_CHECKS = 4_096
"""So many transactions back a replayed check is recognised: hours of a client's consent checks,
minutes of its start, for 16 KiB."""

_UNKNOWN_REQUIRED = "UNKNOWN-REQUIRED"
_UNKNOWN_ATTRIBUTES = 0x000A
_MESSAGE_INTEGRITY = 0x0008
_XOR_MAPPED_ADDRESS = 0x0020
_FINGERPRINT = 0x8028
_FINGERPRINT_XOR = 0x5354554E
_V4_MAPPED = bytes(10) + b"\xff\xff"
# RFC 8489 §14: types from 0x8000 up may be ignored by who does not know them.
_COMPREHENSION_OPTIONAL = 0x8000
# RFC 8839 §5.4.
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """RFC 8445 §5.3: one end's user fragment and password."""

    ufrag: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReply:
    """What a received check leads to."""

    response: bytes | None
    """To be sent back to where the check came from."""
    valid: bool
    """The sender has proved, with this very check, to be the peer: its address may be bound."""
    nominated: bool
    selected: bytes | None
    """Where media shall be sent from now on, when this check changed that."""


class _Fault(IntEnum):
    """Error codes that a check may earn."""

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    UNKNOWN_ATTRIBUTE = 420
    ROLE_CONFLICT = 487

    @property
    def reason(self) -> str:
        """RFC 8489 §14.8: the reason phrase."""
        return self.name.replace("_", " ").title()


def parse_stun_untrusted(data: bytes) -> stun.Message:
    """The STUN message that fills `data`; its integrity is not checked, its fingerprint is.

    Types of unknown attributes that the sender requires to be understood stand in
    `attributes["UNKNOWN-REQUIRED"]`, when there are any.
    """
    if not stun.HEADER_LENGTH <= len(data) <= MAX_STUN_BYTES or len(data) % 4:
        raise MalformedError(f"STUN of {len(data)} bytes")
    message_type, length, cookie = struct.unpack_from("!HHI", data)
    # RFC 8489 §5: two zero bits, a length without the header, the magic cookie.
    if message_type >> 14 or length != len(data) - stun.HEADER_LENGTH or cookie != stun.COOKIE:
        raise MalformedError("STUN header")
    unknown = _unknown_required_untrusted(data)
    try:
        message = stun.parse_message(data)
    except (ValueError, IndexError, struct.error) as error:
        raise MalformedError(f"STUN: {type(error).__name__}") from None
    if unknown:
        message.attributes[_UNKNOWN_REQUIRED] = unknown
    return message


def _unknown_required_untrusted(data: bytes) -> tuple[int, ...]:
    """Walk the attributes: all must lie within the message, FINGERPRINT must be the last."""
    unknown: list[int] = []
    position = stun.HEADER_LENGTH
    authenticated = False
    while position < len(data):
        kind, length = struct.unpack_from("!HH", data, position)
        position += 4 + length + stun.padding_length(length)
        if position > len(data):
            raise MalformedError("STUN attribute runs past the end")
        if kind == _FINGERPRINT and position != len(data):
            raise MalformedError("STUN attribute after the fingerprint")  # RFC 8489 §14.7
        if kind == _MESSAGE_INTEGRITY:
            authenticated = True  # RFC 8489 §14.5: what follows is to be ignored
        known = kind in stun.ATTRIBUTES_BY_TYPE or kind >= _COMPREHENSION_OPTIONAL
        if not known and not authenticated:
            unknown.append(kind)
    return tuple(unknown)


def local_ufrag_untrusted(message: stun.Message) -> str:
    """Whom a binding request is meant for: the first half of its USERNAME."""
    # RFC 8445 §7.2.2: USERNAME is the receiver's fragment, a colon, the sender's.
    local, colon, remote = str(message.attributes.get("USERNAME", "")).partition(":")
    if not colon or not _UFRAG.fullmatch(local) or not _UFRAG.fullmatch(remote):
        raise MalformedError("USERNAME is not two fragments")
    return local


class CheckAnswerer:
    """Judges binding requests to `local` and makes the responses.

    With `remote` it takes that peer's alone and recognises replayed ones; without, it
    answers whoever knows the password and keeps nothing about anybody.
    """

    def __init__(self, local: IceCredentials, remote: IceCredentials | None) -> None:
        self._local = local
        self._password = local.password.encode()
        self._remote = remote
        self._seen = bytearray()
        self._oldest_seen = 0

    def answer(
        self,
        message: stun.Message,
        address: bytes,
        *,
        role_conflict: bool,
        replayed: bool = False,
    ) -> CheckReply:
        """The reply to a request from `address`, selecting nothing; none to other messages."""
        if (message.message_method, message.message_class) != (
            stun.Method.BINDING,
            stun.Class.REQUEST,
        ):
            # RFC 8445 §11: keep-alive indications are not answered, nor are they consent.
            return CheckReply(response=None, valid=False, nominated=False, selected=None)
        fault = self._fault(message, role_conflict)
        if fault is not None:
            response = self._error(message, fault)
            return CheckReply(response=response, valid=False, nominated=False, selected=None)
        fresh = not replayed and (self._remote is None or self._is_fresh(message.transaction_id))
        return CheckReply(
            response=self._success(message, address),
            valid=fresh,
            nominated=fresh and "USE-CANDIDATE" in message.attributes,
            selected=None,
        )

    def _fault(self, message: stun.Message, role_conflict: bool) -> _Fault | None:
        attributes = message.attributes
        # RFC 8489 §9.1.3, in its order; unknown attributes come after authentication (§6.3).
        if "USERNAME" not in attributes or "MESSAGE-INTEGRITY" not in attributes:
            return _Fault.BAD_REQUEST
        local, _, remote = attributes["USERNAME"].partition(":")
        if local != self._local.ufrag or (self._remote and remote != self._remote.ufrag):
            return _Fault.UNAUTHENTICATED
        if not message.check_message_integrity(self._password):
            return _Fault.UNAUTHENTICATED
        if _UNKNOWN_REQUIRED in attributes:
            return _Fault.UNKNOWN_ATTRIBUTE
        return _Fault.ROLE_CONFLICT if role_conflict else None

    def _is_fresh(self, transaction_id: bytes) -> bool:
        """Whether this transaction is seen for the first time.

        Who has captured a check could send it again from elsewhere and so draw media there.
        """
        digest = struct.pack("!I", crc32(transaction_id))
        at = self._seen.find(digest)
        while at >= 0 and at % len(digest):  # it lies across two of them
            at = self._seen.find(digest, at + 1)
        if at >= 0:
            return False
        if len(self._seen) < REMEMBERED_CHECKS * len(digest):
            self._seen += digest
        else:
            self._seen[self._oldest_seen : self._oldest_seen + len(digest)] = digest
            self._oldest_seen = (self._oldest_seen + len(digest)) % len(self._seen)
        return True

    def _success(self, message: stun.Message, address: bytes) -> bytes:
        """RFC 8489 §14.2, §14.5, §14.7; by hand, for a client's consent asks for it every 2.5 s.

        Of all that a bridge does for an idle client this is the most; aioice's own way is
        five times as long.
        """
        cookie = struct.pack("!I", stun.COOKIE)
        if address.startswith(_V4_MAPPED):
            family, host = 1, address[12:16]
        else:
            family, host = 2, address[:16]
        mask = cookie + message.transaction_id
        port = int.from_bytes(address[16:18])
        attribute = struct.pack("!BBH", 0, family, port ^ stun.COOKIE >> 16)
        attribute += bytes(byte ^ key for byte, key in zip(host, mask, strict=False))
        data = (
            struct.pack("!HH", stun.Method.BINDING | stun.Class.RESPONSE, 0)
            + mask
            + struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(attribute))
            + attribute
        )
        data = stun.set_body_length(data, len(data) - stun.HEADER_LENGTH + 24)
        integrity = hmac.digest(self._password, data, "sha1")
        data += struct.pack("!HH", _MESSAGE_INTEGRITY, len(integrity)) + integrity
        data = stun.set_body_length(data, len(data) - stun.HEADER_LENGTH + 8)
        return data + struct.pack("!HHI", _FINGERPRINT, 4, crc32(data) ^ _FINGERPRINT_XOR)

    def _error(self, message: stun.Message, fault: _Fault) -> bytes:
        response = stun.Message(
            message_method=message.message_method,
            message_class=stun.Class.ERROR,
            transaction_id=message.transaction_id,
            attributes={"ERROR-CODE": (fault.value, fault.reason)},
        )
        match fault:
            case _Fault.BAD_REQUEST | _Fault.UNAUTHENTICATED:
                # RFC 8489 §9.1.3: who is not authenticated gets no integrity.
                response.add_fingerprint()
                return bytes(response)
            case _Fault.ROLE_CONFLICT:
                response.add_message_integrity(self._password)
                return bytes(response)
            case _Fault.UNKNOWN_ATTRIBUTE:
                # RFC 8489 §14.9; aioice does not know the attribute that tells which.
                unknown = message.attributes[_UNKNOWN_REQUIRED]
                value = struct.pack(f"!{len(unknown)}H", *unknown)
                data = _appended(bytes(response), _UNKNOWN_ATTRIBUTES, value)
                integrity = stun.message_integrity(data, self._password)
                data = _appended(data, _MESSAGE_INTEGRITY, integrity)
                fingerprint = struct.pack("!I", stun.message_fingerprint(data))
                return _appended(data, _FINGERPRINT, fingerprint)


def _appended(data: bytes, kind: int, value: bytes) -> bytes:
    """The message with one more attribute."""
    padding = bytes(stun.padding_length(len(value)))
    data += struct.pack("!HH", kind, len(value)) + value + padding
    return stun.set_body_length(data, len(data) - stun.HEADER_LENGTH)


class IceLite:
    """The lite agent of one client, or with `remote=None` of everybody who measures an RTT."""

    def __init__(self, local: IceCredentials, remote: IceCredentials | None) -> None:
        self.local = local
        self._answerer = CheckAnswerer(local, remote)
        self._has_peer = remote is not None
        self.selected: bytes | None = None
        self.last_check_s: float | None = None
        """When the peer last proved that it is there and wants media (RFC 7675)."""

    def receive_check(
        self, message: stun.Message, address: bytes, now: float, *, replayed: bool = False
    ) -> CheckReply:
        """Judge a parsed request from `address` (packed) and say what to do about it.

        `replayed` tells that its transaction was answered before by somebody else than this.
        """
        # RFC 8445 §6.1.1: the peer of a lite agent controls. §7.3.1.1: if not, it must change.
        conflict = "ICE-CONTROLLED" in message.attributes
        reply = self._answerer.answer(message, address, role_conflict=conflict, replayed=replayed)
        if not reply.valid:
            return reply
        self.last_check_s = now
        # The first working address serves until the peer nominates one, and whenever it
        # nominates another (its network changed) media follows.
        leads = self._has_peer and (reply.nominated or self.selected is None)
        if not leads or address == self.selected:
            return reply
        self.selected = address
        return CheckReply(
            response=reply.response, valid=True, nominated=reply.nominated, selected=address
        )

    def restarted(self, local: IceCredentials, remote: IceCredentials) -> "IceLite":
        """The agent after a restart (RFC 8445 §2.4): media goes where it went until it is told."""
        agent = IceLite(local, remote)
        agent.selected, agent.last_check_s = self.selected, self.last_check_s
        return agent

    def silent_for(self, now: float) -> float:
        """Seconds since the last valid check; infinite before the first."""
        return float("inf") if self.last_check_s is None else now - self.last_check_s
