import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import ifaddr
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from relay.control import Heartbeat, TrunkReport
from relay.errors import SettingsError
from relay.ids import BridgeId
from tests.web.peers import Server, bridge_in, browser_at, cut_off, running, settings_in
from web.app import STATIC
from web.certificate import load_web_certificate
from web.server import Listening, run
from web.settings import MeshNames


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as server:
        yield server


@pytest.mark.parametrize("path", ["/", "/standup", "/Caf%C3%A9", "/standup?name=Ana&region=x"])
async def test_landing_and_rooms_are_the_meeting_page(server: Server, path: str) -> None:
    async with server.client() as client:
        page = await client.get(path)
        head = await client.head(path)
    assert page.status_code == head.status_code == 200
    assert page.content == (STATIC / "index.html").read_bytes()
    assert page.headers["cache-control"] == "no-store"


async def test_the_mesh_page_is_no_room(server: Server) -> None:
    async with server.client() as client:
        page = await client.get("/mesh")
    assert page.content == (STATIC / "mesh.html").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/static",
        "/metrics",
        "/robots.txt",
        "/a/b",
        "/..%2fapp.py",
        "/%2e%2e/app.py",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2fetc/passwd",
        "/openapi.json/x",
        "/%00",
        "/-room",
    ],
)
async def test_what_is_no_page_is_not_found(server: Server, path: str) -> None:
    # By hand: httpx would tidy the path up.
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    stream = await trio.open_tcp_stream("127.0.0.1", server.ports.http_port)
    async with stream:
        await stream.send_all(request.encode())
        answer = b"".join([chunk async for chunk in stream])
    status = answer.split(b" ", 2)[1]
    assert status in (b"404", b"307") if path == "/static" else status == b"404"
    assert b"import" not in answer


async def test_every_response_carries_the_security_headers(server: Server) -> None:
    async with server.client() as client:
        for path in ("/", "/mesh", "/api/mesh", "/no/such/page", "/static/index.html"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "camera=(self)" in headers["permissions-policy"]
            assert "server" not in headers


async def test_regions_tell_where_to_measure(server: Server) -> None:
    async with bridge_in(server, "frankfurt"), server.client() as client:
        assert (await client.get("/api/regions")).json() == [
            {
                "region": "frankfurt",
                "bridges": [
                    {
                        "bridge": "frankfurt-1",
                        "addresses": [{"host": "192.0.2.1", "port": 10000}],
                        "ping_password": "p" * 22,
                    }
                ],
            }
        ]


async def test_the_mesh_shows_bridges_trunks_as_measured_and_who_sits_where(
    server: Server,
) -> None:
    async with (
        bridge_in(server, "frankfurt") as frankfurt,
        bridge_in(server, "singapore") as singapore,
        browser_at(server) as ana,
        server.client() as client,
    ):
        you = (await ana.join("standup", "Ana", region="frankfurt"))["you"]
        unmeasured = TrunkReport(
            peer=BridgeId(singapore.bridge),
            up=True,
            rtt_ms=None,
            rtt_min_ms=None,
            rtt_p50_ms=None,
            rtt_p95_ms=None,
            jitter_ms=None,
            loss=None,
            sources_out=1,
            sources_in=2,
            sent_bps=1e6,
            received_bps=2e6,
        )
        measured = replace(unmeasured, rtt_ms=161.5, rtt_min_ms=160.0, loss=0.01)
        elsewhere = replace(unmeasured, peer=BridgeId("atlantis-1"))
        await frankfurt.say(
            Heartbeat(participants=1, cpu=0.5, packets_per_s=900.0, trunks=(measured, elsewhere))
        )
        with trio.fail_after(5):
            while not (mesh := (await client.get("/api/mesh")).json())["links"]:
                await trio.lowlevel.checkpoint()
        shown = {"Authorization": f"Bearer {server.mesh_key}"}
        nameless = (await client.get("/api/mesh")).json()
        mesh = (await client.get("/api/mesh", headers=shown)).json()
        assert (nameless["names"], mesh["names"]) == (False, True)
        assert nameless["links"] == mesh["links"]
        assert nameless["conferences"] == [
            {
                "conference": None,
                "participants": [{"region": "frankfurt", "bridge": frankfurt.bridge}],
            }
        ]
        (link,) = mesh["links"]
        assert (link["from"], link["to"]) == (frankfurt.bridge, singapore.bridge)
        assert (link["rtt_ms"], link["rtt_p50_ms"], link["loss"]) == (161.5, None, 0.01)
        first, second = mesh["bridges"]
        assert (first["bridge"], first["participants"]) == (frankfurt.bridge, 1)
        assert first["media_addresses"] == ["192.0.2.1:10000"]
        assert second["participants"] == 0
        (conference,) = mesh["conferences"]
        assert conference["conference"] == "standup"
        assert conference["participants"] == [you]


async def test_the_operators_door_counts(server: Server) -> None:
    ops = f"http://127.0.0.1:{server.ports.ops_port}"
    async with (
        bridge_in(server, "frankfurt"),
        browser_at(server) as ana,
        httpx.AsyncClient(base_url=ops, trust_env=False) as client,
    ):
        await ana.join("standup", "Ana")
        await ana.socket.send_message("{")
        await ana.hear("error")
        health = (await client.get("/healthz")).json()
        assert (health["ok"], health["bridges"], health["conferences"]) == (True, 1, 1)
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families((await client.get("/metrics")).text)
            for sample in family.samples
        }
    assert samples["octomesh_focus_participants", "frankfurt-1", "frankfurt"] == 1
    assert samples["octomesh_web_bad_requests_total", "signal"] == 1


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x", "Bearer é"],
)
async def test_without_the_operator_key_nobody_is_told_a_name(
    server: Server, authorization: str
) -> None:
    header = authorization.replace("{key}", server.mesh_key).encode("latin-1")
    async with (
        bridge_in(server, "frankfurt"),
        browser_at(server) as ana,
        server.client() as client,
    ):
        await ana.join("salaries", "Ana")
        answer = await client.get("/api/mesh", headers={b"Authorization": header})
        assert answer.status_code == 200
        assert "salaries" not in answer.text
        assert "Ana" not in answer.text
        (conference,) = answer.json()["conferences"]
        assert len(conference["participants"]) == 1


