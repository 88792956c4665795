import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio
from trio_websocket import open_websocket_url
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from relay.control import Allocate, ConferenceState, Refused, Release, View
from relay.ids import SourceKind
from tests.web.peers import BOUND_S, Browser, Server, bridge_in, browser_at, running
from web.messages import MAX_SIGNALLING_BYTES


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as server:
        yield server


async def test_two_browsers_see_each_other_come_mute_and_leave(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt") as frankfurt,
        bridge_in(server, "singapore"),
        browser_at(server) as ana,
    ):
        joined = await ana.join("Standup", " Ana ", region="frankfurt")
        assert joined["people"] == []
        assert joined["room"] == "standup"
        assert joined["you"]["name"] == "Ana"
        assert joined["you"]["bridge"] == "frankfurt-1"
        async with browser_at(server) as bo:
            theirs = await bo.join("standup", "Bo", rtts_ms={"singapore": 9.5, "frankfurt": 200})
            assert theirs["you"]["region"] == "singapore"
            assert theirs["people"] == [joined["you"]]
            assert (await ana.hear("person"))["person"] == theirs["you"]

            await ana.say(type="offer", attempt=1, sdp="v=0", sources={"0": "microphone"})
            await ana.say(type="mute", kind="microphone", muted=True)
            asked = await frankfurt.answer()
            assert asked.participant == joined["you"]["id"]
            assert [(one.mid, one.kind) for one in asked.sources] == [("0", SourceKind.MICROPHONE)]
            answer = await ana.hear("answer")
            assert (answer["attempt"], answer["sdp"]) == (1, "answer to v=0")
            source = {"id": joined["you"]["id"] << 2 | 1, "kind": "microphone", "muted": True}
            assert (await bo.hear("person"))["person"]["sources"] == [source]
            await ana.say(type="mute", kind="microphone", muted=False)
            assert not (await bo.hear("person"))["person"]["sources"][0]["muted"]

            await ana.say(type="leave")
            assert await ana.closed() == 1000
            assert (await bo.hear("left"))["id"] == joined["you"]["id"]
        released = await frankfurt.expect(Release)
        assert released.participant == joined["you"]["id"]


