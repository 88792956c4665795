"""Debian's coturn on a host, with time-limited credentials (`use-auth-secret`), also on TLS."""

import base64
import datetime
import hashlib
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.network.namespaces import Host, Service

PORT, TLS_PORT = 3_478, 5_349
START_S = 10.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Coturn:
    """A running TURN server."""

    host: Host
    secret: str
    spki: str
    """SHA-256 of its public key, by which browsers may be told to trust it."""

    @property
    def urls(self) -> list[str]:
        """Over UDP, TCP and TLS."""
        plain = [f"turn:{self.host.address}:{PORT}?transport={way}" for way in ("udp", "tcp")]
        return [*plain, f"turns:{self.host.address}:{TLS_PORT}?transport=tcp"]


@contextmanager
def coturn_running(host: Host, directory: Path) -> Iterator[Coturn]:
    """A TURN server on that host, until the end."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.fail("no turnserver: apt-get install coturn; make test does it", pytrace=False)
    secret = secrets.token_hex(16)
    certificate, key, spki = _papers(host, directory)
    settings = directory / "turnserver.conf"
    settings.write_text(
        f"""
listening-ip={host.address}
relay-ip={host.address}
listening-port={PORT}
tls-listening-port={TLS_PORT}
cert={certificate}
pkey={key}
realm=octomesh.test
use-auth-secret
static-auth-secret={secret}
userdb={directory / "turndb"}
pidfile={directory / "turnserver.pid"}
log-file=stdout
no-cli
no-dtls
"""
    )
    service = Service(host, [program, "-c", settings], directory / "log")
    try:
        deadline_s = time.monotonic() + START_S
        while not _answers(host):
            assert time.monotonic() < deadline_s, service.said()
            time.sleep(POLL_S)
        yield Coturn(host=host, secret=secret, spki=spki)
    finally:
        service.stop()


def _answers(host: Host) -> bool:
    for port in (PORT, TLS_PORT):
        with host.entered(), socket.socket() as asking:
            if asking.connect_ex((host.address, port)) != 0:
                return False
    return True


def _papers(host: Host, directory: Path) -> tuple[Path, Path, str]:
    """A certificate for that host signed by itself, its key, and the hash of the public one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "turn.octomesh.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(host.address))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding, serialization.NoEncryption()
    paths = directory / "turn.pem", directory / "turn-key.pem"
    paths[0].write_bytes(certificate.public_bytes(encoding.PEM))
    paths[1].write_bytes(key.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    paths[1].chmod(0o644)  # coturn gives up root before it reads it
    spki = key.public_key().public_bytes(
        encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return *paths, base64.b64encode(hashlib.sha256(spki).digest()).decode()
