"""Mesh identities: a small certificate authority, and what a certificate of it proves.

Every bridge holds an EC P-256 key and a short-lived certificate of the mesh's own authority:
RFC 5280, the bridge as common name, its region in a URI (RFC 5280 §4.2.1.6). Nothing here
reads a clock or a file; `now` is in Unix seconds. Keys never show in a repr.
"""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relay.control import CONTROL_SIGNATURE_CONTEXT
from relay.errors import MalformedError, RemoteProtocolError, SettingsError
from relay.ids import BridgeId, Region, region_of

AUTHORITY_LIFETIME_S = 10 * 365 * 86_400
BACKDATE_S = 300
"""Certificates begin this much in the past, for clocks that differ between regions."""

_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_URI = re.compile(r"octomesh://bridge/([a-z0-9-]{1,32})/([A-Za-z0-9._-]{1,64})")
_USAGES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


class PeerCertificate(Protocol):
    """The part of `ssl.SSLObject` and `trio.SSLStream` that names the other end."""

    def getpeercert(self, binary_form: Literal[True]) -> bytes | None:
        """The verified certificate in DER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a bridge shows to others, and whom it believes."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    mesh_ca_pem: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshAuthority:
    """The mesh's certificate authority; only the focus has one."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)

    @classmethod
    def create(cls, now: float) -> "MeshAuthority":
        """A new authority, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "octomesh mesh authority")])
        certificate = (
            _builder(name, name, key.public_key(), now, AUTHORITY_LIFETIME_S)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate_pem=certificate.public_bytes(Encoding.PEM), key_pem=_key_pem(key))

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> "MeshAuthority":
        """The authority that was kept in these; SettingsError when they are not a pair."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            if certificate.public_key() != _load_key(key_pem).public_key():
                raise ValueError("they are not a pair")
        except (ValueError, UnsupportedAlgorithm):
            raise SettingsError("the mesh authority's certificate and key do not fit") from None
        return cls(certificate_pem=certificate_pem, key_pem=key_pem)

    def issue(
        self, csr_pem: bytes, bridge: BridgeId, region: Region, now: float, lifetime_s: float
    ) -> bytes:
        """A certificate (PEM) for the request's key, with names that we give, not the request.

        The request comes from the network: MalformedError when it is none for a P-256 key.
        """
        if not _BRIDGE.fullmatch(bridge):
            raise ValueError(f"bridge id {bridge[:80]!r} does not fit a certificate")
        public_key = _requested_key_untrusted(csr_pem)
        authority = x509.load_pem_x509_certificate(self.certificate_pem)
        key = _load_key(self.key_pem)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, bridge)])
        uri = x509.UniformResourceIdentifier(f"octomesh://bridge/{region_of(region)}/{bridge}")
        certificate = (
            _builder(subject, authority.subject, public_key, now, lifetime_s)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(_USAGES, critical=False)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)


def make_request() -> tuple[bytes, bytes]:
    """A new private key and the signing request for it, both PEM; the focus gives the names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "octomesh bridge")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    return _key_pem(key), request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def verify_certificate_untrusted(
    certificate_pem: bytes, mesh_ca: bytes, now: float
) -> tuple[BridgeId, Region]:
    """Whose certificate this is, if the mesh authority (PEM) issued it and it is valid now.

    MalformedError when it is no bridge's certificate, RemoteProtocolError when it is one
    of another mesh, or not valid yet or any more.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except (ValueError, x509.InvalidVersion):
        raise MalformedError("not a PEM certificate") from None
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(mesh_ca))
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise RemoteProtocolError("the certificate is not of this mesh") from None
    moment = datetime.fromtimestamp(now, UTC)
    if moment < certificate.not_valid_before_utc:
        raise RemoteProtocolError("the certificate is not valid yet: compare the clocks")
    if moment > certificate.not_valid_after_utc:
        raise RemoteProtocolError("the certificate has expired")
    return _bridge_untrusted(certificate)


def valid_until_s(certificate_pem: bytes) -> float:
    """When our own certificate ends, in Unix seconds."""
    return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc.timestamp()


def sign_challenge(key_pem: bytes, nonce: bytes) -> bytes:
    """Proof that we hold the key: ECDSA with SHA-256 over the context and the nonce, in DER."""
    return _load_key(key_pem).sign(CONTROL_SIGNATURE_CONTEXT + nonce, ec.ECDSA(hashes.SHA256()))


def verify_challenge(certificate: bytes, nonce: bytes, signature: bytes) -> None:
    """RemoteProtocolError unless the holder of this (verified, PEM) certificate's key signed."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RemoteProtocolError("the certificate's key is not an EC key")
    try:
        key.verify(signature, CONTROL_SIGNATURE_CONTEXT + nonce, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise RemoteProtocolError("the signature is not of the certificate's key") from None


def trunk_ssl_context(identity: Identity, server_side: bool) -> ssl.SSLContext:
    """TLS 1.3, both ends authenticated by the mesh authority and by nobody else.

    Host names mean nothing on a trunk: the caller compares `peer_bridge_of`.
    """
    protocol = ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if server_side:
        context.num_tickets = 0  # A trunk is never resumed: each one proves itself afresh.
    context.load_verify_locations(cadata=identity.mesh_ca_pem.decode("ascii"))
    with _memory_file(identity.certificate_pem + b"\n" + identity.key_pem) as path:
        context.load_cert_chain(path)
    return context


def peer_bridge_of(ssl_object: PeerCertificate) -> BridgeId:
    """Who is at the other end after the handshake; RemoteProtocolError when it is no bridge."""
    der = ssl_object.getpeercert(binary_form=True)
    if der is None:
        raise RemoteProtocolError("the peer showed no certificate")
    try:
        bridge, _ = _bridge_untrusted(x509.load_der_x509_certificate(der))
    except (ValueError, x509.InvalidVersion, MalformedError) as error:
        raise RemoteProtocolError(f"the peer's certificate is not a bridge's: {error}") from None
    return bridge


def _bridge_untrusted(certificate: x509.Certificate) -> tuple[BridgeId, Region]:
    try:
        extensions = certificate.extensions
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        key = certificate.public_key()
    except (
        ValueError,
        TypeError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        UnsupportedAlgorithm,
    ):
        raise MalformedError("the certificate lacks what a bridge's has") from None
    if constraints.ca or not {*_USAGES} <= {*usages}:
        raise MalformedError("the certificate is not for a bridge's use")
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise MalformedError("the certificate's key is not on P-256")
    match = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if match is None or len(common_names) != 1 or common_names[0].value != match[2]:
        raise MalformedError("the certificate's names are not a bridge's")
    try:
        return BridgeId(match[2]), region_of(match[1])
    except ValueError:
        raise MalformedError("the certificate's region is no region") from None


def _requested_key_untrusted(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MalformedError("not a PEM certificate signing request") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise MalformedError("the signing request's key is not on P-256")
    if not signed:
        raise MalformedError("the signing request is not signed by its key")
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: float,
    lifetime_s: float,
) -> x509.CertificateBuilder:
    moment = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(seconds=BACKDATE_S))
        .not_valid_after(moment + timedelta(seconds=lifetime_s))
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    """RFC 5280 §4.2.1.3: the authority signs certificates, a bridge signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError("the mesh key is not an unencrypted PEM key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError("the mesh key is not an EC key")
    return key


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path to these bytes: `ssl` loads keys from paths only, and keys must not touch a disk."""
    handle = os.memfd_create("octomesh-identity")
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