async def test_an_offer_may_follow_its_join_without_waiting(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        await ana.say(type="join", room="standup", name="Ana")
        await ana.say(type="offer", attempt=7, sdp="v=0", sources={})
        await ana.say(type="view", pictures=[])
        asked = await frankfurt.answer()
        seats = [one for one in frankfurt.heard if isinstance(one, ConferenceState)]
        assert [seat.participant for seat in seats[-1].seats] == [asked.participant]
        assert (await frankfurt.expect(View)).pictures is None
        assert (await frankfurt.expect(View)).pictures == ()
        await ana.hear("joined")
        assert (await ana.hear("answer"))["attempt"] == 7


async def test_who_joins_late_sees_everybody(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt"),
        browser_at(server) as ana,
        browser_at(server) as bo,
        browser_at(server) as cy,
    ):
        await ana.join("standup", "Ana")
        await bo.join("standup", "Bo")
        seen = await cy.join("standup", "Cy")
        assert [one["name"] for one in seen["people"]] == ["Ana", "Bo"]


async def test_a_socket_that_closes_without_a_word_leaves(server: Server) -> None:
    async with bridge_in(server, "frankfurt"), browser_at(server) as ana:
        await ana.join("standup", "Ana")
        async with browser_at(server) as bo:
            theirs = (await bo.join("standup", "Bo"))["you"]
            await ana.hear("person")
            await bo.socket._stream.aclose()  # a killed browser says no goodbye
            assert (await ana.hear("left"))["id"] == theirs["id"]


async def test_a_connection_that_breaks_is_replaced_and_the_others_notice_nothing(
    server: Server,
) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as bo:
        await bo.join("standup", "Bo")
        async with browser_at(server) as ana, browser_at(server) as again:
            before = await ana.join("standup", "Ana")
            assert not before["resumed"]
            await bo.hear("person")
            await ana.say(type="offer", attempt=0, sdp="v=0", sources={"0": "camera"})
            await frankfurt.answer()
            await bo.hear("person")
            await ana.hear("answer")
            await ana.say(type="offer", attempt=1, renews=True, sdp="more", sources={"0": "camera"})
            await frankfurt.expect(Allocate)
            await ana.socket._stream.aclose()
            after = await again.join("standup", "Ana", resume=before["resume"])
            assert after["resumed"]
            assert (after["you"]["id"], after["resume"]) == (before["you"]["id"], before["resume"])
            assert [one["name"] for one in after["people"]] == ["Bo"]
            await again.say(
                type="offer", attempt=1, renews=True, sdp="more", sources={"0": "camera"}
            )
            asked = await frankfurt.answer()
            assert (asked.participant, asked.offer) == (before["you"]["id"], "more")
            assert (await again.hear("answer"))["attempt"] == 1
            await again.say(type="leave")
            assert (await bo.hear("left"))["id"] == before["you"]["id"]  # and nothing before


async def test_a_connection_that_looks_alive_may_be_replaced_too(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt"),
        browser_at(server) as ana,
        browser_at(server) as again,
    ):
        before = await ana.join("standup", "Ana")
        after = await again.join("standup", "Ana", resume=before["resume"])
        assert (after["resumed"], after["you"]) == (True, before["you"])
        assert await ana.closed() == 1008
        # It has no transport: whatever it had been told of that may be lost.
        assert (await again.hear("moved"))["bridge"] == before["you"]["bridge"]


async def test_a_bridge_that_vanishes_moves_its_people_and_their_open_offers(
    server: Server,
) -> None:
    async with bridge_in(server, "singapore") as singapore, browser_at(server) as ana:
        async with bridge_in(server, "frankfurt") as frankfurt:
            joined = await ana.join("standup", "Ana", region="frankfurt")
            await ana.say(type="offer", attempt=0, sdp="first", sources={"0": "camera"})
            await frankfurt.expect(Allocate)
        moved = await ana.hear("moved")
        assert (moved["region"], moved["bridge"]) == ("singapore", singapore.bridge)
        await ana.say(type="offer", attempt=1, sdp="second", sources={"0": "camera"})
        asked = await singapore.answer()
        assert (asked.participant, asked.offer) == (joined["you"]["id"], "second")
        assert (await ana.hear("answer"))["attempt"] == 1


async def test_the_last_bridge_to_vanish_is_told_and_the_next_to_come_seats_everybody(
    server: Server,
) -> None:
    async with browser_at(server) as ana:
        async with bridge_in(server, "frankfurt"):
            await ana.join("standup", "Ana")
        error = await ana.hear("error")
        assert (error["code"], error["fatal"]) == ("no-bridge", False)
        async with bridge_in(server, "singapore") as singapore:
            assert (await ana.hear("moved"))["bridge"] == singapore.bridge


async def test_without_a_bridge_a_join_fails_and_may_be_tried_again(server: Server) -> None:
    async with browser_at(server) as ana:
        await ana.say(type="join", room="standup", name="Ana")
        await ana.say(type="offer", attempt=0, sdp="v=0", sources={})  # sent before the refusal
        error = await ana.hear("error")
        assert (error["code"], error["fatal"]) == ("no-bridge", False)
        async with bridge_in(server, "frankfurt"):
            await ana.join("standup", "Ana")


async def test_an_unknown_region_is_told_with_those_there_are(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt"),
        bridge_in(server, "singapore"),
        browser_at(server) as ana,
    ):
        await ana.say(type="join", room="standup", name="Ana", region="atlantis")
        error = await ana.hear("error")
        assert error["code"] == "unknown-region"
        assert "frankfurt, singapore" in error["message"]


async def test_a_refused_offer_is_told_in_the_bridges_words(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        await ana.join("standup", "Ana")
        await ana.say(type="offer", attempt=0, sdp="nonsense", sources={})
        asked = await frankfurt.expect(Allocate)
        await frankfurt.say(Refused(request=asked.request, reason="no DTLS fingerprint"))
        error = await ana.hear("error")
        assert error["code"] == "offer-refused"
        assert not error["fatal"]
        assert error["message"] == "no DTLS fingerprint"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '"join"',
        '{"type": "jump"}',
        '{"type": "join", "room": "standup"}',
        '{"type": "join", "room": "../etc", "name": "Ana"}',
        '{"type": "join", "room": "api", "name": "Ana"}',
        '{"type": "join", "room": "standup", "name": "\\u202e"}',
        '{"type": "join", "room": "standup", "name": "\\ud800"}',
        '{"type": "join", "room": "standup", "name": "Ana", "rtts_ms": {"x": NaN}}',
        '{"type": "mute", "kind": "camera", "muted": true}',
        "[" * 50_000,
        "é" * 1000,
    ],
)
async def test_a_malformed_message_is_told_and_the_socket_lives(server: Server, text: str) -> None:
    async with bridge_in(server, "frankfurt"), browser_at(server) as ana:
        await ana.socket.send_message(text)
        error = await ana.hear("error")
        assert (error["code"], error["fatal"]) == ("bad-request", False)
        await ana.join("standup", "Ana")


