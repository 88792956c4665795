import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from region.dtls import MAX_DATAGRAM_BYTES, DtlsServer, DtlsState, DtlsTransport
from relay.errors import LocalProtocolError

ALL_PROFILES = b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"
SERVER = DtlsServer()


def certificate(key: ec.EllipticCurvePrivateKey, *, padding: int = 0) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        # Browsers' certificates may be out of date by the bridge's clock; nobody minds.
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=2))
    )
    if padding:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.9999.1"), bytes(padding))
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


class Client:
    """A DTLS client of OpenSSL's, as browsers are to us."""

    def __init__(
        self, *, profiles: bytes = ALL_PROFILES, mtu: int = 1_200, padding: int = 0
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = certificate(key, padding=padding)
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_options(SSL.OP_NO_QUERY_MTU)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.use_certificate(self.certificate)
        context.use_privatekey(key)
        if profiles:
            context.set_tlsext_use_srtp(profiles)
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(mtu)
        self.errors: list[SSL.Error] = []
        self.closed = False

    def fingerprint(self, algorithm: hashes.HashAlgorithm | None = None) -> str:
        algorithm = algorithm or hashes.SHA256()
        digits = self.certificate.fingerprint(algorithm).hex(":").upper()
        return f"{algorithm.name.replace('sha', 'sha-')} {digits}"

    def receive(self, datagram: bytes) -> None:
        self.connection.bio_write(datagram)
        self.advance()

    def advance(self) -> None:
        try:
            self.connection.do_handshake()
            self.connection.recv(4_096)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.errors.append(error)

    def datagrams(self) -> list[bytes]:
        """Each record in one of its own, which DTLS allows."""
        try:
            data = self.connection.bio_read(65_536)
        except SSL.WantReadError:
            return []
        records = []
        while data:
            end = 13 + int.from_bytes(data[11:13], "big")
            records.append(data[:end])
            data = data[end:]
        return records

    def keys(self, key_bytes: int, salt_bytes: int) -> tuple[bytes, bytes]:
        """RFC 5764 §4.2: what the client protects by, and the server."""
        material = self.connection.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (key_bytes + salt_bytes)
        )
        k, s = key_bytes, salt_bytes
        return (
            material[:k] + material[2 * k : 2 * k + s],
            material[k : 2 * k] + material[2 * k + s :],
        )


def exchange(
    client: Client,
    transport: DtlsTransport,
    *,
    to_client: Callable[[list[bytes]], list[bytes]] = lambda flight: flight,
    to_server: Callable[[list[bytes]], list[bytes]] = lambda flight: flight,
) -> None:
    """Pass datagrams, as the two functions let them, until both sides are quiet."""
    client.advance()
    while True:
        upward, downward = to_server(client.datagrams()), []
        for datagram in upward:
            transport.receive(datagram)
        downward = to_client(transport.datagrams())
        for datagram in downward:
            client.receive(datagram)
        if not upward and not downward:
            return


def established(client: Client | None = None) -> tuple[Client, DtlsTransport]:
    client = client or Client()
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    exchange(client, transport)
    assert transport.state is DtlsState.ESTABLISHED, transport.failure
    return client, transport


