from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from focus.admission import HELLO_TIMEOUT_S
from focus.bridge_connection import SEND_TIMEOUT_S
from focus.conference import Member
from focus.notices import Failed, FailureCode, Joined, Moved, PersonChanged
from focus.placement import Wish
from focus.service import LINGER_S, Focus
from focus.session import NOTICE_BACKLOG, Session
from focus.tokens import mint_token
from relay.control import (
    CONTROL_VERSION,
    FROM_BRIDGE,
    FROM_FOCUS,
    Challenge,
    Denied,
    FromBridge,
    FromFocus,
    Heartbeat,
    Hello,
    Welcome,
)
from relay.errors import PeerGone, RemoteProtocolError
from relay.identity import make_request, sign_challenge
from relay.ids import ConferenceId, Region, SourceKind

STANDUP = ConferenceId("standup")


class Wire:
    """Both ends of a control connection in memory, one message deep."""

    def __init__(self) -> None:
        self.to_bridge, self._from_focus = trio.open_memory_channel[bytes](0)
        self._to_focus, self.from_bridge = trio.open_memory_channel[bytes](0)

    async def send(self, data: bytes) -> None:
        try:
            await self.to_bridge.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerGone("closed") from None

    async def receive(self) -> bytes:
        try:
            return await self.from_bridge.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise PeerGone("closed") from None

    async def say(self, message: FromBridge) -> None:
        await self._to_focus.send(FROM_BRIDGE.encode(message))

    async def hear(self) -> FromFocus:
        return FROM_FOCUS.decode_untrusted(await self._from_focus.receive())

    def hang_up(self) -> None:
        self._to_focus.close()
        self._from_focus.close()

    async def beat_and_read(self) -> None:
        """What a bridge in good health does, and no more: it answers no offer."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.read)
            while True:
                await self.say(Heartbeat(participants=0, cpu=0.0, packets_per_s=0.0, trunks=()))
                await trio.sleep(1.0)

    async def read(self) -> None:
        while True:
            await self.hear()


@pytest.fixture
async def focus(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Focus]:
    focus = Focus(tmp_path, CollectorRegistry())
    await nursery.start(focus.run)
    yield focus
    nursery.cancel_scope.cancel()


async def enrol(focus: Focus, state_dir: Path) -> tuple[bytes, bytes]:
    """A new bridge's key and certificate; a clock that jumps does so while the disk is written."""
    key, csr = make_request()
    enrolled = await focus.enrol(
        mint_token(state_dir, Region("frankfurt"), 60.0), csr, Region("frankfurt")
    )
    return key, enrolled.certificate_pem


async def connect(
    focus: Focus, state_dir: Path, nursery: trio.Nursery, papers: tuple[bytes, bytes] | None = None
) -> Wire:
    """A new bridge of Frankfurt, after its welcome."""
    key, certificate_pem = papers or await enrol(focus, state_dir)
    wire = Wire()
    nursery.start_soon(focus.serve_bridge, wire)
    challenge = await wire.hear()
    assert isinstance(challenge, Challenge)
    await wire.say(
        Hello(
            version=CONTROL_VERSION,
            software="fake",
            certificate_pem=certificate_pem,
            signature=sign_challenge(key, challenge.nonce),
            media_addresses=(),
            relay_addresses=(),
            ping_password="p" * 22,
        )
    )
    assert isinstance(await wire.hear(), Welcome)
    return wire


def joined(focus: Focus, name: str) -> Session:
    session = focus.session()
    session.join(STANDUP, name, Wish())
    assert isinstance(session.notices.receive_nowait(), Joined)
    return session


def people(focus: Focus) -> list[Member]:
    return list(focus.state.conferences[STANDUP].members.values())


