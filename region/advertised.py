"""What an operator says in `--advertise`: an address, and the port that NAT maps to ours."""

import ipaddress
import re
from dataclasses import dataclass, replace

from relay.errors import SettingsError

_MAX_PORT = 0xFFFF
_ADDRESS = re.compile(r"(?P<v4>[0-9.]+)(?::(?P<port4>[0-9]{1,6}))?")
_BRACKETED = re.compile(r"\[(?P<v6>[0-9a-fA-F:.]+)\](?::(?P<port6>[0-9]{1,6}))?")
_BARE_V6 = re.compile(r"[0-9a-fA-F:.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertised:
    """A literal address at which others reach this bridge."""

    host: str
    media_port: int | None = None
    """The port there that is mapped to the media port; None where it is the same."""

    def counted_up(self, by: int) -> "Advertised":
        """The same for the bridge whose media port is so much higher."""
        if self.media_port is None:
            return self
        return replace(self, media_port=self.media_port + by)

    def __str__(self) -> str:
        if self.media_port is None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.media_port}"


def parse_advertised(text: str) -> Advertised:
    """`203.0.113.7`, `203.0.113.7:31000`, `2001:db8::7` or `[2001:db8::7]:31000`.

    SettingsError, one line, when it is none of these or nobody could reach it.
    """
    host, port = _split(text)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(
            f"--advertise {text!r} is not an address like 203.0.113.7, 203.0.113.7:31000, "
            "2001:db8::7 or [2001:db8::7]:31000"
        ) from None
    if address.is_unspecified or address.is_multicast:
        raise SettingsError(f"--advertise {text!r} is not the address of a host")
    if port is not None and not 1 <= port <= _MAX_PORT:
        raise SettingsError(f"--advertise {text!r}: {port} is not a port: 1 to {_MAX_PORT}")
    return Advertised(host=str(address), media_port=port)


def _split(text: str) -> tuple[str, int | None]:
    """Host and port; the host is empty where the brackets are wrong."""
    if match := _ADDRESS.fullmatch(text):
        return match["v4"], int(match["port4"]) if match["port4"] else None
    if match := _BRACKETED.fullmatch(text):
        host = match["v6"] if ":" in match["v6"] else ""
        return host, int(match["port6"]) if match["port6"] else None
    return (text if _BARE_V6.fullmatch(text) else ""), None
