"""Ports of this machine: whether they can be had, and one line for the operator where not."""

import errno
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from relay.errors import SettingsError

MAX_PORT = 0xFFFF
LOOPBACK = "localhost"
"""As a host: this machine alone, 127.0.0.1 and ::1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPort:
    """A port that a process will bind, and the option by which the operator moves it."""

    option: str
    """As the operator knows it, e.g. `--https-port`."""
    kind: socket.SocketKind
    """SOCK_STREAM or SOCK_DGRAM."""
    port: int
    host: str = "::"
    use: str = ""
    """What it is for where the option means several, e.g. `frankfurt's media`."""

    def __str__(self) -> str:
        transport = "TCP" if self.kind is socket.SOCK_STREAM else "UDP"
        return f"{transport} port {self.port}" + (f" ({self.use})" if self.use else "")


def check_port_numbers(ports: Mapping[str, int]) -> None:
    """SettingsError unless all of these, by option like `--ops-port`, are ports and differ.

    0 stands for any free one.
    """
    options: dict[int, str] = {}
    for option, port in ports.items():
        if not 0 <= port <= MAX_PORT:
            raise SettingsError(f"{option} {port} is not a port: 1 to {MAX_PORT}")
        if port and port in options:
            raise SettingsError(f"{option} and {options[port]} are both {port}")
        options[port] = option


def check_free(ports: Iterable[WantedPort]) -> None:
    """SettingsError when two of these are the same, or one cannot be bound now.

    They are left unbound.
    """
    taken: dict[tuple[socket.SocketKind, int], WantedPort] = {}
    for wanted in ports:
        if wanted.port > MAX_PORT:
            raise SettingsError(f"{wanted} is above {MAX_PORT}; lower {wanted.option}")
        if other := taken.get((wanted.kind, wanted.port)):
            raise SettingsError(
                f"{wanted} is wanted twice: {other.option} and {wanted.option} overlap"
            )
        taken[wanted.kind, wanted.port] = wanted
        for bound in bind_each(wanted):
            bound.close()


def bind_each(wanted: WantedPort) -> list[socket.socket]:
    """As `bind`, but `localhost` is a socket for each family of addresses this machine has.

    Port 0 is the same free port in both.
    """
    if wanted.host != LOOPBACK:
        return [bind(wanted)]
    first = bind(replace(wanted, host="127.0.0.1"))
    if not _has_ipv6("::1"):
        return [first]
    try:
        return [first, bind(replace(wanted, host="::1", port=first.getsockname()[1]))]
    except BaseException:
        first.close()
        raise


def bind(wanted: WantedPort) -> socket.socket:
    """A socket bound to the port; `::` takes IPv4 too, and falls to it where IPv6 is missing.

    SettingsError, naming the option, when it cannot be bound. The caller closes it.
    """
    host = wanted.host
    if host == "::" and not _has_ipv6("::"):
        host = "0.0.0.0"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, wanted.kind)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if wanted.kind is socket.SOCK_STREAM:
            # Connections in TIME_WAIT are no reason to refuse; with UDP it would share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, wanted.port))
        if wanted.kind is socket.SOCK_STREAM:
            # Two sockets that reuse addresses both bind; only listening tells them apart.
            bound.listen(128)
    except OSError as error:
        bound.close()
        raise refused(wanted, error) from None
    return bound


def refused(wanted: WantedPort, error: OSError) -> SettingsError:
    """The line that tells the operator why this port cannot be bound and what to change."""
    if error.errno == errno.EADDRINUSE:
        return SettingsError(f"{wanted} is in use; choose another by {wanted.option}")
    reason = error.strerror or str(error)
    return SettingsError(f"{wanted} on {wanted.host}: {reason} ({wanted.option})")


def _has_ipv6(host: str) -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