async def test_whoever_is_malformed_three_times_is_sent_away_and_others_stay(
    server: Server,
) -> None:
    async with bridge_in(server, "frankfurt"), browser_at(server) as ana, browser_at(server) as bo:
        await bo.join("standup", "Bo")
        await ana.join("standup", "Ana")
        await bo.hear("person")
        for attempt in range(3):
            await ana.socket.send_message(b"\x00\xff")
            assert (await ana.hear("error"))["fatal"] == (attempt == 2)
        assert await ana.closed() == 1008
        await bo.hear("left")
        await bo.say(type="join", room="other", name="Bo")
        assert "already" in (await bo.hear("error"))["message"]


@pytest.mark.parametrize("excess_bytes", [1, 3 << 20])
async def test_an_oversized_frame_closes_its_socket_alone(
    server: Server, excess_bytes: int
) -> None:
    async with bridge_in(server, "frankfurt"), browser_at(server) as ana, browser_at(server) as bo:
        await bo.join("standup", "Bo")
        await ana.join("standup", "Ana")
        await bo.hear("person")
        await ana.socket.send_message("x" * (MAX_SIGNALLING_BYTES + excess_bytes))
        assert await ana.closed() == 1009
        await bo.hear("left")


async def test_a_flood_is_slowed_down_and_others_are_not(server: Server) -> None:
    async with bridge_in(server, "frankfurt"), browser_at(server) as ana, browser_at(server) as bo:
        await ana.join("standup", "Ana")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, ana, 160)
            started_s = trio.current_time()
            await bo.say(type="join", room="no room!", name="Bo")
            await bo.hear("error")
            assert trio.current_time() - started_s < 1.0
        await ana.say(type="leave")
        with trio.fail_after(BOUND_S):
            await ana.closed()
        # 161 messages of which 100 are a burst: the rest take 50 a second.
        assert trio.current_time() - started_s > 1.0


async def flood(browser: Browser, messages: int) -> None:
    for number in range(messages):
        await browser.say(type="mute", kind="camera", muted=bool(number % 2))


async def test_plain_http_carries_the_same_signalling(server: Server) -> None:
    url = f"ws://127.0.0.1:{server.ports.http_port}/api/signal"
    async with bridge_in(server, "frankfurt"), open_websocket_url(url) as socket:
        await socket.send_message(json.dumps({"type": "join", "room": "standup", "name": "Ana"}))
        assert json.loads(await socket.get_message())["type"] == "joined"


async def test_a_peer_that_goes_on_after_an_oversized_frame_fills_no_memory(
    server: Server,
) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", server.ports.http_port) as stream:
        hostile = WSConnection(ConnectionType.CLIENT)
        await stream.send_all(hostile.send(Request(host="localhost", target="/api/signal")))
        hostile.receive_data(await stream.receive_some())
        assert [type(event) for event in hostile.events()] == [AcceptConnection]
        before_bytes = psutil.Process().memory_info().rss
        with suppress(trio.BrokenResourceError):
            for _ in range(640):
                part = TextMessage(data="x" * 65_536, message_finished=False)
                await stream.send_all(hostile.send(part))
        assert psutil.Process().memory_info().rss - before_bytes < 20 << 20
