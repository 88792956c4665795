"""Debian's coturn on a host, with time-limited credentials (`use-auth-secret`)."""

import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.network.namespaces import Host, Service

PORT = 3_478
START_S = 10.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Coturn:
    """A running TURN server."""

    host: Host
    secret: str

    @property
    def urls(self) -> list[str]:
        """Over UDP and over TCP."""
        return [f"turn:{self.host.address}:{PORT}?transport={way}" for way in ("udp", "tcp")]


@contextmanager
def coturn_running(host: Host, directory: Path) -> Iterator[Coturn]:
    """A TURN server on that host, until the end."""
    program = shutil.which("turnserver")
    if program is None:
        pytest.fail("no turnserver: apt-get install coturn; make test does it", pytrace=False)
    secret = secrets.token_hex(16)
    settings = directory / "turnserver.conf"
    settings.write_text(
        f"""
listening-ip={host.address}
relay-ip={host.address}
listening-port={PORT}
realm=octomesh.test
use-auth-secret
static-auth-secret={secret}
userdb={directory / "turndb"}
pidfile={directory / "turnserver.pid"}
log-file=stdout
no-cli
no-tls
no-dtls
"""
    )
    service = Service(host, [program, "-c", settings], directory / "log")
    try:
        deadline_s = time.monotonic() + START_S
        while not _answers(host):
            assert time.monotonic() < deadline_s, service.said()
            time.sleep(POLL_S)
        yield Coturn(host=host, secret=secret)
    finally:
        service.stop()


def _answers(host: Host) -> bool:
    with host.entered(), socket.socket() as asking:
        return asking.connect_ex((host.address, PORT)) == 0
