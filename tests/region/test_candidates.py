from aioice import Candidate

from region.candidates import candidate_lines
from relay.ids import Address

FIRST, SECOND = Address(host="198.51.100.7", port=10_000), Address(host="2001:db8::7", port=10_000)
MAPPED = Address(host="203.0.113.9", port=40_000)
PREFIX = "a=candidate:"


def candidates(udp: list[Address], tcp: list[Address]) -> list[Candidate]:
    *lines, last = candidate_lines(udp, tcp)
    assert last == "a=end-of-candidates"
    assert all(line.startswith(PREFIX) for line in lines)
    return [Candidate.from_sdp(line.removeprefix(PREFIX)) for line in lines]


def test_candidates_are_hosts_in_our_order_of_preference() -> None:
    other_port = Address(host="198.51.100.7", port=10_010)
    assert candidate_lines([FIRST, SECOND, other_port], []) == [
        "a=candidate:1 1 udp 2130706431 198.51.100.7 10000 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::7 10000 typ host",
        "a=candidate:1 1 udp 2130705919 198.51.100.7 10010 typ host",
        "a=end-of-candidates",
    ]


def test_tcp_candidates_wait_for_the_browser_and_come_after_udp() -> None:
    found = candidates([FIRST, SECOND, MAPPED], [FIRST, MAPPED])
    tcp = [each for each in found if each.transport == "tcp"]
    assert [(each.host, each.port) for each in tcp] == [
        ("198.51.100.7", 10_000),
        ("203.0.113.9", 40_000),
    ]
    assert {(each.type, each.tcptype) for each in tcp} == {("host", "passive")}
    priorities = [each.priority for each in found]
    assert priorities == sorted(set(priorities), reverse=True)


def test_candidates_share_a_foundation_where_host_and_protocol_are_the_same() -> None:
    other_port = Address(host="198.51.100.7", port=10_010)
    found = candidates([FIRST, SECOND, other_port], [FIRST, other_port])
    assert found[0].foundation == found[2].foundation
    assert found[3].foundation == found[4].foundation
    assert len({each.foundation for each in found}) == 3
