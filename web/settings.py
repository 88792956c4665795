"""What an operator sets for the process of focus and web, checked before anything is opened."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from focus.codecs import DEFAULT_CODECS
from relay.errors import SettingsError
from relay.ids import VideoCodec
from relay.ports import LOOPBACK, check_port_numbers
from web.ice_servers import TurnServers, check_turn_url


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
    codecs: tuple[VideoCodec, ...] = DEFAULT_CODECS
    """Of pictures, the preferred first; where a room has none in common it takes VP8."""
    last_n: int | None = 25
    """So many cameras anybody gets at most; None for no limit."""
    turn_urls: tuple[str, ...] = ()
    turn_secret: str | None = field(default=None, repr=False)
    """What the TURN servers know, too; given exactly when there are some."""
    turn_ttl_s: int = 86_400
    """A browser may begin to use them for so long after it joined."""
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
        for url in self.turn_urls:
            try:
                check_turn_url(url)
            except ValueError as error:
                raise SettingsError(f"--turn-urls: {error}") from None
        if self.turn_urls and not self.turn_secret:
            raise SettingsError("--turn-urls without a secret: give it by --turn-secret-file")
        if self.turn_secret and not self.turn_urls:
            raise SettingsError("a TURN secret without --turn-urls: give both or neither")

    @property
    def turn(self) -> TurnServers | None:
        """The TURN servers for browsers, if there are any."""
        if not self.turn_urls or self.turn_secret is None:
            return None
        return TurnServers(urls=self.turn_urls, secret=self.turn_secret, ttl_s=self.turn_ttl_s)
