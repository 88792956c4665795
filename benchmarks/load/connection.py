"""One client's connection to a bridge: ICE, DTLS and SRTP keys on a UDP socket of its own.

Knows SDP and no signalling: descriptions come from and go to whoever calls. RFC 8445 (ICE),
RFC 7675 (consent), RFC 5764 (DTLS-SRTP).
"""

import secrets
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from benchmarks.load import stun
from benchmarks.load.description import (
    Description,
    Identity,
    Source,
    Wish,
    make_sources,
    parse_untrusted,
    write_answer,
    write_offer,
)
from relay.errors import LocalProtocolError, MalformedError, RemoteProtocolError

CONNECT_TIMEOUT_S = 20.0
RECEIVE_BUFFER_BYTES = 4 << 20
PACING_S = 0.05
"""RFC 8445 §14.2: Ta, between the first checks of two candidates."""
FIRST_RETRY_S, LAST_RETRY_S = 0.25, 2.0
"""Until a check is sent again: doubled from the one to the other."""
MAX_DATAGRAM_BYTES = 1_200

Address = tuple[str, int]

_PROFILES = {
    b"SRTP_AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}


class LoadCertificate:
    """One certificate for all clients of a process: browsers would have one each."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "load")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_tlsext_use_srtp(b":".join(_PROFILES))
        self.context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET)
        # The load does not check whom it talks to: it sends nothing that is worth it.
        self.context.set_verify(SSL.VERIFY_NONE, lambda *_: True)


@dataclass(slots=True)
class _Candidate:
    """An address of the peer's that is being checked."""

    address: Address
    due_s: float
    retry_s: float = FIRST_RETRY_S
    transactions: set[bytes] = field(default_factory=set)


class PeerConnection:
    """One client's; its socket's address is its own, as a browser's would be.

    Either `offer` and then `accept`, or `answer` and then `connect`. Until it is connected it
    reads its socket; from then on somebody else does, and gives to `receive` what is no media.
    Who makes it closes it.
    """

    def __init__(self, certificate: LoadCertificate, *, host: str = "127.0.0.1") -> None:
        """`host`: the literal local address, of the family in which the bridge is reached."""
        self._certificate = certificate
        self._identity_ufrag, self._identity_password = secrets.token_hex(4), secrets.token_hex(16)
        self._tie_breaker = secrets.randbits(64)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        """Non-blocking; connected to the bridge once ICE has chosen an address."""
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.bind((host, 0))
        self.sources: tuple[Source, ...] = ()
        """What the offer says that we send."""
        self.remote: Description | None = None
        """The newest description of the bridge's: slots, payload types, extension ids."""
        self.bridge: Address | None = None
        """Where media goes; None until it is connected."""
        self._controlling = True
        self._candidates: list[_Candidate] = []
        self._selected: Address | None = None
        self._dtls: SSL.Connection | None = None
        self._dtls_client = True
        self._sessions: tuple[Session, Session] | None = None
        self._failure: str | None = None

    # Descriptions

    def offer(self, wish: Wish) -> str:
        """A description of what we send and want; the next step is `accept`."""
        self.sources = make_sources(wish)
        return write_offer(wish, self.sources, self._identity())

    async def accept(self, answer: str) -> None:
        """Take the bridge's answer to `offer`, and connect.

        MalformedError, or RemoteProtocolError in words for a person when it comes to nothing.
        """
        self.remote = parse_untrusted(answer)
        # RFC 8445 §6.1.1: who offers is controlling, and so is whoever meets a lite agent.
        self._controlling = True
        self._dtls_client = self.remote.setup != "active"
        await self.connect()

    def answer(self, offer: str) -> str:
        """What to answer to the bridge's offer: we receive all of it; then `connect`.

        Of a later offer on the same connection the answer is all: `connect` does nothing then.
        """
        self.remote = parse_untrusted(offer)
        if self._sessions is None:
            self._controlling = self.remote.lite
            self._dtls_client = True
        return write_answer(self.remote, self._identity())

    # Connecting

    async def connect(self) -> None:
        """ICE and DTLS; RemoteProtocolError, in words for a person, when they come to nothing."""
        if self.remote is None:
            raise LocalProtocolError("connect comes after a description")
        if self._sessions is not None:
            return
        self._dtls = SSL.Connection(self._certificate.context, None)
        self._dtls.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        if self._dtls_client:
            self._dtls.set_connect_state()
        else:
            self._dtls.set_accept_state()
        self._candidates = self._ordered(self.remote.candidates, trio.current_time())
        if not self._candidates and self.remote.lite:
            raise RemoteProtocolError("The bridge has no address in the network of this client.")
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            await self._shake_hands(trio.socket.from_stdlib_socket(self.socket))
            assert self._selected is not None
            self.bridge = self._selected
            self.socket.connect(self._selected)
            return
        if self._selected is None:
            raise RemoteProtocolError(
                f"No connectivity check was answered within {CONNECT_TIMEOUT_S:g} s."
            )
        raise RemoteProtocolError(f"DTLS did not end within {CONNECT_TIMEOUT_S:g} s.")

    @property
    def outbound(self) -> Session:
        """What encrypts; LocalProtocolError until it is connected."""
        return self._keys()[0]

    @property
    def inbound(self) -> Session:
        """What decrypts; LocalProtocolError until it is connected."""
        return self._keys()[1]

    def receive(self, data: bytes) -> None:
        """Take a datagram that is no media and came from the bridge after it was connected."""
        if self.bridge is None:
            raise LocalProtocolError("not connected yet: it reads its socket itself")
        self._receive(data, self.bridge)

    def renew_consent(self) -> None:
        """RFC 7675 §5.1: to be called each 4 to 5 s of a connection that is to live."""
        if self.bridge is not None:
            self._send(self._check()[1], self.bridge)

    def close(self) -> None:
        """Give the socket back; more than once changes nothing."""
        self.socket.close()

    def _identity(self) -> Identity:
        host, port = self.socket.getsockname()[:2]
        return Identity(
            ufrag=self._identity_ufrag,
            password=self._identity_password,
            fingerprint=self._certificate.fingerprint,
            address=(host, port),
        )

    def _ordered(self, candidates: tuple[Address, ...], now: float) -> list[_Candidate]:
        """Those of our family; the one in our own network first: most load is on one machine."""
        host = self.socket.getsockname()[0]
        usable = [each for each in candidates if (":" in each[0]) == (":" in host)]
        usable.sort(key=lambda each: each[0] != host)
        return [
            _Candidate(address=address, due_s=now + number * PACING_S)
            for number, address in enumerate(usable)
        ]

    async def _shake_hands(self, reading: trio.socket.SocketType) -> None:
        """Until there are keys."""
        while self._sessions is None:
            now = trio.current_time()
            due_s = self._send_due(now)
            with trio.move_on_at(due_s):
                data, address = await reading.recvfrom(4_096)
                self._receive(data, address[:2])
            if self._failure is not None:
                raise RemoteProtocolError(f"DTLS failed: {self._failure}")

    def _send_due(self, now: float) -> float:
        """Send checks and flights whose time has come; when the next one's comes."""
        if self._selected is None:
            for each in self._candidates:
                if each.due_s <= now:
                    transaction, check = self._check()
                    each.transactions.add(transaction)
                    self._send(check, each.address)
                    each.due_s = now + each.retry_s
                    each.retry_s = min(2 * each.retry_s, LAST_RETRY_S)
            return min((each.due_s for each in self._candidates), default=now + LAST_RETRY_S)
        assert self._dtls is not None
        left_s = self._dtls.DTLSv1_get_timeout()
        if left_s is not None and left_s <= 0:
            self._dtls.DTLSv1_handle_timeout()
            self._send_written()
            left_s = self._dtls.DTLSv1_get_timeout()
        return now + (LAST_RETRY_S if left_s is None else left_s)

    def _receive(self, data: bytes, address: Address) -> None:
        """RFC 7983 §7; media that comes before the keys is not ours to read."""
        if not data:
            return
        if data[0] < 4:
            try:
                message = stun.parse_untrusted(data)
            except MalformedError:
                return
            if message.type == stun.BINDING_REQUEST:
                self._receive_check(message, address)
            elif message.type == stun.BINDING_RESPONSE:
                self._receive_response(message)
        elif 20 <= data[0] < 64 and self._dtls is not None:
            self._dtls.bio_write(data)
            self._advance()

    def _check(self) -> tuple[bytes, bytes]:
        """RFC 8445 §7.1; nominating at once, for there is one pair of each candidate."""
        assert self.remote is not None
        return stun.write_check(
            username=f"{self.remote.ufrag}:{self._identity_ufrag}",
            password=self.remote.password.encode(),
            controlling=self._controlling,
            tie_breaker=self._tie_breaker,
            nominates=self._controlling,
        )

    def _receive_response(self, message: stun.Message) -> None:
        assert self.remote is not None
        if not self._controlling or self._selected is not None:
            return
        for each in self._candidates:
            if message.transaction in each.transactions and message.is_signed_by(
                self.remote.password.encode()
            ):
                self._select(each.address)
                return

    def _receive_check(self, message: stun.Message, address: Address) -> None:
        """RFC 8445 §7.3, as a full agent's peer wants it answered."""
        password = self._identity_password.encode()
        if not message.username.startswith(f"{self._identity_ufrag}:"):
            return
        if not message.is_signed_by(password):
            return
        self._send(stun.write_response(message.transaction, address, password), address)
        if self.bridge is not None or self.remote is None:
            return
        if message.use_candidate and not self._controlling:
            if self._selected is None:
                self._select(address)
        elif all(each.address != address for each in self._candidates):
            # RFC 8445 §7.3.1.4: a triggered check to an address that no description has.
            self._candidates.append(_Candidate(address=address, due_s=0.0))

    def _select(self, address: Address) -> None:
        self._selected = address
        self._advance()

    def _advance(self) -> None:
        """Let OpenSSL go on with what it has got."""
        assert self._dtls is not None
        if self._selected is None:
            return  # the handshake goes where ICE says
        try:
            if self._sessions is None:
                self._dtls.do_handshake()
                self._sessions = _sessions(self._dtls, self._dtls_client)
            else:
                self._dtls.recv(4_096)  # reading is what answers a repeated flight
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self._failure = "the bridge has closed it"
        except SSL.Error as error:
            self._failure = str(error) or type(error).__name__
        self._send_written()

    def _send_written(self) -> None:
        assert self._dtls is not None
        assert self._selected is not None
        try:
            while True:
                self._send(self._dtls.bio_read(16_384), self._selected)
        except SSL.WantReadError:
            pass

    def _send(self, data: bytes, address: Address) -> None:
        """What the socket does not take is lost, as datagrams are."""
        try:
            if self.bridge is None:
                self.socket.sendto(data, address)
            else:
                self.socket.send(data)
        except OSError:
            return

    def _keys(self) -> tuple[Session, Session]:
        if self._sessions is None or self.bridge is None:
            raise LocalProtocolError("not connected yet")
        return self._sessions


def _sessions(connection: SSL.Connection, client: bool) -> tuple[Session, Session]:
    """To send and to receive by; RFC 5764 §4.2: client key, server key, client salt, server's."""
    profile, key_bytes, salt_bytes = _PROFILES[connection.get_selected_srtp_profile()]
    material = connection.export_keying_material(
        b"EXTRACTOR-dtls_srtp", 2 * (key_bytes + salt_bytes)
    )
    keys = [material[i * key_bytes : (i + 1) * key_bytes] for i in (0, 1)]
    salts = material[2 * key_bytes :]
    of_client, of_server = keys[0] + salts[:salt_bytes], keys[1] + salts[salt_bytes:]
    outbound, inbound = (of_client, of_server) if client else (of_server, of_client)
    return (
        Session(Policy(key=outbound, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)),
        Session(Policy(key=inbound, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)),
    )
