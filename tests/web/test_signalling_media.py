"""What browsers are told and ask about pictures and voices, over real sockets."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st

from relay.control import (
    MAX_SDP_CHARS,
    Allocate,
    ConferenceState,
    DominantSpeaker,
    LayersWanted,
    Picture,
    Refused,
    View,
)
from relay.errors import MalformedError
from relay.ids import ConferenceId, Layer, ParticipantId, SourceId, SourceKind, VideoCodec
from tests.web.peers import BOUND_S, Browser, Server, bridge_in, browser_at, running
from web.ice_servers import TurnServers
from web.messages import MAX_SIGNALLING_BYTES, parse_browser_message_untrusted
from web.signalling import PLAN_BURST, PLANS_PER_S

ROOM = ConferenceId("standup")
VP9, VP8, H264 = VideoCodec.VP9, VideoCodec.VP8, VideoCodec.H264
TURN = {
    "turn_urls": ("turn:turn.example.org", "turns:turn.example.org:443?transport=tcp"),
    "turn_secret": "a secret that nobody is told",
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, codecs=(VP9, VP8), last_n=9) as server:
        yield server


async def offer(browser: Browser, attempt: int = 0, **changes: Any) -> None:
    message = {"sdp": "v=0", "sources": {"0": "camera"}, **changes}
    await browser.say(type="offer", attempt=attempt, **message)


async def test_the_codec_follows_who_is_in_the_room(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        assert (await ana.join("standup", "Ana"))["codec"] == "vp9"
        await offer(ana)
        await frankfurt.answer(VP8, VP9)
        await ana.hear("answer")
        async with browser_at(server) as bo:
            assert (await bo.join("standup", "Bo"))["codec"] == "vp9"
            await ana.hear("person")
            await offer(bo)
            await frankfurt.answer(VP8, H264)
            assert await bo.hear("codec") == {"type": "codec", "codec": "vp8"}
            await bo.hear("answer")
            await ana.hear("person")
            assert (await ana.hear("codec"))["codec"] == "vp8"
            assert (await frankfurt.expect(ConferenceState)).codec is VP8
        await ana.hear("left")
        assert (await ana.hear("codec"))["codec"] == "vp9"
        while (await frankfurt.expect(ConferenceState)).codec is not VP9:
            pass


async def test_a_view_reaches_the_bridge_with_all_it_says(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        you = (await ana.join("standup", "Ana"))["you"]
        await offer(ana)
        default = await frankfurt.expect(View)
        assert (default.pictures, default.last_n, default.height_px) == (None, 9, 360)
        stage = {"source": 6, "height_px": 720, "stage": True}
        tile = {"source": 10, "height_px": 180}
        await ana.say(type="view", pictures=[stage, tile], last_n=4, height_px=90)
        assert await frankfurt.expect(View) == View(
            conference=ROOM,
            participant=ParticipantId(you["id"]),
            pictures=(
                Picture(source=SourceId(6), height_px=720, stage=True),
                Picture(source=SourceId(10), height_px=180),
            ),
            last_n=4,
            height_px=90,
        )
        await ana.say(type="view", pictures=None)
        assert await frankfurt.expect(View) == default


async def test_layers_reach_the_participant_of_that_bridge_alone(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt") as frankfurt,
        bridge_in(server, "singapore") as singapore,
        browser_at(server) as ana,
        browser_at(server) as bo,
    ):
        you = (await ana.join("standup", "Ana", region="frankfurt"))["you"]
        await bo.join("standup", "Bo", region="singapore")
        await ana.hear("person")
        await offer(ana)
        await frankfurt.answer()
        await ana.hear("answer")
        wanted = LayersWanted(
            conference=ROOM,
            participant=ParticipantId(you["id"]),
            kind=SourceKind.CAMERA,
            layers=(Layer(0, 2), Layer(1, 1)),
        )
        await singapore.say(wanted)  # which is not where Ana sits
        await frankfurt.say(wanted)
        assert await ana.hear("layers") == {
            "type": "layers",
            "kind": "camera",
            "layers": [{"spatial": 0, "temporal": 2}, {"spatial": 1, "temporal": 1}],
        }
        await singapore.say(DominantSpeaker(conference=ROOM, participant=wanted.participant))
        assert await bo.hear("person")  # of Ana's camera: nothing of her layers came before
        assert await bo.hear("speaker") == {"type": "speaker", "id": you["id"]}


async def test_a_speaker_is_told_where_the_bridge_has_said_so(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt") as frankfurt,
        browser_at(server) as ana,
        browser_at(server) as bo,
    ):
        you = (await ana.join("standup", "Ana"))["you"]
        stranger = ParticipantId(you["id"] ^ 1)
        for speaker in (ParticipantId(you["id"]), stranger, None):
            await frankfurt.say(DominantSpeaker(conference=ROOM, participant=speaker))
        assert (await ana.hear("speaker"))["id"] == you["id"]
        assert (await ana.hear("speaker"))["id"] is None
        await frankfurt.say(DominantSpeaker(conference=ROOM, participant=ParticipantId(you["id"])))
        assert (await ana.hear("speaker"))["id"] == you["id"]
        await bo.join("standup", "Bo")
        assert (await bo.hear("speaker"))["id"] == you["id"]


async def test_a_renewing_offer_and_its_refusal_carry_their_own_attempt(server: Server) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        await ana.join("standup", "Ana")
        await offer(ana, 0, renews=True)
        error = await ana.hear("error")
        assert (error["code"], error["attempt"], error["fatal"]) == ("offer-refused", 0, False)
        await offer(ana, 1)
        assert not (await frankfurt.answer()).renews
        assert (await ana.hear("answer"))["attempt"] == 1
        await offer(ana, 2, renews=True)
        assert (await frankfurt.answer()).renews
        assert (await ana.hear("answer"))["attempt"] == 2
        await offer(ana, 3, renews=True)
        asked = await frankfurt.expect(Allocate)
        await frankfurt.say(Refused(request=asked.request, reason="no such transport"))
        error = await ana.hear("error")
        assert (error["attempt"], error["message"]) == (3, "no such transport")


async def test_a_screen_comes_muted_with_a_later_offer(server: Server) -> None:
    async with (
        bridge_in(server, "frankfurt") as frankfurt,
        browser_at(server) as ana,
        browser_at(server) as bo,
    ):
        await ana.join("standup", "Ana")
        await bo.join("standup", "Bo")
        await offer(ana)
        await frankfurt.answer()
        assert [it["kind"] for it in (await bo.hear("person"))["person"]["sources"]] == ["camera"]
        await offer(ana, 1, renews=True, sources={"0": "camera", "9": "screen"})
        await frankfurt.answer()
        screen = (await bo.hear("person"))["person"]["sources"][1]
        assert (screen["kind"], screen["muted"]) == ("screen", True)
        await ana.say(type="mute", kind="screen", muted=False)
        assert not (await bo.hear("person"))["person"]["sources"][1]["muted"]


# TURN and settings


async def test_who_joins_is_given_the_turn_servers_for_a_while_and_nobody_the_secret(
    tmp_path: Path,
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with (
            running(tmp_path, **TURN, turn_ttl_s=60) as server,
            bridge_in(server, "frankfurt"),
            browser_at(server) as ana,
            server.client() as client,
        ):
            joined = await ana.join("standup", "Ana")
            assert (await client.get("/api/settings")).json()["turn"] is True
            await ana.socket.send_message("{")
            await ana.hear("error")
            pages = [(await client.get(path)).text for path in ("/api/mesh", "/api/settings", "/")]
    (granted,) = joined["ice_servers"]
    assert granted["urls"] == list(TURN["turn_urls"])
    end_s, _, whose = granted["username"].partition(":")
    assert int(whose) == joined["you"]["id"]
    servers = TurnServers(urls=(), secret=str(TURN["turn_secret"]), ttl_s=60)
    again = servers.for_participant(ParticipantId(int(whose)), int(end_s) - 60)
    assert granted["credential"] == again.credential
    for text in (repr(logs), json.dumps(joined), *pages):
        assert str(TURN["turn_secret"]) not in text
    assert granted["credential"] not in repr(logs)


async def test_without_turn_there_are_no_servers_and_browsers_know_before_they_join(
    server: Server,
) -> None:
    async with bridge_in(server, "frankfurt"), browser_at(server) as ana, server.client() as client:
        assert (await ana.join("standup", "Ana"))["ice_servers"] == []
        settings = await client.get("/api/settings")
    assert settings.json() == {"turn": False, "last_n": 9, "codecs": ["vp9", "vp8"]}
    assert settings.headers["cache-control"] == "no-store"


async def test_browsers_are_to_offer_the_last_resort_whatever_is_preferred(tmp_path: Path) -> None:
    async with running(tmp_path, codecs=(H264,), last_n=None) as server, server.client() as client:
        settings = (await client.get("/api/settings")).json()
    assert (settings["codecs"], settings["last_n"]) == (["h264", "vp8"], None)


# Bounds


@pytest.mark.parametrize(
    "message",
    [
        {"type": "view"},
        {"type": "view", "sources": [6]},
        {"type": "view", "pictures": [6]},
        {"type": "view", "pictures": [{"source": 6}]},
        {"type": "view", "pictures": [{"source": -1, "height_px": 1}]},
        {"type": "view", "pictures": [{"source": 1 << 32, "height_px": 1}]},
        {"type": "view", "pictures": [{"source": 6, "height_px": 65_536}]},
        {"type": "view", "pictures": [{"source": 6, "height_px": 1, "stage": "perhaps"}]},
        {"type": "view", "pictures": [{"source": 6, "height_px": 1}] * 257},
        {"type": "view", "pictures": None, "last_n": -1},
        {"type": "view", "pictures": None, "last_n": 65_536},
        {"type": "view", "pictures": None, "height_px": None},
        {"type": "offer", "attempt": 0, "sdp": "", "sources": {}, "renews": None},
        {"type": "offer", "attempt": -1, "sdp": "", "sources": {}},
        {"type": "offer", "attempt": 0, "sdp": "x" * (MAX_SDP_CHARS + 1), "sources": {}},
        {"type": "layers", "kind": "camera", "layers": []},
        {"type": "speaker", "id": None},
        {"type": "codec", "codec": "vp8"},
    ],
)
async def test_a_malformed_message_is_told_and_changes_nothing(
    server: Server, message: dict[str, Any]
) -> None:
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        await ana.join("standup", "Ana")
        await ana.say(**message)
        assert (await ana.hear("error"))["code"] == "bad-request"
        await offer(ana, 1)
        assert (await frankfurt.expect(Allocate)).offer == "v=0"


@given(st.integers(0, 0xFFFF), st.booleans())
def test_a_view_is_read_as_it_was_written(number: int, stage: bool) -> None:
    picture = {"source": number << 2 | 2, "height_px": number, "stage": stage}
    written = {"type": "view", "pictures": [picture], "last_n": number, "height_px": number}
    assert parse_browser_message_untrusted(json.dumps(written)).model_dump() == written


async def test_the_longest_offer_passes(server: Server) -> None:
    lines = "a=x\r\n" * (MAX_SDP_CHARS // 5 - 2)  # The answer says two lines more.
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        await ana.join("standup", "Ana")
        await offer(ana, sdp=lines)
        assert (await frankfurt.answer()).offer == lines
        assert (await ana.hear("answer"))["sdp"] == f"answer to {lines}"


@pytest.mark.parametrize("line", ["a=x\r\n", 'a="\r\n'])
def test_no_offer_that_is_short_enough_makes_too_long_a_frame(line: str) -> None:
    sdp = line * (MAX_SDP_CHARS // len(line))
    frame = json.dumps({"type": "offer", "attempt": 1 << 31, "sdp": sdp, "sources": {}})
    assert len(frame) <= MAX_SIGNALLING_BYTES
    with pytest.raises(MalformedError, match="over"):
        parse_browser_message_untrusted(frame + " " * MAX_SIGNALLING_BYTES)


async def test_views_in_a_flood_reach_the_bridge_a_few_a_second(server: Server) -> None:
    excess = 5
    async with bridge_in(server, "frankfurt") as frankfurt, browser_at(server) as ana:
        await ana.join("standup", "Ana")
        started_s = trio.current_time()
        await offer(ana)
        for height_px in range(1, PLAN_BURST + excess):
            await ana.say(type="view", pictures=None, height_px=height_px)
        with trio.fail_after(BOUND_S):
            while (await frankfurt.expect(View)).height_px != PLAN_BURST + excess - 1:
                pass
        assert trio.current_time() - started_s >= excess / PLANS_PER_S
