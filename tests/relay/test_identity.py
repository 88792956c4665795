import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from relay.control import CONTROL_SIGNATURE_CONTEXT
from relay.errors import MalformedError, RemoteProtocolError, SettingsError
from relay.identity import (
    Identity,
    MeshAuthority,
    make_request,
    peer_bridge_of,
    sign_challenge,
    trunk_ssl_context,
    valid_until_s,
    verify_certificate_untrusted,
    verify_challenge,
)
from relay.ids import BridgeId, Region

NOW_S = 1_800_000_000.0
WEEK_S = 7 * 86_400.0
BRIDGE = BridgeId("frankfurt-1")
REGION = Region("frankfurt")
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH

MESH = MeshAuthority.create(NOW_S)
OTHER_MESH = MeshAuthority.create(NOW_S)
KEY_PEM, CSR_PEM = make_request()
CERTIFICATE_PEM = MESH.issue(CSR_PEM, BRIDGE, REGION, NOW_S, WEEK_S)


def test_an_issued_certificate_names_its_bridge_and_region() -> None:
    verified = verify_certificate_untrusted(CERTIFICATE_PEM, MESH.certificate_pem, NOW_S)
    assert verified == (BRIDGE, REGION)
    assert valid_until_s(CERTIFICATE_PEM) == NOW_S + WEEK_S


def test_a_kept_authority_issues_on() -> None:
    loaded = MeshAuthority.load(MESH.certificate_pem, MESH.key_pem)
    issued = loaded.issue(CSR_PEM, BRIDGE, REGION, NOW_S, WEEK_S)
    verify_certificate_untrusted(issued, MESH.certificate_pem, NOW_S)


@pytest.mark.parametrize(
    ("certificate_pem", "key_pem"),
    [
        (MESH.certificate_pem, OTHER_MESH.key_pem),
        (b"", MESH.key_pem),
        (MESH.certificate_pem, b"-----BEGIN PRIVATE KEY-----\n"),
    ],
)
def test_a_kept_authority_that_is_no_pair_is_a_settings_error(
    certificate_pem: bytes, key_pem: bytes
) -> None:
    with pytest.raises(SettingsError):
        MeshAuthority.load(certificate_pem, key_pem)


@pytest.mark.parametrize(
    ("now", "reason"),
    [(NOW_S + WEEK_S + 1, "expired"), (NOW_S - 3_600, "not valid yet")],
)
def test_a_certificate_serves_in_its_time_only(now: float, reason: str) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        verify_certificate_untrusted(CERTIFICATE_PEM, MESH.certificate_pem, now)


def test_a_clock_that_is_a_little_behind_does_no_harm() -> None:
    verify_certificate_untrusted(CERTIFICATE_PEM, MESH.certificate_pem, NOW_S - 60)


def test_a_certificate_of_another_mesh_is_refused() -> None:
    foreign = OTHER_MESH.issue(CSR_PEM, BRIDGE, REGION, NOW_S, WEEK_S)
    with pytest.raises(RemoteProtocolError, match="not of this mesh"):
        verify_certificate_untrusted(foreign, MESH.certificate_pem, NOW_S)


def test_a_bridge_cannot_issue_certificates() -> None:
    rogue = MeshAuthority(certificate_pem=CERTIFICATE_PEM, key_pem=KEY_PEM)
    issued = rogue.issue(CSR_PEM, BridgeId("tokyo-1"), Region("tokyo"), NOW_S, WEEK_S)
    with pytest.raises(RemoteProtocolError, match="not of this mesh"):
        verify_certificate_untrusted(issued, MESH.certificate_pem, NOW_S)


def test_the_authority_itself_is_no_bridge() -> None:
    with pytest.raises(MalformedError):
        verify_certificate_untrusted(MESH.certificate_pem, MESH.certificate_pem, NOW_S)


