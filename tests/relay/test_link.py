from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import link as link_module
from relay.errors import CapacityError, LocalProtocolError, MalformedError, RemoteProtocolError
from relay.framing import frame
from relay.ids import (
    TOP_LAYER,
    Address,
    BridgeId,
    ConferenceId,
    Generation,
    Layer,
    ParticipantId,
    SourceId,
    SourceKind,
    Ssrc,
    source_id,
)
from relay.link import Announced, Demanded, Link, LinkEvent, LinkState, Opened, PeerClosed
from relay.trunk_messages import (
    MAX_SOURCES,
    TRUNK_MESSAGES,
    Announce,
    Bye,
    Demand,
    RelayedEncoding,
    RelayedSource,
    TrunkHello,
    TrunkMessage,
    Wanted,
)
from tests.strategies.messages import messages, values

FRANKFURT = BridgeId("frankfurt-1")
SINGAPORE = BridgeId("singapore-1")
GARDEN = ConferenceId("garden")
LIBRARY = ConferenceId("library")


def hello_of(bridge: BridgeId, versions: tuple[int, ...] = (1,)) -> TrunkHello:
    return TrunkHello(
        versions=versions,
        features=(),
        bridge=bridge,
        srtp_key=b"k" * 28,
        ice_ufrag="abcd",
        ice_pwd="p" * 22,
        media_addresses=(Address(host="192.0.2.1", port=10_000),),
    )


def relayed(participant: int, ssrc: int, kind: SourceKind = SourceKind.CAMERA) -> RelayedSource:
    return RelayedSource(
        source=source_id(ParticipantId(participant), kind),
        encodings=(encoding(ssrc),),
        origin=FRANKFURT,
        hops=1,
    )


def encoding(ssrc: int) -> RelayedEncoding:
    return RelayedEncoding(ssrc=Ssrc(ssrc), rtx_ssrc=Ssrc(ssrc ^ 0x4000_0000))


def simulcast(participant: int, *ssrcs: int) -> RelayedSource:
    return replace(relayed(participant, 1), encodings=tuple(encoding(each) for each in ssrcs))


def want(participant: int, *layers: Layer) -> Wanted:
    camera = source_id(ParticipantId(participant), SourceKind.CAMERA)
    return Wanted(source=camera, layers=layers or (TOP_LAYER,))


def started() -> tuple[Link, Link]:
    home = Link(hello_of(FRANKFURT), SINGAPORE)
    away = Link(hello_of(SINGAPORE), FRANKFURT)
    home.start()
    away.start()
    return home, away


def opened() -> tuple[Link, Link]:
    """Two ends that have heard each other's hello."""
    home, away = started()
    away.receive(home.data_to_send())
    home.receive(away.data_to_send())
    return home, away


def said(*messages: TrunkMessage) -> bytes:
    return b"".join(frame(TRUNK_MESSAGES.encode(message)) for message in messages)


def test_both_ends_open_with_each_others_hello() -> None:
    home, away = started()
    assert {home.state, away.state} == {LinkState.HELLO_SENT}
    assert away.receive(home.data_to_send()) == [Opened(hello=hello_of(FRANKFURT), version=1)]
    assert home.receive(away.data_to_send()) == [Opened(hello=hello_of(SINGAPORE), version=1)]
    assert {home.state, away.state} == {LinkState.OPEN}


@given(ours=st.sets(st.integers(0, 9), min_size=1), theirs=st.sets(st.integers(0, 9), min_size=1))
def test_both_ends_choose_the_highest_common_version_or_both_say_why_not(
    ours: set[int], theirs: set[int]
) -> None:
    home = Link(hello_of(FRANKFURT, tuple(ours)), SINGAPORE)
    away = Link(hello_of(SINGAPORE, tuple(theirs)), FRANKFURT)
    home.start()
    away.start()
    to_home, to_away = away.data_to_send(), home.data_to_send()
    if ours & theirs:
        for event in (*home.receive(to_home), *away.receive(to_away)):
            assert isinstance(event, Opened)
            assert event.version == max(ours & theirs)
        return
    for link, data in ((home, to_home), (away, to_away)):
        with pytest.raises(RemoteProtocolError, match="no common trunk version") as caught:
            link.receive(data)
        assert "frankfurt-1 speaks" in str(caught.value)
        assert "singapore-1 speaks" in str(caught.value)
        assert link.state is LinkState.CLOSED
        assert b"no common trunk version" in link.data_to_send()


def test_a_hello_of_another_bridge_than_the_certificates_is_refused() -> None:
    home, _ = started()
    with pytest.raises(RemoteProtocolError, match="tokyo-1"):
        home.receive(said(hello_of(BridgeId("tokyo-1"))))


