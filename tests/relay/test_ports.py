"""Ports that can be had, and the line for the operator where they cannot."""

import socket

import pytest

from relay.errors import SettingsError
from relay.ports import LOOPBACK, WantedPort, bind, bind_each, check_free, check_port_numbers

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_free_port_stays_free_after_the_check() -> None:
    port = free_port()
    check_free([WantedPort(option="--https-port", kind=TCP, port=port)])
    with bind(WantedPort(option="--https-port", kind=TCP, port=port)) as bound:
        assert bound.getsockname()[1] == port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_port_that_another_has_on_any_address_is_in_use(
    host: str, kind: socket.SocketKind
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as other:
        other.bind((host, 0))
        if kind is TCP:
            other.listen()
        wanted = WantedPort(
            option="--media-port", kind=kind, port=other.getsockname()[1], use="frankfurt's media"
        )
        with pytest.raises(
            SettingsError,
            match=rf"{wanted.port} \(frankfurt's media\) is in use; .* --media-port",
        ):
            check_free([wanted])


def test_one_number_serves_for_tcp_and_for_udp() -> None:
    port = free_port()
    check_free(WantedPort(option="--media-port", kind=kind, port=port) for kind in (TCP, UDP))


def test_localhost_is_both_loopback_addresses_and_no_other() -> None:
    port = free_port()
    wanted = WantedPort(option="--http-port", kind=TCP, port=port, host=LOOPBACK)
    bound = bind_each(wanted)
    assert {each.getsockname()[0] for each in bound} == {"127.0.0.1", "::1"}
    assert {each.getsockname()[1] for each in bound} == {port}
    with pytest.raises(SettingsError, match="is in use"):
        check_free([wanted])
    for each in bound:
        each.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_localhost_cannot_be_had_when_one_of_both_is_taken(host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        wanted = WantedPort(option="--http-port", kind=TCP, port=port, host=LOOPBACK)
        with pytest.raises(SettingsError, match=f"TCP port {port} is in use"):
            bind_each(wanted)


def test_two_uses_of_one_port_are_told_with_both_options() -> None:
    port = free_port()
    with pytest.raises(SettingsError, match="--http-port and --media-port overlap"):
        check_free(
            WantedPort(option=option, kind=TCP, port=port)
            for option in ("--http-port", "--media-port")
        )


def test_a_range_that_runs_past_the_last_port_is_told() -> None:
    with pytest.raises(SettingsError, match="65540 is above 65535; lower --media-port"):
        check_free([WantedPort(option="--media-port", kind=UDP, port=65_540)])


def test_port_numbers_are_in_range_and_differ() -> None:
    check_port_numbers({"--relay-port": 10_001, "--ops-port": 10_002})
    check_port_numbers({"--relay-port": 0, "--ops-port": 0})
    with pytest.raises(SettingsError, match="--ops-port and --relay-port are both 10001"):
        check_port_numbers({"--relay-port": 10_001, "--ops-port": 10_001})
    with pytest.raises(SettingsError, match="--ops-port 65536 is not a port"):
        check_port_numbers({"--ops-port": 65_536})
