"""What an operator sets for one regional bridge, checked before anything is opened."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from region.advertised import parse_advertised
from relay.errors import SettingsError
from relay.ids import Region, region_of
from relay.ports import check_port_numbers

MAX_ADVERTISED = 16
"""As many addresses as another bridge checks (`region/path.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSettings:
    """One bridge process; raises SettingsError where the values cannot work."""

    region: Region
    focus_url: str
    """Where the focus's web room answers, e.g. `https://meet.example.org`."""
    focus_ca: Path | None = None
    """Certificate that vouches for the focus; None means the system's authorities."""
    token: str | None = field(default=None, repr=False)
    """One-time enrolment token; needed until the state directory holds a certificate."""
    state_dir: Path
    """The bridge's own: its key, its certificate."""
    listen_host: str = "::"
    media_port: int
    """UDP: clients' and trunks' media; TCP: media of clients whose UDP is blocked."""
    relay_port: int
    """TCP: other bridges dial the trunk's TLS here."""
    ops_host: str = "127.0.0.1"
    ops_port: int
    """TCP: `/healthz` and `/metrics`."""
    advertise: tuple[str, ...] = ()
    """Further addresses at which others reach this bridge, as `parse_advertised` takes them."""
    advertise_interfaces: bool = True
    """Advertise the addresses of this host's interfaces, too."""
    allow_loopback: bool = False
    """Advertise 127.0.0.1 and ::1 too: for trials on one machine."""

    def __post_init__(self) -> None:
        try:
            region_of(self.region)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        check_port_numbers(
            {
                "--media-port": self.media_port,
                "--relay-port": self.relay_port,
                "--ops-port": self.ops_port,
            }
        )
        url = urlsplit(self.focus_url)
        if url.scheme != "https" or not url.hostname or url.query or url.fragment:
            raise SettingsError(
                f"--focus-url {self.focus_url!r} is not like https://meet.example.org"
            )
        if self.focus_ca is not None and not self.focus_ca.is_file():
            raise SettingsError(f"--focus-ca {self.focus_ca}: there is no such file")
        try:
            ipaddress.ip_address(self.listen_host)
        except ValueError:
            raise SettingsError(
                f"--listen-host {self.listen_host!r} is not an address like ::, 0.0.0.0 or 10.1.0.5"
            ) from None
        for address in self.advertise:
            parse_advertised(address)
        if len(self.advertise) > MAX_ADVERTISED:
            raise SettingsError(
                f"--advertise {len(self.advertise)} times is too often: {MAX_ADVERTISED} at most"
            )
        if not self.advertise and not self.advertise_interfaces:
            raise SettingsError(
                "--no-advertise-interfaces without --advertise: nobody could reach this bridge"
            )