def test_an_announcement_arrives_once_and_only_when_it_changed() -> None:
    home, away = opened()
    sources = (relayed(1, 11), relayed(2, 12))
    home.announce(GARDEN, sources)
    home.announce(GARDEN, reversed(sources))
    events = away.receive(home.data_to_send())
    assert events == [Announced(conference=GARDEN, sources=sources)]
    home.announce(GARDEN, (relayed(1, 11), relayed(2, 13)))
    assert len(away.receive(home.data_to_send())) == 1
    home.announce(GARDEN, ())
    assert away.receive(home.data_to_send()) == [Announced(conference=GARDEN, sources=())]
    home.announce(GARDEN, ())
    assert home.data_to_send() == b""
    assert away.announced == ()


def test_a_demand_arrives_once_and_nothing_wanted_is_not_said() -> None:
    home, away = opened()
    nothing = replace(want(3), layers=())
    away.demand(GARDEN, (want(2), want(1), nothing))
    away.demand(GARDEN, (want(1), want(2)))
    events = home.receive(away.data_to_send())
    assert events == [Demanded(conference=GARDEN, wanted=(want(1), want(2)))]
    assert home.demanded == tuple(events)
    away.demand(GARDEN, (nothing,))
    assert home.receive(away.data_to_send()) == [Demanded(conference=GARDEN, wanted=())]
    assert home.demanded == ()


def test_a_demand_that_differs_in_layers_alone_is_a_change() -> None:
    home, away = opened()
    wanted = [
        (want(1, Layer(0, 2), Layer(2, 2)),),
        (want(1, Layer(0, 1), Layer(2, 2)),),
        (want(1, Layer(2, 2)),),
    ]
    for each in wanted:
        away.demand(GARDEN, each)
        away.demand(GARDEN, each)
    events = home.receive(away.data_to_send())
    assert events == [Demanded(conference=GARDEN, wanted=each) for each in wanted]


def test_sources_cross_that_one_announces_and_the_other_wants() -> None:
    home, away = opened()
    home.announce(GARDEN, (relayed(1, 11), relayed(2, 12)))
    away.demand(GARDEN, (want(2), want(3)))
    away.demand(LIBRARY, (want(1),))
    away.receive(home.data_to_send())
    home.receive(away.data_to_send())
    assert (home.sources_out, home.sources_in) == (1, 0)
    assert (away.sources_out, away.sources_in) == (0, 1)


def test_a_source_crosses_once_however_many_encodings_it_has() -> None:
    home, away = opened()
    home.announce(GARDEN, (simulcast(1, 11, 12, 13),))
    away.demand(GARDEN, (want(1, Layer(0, 2), Layer(1, 2), Layer(2, 2)),))
    away.receive(home.data_to_send())
    home.receive(away.data_to_send())
    assert (home.sources_out, away.sources_in) == (1, 1)


def test_what_is_withdrawn_is_known_no_more_and_may_be_said_again() -> None:
    home, away = opened()
    home.announce(GARDEN, (relayed(1, 11),))
    home.demand(LIBRARY, (want(2),))
    home.withdraw()
    away.receive(home.data_to_send())
    assert (away.announced, away.demanded) == ((), ())
    home.announce(GARDEN, (relayed(1, 11),))
    assert len(away.receive(home.data_to_send())) == 1


def test_stale_generations_are_dropped_and_counted() -> None:
    home, away = opened()
    home.announce(GARDEN, (relayed(1, 11),))
    away.receive(home.data_to_send())
    stale = Announce(conference=GARDEN, generation=Generation(1), sources=())
    wanted = Demand(conference=GARDEN, generation=Generation(5), wanted=(want(1),))
    late = Demand(conference=GARDEN, generation=Generation(4), wanted=())
    events = away.receive(said(stale, wanted, late, late))
    assert events == [Demanded(conference=GARDEN, wanted=(want(1),))]
    assert away.dropped == {"announce_stale": 1, "demand_stale": 2}
    assert away.announced != ()


states = st.lists(
    st.tuples(
        st.sampled_from([GARDEN, LIBRARY]),
        st.lists(st.integers(1, 5), unique=True, max_size=4),
        st.booleans(),
    ),
    max_size=12,
)


def pieces(data: bytes, cuts: Iterator[int]) -> Iterator[bytes]:
    while data:
        size = next(cuts)
        yield data[:size]
        data = data[size:]


