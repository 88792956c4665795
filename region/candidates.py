"""The bridge's ICE candidates as an answer has them.

RFC 8839 §5.1 (their lines), RFC 8445 §5.1.2.1 (priorities), RFC 6544 §4 (TCP).
"""

from collections.abc import Iterator, Sequence

from relay.ids import Address

_UDP_PREFERENCE = 126  # RFC 8445 §5.1.2.2: of hosts
_TCP_PREFERENCE = 90  # RFC 6544 §4.2: where both work, UDP is to be taken
_PASSIVE_PREFERENCE = 4  # RFC 6544 §4.2: of the direction, three bits above the other 13
_COMPONENT = 1


def candidate_lines(udp: Sequence[Address], tcp: Sequence[Address]) -> list[str]:
    """Host candidates of the one component, each sort's first the most preferred.

    TCP ones are passive: they wait for the browser to connect.
    """
    return [*_udp_lines(udp), *_tcp_lines(tcp, 1 + len(udp)), "a=end-of-candidates"]


def _udp_lines(addresses: Sequence[Address]) -> Iterator[str]:
    foundations = _foundations(addresses, 1)
    for index, address in enumerate(addresses):
        priority = _priority(_UDP_PREFERENCE, 0xFFFF - index)
        yield (
            f"a=candidate:{foundations[address.host]} {_COMPONENT} udp {priority} "
            f"{address.host} {address.port} typ host"
        )


def _tcp_lines(addresses: Sequence[Address], first_foundation: int) -> Iterator[str]:
    foundations = _foundations(addresses, first_foundation)
    for index, address in enumerate(addresses):
        priority = _priority(_TCP_PREFERENCE, _PASSIVE_PREFERENCE << 13 | 0x1FFF - index)
        yield (
            f"a=candidate:{foundations[address.host]} {_COMPONENT} tcp {priority} "
            f"{address.host} {address.port} typ host tcptype passive"
        )


def _foundations(addresses: Sequence[Address], first: int) -> dict[str, int]:
    """RFC 8445 §5.1.1.3: one for each type, base and protocol."""
    hosts = dict.fromkeys(address.host for address in addresses)
    return {host: first + index for index, host in enumerate(hosts)}


def _priority(type_preference: int, local_preference: int) -> int:
    return type_preference << 24 | local_preference << 8 | 256 - _COMPONENT