def odd_certificate(
    *,
    common_names: tuple[str, ...] = (BRIDGE,),
    uris: tuple[str, ...] = ("octomesh://bridge/frankfurt/frankfurt-1",),
    usages: tuple[x509.ObjectIdentifier, ...] = (SERVER, CLIENT),
    authority: bool = False,
    curve: ec.EllipticCurve | None = None,
) -> bytes:
    """One that the mesh authority's key signed and `issue` would not."""
    mesh_key = load_pem_private_key(MESH.key_pem, None)
    assert isinstance(mesh_key, ec.EllipticCurvePrivateKey)
    moment = datetime.fromtimestamp(NOW_S, UTC)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(x509.load_pem_x509_certificate(MESH.certificate_pem).subject)
        .public_key(ec.generate_private_key(curve or ec.SECP256R1()).public_key())
        .serial_number(1)
        .not_valid_before(moment)
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if uris:
        values = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(values), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(mesh_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_the_odd_certificate_is_otherwise_in_order() -> None:
    verified = verify_certificate_untrusted(odd_certificate(), MESH.certificate_pem, NOW_S)
    assert verified == (BRIDGE, REGION)


@pytest.mark.parametrize(
    "certificate_pem",
    [
        odd_certificate(common_names=("singapore-1",)),
        odd_certificate(common_names=()),
        odd_certificate(common_names=(BRIDGE, BRIDGE)),
        odd_certificate(uris=()),
        odd_certificate(uris=("https://bridge/frankfurt/frankfurt-1",)),
        odd_certificate(uris=("octomesh://bridge/-x-/frankfurt-1",)),
        odd_certificate(uris=("octomesh://bridge/frankfurt/frankfurt-1",) * 2),
        odd_certificate(usages=()),
        odd_certificate(usages=(SERVER,)),
        odd_certificate(usages=(CLIENT,)),
        odd_certificate(authority=True),
        odd_certificate(curve=ec.SECP384R1()),
    ],
)
def test_a_certificate_that_is_no_bridges_is_malformed(certificate_pem: bytes) -> None:
    with pytest.raises(MalformedError):
        verify_certificate_untrusted(certificate_pem, MESH.certificate_pem, NOW_S)


@given(data=st.binary(max_size=100))
def test_garbage_is_no_certificate_and_no_request(data: bytes) -> None:
    with pytest.raises(MalformedError):
        verify_certificate_untrusted(data, MESH.certificate_pem, NOW_S)
    with pytest.raises(MalformedError):
        MESH.issue(data, BRIDGE, REGION, NOW_S, WEEK_S)


@given(position=st.integers(30, 500), byte=st.integers(0, 255))
def test_a_changed_certificate_is_refused(position: int, byte: int) -> None:
    changed = bytearray(CERTIFICATE_PEM)
    changed[position] = byte
    try:
        verified = verify_certificate_untrusted(bytes(changed), MESH.certificate_pem, NOW_S)
    except (MalformedError, RemoteProtocolError):
        return
    assert verified == (BRIDGE, REGION)
    same = x509.load_pem_x509_certificate(bytes(changed))
    assert same == x509.load_pem_x509_certificate(CERTIFICATE_PEM)


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_requests_for_other_kinds_of_key_are_malformed() -> None:
    for key in (
        rsa.generate_private_key(public_exponent=65_537, key_size=2_048),
        ec.generate_private_key(ec.SECP384R1()),
    ):
        with pytest.raises(MalformedError, match="P-256"):
            MESH.issue(request_of(key), BRIDGE, REGION, NOW_S, WEEK_S)


def test_a_request_that_its_key_did_not_sign_is_malformed() -> None:
    request = x509.load_pem_x509_csr(CSR_PEM).public_bytes(Encoding.DER)
    # The last byte belongs to the signature.
    forged = request[:-1] + bytes([request[-1] ^ 1])
    pem = x509.load_der_x509_csr(forged).public_bytes(Encoding.PEM)
    with pytest.raises(MalformedError, match="signed"):
        MESH.issue(pem, BRIDGE, REGION, NOW_S, WEEK_S)


@pytest.mark.parametrize("bridge", ["", "a/b", "a" * 65, "-a", "a b"])
def test_a_bridge_id_that_fits_no_certificate_is_our_mistake(bridge: str) -> None:
    with pytest.raises(ValueError, match="bridge id"):
        MESH.issue(CSR_PEM, BridgeId(bridge), REGION, NOW_S, WEEK_S)


def test_a_signed_challenge_proves_the_key() -> None:
    signature = sign_challenge(KEY_PEM, b"nonce")
    verify_challenge(CERTIFICATE_PEM, b"nonce", signature)


def test_a_signature_of_another_nonce_key_or_context_proves_nothing() -> None:
    other_key_pem, _ = make_request()
    key = load_pem_private_key(KEY_PEM, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    bare = key.sign(b"nonce", ec.ECDSA(hashes.SHA256()))
    assert CONTROL_SIGNATURE_CONTEXT
    for signature in (
        sign_challenge(KEY_PEM, b"another"),
        sign_challenge(other_key_pem, b"nonce"),
        bare,
        b"",
        b"garbage",
    ):
        with pytest.raises(RemoteProtocolError):
            verify_challenge(CERTIFICATE_PEM, b"nonce", signature)


def test_keys_do_not_show() -> None:
    identity = Identity(
        certificate_pem=CERTIFICATE_PEM, key_pem=KEY_PEM, mesh_ca_pem=MESH.certificate_pem
    )
    for shown in (repr(identity), repr(MESH)):
        assert "PRIVATE" not in shown


class Shake:
    """A TLS handshake between two contexts, in memory."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server)

    def run(self) -> None:
        for _ in range(4):
            for end in (self.client, self.server):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()


def live_identity(
    bridge: str, *, authority: MeshAuthority, trusted: MeshAuthority, age_s: float = 0.0
) -> Identity:
    """OpenSSL reads the clock itself."""
    now = datetime.now(UTC).timestamp() - age_s
    key_pem, csr_pem = make_request()
    certificate_pem = authority.issue(csr_pem, BridgeId(bridge), REGION, now, 3_600)
    return Identity(
        certificate_pem=certificate_pem, key_pem=key_pem, mesh_ca_pem=trusted.certificate_pem
    )


LIVE_MESH = MeshAuthority.create(datetime.now(UTC).timestamp() - 86_400)
HOME = live_identity("frankfurt-1", authority=LIVE_MESH, trusted=LIVE_MESH)
AWAY = live_identity("singapore-1", authority=LIVE_MESH, trusted=LIVE_MESH)


def test_two_bridges_of_a_mesh_learn_each_others_names() -> None:
    shake = Shake(trunk_ssl_context(HOME, True), trunk_ssl_context(AWAY, False))
    shake.run()
    assert shake.client.version() == "TLSv1.3"
    assert peer_bridge_of(shake.client) == "frankfurt-1"
    assert peer_bridge_of(shake.server) == "singapore-1"


@pytest.mark.parametrize(
    "stranger",
    [
        live_identity("singapore-1", authority=OTHER_MESH, trusted=LIVE_MESH),
        live_identity("singapore-1", authority=LIVE_MESH, trusted=LIVE_MESH, age_s=7_200),
    ],
    ids=["of another mesh", "expired"],
)
def test_a_stranger_fails_at_either_end_of_a_handshake(stranger: Identity) -> None:
    with pytest.raises(ssl.SSLError):
        Shake(trunk_ssl_context(HOME, True), trunk_ssl_context(stranger, False)).run()
    with pytest.raises(ssl.SSLError):
        Shake(trunk_ssl_context(stranger, True), trunk_ssl_context(AWAY, False)).run()


def test_a_client_without_a_certificate_fails() -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        Shake(trunk_ssl_context(HOME, True), client).run()


def test_no_tls_older_than_1_3_is_spoken() -> None:
    client = trunk_ssl_context(AWAY, False)
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        Shake(trunk_ssl_context(HOME, True), client).run()


def test_no_certificate_is_no_peer() -> None:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    server = trunk_ssl_context(HOME, True)
    server.verify_mode = ssl.CERT_NONE
    shake = Shake(server, client)
    shake.run()
    with pytest.raises(RemoteProtocolError, match="no certificate"):
        peer_bridge_of(shake.server)
