"""What a bridge advertises: its interfaces' addresses, and what NAT maps to it."""

import ipaddress
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ifaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.addresses import media_addresses, relay_addresses
from region.advertised import Advertised, parse_advertised
from region.settings import MAX_ADVERTISED, RegionSettings
from relay.errors import SettingsError
from relay.ids import Region

MEDIA_PORT, RELAY_PORT = 10_000, 10_001
SETTINGS = RegionSettings(
    region=Region("frankfurt"),
    focus_url="https://meet.example.org",
    state_dir=Path("bridge"),
    media_port=MEDIA_PORT,
    relay_port=RELAY_PORT,
    ops_port=10_002,
)


@dataclass
class Ip:
    ip: str | tuple[str, int, int]


@dataclass
class Adapter:
    ips: list[Ip]


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> list[Adapter]:
    """The host's, as ifaddr tells of them: IPv6 addresses are three things."""
    adapters = [
        Adapter([Ip("127.0.0.1"), Ip(("::1", 0, 0))]),
        Adapter([Ip("10.1.0.5"), Ip(("2001:db8::5", 0, 0)), Ip(("fe80::5", 0, 2))]),
    ]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    return adapters


def media(**changes: Any) -> list[str]:
    return [str(each) for each in media_addresses(replace(SETTINGS, **changes), MEDIA_PORT)]


def relayed(**changes: Any) -> list[str]:
    return [str(each) for each in relay_addresses(replace(SETTINGS, **changes), RELAY_PORT)]


# --advertise


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("203.0.113.7", "203.0.113.7", None),
        ("203.0.113.7:31000", "203.0.113.7", 31_000),
        ("2001:db8::7", "2001:db8::7", None),
        ("2001:DB8:0::7", "2001:db8::7", None),
        ("[2001:db8::7]", "2001:db8::7", None),
        ("[2001:db8::7]:31000", "2001:db8::7", 31_000),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.7", None),
        ("203.0.113.7:65535", "203.0.113.7", 65_535),
    ],
)
def test_an_address_may_name_the_port_that_is_mapped(
    text: str, host: str, port: int | None
) -> None:
    advertised = parse_advertised(text)
    assert ipaddress.ip_address(advertised.host) == ipaddress.ip_address(host)
    assert advertised.media_port == port


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("me.example", "is not an address like 203.0.113.7, 203.0.113.7:31000, 2001:db8::7 or ["),
        ("", "is not an address like"),
        ("203.0.113.7:", "is not an address like"),
        (":31000", "is not an address like"),
        ("203.0.113.7:http", "is not an address like"),
        ("203.0.113.256", "is not an address like"),
        ("203.0.113.7 ", "is not an address like"),
        ("[203.0.113.7]:31000", "is not an address like"),
        ("2001:db8::7:31000", "is not an address like"),
        ("[2001:db8::7", "is not an address like"),
        ("[2001:db8::7]31000", "is not an address like"),
        ("fe80::5%eth0", "is not an address like"),
        ("203.0.113.7:0", ": 0 is not a port: 1 to 65535"),
        ("203.0.113.7:65536", ": 65536 is not a port: 1 to 65535"),
        ("0.0.0.0", "is not the address of a host"),
        ("[::]:31000", "is not the address of a host"),
        ("224.0.0.1", "is not the address of a host"),
    ],
)
def test_what_is_no_address_is_one_line(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        replace(SETTINGS, advertise=(text,))
    assert str(caught.value).startswith(f"--advertise {text!r}")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    host=st.ip_addresses().filter(lambda ip: not (ip.is_multicast or ip.is_unspecified)),
    port=st.none() | st.integers(1, 65_535),
)
def test_what_is_written_is_read_the_same(
    host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int | None
) -> None:
    advertised = Advertised(host=str(host), media_port=port)
    assert parse_advertised(str(advertised)) == advertised


@given(st.text(alphabet="0123456789abcf.:[]%x", max_size=50) | st.text(max_size=50))
def test_any_text_is_an_address_or_a_settings_error(text: str) -> None:
    with suppress(SettingsError):
        ipaddress.ip_address(parse_advertised(text).host)