@pytest.mark.parametrize(
    ("profiles", "profile", "key_bytes", "salt_bytes"),
    [
        (ALL_PROFILES, Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
        (
            b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM",
            Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
            32,
            12,
        ),
        (b"SRTP_AES128_CM_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
    ],
)
def test_both_ends_agree_on_the_profile_we_prefer_and_on_its_keys(
    profiles: bytes, profile: int, key_bytes: int, salt_bytes: int
) -> None:
    client, transport = established(Client(profiles=profiles))
    assert transport.keys is not None
    assert transport.keys.profile == profile
    theirs, ours = client.keys(key_bytes, salt_bytes)
    assert (transport.keys.inbound, transport.keys.outbound) == (theirs, ours)
    assert theirs.hex() not in repr(transport.keys)
    sender = Session(Policy(theirs, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
    receiver = Session(
        Policy(transport.keys.inbound, Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
    )
    packet = bytes([0x80, 96]) + bytes(10) + b"hello"
    assert receiver.unprotect(sender.protect(packet)) == packet


def test_only_a_modern_cipher_is_agreed_on() -> None:
    client, _ = established()
    assert client.connection.get_protocol_version_name() == "DTLSv1.2"
    assert client.connection.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_our_certificate_is_the_one_of_our_fingerprint() -> None:
    client, _ = established()
    seen = client.connection.get_peer_certificate()
    assert seen is not None
    assert SERVER.fingerprint == "sha-256 " + seen.digest("sha256").decode()
    assert DtlsServer().fingerprint != SERVER.fingerprint


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_any_one_of_several_fingerprints_suffices(algorithm: hashes.HashAlgorithm) -> None:
    client = Client()
    wrong = "sha-256 " + ":".join(["00"] * 32)
    transport = DtlsTransport(SERVER, [wrong, "md5 00:11", client.fingerprint(algorithm)])
    exchange(client, transport)
    assert transport.state is DtlsState.ESTABLISHED


def test_a_wrong_fingerprint_fails_and_the_peer_is_alerted() -> None:
    client = Client()
    transport = DtlsTransport(SERVER, [Client().fingerprint()])
    exchange(client, transport)
    assert transport.state is DtlsState.FAILED
    assert transport.failure is not None
    assert "fingerprint" in transport.failure
    assert transport.keys is None
    assert client.errors
    assert transport.next_timeout_s() is None


def test_a_peer_of_no_known_hash_is_not_begun_with() -> None:
    with pytest.raises(LocalProtocolError):
        DtlsTransport(SERVER, ["sha-1 00:11"])


def test_a_peer_without_srtp_fails_and_is_told() -> None:
    client = Client(profiles=b"")
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    exchange(client, transport)
    assert transport.state is DtlsState.FAILED
    assert transport.failure is not None
    assert "SRTP" in transport.failure
    assert client.closed


def test_a_client_hello_in_two_datagrams_is_one() -> None:
    client = Client(mtu=256)
    client.connection.set_tlsext_host_name(b"x" * 200)
    client.advance()
    hello = client.datagrams()
    assert len(hello) == 2
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    transport.receive(hello[0])
    assert transport.datagrams() == []
    transport.receive(hello[1])
    for datagram in transport.datagrams():
        client.receive(datagram)
    exchange(client, transport)
    assert transport.state is DtlsState.ESTABLISHED


def test_what_the_bridge_sends_fits_a_datagram_and_splits_no_record() -> None:
    client = Client(padding=3_000)
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    seen: list[bytes] = []

    def note(flight: list[bytes]) -> list[bytes]:
        seen.extend(flight)
        return flight

    exchange(client, transport, to_client=note)
    assert transport.state is DtlsState.ESTABLISHED
    assert len(seen) == 2, "a flight of many records is one datagram where it fits"
    for datagram in seen:
        assert len(datagram) <= MAX_DATAGRAM_BYTES
        position = 0
        while position < len(datagram):
            position += 13 + int.from_bytes(datagram[position + 11 : position + 13], "big")
        assert position == len(datagram)


def test_handshake_records_of_a_flight_may_come_in_any_order() -> None:
    client = Client(mtu=256)
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    # The last two change the cipher; OpenSSL waits for their repetition if they come early.
    exchange(client, transport, to_server=lambda flight: flight[-3::-1] + flight[-2:])
    assert transport.state is DtlsState.ESTABLISHED


def wait_for(deadline_s: float | None) -> None:
    """OpenSSL's DTLS timer runs by its own clock, so it cannot be wound on."""
    assert deadline_s is not None
    assert 0 <= deadline_s <= 1.1
    time.sleep(deadline_s + 0.01)


def test_a_lost_flight_of_ours_is_sent_again_when_its_timer_fires() -> None:
    client = Client()
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    assert transport.next_timeout_s() is None
    client.advance()
    for datagram in client.datagrams():
        transport.receive(datagram)
    lost = transport.datagrams()
    assert lost
    transport.on_timer()
    assert transport.datagrams() == [], "too early"
    wait_for(transport.next_timeout_s())
    transport.on_timer()
    for datagram in transport.datagrams():
        client.receive(datagram)
    exchange(client, transport)
    assert transport.state is DtlsState.ESTABLISHED
    assert transport.next_timeout_s() is None


def test_our_lost_last_flight_is_sent_again_when_the_peer_repeats_its_own() -> None:
    client = Client()
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    flights = 0

    def lose_the_second(flight: list[bytes]) -> list[bytes]:
        nonlocal flights
        flights += bool(flight)
        return [] if flights == 2 else flight

    exchange(client, transport, to_client=lose_the_second)
    assert transport.state is DtlsState.ESTABLISHED
    assert client.connection.DTLSv1_get_timeout() is not None, "it waits for our Finished"
    wait_for(client.connection.DTLSv1_get_timeout())
    client.connection.DTLSv1_handle_timeout()
    exchange(client, transport)
    assert client.connection.DTLSv1_get_timeout() is None
    assert transport.state is DtlsState.ESTABLISHED


def test_a_goodbye_of_ours_reaches_the_peer() -> None:
    client, transport = established()
    transport.close()
    assert transport.state is DtlsState.CLOSED
    for datagram in transport.datagrams():
        client.receive(datagram)
    assert client.closed
    transport.close()
    assert transport.datagrams() == []


def test_a_goodbye_of_the_peer_closes() -> None:
    client, transport = established()
    client.connection.shutdown()
    for datagram in client.datagrams():
        transport.receive(datagram)
    assert transport.state is DtlsState.CLOSED


def test_a_handshake_can_be_given_up() -> None:
    transport = DtlsTransport(SERVER, [Client().fingerprint()])
    transport.close()
    assert transport.state is DtlsState.CLOSED
    transport.receive(b"\x16\xfe\xfd" + bytes(10))
    transport.on_timer()
    assert transport.datagrams() == []


def test_replayed_and_damaged_datagrams_do_not_disturb_a_session() -> None:
    client = Client()
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    captured: list[bytes] = []

    def capture(flight: list[bytes]) -> list[bytes]:
        captured.extend(flight)
        return flight

    exchange(client, transport, to_server=capture)
    for datagram in captured:
        transport.receive(datagram)
        transport.receive(datagram[:-1])
        transport.receive(datagram[:-1] + bytes([datagram[-1] ^ 1]))
    # A plain alert, as anyone could forge it.
    transport.receive(bytes.fromhex("15fefd0000000000000009 0002 0228"))
    assert transport.state is DtlsState.ESTABLISHED
    assert transport.next_timeout_s() is None


RECORDS = st.builds(
    lambda kind, epoch, body: (
        bytes([kind])
        + b"\xfe\xfd"
        + epoch.to_bytes(2, "big")
        + bytes(6)
        + len(body).to_bytes(2, "big")
        + body
    ),
    st.integers(20, 23),
    st.integers(0, 2),
    st.binary(max_size=60),
)
GARBAGE = st.lists(st.binary(max_size=80) | RECORDS, min_size=1, max_size=5)


@given(GARBAGE)
@settings(max_examples=50)
def test_no_garbage_makes_a_handshake_raise(garbage: list[bytes]) -> None:
    transport = DtlsTransport(SERVER, ["sha-256 " + ":".join(["00"] * 32)])
    for datagram in garbage:
        transport.receive(datagram)
        assert all(len(each) <= MAX_DATAGRAM_BYTES for each in transport.datagrams())
    assert transport.state in (DtlsState.HANDSHAKING, DtlsState.FAILED)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=5))
@settings(max_examples=20)
def test_what_is_no_dtls_is_counted_and_hinders_no_handshake(garbage: list[bytes]) -> None:
    client = Client()
    transport = DtlsTransport(SERVER, [client.fingerprint()])
    for datagram in [*garbage, bytes(5_000)]:
        transport.receive(datagram)
    assert transport.ignored == len(garbage) + 1
    exchange(client, transport)
    assert transport.state is DtlsState.ESTABLISHED


_, LIVE = established()


@given(GARBAGE)
@settings(max_examples=50)
def test_no_garbage_ends_a_session(garbage: list[bytes]) -> None:
    for datagram in garbage:
        LIVE.receive(datagram)
    assert LIVE.state is DtlsState.ESTABLISHED
