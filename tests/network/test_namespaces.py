import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.network.namespaces import PREFIX, Host, Internet, internet, remove_leftovers

PORT = 9
WAIT_S = 5.0
SENT = 80
"""As many as a socket's buffer holds."""
PACKET = bytes(1_000)


@pytest.fixture(scope="module")
def net() -> Iterator[Internet]:
    with internet() as net:
        yield net


@pytest.fixture(scope="module")
def pair(net: Internet) -> tuple[Host, Host]:
    return net.host("one"), net.host("two")


def udp(host: Host) -> socket.socket:
    with host.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(WAIT_S)
    return made


def arrived(here: Host, there: Host, packets: int) -> int:
    """How many of so many packets, sent at once, arrive before one that comes by itself."""
    with udp(there) as receiver, udp(here) as sender:
        receiver.bind((there.address, PORT))
        for _ in range(packets):
            sender.sendto(PACKET, (there.address, PORT))
        count = 0
        while True:
            sender.sendto(b"last", (there.address, PORT))
            try:
                while receiver.recv(2_000) != b"last":
                    count += 1
            except TimeoutError:
                continue
            return count


def test_hosts_reach_each_other_and_nothing_else(pair: tuple[Host, Host]) -> None:
    one, two = pair
    assert arrived(one, two, 10) == 10
    links = subprocess.check_output(one.command("ip", "-brief", "link"), text=True)
    assert [line.split("@")[0].split()[0] for line in links.splitlines()] == ["lo", "eth0"]
    with udp(one) as sender, pytest.raises(OSError, match="unreachable"):
        sender.sendto(b"", ("192.0.2.1", PORT))


def test_a_thread_is_back_at_home_after_it_was_elsewhere(pair: tuple[Host, Host]) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    with suppress(ZeroDivisionError), pair[0].entered():
        assert os.readlink("/proc/thread-self/ns/net") != home
        raise ZeroDivisionError
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_a_slow_link_drops_what_its_buffer_does_not_hold_until_it_is_quick_again(
    pair: tuple[Host, Host],
) -> None:
    one, two = pair
    two.limit_downlink(1_000_000)
    # 300 ms of 1 Mbit/s are 37 packets of this size; one or two more are on the link.
    assert 30 <= arrived(one, two, SENT) <= 60
    two.limit_downlink(8_000_000)
    assert arrived(one, two, SENT) == SENT  # 300 ms of it are 300 packets
    two.limit_downlink(None)
    assert arrived(one, two, SENT) == SENT


def test_packets_get_lost_when_they_shall(pair: tuple[Host, Host]) -> None:
    one, two = pair
    two.lose(0.5)
    assert SENT * 0.25 < arrived(one, two, SENT) < SENT * 0.75
    two.lose(0)
    assert arrived(one, two, SENT) == SENT


def test_only_what_may_leaves(pair: tuple[Host, Host]) -> None:
    one, two = pair
    with ExitStack() as until_the_end:
        one.pass_only("-p udp --dport 10")
        until_the_end.callback(one.pass_all)
        with udp(one) as sender, pytest.raises(PermissionError):
            sender.sendto(PACKET, (two.address, PORT))
        with udp(one) as sender:
            sender.sendto(PACKET, (two.address, 10))
    one.pass_all()
    assert arrived(one, two, 10) == 10


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_host_has_another_address_and_no_more_the_one_it_had(
    pair: tuple[Host, Host], overlapping: bool
) -> None:
    moving, other = pair
    before = moving.address
    assert moving.renumber(overlapping=overlapping) == moving.address != before
    assert arrived(other, moving, 10) == 10
    with udp(moving) as receiver, pytest.raises(OSError, match="assign"):
        receiver.bind((before, PORT))


def test_what_dead_processes_left_is_removed_and_nothing_else(net: Internet) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = [f"{PREFIX}-{dead.pid}-left", f"{PREFIX}-other"]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    remove_leftovers()
    there = {path.name for path in Path("/run/netns").iterdir()}
    subprocess.run(["ip", "netns", "del", names[1]], check=True)
    assert names[0] not in there
    assert names[1] in there
    assert net.namespace in there
