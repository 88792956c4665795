"""The DTLS server half of DTLS-SRTP: a handshake on datagrams in memory, then two SRTP keys.

Knows no socket. RFC 6347 (DTLS 1.2), RFC 5763 and RFC 5764 (DTLS-SRTP), RFC 8122
(fingerprints). One exception to "time is an argument": OpenSSL keeps its retransmission
timers by its own clock, so `next_timeout_s` and `on_timer` take no `now`.
"""

import hmac
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from pylibsrtp import Policy

from relay.errors import LocalProtocolError

MAX_DATAGRAM_BYTES = 1_200
"""What we send: passes any path that carries WebRTC."""
MAX_INBOUND_BYTES = 4_096
"""What we look at: peers send no more than one frame of an Ethernet."""
MAX_OUTGOING = 32
"""Datagrams kept for the shell; a flight is 2, and a lost one is sent again."""

_RECORD_HEADER_BYTES = 13
_CONTENT_TYPES = range(20, 24)  # RFC 6347 §4.1: change_cipher_spec to application_data
_DTLS_VERSIONS = (0xFEFF, 0xFEFD)  # 1.0 stands in the first ClientHello's records
_DTLS_1_2 = 0xFEFD
# RFC 9325 §4.2, forward secrecy and AEAD alone; the certificate is ECDSA.
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
)
# RFC 8122 §5's names, and OpenSSL's; older hashes prove nothing any more.
_HASHES = {"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpProfile:
    """RFC 5764 §4.1.2, RFC 7714 §14.2: a protection profile and the lengths of its secrets."""

    name: bytes
    policy: int
    """`pylibsrtp.Policy.SRTP_PROFILE_…`."""
    key_bytes: int
    salt_bytes: int


SRTP_PROFILES = (
    SrtpProfile(
        name=b"SRTP_AEAD_AES_128_GCM",
        policy=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        key_bytes=16,
        salt_bytes=12,
    ),
    SrtpProfile(
        name=b"SRTP_AEAD_AES_256_GCM",
        policy=Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
        key_bytes=32,
        salt_bytes=12,
    ),
    SrtpProfile(
        name=b"SRTP_AES128_CM_SHA1_80",
        policy=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        key_bytes=16,
        salt_bytes=14,
    ),
)
"""In our order of preference, which wins over the client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtpKeys:
    """Master key and salt, in one, for each direction."""

    profile: int
    """`pylibsrtp.Policy.SRTP_PROFILE_…`."""
    inbound: bytes = field(repr=False)
    outbound: bytes = field(repr=False)


class DtlsState(Enum):
    """Where an association is."""

    HANDSHAKING = auto()
    ESTABLISHED = auto()
    FAILED = auto()
    CLOSED = auto()


class _Event(Enum):
    HANDSHAKE_DONE = auto()
    BROKEN = auto()
    CLOSED = auto()


_TRANSITIONS = {
    (DtlsState.HANDSHAKING, _Event.HANDSHAKE_DONE): DtlsState.ESTABLISHED,
    (DtlsState.HANDSHAKING, _Event.BROKEN): DtlsState.FAILED,
    (DtlsState.HANDSHAKING, _Event.CLOSED): DtlsState.CLOSED,
    (DtlsState.ESTABLISHED, _Event.BROKEN): DtlsState.FAILED,
    (DtlsState.ESTABLISHED, _Event.CLOSED): DtlsState.CLOSED,
}


class _PeerCheck:
    """What OpenSSL's verification callback finds on its connection."""

    def __init__(self, fingerprints: Iterable[str]) -> None:
        pairs = [fingerprint.split(" ", 1) for fingerprint in fingerprints]
        self._fingerprints = [
            (_HASHES[pair[0]], pair[1].upper().encode()) for pair in pairs if pair[0] in _HASHES
        ]
        if not self._fingerprints:
            raise LocalProtocolError("no fingerprint of a known hash to verify a peer by")
        self.certificate_seen = False
        self.matches = False

    def verify(self, certificate: crypto.X509) -> bool:
        """RFC 8122 §5: any one of the fingerprints suffices."""
        self.certificate_seen = True
        self.matches = any(
            hmac.compare_digest(certificate.digest(name), digest)
            for name, digest in self._fingerprints
        )
        return self.matches


def _verify(
    connection: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int
) -> bool:
    """RFC 8827 §6.5: the fingerprint alone decides; who signed what in the chain says nothing."""
    if depth > 0:
        return True
    check: _PeerCheck = connection.get_app_data()
    return check.verify(certificate)


class DtlsServer:
    """A fresh certificate, never stored, and the settings that all associations share."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _self_signed(key)
        self.fingerprint = "sha-256 " + certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        """As in `a=fingerprint:` (RFC 8122 §5)."""
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_QUERY_MTU)
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_cipher_list(_CIPHERS)
        context.set_tlsext_use_srtp(b":".join(profile.name for profile in SRTP_PROFILES))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
        context.use_certificate(certificate)
        context.use_privatekey(key)
        self._context = context

    def connection(self) -> SSL.Connection:
        """A new association's OpenSSL half, on memory BIOs."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        connection.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        return connection


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # RFC 8827 §6.5: the name is nobody's; browsers look at the fingerprint alone.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "octomesh")])
    today = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )


class DtlsTransport:
    """One client's association, as the server; `remote_fingerprints` are those of its SDP."""

    def __init__(self, server: DtlsServer, remote_fingerprints: Iterable[str]) -> None:
        self._check = _PeerCheck(remote_fingerprints)
        self._connection = server.connection()
        self._connection.set_app_data(self._check)
        self._outgoing: deque[bytes] = deque(maxlen=MAX_OUTGOING)
        self.state = DtlsState.HANDSHAKING
        self.keys: SrtpKeys | None = None
        """Set for good when the state becomes ESTABLISHED."""
        self.failure: str | None = None
        """Why it FAILED, for the log."""
        self.ignored = 0
        """Datagrams that were no DTLS."""

    def receive(self, datagram: bytes) -> None:
        """Take one datagram from the peer; whatever it is, this raises nothing."""
        if self.state not in (DtlsState.HANDSHAKING, DtlsState.ESTABLISHED):
            return
        if len(datagram) > MAX_INBOUND_BYTES or not _records(datagram):
            self.ignored += 1
            return
        self._connection.bio_write(datagram)
        self._advance()

    def datagrams(self) -> list[bytes]:
        """What is to be sent to the peer now, each at most 1,200 bytes; call after all else."""
        ready = list(self._outgoing)
        self._outgoing.clear()
        return ready

    def next_timeout_s(self) -> float | None:
        """Seconds from now until `on_timer` must be called; None when no flight is unanswered."""
        if self.state is not DtlsState.HANDSHAKING:
            return None
        return self._connection.DTLSv1_get_timeout()

    def on_timer(self) -> None:
        """Repeat the last flight if its time has come; too many repetitions make it FAILED."""
        if self.state is not DtlsState.HANDSHAKING:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._fail(_reason(error))
        self._collect()

    def close(self) -> None:
        """Say goodbye (close_notify, in `datagrams`); later ones change nothing."""
        if self.state is DtlsState.ESTABLISHED:
            self._connection.shutdown()
            self._collect()
        if self.state in (DtlsState.HANDSHAKING, DtlsState.ESTABLISHED):
            self._move(_Event.CLOSED)

    def _advance(self) -> None:
        """Let OpenSSL consume what it was given."""
        try:
            if self.state is DtlsState.HANDSHAKING:
                self._connection.do_handshake()
                self._finish()
            while self.state is DtlsState.ESTABLISHED:
                # Application data has no meaning here; reading is what processes alerts and
                # answers a repeated last flight (RFC 6347 §4.2.4).
                self._connection.recv(MAX_INBOUND_BYTES)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._move(_Event.CLOSED)
        except SSL.Error as error:
            self._fail(_reason(error))
        self._collect()

    def _finish(self) -> None:
        """The handshake is complete: take the keys, if it led to what we need."""
        name = self._connection.get_selected_srtp_profile()
        profile = next((each for each in SRTP_PROFILES if each.name == name), None)
        if not self._check.matches or profile is None:
            self._connection.shutdown()
            self._fail("the peer offers no SRTP profile that we have")
        else:
            self.keys = _export(self._connection, profile)
            self._move(_Event.HANDSHAKE_DONE)

    def _fail(self, reason: str) -> None:
        if self._check.certificate_seen and not self._check.matches:
            reason = "the peer's certificate has another fingerprint than its SDP"
        self.failure = reason
        self._move(_Event.BROKEN)

    def _move(self, event: _Event) -> None:
        self.state = _TRANSITIONS[self.state, event]

    def _collect(self) -> None:
        """Take what OpenSSL wrote, and join whole records to datagrams."""
        written = bytearray()
        try:
            while True:
                written += self._connection.bio_read(65_536)
        except SSL.WantReadError:
            pass
        datagram = b""
        for record in _records(bytes(written)):
            if len(datagram) + len(record) > MAX_DATAGRAM_BYTES:
                self._outgoing.append(datagram)
                datagram = b""
            datagram += record
        if datagram:
            self._outgoing.append(datagram)


def _records(data: bytes) -> list[bytes]:
    """RFC 6347 §4.1: the records that fill `data`, or none at all when they do not."""
    records = []
    position = 0
    while position < len(data):
        header = data[position : position + _RECORD_HEADER_BYTES]
        end = position + _RECORD_HEADER_BYTES + int.from_bytes(header[11:13], "big")
        if (
            len(header) < _RECORD_HEADER_BYTES
            or header[0] not in _CONTENT_TYPES
            or int.from_bytes(header[1:3], "big") not in _DTLS_VERSIONS
            or end > len(data)
        ):
            return []
        records.append(data[position:end])
        position = end
    return records


def _export(connection: SSL.Connection, profile: SrtpProfile) -> SrtpKeys:
    """RFC 5764 §4.2: client key, server key, client salt, server salt; the client's are inbound."""
    key_bytes, salt_bytes = profile.key_bytes, profile.salt_bytes
    material = connection.export_keying_material(
        b"EXTRACTOR-dtls_srtp", 2 * (key_bytes + salt_bytes)
    )
    salts = material[2 * key_bytes :]
    return SrtpKeys(
        profile=profile.policy,
        inbound=material[:key_bytes] + salts[:salt_bytes],
        outbound=material[key_bytes : 2 * key_bytes] + salts[salt_bytes:],
    )


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words: the last part of each entry of its error queue."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list):
        return "; ".join(str(entry[-1]) for entry in queue) or "DTLS failed"
    return str(error) or type(error).__name__
