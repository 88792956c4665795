"""What an operator sets for the process of focus and web, checked before anything is opened."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from relay.errors import SettingsError
from relay.ports import LOOPBACK, check_port_numbers


class MeshNames(StrEnum):
    """Who is told the names of rooms and people on the mesh page."""

    KEY = "key"
    """Who shows the operator key."""
    OPEN = "open"
    """Everybody who can open the page: for trials on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The focus's process; raises SettingsError where the values cannot work."""

    state_dir: Path
    """Of focus and web: the mesh's CA, the token secret, the web certificate."""
    listen_host: str = "::"
    """Of HTTPS."""
    https_port: int = 8443
    http_host: str = LOOPBACK
    """Of plain HTTP, for a reverse proxy on this host and for trials on it."""
    http_port: int = 8080
    certificate: Path | None = None
    """PEM, with what is between it and its authority; None means a self-signed one."""
    certificate_key: Path | None = None
    mesh_names: MeshNames = MeshNames.KEY
    ops_host: str = "127.0.0.1"
    ops_port: int = 9999
    """TCP: `/healthz` and `/metrics`."""

    def __post_init__(self) -> None:
        check_port_numbers(
            {
                "--https-port": self.https_port,
                "--http-port": self.http_port,
                "--ops-port": self.ops_port,
            }
        )
        if (self.certificate is None) != (self.certificate_key is None):
            given, missing = "--certificate", "--certificate-key"
            if self.certificate is None:
                given, missing = missing, given
            raise SettingsError(f"{given} without {missing}: give both or neither")