async def test_an_offer_that_no_bridge_answers_is_refused_after_eight_seconds(
    autojump_clock: MockClock, focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    wire = await connect(focus, tmp_path, nursery)
    nursery.start_soon(wire.beat_and_read)
    with joined(focus, "Ana") as ana:
        started_s = trio.current_time()
        ana.offer(0, "v=0", {"0": SourceKind.CAMERA})
        notice = await ana.notices.receive()
        assert isinstance(notice, Failed)
        assert notice.code is FailureCode.OFFER_REFUSED
        assert 8.0 <= trio.current_time() - started_s <= 8.5


async def test_a_bridge_in_good_health_is_never_lost(
    autojump_clock: MockClock, focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    wire = await connect(focus, tmp_path, nursery)
    nursery.start_soon(wire.beat_and_read)
    await trio.sleep(600.0)
    assert len(focus.state.registry.bridges) == 1


async def test_a_silent_bridge_is_lost_within_three_and_a_half_seconds(
    autojump_clock: MockClock, focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    wire = await connect(focus, tmp_path, nursery)
    nursery.start_soon(wire.read)
    with joined(focus, "Ana") as ana:
        started_s = trio.current_time()
        notice = await ana.notices.receive()
        assert isinstance(notice, Failed)
        assert notice.code is FailureCode.NO_BRIDGE
        assert 2.5 <= trio.current_time() - started_s <= 3.5
        assert not focus.state.registry.bridges


async def test_a_bridge_that_says_nothing_is_denied_in_time(
    autojump_clock: MockClock, focus: Focus
) -> None:
    wire = Wire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(focus.serve_bridge, wire)
        assert isinstance(await wire.hear(), Challenge)
        started_s = trio.current_time()
        denied = await wire.hear()
        assert isinstance(denied, Denied)
        assert "no hello" in denied.reason
        assert trio.current_time() - started_s == pytest.approx(HELLO_TIMEOUT_S)


async def test_a_bridge_that_takes_no_message_is_lost_though_it_beats(
    autojump_clock: MockClock, focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    wire = await connect(focus, tmp_path, nursery)

    async def only_beat() -> None:
        while focus.state.registry.bridges:
            await wire.say(Heartbeat(participants=0, cpu=0.0, packets_per_s=0.0, trunks=()))
            await trio.sleep(1.0)

    nursery.start_soon(only_beat)
    await trio.sleep(SEND_TIMEOUT_S - 1.0)
    assert focus.state.registry.bridges
    await trio.sleep(2.0)
    assert not focus.state.registry.bridges


async def test_a_participant_who_does_not_read_is_cut_off_and_leaves(
    focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    wire = await connect(focus, tmp_path, nursery)
    nursery.start_soon(wire.beat_and_read)
    with joined(focus, "Sleeper") as sleeper:
        for _ in range(NOTICE_BACKLOG // 2):
            joined(focus, "Visitor").close()
        assert focus.state.conferences
        joined(focus, "One more").close()
        assert not focus.state.conferences
        heard = [notice async for notice in sleeper.notices]
        assert len(heard) == NOTICE_BACKLOG


async def test_people_of_a_bridge_that_hangs_up_are_moved_at_once(
    autojump_clock: MockClock, focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    papers = [await enrol(focus, tmp_path) for _ in range(2)]
    first = await connect(focus, tmp_path, nursery, papers[0])
    second = await connect(focus, tmp_path, nursery, papers[1])
    nursery.start_soon(second.beat_and_read)
    with joined(focus, "Ana") as ana:
        started_s = trio.current_time()
        first.hang_up()
        assert await ana.notices.receive() == Moved(
            region=Region("frankfurt"), bridge=next(iter(focus.state.registry.bridges))
        )
        assert trio.current_time() == started_s


async def test_a_session_may_not_offer_before_it_joins_nor_join_twice(
    focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await connect(focus, tmp_path, nursery)
    with focus.session() as session:
        with pytest.raises(RemoteProtocolError, match="join first"):
            session.offer(0, "v=0", {})
        session.join(STANDUP, "Ana", Wish())
        with pytest.raises(RemoteProtocolError, match="already"):
            session.join(STANDUP, "Ana", Wish())


async def test_another_session_with_the_secret_goes_on_as_the_same_participant(
    focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await connect(focus, tmp_path, nursery)
    with joined(focus, "Ana") as before, joined(focus, "Ben") as ben, focus.session() as after:
        (ana,) = (it.participant for it in people(focus) if it.name == "Ana")
        after.join(STANDUP, "Ana", Wish(), before.secret)
        notice = after.notices.receive_nowait()
        assert isinstance(notice, Joined)
        assert notice.resumed
        assert (notice.you.participant, after.secret) == (ana, before.secret)
        assert [one.name for one in notice.people] == ["Ben"]
        heard = [each async for each in before.notices]  # it ends
        assert [type(each) for each in heard] == [PersonChanged]  # Ben came
        before.close()
        with pytest.raises(trio.WouldBlock):
            ben.notices.receive_nowait()
        after.mute(SourceKind.CAMERA, muted=True)
        assert {it.name for it in people(focus)} == {"Ana", "Ben"}
    assert not focus.state.conferences


async def test_who_knows_no_secret_or_one_of_another_room_joins_anew(
    focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await connect(focus, tmp_path, nursery)
    with joined(focus, "Ana") as ana, focus.session() as ben, focus.session() as carol:
        ben.join(STANDUP, "Ben", Wish(), "a guess")
        carol.join(ConferenceId("retro"), "Carol", Wish(), ana.secret)
        for session in (ben, carol):
            notice = session.notices.receive_nowait()
            assert isinstance(notice, Joined)
            assert not notice.resumed
            assert session.secret not in ("a guess", ana.secret)
        assert {it.name for it in people(focus)} == {"Ana", "Ben"}


async def test_a_lost_connection_leaves_after_a_while_and_not_when_it_was_replaced(
    autojump_clock: MockClock, focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    wire = await connect(focus, tmp_path, nursery, await enrol(focus, tmp_path))
    nursery.start_soon(wire.beat_and_read)
    with joined(focus, "Ana") as ana, joined(focus, "Ben") as ben, focus.session() as again:
        ana.linger()
        ben.linger()
        await trio.sleep(LINGER_S / 2)
        assert {it.name for it in people(focus)} == {"Ana", "Ben"}
        again.join(STANDUP, "Ben", Wish(), ben.secret)
        await trio.sleep(LINGER_S)
        assert {it.name for it in people(focus)} == {"Ben"}
        await trio.sleep(60.0)
        assert {it.name for it in people(focus)} == {"Ben"}


async def test_a_new_focus_knows_the_regions_of_bridges_that_are_not_back_yet(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    before = Focus(tmp_path, CollectorRegistry())
    await enrol(before, tmp_path)
    token, (_, csr) = mint_token(tmp_path, Region("singapore"), 60.0), make_request()
    await before.enrol(token, csr, Region("singapore"))

    focus = Focus(tmp_path, CollectorRegistry())
    await connect(focus, tmp_path, nursery)  # of Frankfurt
    with focus.session() as session:
        session.join(STANDUP, "Ana", Wish(region=Region("singapore")))
        notice = session.notices.receive_nowait()
        assert isinstance(notice, Joined)
        assert notice.you.region == "frankfurt"
    with focus.session() as session:
        session.join(STANDUP, "Ben", Wish(region=Region("atlantis")))
        notice = session.notices.receive_nowait()
        assert isinstance(notice, Failed)
        assert notice.code is FailureCode.UNKNOWN_REGION
        assert "frankfurt, singapore" in notice.message
    nursery.cancel_scope.cancel()


async def test_a_connection_that_another_replaces_is_told_so(
    focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    papers = await enrol(focus, tmp_path)
    first = await connect(focus, tmp_path, nursery, papers)
    await connect(focus, tmp_path, nursery, papers)
    while not isinstance(told := await first.hear(), Denied):
        pass
    assert told.reason == "another connection of this bridge replaced this one"


async def test_what_follows_a_refused_join_is_ignored_and_the_next_join_counts(
    focus: Focus, tmp_path: Path, nursery: trio.Nursery
) -> None:
    with focus.session() as session:
        session.join(STANDUP, "Ana", Wish())
        session.offer(0, "v=0", {})
        assert isinstance(session.notices.receive_nowait(), Failed)
        with pytest.raises(trio.WouldBlock):
            session.notices.receive_nowait()
        await connect(focus, tmp_path, nursery)
        session.join(STANDUP, "Ana", Wish())
        assert isinstance(session.notices.receive_nowait(), Joined)
    assert not focus.state.conferences