def test_so_many_that_others_would_not_check_them_all_are_refused() -> None:
    many = [f"203.0.113.{index}" for index in range(MAX_ADVERTISED + 1)]
    replace(SETTINGS, advertise=tuple(many[1:]))
    with pytest.raises(SettingsError, match="--advertise 17 times is too often: 16 at most"):
        replace(SETTINGS, advertise=tuple(many))


def test_a_bridge_that_would_advertise_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="nobody could reach this bridge"):
        replace(SETTINGS, advertise_interfaces=False)


def test_a_listen_host_that_is_a_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="--listen-host 'localhost' is not an address like"):
        replace(SETTINGS, listen_host="localhost")


# What others are told


def test_without_a_word_the_interfaces_are_advertised(interfaces: list[Adapter]) -> None:
    assert media() == ["10.1.0.5:10000", "[2001:db8::5]:10000"]
    assert relayed() == ["10.1.0.5:10001", "[2001:db8::5]:10001"]


def test_a_mapping_comes_behind_the_interfaces_so_that_an_office_stays_inside(
    interfaces: list[Adapter],
) -> None:
    assert media(advertise=("203.0.113.7", "[2001:db8::7]:31000")) == [
        "10.1.0.5:10000",
        "[2001:db8::5]:10000",
        "203.0.113.7:10000",
        "[2001:db8::7]:31000",
    ]


def test_a_mapping_alone_hides_the_interfaces(interfaces: list[Adapter]) -> None:
    only = {"advertise": ("203.0.113.7:31000",), "advertise_interfaces": False}
    assert media(**only) == ["203.0.113.7:31000"]
    assert relayed(**only) == ["203.0.113.7:10001"]


def test_the_relay_port_is_the_same_outside(interfaces: list[Adapter]) -> None:
    mapped = ("203.0.113.7:31000", "203.0.113.7:32000", "198.51.100.7")
    assert relayed(advertise=mapped) == [
        "10.1.0.5:10001",
        "[2001:db8::5]:10001",
        "203.0.113.7:10001",
        "198.51.100.7:10001",
    ]


def test_loopback_is_advertised_when_asked_for_and_last(interfaces: list[Adapter]) -> None:
    assert media(allow_loopback=True) == [
        *("10.1.0.5:10000", "[2001:db8::5]:10000", "127.0.0.1:10000", "[::1]:10000")
    ]


def test_loopback_is_advertised_where_there_is_nothing_else(interfaces: list[Adapter]) -> None:
    del interfaces[1]
    assert media() == ["127.0.0.1:10000", "[::1]:10000"]
    assert media(advertise=("203.0.113.7",)) == ["203.0.113.7:10000"]


def test_where_it_listens_at_one_address_that_is_its_interface(interfaces: list[Adapter]) -> None:
    listens = {"listen_host": "10.1.0.5"}
    assert media(**listens) == ["10.1.0.5:10000"]
    assert media(**listens, advertise=("203.0.113.7",)) == ["10.1.0.5:10000", "203.0.113.7:10000"]


def test_where_it_listens_at_ipv4_no_ipv6_is_advertised(interfaces: list[Adapter]) -> None:
    assert media(listen_host="0.0.0.0", allow_loopback=True) == [
        "10.1.0.5:10000",
        "127.0.0.1:10000",
    ]


def test_an_address_that_is_an_interfaces_too_is_told_once(interfaces: list[Adapter]) -> None:
    told = media(advertise=("10.1.0.5", "203.0.113.7", "203.0.113.7:10000"))
    assert sorted(told) == ["10.1.0.5:10000", "203.0.113.7:10000", "[2001:db8::5]:10000"]


def test_many_interfaces_crowd_out_no_mapping(interfaces: list[Adapter]) -> None:
    interfaces.append(Adapter([Ip(f"172.17.{index}.1") for index in range(30)]))
    told = media(advertise=("203.0.113.7", "198.51.100.7"))
    assert len(told) == MAX_ADVERTISED
    assert told[0] == "10.1.0.5:10000"
    assert told[-2:] == ["203.0.113.7:10000", "198.51.100.7:10000"]
