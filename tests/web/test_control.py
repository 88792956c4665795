from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
import trio
from trio_websocket import ConnectionClosed

from focus.tokens import mint_token
from relay.control import Denied, Mesh, Renew, Renewed
from relay.identity import MeshAuthority, make_request
from relay.ids import BridgeId, Region
from tests.web.peers import (
    FakeBridge,
    Server,
    bridge_in,
    browser_at,
    connected,
    cut_off,
    denied,
    papers,
    running,
)

FRANKFURT = Region("frankfurt")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as server:
        yield server


async def test_a_token_enrols_one_bridge_and_no_second(server: Server) -> None:
    token = mint_token(server.state_dir, FRANKFURT, 60.0)
    _, csr = make_request()
    assert (await server.enrol(token, csr)).status_code == 200
    again = await server.enrol(token, csr)
    assert again.status_code == 403
    assert "has been used" in again.json()["error"]


async def test_a_token_of_another_region_is_refused_and_not_spent(server: Server) -> None:
    token = mint_token(server.state_dir, FRANKFURT, 60.0)
    _, csr = make_request()
    wrong = await server.enrol(token, csr, "singapore")
    assert wrong.status_code == 403
    assert wrong.json()["error"] == "the token is for region frankfurt, not singapore"
    assert (await server.enrol(token, csr, "not a region")).status_code == 400
    assert (await server.enrol(token, csr, "frankfurt")).status_code == 200


async def test_one_token_at_two_doors_at_once_enrols_one_bridge(server: Server) -> None:
    token = mint_token(server.state_dir, FRANKFURT, 60.0)
    statuses = []

    async def try_it() -> None:
        statuses.append((await server.enrol(token, make_request()[1])).status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(try_it)
    assert sorted(statuses) == [200, 403, 403, 403, 403]


async def test_an_expired_token_and_one_of_another_mesh_are_refused(
    server: Server, tmp_path: Path
) -> None:
    _, csr = make_request()
    expired = await server.enrol(mint_token(server.state_dir, FRANKFURT, 60.0, now_s=1.0), csr)
    assert expired.status_code == 403
    assert "expired" in expired.json()["error"]
    foreign = await server.enrol(mint_token(tmp_path / "other", FRANKFURT, 60.0), csr)
    assert foreign.status_code == 403
    assert "not minted by this mesh" in foreign.json()["error"]
    nonsense = await server.enrol("not a token", csr)
    assert nonsense.status_code == 400


async def test_a_bad_signing_request_does_not_spend_the_token(server: Server) -> None:
    token = mint_token(server.state_dir, FRANKFURT, 60.0)
    assert (await server.enrol(token, b"no request")).status_code == 400
    assert (await server.enrol(token, make_request()[1])).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[1]", 400),
        (b'{"token": 1}', 400),
        (b"\xff\xfe", 400),
        (b'{"token": "' + b"x" * (64 << 10) + b'"}', 413),
    ],
)
async def test_a_malformed_enrolment_is_refused_in_words(
    server: Server, body: bytes, status: int
) -> None:
    async with server.client() as client:
        response = await client.post("/api/bridges/enrol", content=body)
    assert response.status_code == status
    assert response.json()["error"]


async def test_a_bridge_is_welcome_and_hears_of_its_peers(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt:
        assert (await frankfurt.expect(Mesh)).peers == ()
        async with bridge_in(server, "singapore") as singapore:
            (peer,) = (await frankfurt.expect(Mesh)).peers
            assert (peer.bridge, peer.region) == (singapore.bridge, "singapore")
            assert [str(address) for address in peer.relay_addresses] == ["192.0.2.1:10001"]
        assert (await frankfurt.expect(Mesh)).peers == ()


async def test_a_challenge_signed_with_another_key_is_denied(server: Server) -> None:
    mine = await papers(server, "frankfurt")
    async with server.socket("/api/bridges/control") as socket:
        bridge = FakeBridge(socket, mine)
        answer = await bridge.hello(key_pem=make_request()[0])
        assert isinstance(answer, Denied)
        assert "signature" in answer.reason
        with pytest.raises(ConnectionClosed):
            await bridge.next()


async def test_a_certificate_of_another_mesh_is_denied(server: Server) -> None:
    mine = await papers(server, "frankfurt")
    other = MeshAuthority.create(1_700_000_000.0)
    key, csr = make_request()
    forged = other.issue(csr, BridgeId(mine.bridge), FRANKFURT, 1_700_000_000.0, 1e9)
    async with server.socket("/api/bridges/control") as socket:
        fake = type(mine)(bridge=mine.bridge, certificate_pem=forged, key_pem=key)
        answer = await FakeBridge(socket, fake).hello()
        assert isinstance(answer, Denied)
        assert "not of this mesh" in answer.reason


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xc1",
        b"\x93" * 10_000,
        msgpack.packb(["Heartbeat", {"participants": -1}]),
        msgpack.packb(["Rm", {}]),
        msgpack.packb({"Heartbeat": 1}),
        msgpack.packb(["Hello", {}]),
    ],
)
async def test_a_malformed_control_message_is_denied_and_nobody_else_notices(
    server: Server, garbage: bytes
) -> None:
    async with (
        bridge_in(server, "singapore") as singapore,
        bridge_in(server, "frankfurt") as frankfurt,
        browser_at(server) as ana,
    ):
        await ana.join("standup", "Ana", region="singapore")
        await frankfurt.socket.send_message(garbage)
        assert await denied(frankfurt)
        async with server.client() as client:
            (left,) = (await client.get("/api/mesh")).json()["bridges"]
        assert left["bridge"] == singapore.bridge
        assert left["participants"] == 1


async def test_garbage_instead_of_a_hello_is_denied(server: Server) -> None:
    mine = await papers(server, "frankfurt")
    async with server.socket("/api/bridges/control") as socket:
        await socket.send_message(b"garbage")
        assert await denied(FakeBridge(socket, mine))


async def test_an_oversized_control_message_ends_its_connection(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt:
        await frankfurt.socket.send_message(b"\x00" * (2 << 20))
        await cut_off(frankfurt)


async def test_a_second_connection_of_a_bridge_replaces_the_first(server: Server) -> None:
    mine = await papers(server, "frankfurt")
    async with connected(server, mine) as first, browser_at(server) as ana:
        await ana.join("standup", "Ana")
        async with connected(server, mine):
            assert (await ana.hear("moved"))["bridge"] == mine.bridge
            await cut_off(first)
            async with server.client() as client:
                bridges = (await client.get("/api/mesh")).json()["bridges"]
            assert [one["bridge"] for one in bridges] == [mine.bridge]


async def test_a_bridge_renews_its_certificate_and_may_come_back_with_it(server: Server) -> None:
    mine = await papers(server, "frankfurt")
    key, csr = make_request()
    async with connected(server, mine) as bridge:
        await bridge.say(Renew(csr_pem=csr))
        renewed = (await bridge.expect(Renewed)).certificate_pem
    fresh = type(mine)(bridge=mine.bridge, certificate_pem=renewed, key_pem=key)
    async with connected(server, fresh):
        pass


async def test_a_bridge_without_heartbeats_is_lost(server: Server) -> None:
    mine = await papers(server, "frankfurt")
    async with server.socket("/api/bridges/control") as socket, browser_at(server) as ana:
        bridge = FakeBridge(socket, mine)
        await bridge.hello()
        await ana.join("standup", "Ana")
        assert (await ana.hear("error"))["code"] == "no-bridge"
