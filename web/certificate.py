"""The web server's certificate: one that the operator gives, or a self-signed one of its own.

Browsers ask about the latter once. RFC 5280, RFC 9525 (names); at most 397 days, as the CA/Browser
Forum's Baseline Requirements §6.3.2 had it.
"""

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from focus.private_files import write_private
from relay.errors import SettingsError

CERTIFICATE_FILE = "web-certificate.pem"
KEY_FILE = "web-key.pem"
LIFETIME = timedelta(days=396)
BACKDATE = timedelta(hours=1)
RENEW_BEFORE = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebCertificate:
    """Where certificate and key are; bridges verify the server by the certificate's file."""

    certificate: Path
    key: Path


def given_web_certificate(certificate: Path, key: Path) -> WebCertificate:
    """The operator's files; SettingsError, one line, unless they are a certificate and its key."""
    try:
        shown = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except OSError as error:
        raise SettingsError(f"--certificate {certificate}: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"--certificate {certificate} holds no certificate in PEM") from None
    try:
        own = load_pem_private_key(key.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError(f"--certificate-key {key}: {error.strerror}") from None
    except TypeError:
        raise SettingsError(f"--certificate-key {key} is encrypted: give it plain") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"--certificate-key {key} holds no private key in PEM") from None
    if own.public_key() != shown.public_key():
        raise SettingsError(f"--certificate-key {key} is not the key of {certificate}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise SettingsError(f"--certificate {certificate} cannot be used: {error.reason}") from None
    return WebCertificate(certificate=certificate, key=key)


def load_web_certificate(
    directory: Path, now: datetime | None = None, hostname: str | None = None
) -> WebCertificate:
    """The directory's certificate; made anew when missing, damaged, ending or of another host."""
    moment = now or datetime.now(UTC)
    names = _names(hostname or socket.gethostname())
    kept = WebCertificate(certificate=directory / CERTIFICATE_FILE, key=directory / KEY_FILE)
    if not _is_good(kept, moment, names):
        certificate_pem, key_pem = _make(moment, names)
        write_private(kept.key, key_pem)
        write_private(kept.certificate, certificate_pem)
    return kept


def _names(hostname: str) -> list[x509.GeneralName]:
    hosts = ["localhost"]
    if hostname.isascii() and 0 < len(hostname) <= 253 and hostname != "localhost":
        hosts.append(hostname)
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    return [*map(x509.DNSName, hosts), *map(x509.IPAddress, addresses)]


def _is_good(kept: WebCertificate, moment: datetime, names: list[x509.GeneralName]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(kept.certificate.read_bytes())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        key = load_pem_private_key(kept.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return (
        key.public_key() == certificate.public_key()
        and certificate.not_valid_before_utc <= moment
        and moment + RENEW_BEFORE < certificate.not_valid_after_utc
        and list(extension.value) == names
    )


def _make(moment: datetime, names: list[x509.GeneralName]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "octomesh")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - BACKDATE)
        .not_valid_after(moment - BACKDATE + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), key_pem
