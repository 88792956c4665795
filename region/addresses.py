"""Where a bridge tells others that it can be reached: its interfaces' addresses, and NAT's."""

import ipaddress
from collections.abc import Iterable, Iterator

import ifaddr

from region.advertised import parse_advertised
from region.settings import MAX_ADVERTISED, RegionSettings
from relay.ids import Address

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def media_addresses(settings: RegionSettings, port: int) -> tuple[Address, ...]:
    """Where media reaches a bridge whose media port is `port`, the most direct first."""
    advertised = map(parse_advertised, settings.advertise)
    mapped = [Address(host=each.host, port=each.media_port or port) for each in advertised]
    return _in_order(_own_hosts(settings), port, mapped)


def relay_addresses(settings: RegionSettings, port: int) -> tuple[Address, ...]:
    """Where other bridges dial one whose relay port is `port`; NAT has to keep that port."""
    advertised = map(parse_advertised, settings.advertise)
    mapped = [Address(host=each.host, port=port) for each in advertised]
    return _in_order(_own_hosts(settings), port, mapped)


def usable_hosts(
    found: Iterable[IpAddress], *, ipv4_only: bool, allow_loopback: bool
) -> tuple[str, ...]:
    """Those of the interfaces' addresses that others may reach, loopback ones last."""
    usable = [
        each
        for each in dict.fromkeys(found)
        if not each.is_link_local
        and (allow_loopback or not each.is_loopback)
        and (each.version == 4 or not ipv4_only)
    ]
    return tuple(str(each) for each in sorted(usable, key=lambda each: each.is_loopback))


def _own_hosts(settings: RegionSettings) -> tuple[str, ...]:
    if not settings.advertise_interfaces:
        return ()
    listened = ipaddress.ip_address(settings.listen_host)
    if not listened.is_unspecified:
        return (settings.listen_host,)
    ipv4_only = listened.version == 4
    found = tuple(_interfaces())
    usable = usable_hosts(found, ipv4_only=ipv4_only, allow_loopback=settings.allow_loopback)
    if not usable and not settings.advertise:
        return usable_hosts(found, ipv4_only=ipv4_only, allow_loopback=True)
    return usable


def _interfaces() -> Iterator[IpAddress]:
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            yield ipaddress.ip_address(each.ip if isinstance(each.ip, str) else each.ip[0])


def _in_order(own: Iterable[str], port: int, mapped: list[Address]) -> tuple[Address, ...]:
    """Own ones first: who reaches these needs no way through NAT (RFC 8445 §5.1.2.2).

    A surplus of interfaces is left out, and never what the operator named.
    """
    direct = [Address(host=host, port=port) for host in own]
    direct = [each for each in direct if each not in mapped]
    return (*direct[: MAX_ADVERTISED - len(mapped)], *dict.fromkeys(mapped))
