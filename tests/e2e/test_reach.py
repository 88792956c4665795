"""Browsers on networks that are in the way: no UDP, nothing but a TURN server, a new address."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.conftest import Launch
from tests.e2e.guest import Guest, closed, meet, open_guest
from tests.e2e.mesh import FRANKFURT, Mesh, eventually
from tests.network.coturn import PORT, TLS_PORT, Coturn
from tests.network.namespaces import Host, Internet
from tests.patience import patient_s

RESUMES_WITHIN_S = 2.0
A_FEW = 10


@pytest.fixture(scope="module")
def mesh(far_mesh: Mesh) -> Mesh:
    return far_mesh


@pytest.fixture(scope="module")
def server(mesh: Mesh) -> Host:
    assert mesh.host is not None
    return mesh.host


@pytest.fixture(scope="module")
def hosts(net: Internet) -> tuple[Host, Host]:
    """Of the one whose network is in the way, and of the other."""
    return net.host("hindered"), net.host("free")


@pytest.fixture(scope="module")
def browsers(
    hosts: tuple[Host, Host], coturn: Coturn, launch: Launch
) -> Iterator[tuple[Browser, Browser]]:
    # A TURN server's certificate is looked at whatever a page's own is forgiven.
    trusting = [f"--ignore-certificate-errors-spki-list={coturn.spki}"]
    both = launch(host=hosts[0], flags=trusting), launch(host=hosts[1])
    yield both
    for browser in both:
        browser.close()


@pytest.fixture
def pair(browsers: tuple[Browser, Browser]) -> Iterator[tuple[Guest, Guest]]:
    """Ana, whose network is in the way, and Ben; neither has joined."""
    both = open_guest(browsers[0], "Ana"), open_guest(browsers[1], "Ben")
    yield both
    for guest in both:
        closed(guest)
    assert {guest.name: guest.errors for guest in both if guest.errors} == {}


@pytest.fixture
def link(hosts: tuple[Host, Host]) -> Iterator[Host]:
    """Ana's host, which is as it was after the test."""
    yield hosts[0]
    hosts[0].pass_all()


def join_both(mesh: Mesh, pair: tuple[Guest, Guest], room: str) -> None:
    for guest in pair:
        guest.enter(mesh, room, FRANKFURT)
    meet(pair, frames=A_FEW)


def test_where_no_udp_passes_media_goes_by_tcp_both_ways(
    mesh: Mesh, pair: tuple[Guest, Guest], link: Host, server: Host, room: str
) -> None:
    link.pass_only(f"-p tcp -d {server.address}")
    join_both(mesh, pair, room)
    path = pair[0].path()
    assert path["remote"]["protocol"] == path["local"]["protocol"] == "tcp"
    assert path["local"]["candidateType"] != "relay"
    assert path["remote"]["address"] == server.address
    other = pair[1].path()
    assert other["remote"]["protocol"] == "udp"
    assert other["remote"]["port"] == path["remote"]["port"]  # one number for both


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
def test_where_only_a_turn_server_is_reached_media_is_relayed_both_ways(
    mesh: Mesh,
    pair: tuple[Guest, Guest],
    link: Host,
    server: Host,
    coturn: Coturn,
    room: str,
    way: str,
) -> None:
    protocol, port = ("tcp", TLS_PORT) if way == "tls" else (way, PORT)
    link.pass_only(
        f"-p {protocol} -d {coturn.host.address} --dport {port}",
        f"-p tcp -d {server.address} --dport {mesh.settings.https_port}",
    )
    join_both(mesh, pair, f"{room}-{way}")
    local = pair[0].path()["local"]
    assert local["candidateType"] == "relay"
    assert local["relayProtocol"] == way
    assert local["address"] == coturn.host.address
    assert pair[1].path()["local"]["candidateType"] != "relay"


@pytest.mark.parametrize("overlapping", [False, True])
def test_media_resumes_within_2_s_when_the_address_changes(
    mesh: Mesh, pair: tuple[Guest, Guest], link: Host, room: str, overlapping: bool
) -> None:
    join_both(mesh, pair, f"{room}-{overlapping}")
    ways = [(pair[0], "Ben"), (pair[1], "Ana")]
    who = [guest.session()["you"]["id"] for guest in pair]
    pair[1].keep_looking_for(".tile[data-name=Ana]")
    for guest, name in ways:
        guest.watch()
        eventually(
            lambda guest=guest, name=name: guest.longest_gap_s(name),
            lambda gap_s: gap_s < 0.5,
            within_s=5,
        )
    # A check that was due would find the new way by itself; the next one is seconds away.
    checks = pair[0].path()["pair"]["responsesReceived"]
    eventually(
        lambda: pair[0].path()["pair"]["responsesReceived"], lambda now: now > checks, within_s=5
    )
    link.renumber(overlapping=overlapping)
    resumed: dict[str, dict[str, float]] = {}
    for guest, name in ways:
        before = guest.pictures().get(name, {"frames": 0})["frames"]
        eventually(
            lambda guest=guest, name=name: guest.pictures().get(name, {"frames": 0})["frames"],
            lambda now, before=before: now > 0 and abs(now - before) >= A_FEW,
            within_s=15,
        )
        kinds = ("camera", "microphone")
        resumed[guest.name] = {kind: guest.longest_gap_s(name, kind) for kind in kinds}
    print(f"nothing new for so many seconds: {resumed}")
    longest_s = max(gap_s for gaps in resumed.values() for gap_s in gaps.values())
    assert longest_s < patient_s(RESUMES_WITHIN_S)
    eventually(lambda: pair[0].session()["connection"], lambda it: it == "connected", within_s=5)
    # Nobody has come or gone; and Ben, to whom nothing came from Ana, knew that his way was good.
    assert [guest.session()["you"]["id"] for guest in pair] == who
    assert pair[1].looked_and_missed(".tile[data-name=Ana]")[1] == 0
    assert pair[1].session()["attempt"] == 0