@given(changes=states, cuts=st.lists(st.integers(1, 300), min_size=1))
def test_however_the_stream_is_cut_both_ends_know_the_same_at_last(
    changes: list[tuple[ConferenceId, list[int], bool]], cuts: list[int]
) -> None:
    home, away = started()
    endless = (size for _ in iter(int, 1) for size in cuts)
    for piece in pieces(home.data_to_send(), endless):
        away.receive(piece)
    for piece in pieces(away.data_to_send(), endless):
        home.receive(piece)
    announced: dict[ConferenceId, tuple[RelayedSource, ...]] = {}
    demanded: dict[ConferenceId, tuple[Wanted, ...]] = {}
    events: list[LinkEvent] = []
    for conference, participants, is_demand in changes:
        offset = 100 if conference == GARDEN else 200
        if is_demand:
            wanted = tuple(want(each, Layer(each % 3, 2)) for each in sorted(participants))
            home.demand(conference, wanted)
            demanded[conference] = wanted
        else:
            sources = tuple(
                simulcast(each, *range(offset + 3 * each, offset + 3 * each + each % 3 + 1))
                for each in sorted(participants)
            )
            home.announce(conference, sources)
            announced[conference] = sources
    for piece in pieces(home.data_to_send(), endless):
        events += away.receive(piece)
    assert {e.conference: e.sources for e in away.announced} == {
        each: sources for each, sources in announced.items() if sources
    }
    assert {e.conference: e.wanted for e in away.demanded} == {
        each: wanted for each, wanted in demanded.items() if wanted
    }
    assert not away.dropped
    assert len(events) <= len(changes)


def test_a_goodbye_closes_and_is_the_last_that_is_heard() -> None:
    home, away = opened()
    home.close("drained")
    home.close("again")
    farewell = home.data_to_send()
    announce = Announce(conference=GARDEN, generation=Generation(1), sources=())
    assert away.receive(farewell + said(announce)) == [PeerClosed(reason="drained")]
    assert away.state is LinkState.CLOSED
    assert away.receive(said(announce)) == []
    away.close("me too")
    assert away.data_to_send() == b""


def test_a_goodbye_instead_of_a_hello_tells_why() -> None:
    home, _ = started()
    assert home.receive(said(Bye(reason="not you"))) == [PeerClosed(reason="not you")]


@pytest.mark.parametrize(
    "message",
    [
        Announce(conference=GARDEN, generation=Generation(1), sources=()),
        Demand(conference=GARDEN, generation=Generation(1), wanted=()),
    ],
)
def test_nothing_comes_before_the_hello(message: TrunkMessage) -> None:
    home, _ = started()
    with pytest.raises(RemoteProtocolError, match="HELLO_SENT"):
        home.receive(said(message))


def test_a_second_hello_is_refused() -> None:
    home, _ = opened()
    with pytest.raises(RemoteProtocolError, match="OPEN"):
        home.receive(said(hello_of(SINGAPORE)))


def announce_of(
    *sources: RelayedSource, generation: int = 1, to: ConferenceId = GARDEN
) -> Announce:
    return Announce(conference=to, generation=Generation(generation), sources=sources)


def demand_of(*wanted: Wanted) -> Demand:
    return Demand(conference=GARDEN, generation=Generation(1), wanted=wanted)


@pytest.mark.parametrize(
    "hostile",
    [
        [announce_of(relayed(1, 11), relayed(2, 11))],
        [announce_of(relayed(1, 11), relayed(1, 12))],
        [announce_of(relayed(1, 11)), announce_of(relayed(2, 11), generation=2, to=LIBRARY)],
        [announce_of(replace(relayed(1, 11), source=SourceId(4)))],
        [demand_of(want(1), want(1))],
        [demand_of(replace(want(1), source=SourceId(8)))],
        [announce_of(simulcast(1, 11, 12, 11))],
        [announce_of(simulcast(1, 11, 12 ^ 0x4000_0000, 12))],
        [announce_of(simulcast(1, 11, 12), relayed(2, 12))],
        [
            announce_of(simulcast(1, 11, 12, 13)),
            announce_of(simulcast(2, 21, 13, 23), generation=2, to=LIBRARY),
        ],
        [demand_of(want(1, Layer(1, 0), Layer(1, 2)))],
        [demand_of(want(1, Layer(0, 2), Layer(2, 2), Layer(1, 2)))],
    ],
    ids=[
        *("one SSRC", "one source", "SSRC of another", "no kind", "wanted twice", "no kind wanted"),
        *("SSRC twice in a source", "SSRC of retransmissions", "SSRC in two sources"),
        *("encoding of another", "spatial layer twice", "layers descend"),
    ],
)
def test_what_the_protocol_does_not_allow_closes_the_link(hostile: list[TrunkMessage]) -> None:
    home, _ = opened()
    with pytest.raises(RemoteProtocolError):
        home.receive(said(*hostile))
    assert home.state is LinkState.CLOSED
    assert TRUNK_MESSAGES.decode_untrusted(home.data_to_send()[4:]) is not None