async def test_a_trials_names_are_open_to_all(tmp_path: Path) -> None:
    async with (
        running(tmp_path, mesh_names=MeshNames.OPEN) as server,
        bridge_in(server, "frankfurt"),
        browser_at(server) as ana,
        server.client() as client,
    ):
        await ana.join("standup", "Ana")
        mesh = (await client.get("/api/mesh")).json()
        assert (mesh["names"], mesh["conferences"][0]["conference"]) == (True, "standup")
        assert not (tmp_path / "mesh-key").exists()


async def test_plain_http_is_for_this_machine_unless_told_otherwise(tmp_path: Path) -> None:
    outside = [
        address
        for address in (each.ip for one in ifaddr.get_adapters() for each in one.ips)
        if isinstance(address, str) and not address.startswith("127.")
    ] or ["127.0.0.2"]  # loopback too, and yet another address
    async with running(tmp_path) as server:
        await (await trio.open_tcp_stream(outside[0], server.ports.https_port)).aclose()
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream(outside[0], server.ports.http_port)
    async with running(tmp_path, http_host="0.0.0.0") as server:
        await (await trio.open_tcp_stream(outside[0], server.ports.http_port)).aclose()


async def test_the_operators_certificate_is_the_one_that_is_shown(tmp_path: Path) -> None:
    given = load_web_certificate(tmp_path / "given")
    options = {"certificate": given.certificate, "certificate_key": given.key}
    async with running(tmp_path / "state", **options) as server:
        tls = ssl.create_default_context(cafile=str(given.certificate))
        async with httpx.AsyncClient(verify=tls, trust_env=False) as client:
            assert (await client.get(f"{server.https}/healthz")).status_code == 200
        assert not (tmp_path / "state" / "web-certificate.pem").exists()


async def test_both_families_of_addresses_are_served(server: Server) -> None:
    for host in ("127.0.0.1", "[::1]"):
        url = f"http://{host}:{server.ports.http_port}/healthz"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).json() == {"ok": True}


@pytest.mark.parametrize("field", ["https_port", "http_port", "ops_port"])
async def test_a_port_in_use_is_one_line_that_names_the_option(tmp_path: Path, field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = replace(settings_in(tmp_path), **{field: port})
        with pytest.raises(SettingsError, match=f"--{field.replace('_', '-')}") as caught:
            await run(settings)
    assert str(port) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_it_stops_quickly_with_people_inside_and_frees_its_ports(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        stop = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[Listening]) -> None:
            with stop:
                await run(settings_in(tmp_path), task_status=task_status)

        ports = await nursery.start(serve)
        server = Server(state_dir=tmp_path, ports=ports)
        async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
            await ana.join("standup", "Ana")
            started_s = trio.current_time()
            stop.cancel()
            await ana.closed()
            await cut_off(frankfurt)
            assert trio.current_time() - started_s < 2.0
    for port in (ports.https_port, ports.http_port, ports.ops_port):
        socket.create_server(("127.0.0.1", port)).close()
