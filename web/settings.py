"""What an operator sets for the process of focus and web, checked before anything is opened."""

from dataclasses import dataclass
from pathlib import Path

from relay.ports import check_port_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The focus's process; raises SettingsError where the values cannot work."""

    state_dir: Path
    """Of focus and web: the mesh's CA, the token secret, the web certificate."""
    listen_host: str = "::"
    https_port: int = 8443
    http_port: int = 8080
    """Plain HTTP, for trials on localhost: browsers give no camera to it from elsewhere."""
    ops_host: str = "127.0.0.1"
    ops_port: int = 9999
    """TCP: `/healthz` and `/metrics`."""

    def __post_init__(self) -> None:
        check_port_numbers(
            {
                "https-port": self.https_port,
                "http-port": self.http_port,
                "ops-port": self.ops_port,
            }
        )