@pytest.mark.parametrize(
    "misshapen",
    [
        announce_of(simulcast(1)),
        announce_of(simulcast(1, 11, 12, 13, 14)),
        demand_of(replace(want(1), layers=())),
        demand_of(want(1, Layer(3, 0))),
        demand_of(want(1, Layer(0, -1))),
        demand_of(want(1, *(Layer(each, 0) for each in range(4)))),
    ],
    ids=["no encoding", "four encodings", "no layer", "fourth layer", "below zero", "four layers"],
)
def test_encodings_and_layers_that_cannot_be_are_malformed(misshapen: TrunkMessage) -> None:
    home, _ = opened()
    with pytest.raises(MalformedError):
        home.receive(said(misshapen))
    assert home.state is LinkState.CLOSED


def test_an_ssrc_may_go_to_another_source_once_it_is_free() -> None:
    home, _ = opened()
    home.receive(said(announce_of(simulcast(1, 11, 12, 13)), announce_of(generation=2)))
    again = announce_of(relayed(2, 12), generation=3, to=LIBRARY)
    assert home.receive(said(again)) == [Announced(conference=LIBRARY, sources=again.sources)]


def test_a_peer_may_announce_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_CONFERENCES", 2)
    monkeypatch.setattr(link_module, "MAX_TRUNK_SOURCES", 3)
    names = [ConferenceId(f"room-{index}") for index in range(3)]
    few = [announce_of(relayed(1, 10 + i), generation=i + 1, to=names[i]) for i in range(3)]
    home, _ = opened()
    with pytest.raises(RemoteProtocolError, match="3 conferences"):
        home.receive(said(*few))
    home, _ = opened()
    many = announce_of(*(relayed(i, 10 + i) for i in range(1, 5)))
    with pytest.raises(RemoteProtocolError, match="4 sources"):
        home.receive(said(many))
    home, _ = opened()
    ended = announce_of(generation=3, to=names[0])
    again = announce_of(relayed(1, 20), generation=4, to=names[2])
    home.receive(said(*few[:2], ended, again))
    assert {event.conference for event in home.announced} == set(names[1:])


def test_the_largest_announcement_fits_and_a_larger_one_is_our_own_fault() -> None:
    home, away = opened()
    longest = BridgeId("b" * 64)
    sources = [
        replace(
            simulcast((1 << 30) - 1 - i, *(0xFFFFFFFF - 3 * i - each for each in range(3))),
            origin=longest,
        )
        for i in range(MAX_SOURCES)
    ]
    home.announce(ConferenceId("c" * 128), sources)
    assert len(away.receive(home.data_to_send())) == 1
    with pytest.raises(CapacityError):
        home.announce(GARDEN, [*sources, relayed(1, 1)])
    assert home.state is LinkState.OPEN
    assert home.data_to_send() == b""


def test_only_an_open_link_carries_conferences() -> None:
    link = Link(hello_of(FRANKFURT), SINGAPORE)
    with pytest.raises(LocalProtocolError):
        link.announce(GARDEN, ())
    link.start()
    with pytest.raises(LocalProtocolError):
        link.demand(GARDEN, ())
    with pytest.raises(LocalProtocolError):
        link.start()
    link.close("enough")
    with pytest.raises(LocalProtocolError):
        link.announce(GARDEN, ())


@given(data=st.lists(st.binary(max_size=60), max_size=5))
def test_garbage_closes_with_malformed_and_nothing_else(data: list[bytes]) -> None:
    home, _ = opened()
    try:
        for piece in data:
            home.receive(piece)
    except MalformedError:
        assert home.state is LinkState.CLOSED


@given(script=st.lists(messages(TrunkMessage), max_size=6))
def test_any_well_formed_conversation_ends_in_events_or_a_protocol_error(
    script: list[TrunkMessage],
) -> None:
    home, _ = opened()
    try:
        home.receive(said(*script))
    except RemoteProtocolError:
        assert home.state is LinkState.CLOSED
    assert len(home.announced) <= len(script)


@given(message=messages(TrunkMessage))
def test_every_message_arrives_as_it_was(message: Any) -> None:
    assert TRUNK_MESSAGES.decode_untrusted(TRUNK_MESSAGES.encode(message)) == message


@given(hello=values(TrunkHello))
def test_a_hello_does_not_show_its_secrets(hello: TrunkHello) -> None:
    shown = repr(replace(hello, srtp_key=b"topsecret" * 3 + b"!", ice_pwd="hush" * 8))
    assert "topsecret" not in shown
    assert "hush" not in shown
