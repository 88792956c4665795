import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus.notices import (
    CodecChanged,
    Failed,
    FailureCode,
    Joined,
    LayersChanged,
    Notice,
    Person,
    SpeakerChanged,
)
from relay.control import SourceState
from relay.ids import (
    BridgeId,
    ConferenceId,
    Layer,
    ParticipantId,
    Region,
    SourceKind,
    VideoCodec,
)
from web import messages
from web.translation import display_name_of, to_browser


def test_a_roster_names_sources_by_what_stands_in_their_csrc() -> None:
    ana = Person(
        participant=ParticipantId(5),
        name="Ana",
        region=Region("sao-paulo"),
        bridge=BridgeId("sao-paulo-1"),
        sources=(SourceState(kind=SourceKind.CAMERA, muted=True),),
    )
    joined = Joined(conference=ConferenceId("standup"), you=ana, people=(), codec=VideoCodec.VP9)
    turn = messages.IceServer(urls=["turn:t.example"], username="9:5", credential="secret")
    told = to_browser(joined, [turn], "a secret, too")
    assert "secret" not in repr(told)
    assert told.model_dump() == {
        "type": "joined",
        "room": "standup",
        "you": {
            "id": 5,
            "name": "Ana",
            "region": "sao-paulo",
            "bridge": "sao-paulo-1",
            "sources": [{"id": 22, "kind": "camera", "muted": True}],
        },
        "people": [],
        "codec": "vp9",
        "ice_servers": [{"urls": ["turn:t.example"], "username": "9:5", "credential": "secret"}],
        "resumed": False,
        "resume": "a secret, too",
    }


@pytest.mark.parametrize("codec", VideoCodec)
def test_browsers_call_codecs_by_the_names_that_we_do(codec: VideoCodec) -> None:
    assert to_browser(CodecChanged(codec=codec), (), "").model_dump() == {
        "type": "codec",
        "codec": codec.value,
    }


@pytest.mark.parametrize(
    ("notice", "told"),
    [
        (
            LayersChanged(kind=SourceKind.SCREEN, layers=(Layer(0, 2), Layer(1, 0))),
            {
                "type": "layers",
                "kind": "screen",
                "layers": [{"spatial": 0, "temporal": 2}, {"spatial": 1, "temporal": 0}],
            },
        ),
        (
            LayersChanged(kind=SourceKind.CAMERA, layers=()),
            {"type": "layers", "kind": "camera", "layers": []},
        ),
        (SpeakerChanged(participant=ParticipantId(5)), {"type": "speaker", "id": 5}),
        (SpeakerChanged(participant=None), {"type": "speaker", "id": None}),
    ],
)
def test_layers_and_speakers_are_told_as_documented(
    notice: Notice, told: dict[str, object]
) -> None:
    assert to_browser(notice, (), "").model_dump() == told


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_has_a_code_for_browsers_and_only_hopeless_ones_are_fatal(
    code: FailureCode,
) -> None:
    told = to_browser(Failed(code=code, message="why", attempt=3), (), "")
    assert isinstance(told, messages.Error)
    assert (told.code, told.attempt) == (code.value, 3)
    assert told.fatal == (code in (FailureCode.UNKNOWN_REGION, FailureCode.ROOM_FULL))


def test_a_name_loses_what_would_disturb_the_text_around_it() -> None:
    assert display_name_of("  Ana \n\t María ") == "Ana María"
    assert display_name_of("evil\u202etxt.exe\x00") == "eviltxt.exe"
    assert display_name_of("👩\u200d💻") == "👩\u200d💻"


@pytest.mark.parametrize("name", ["   ", "\u202e", "\x00\x07", "\u2003"])
def test_a_name_of_nothing_visible_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="visible"):
        display_name_of(name)


@given(st.text(min_size=1, max_size=80))
def test_any_name_is_shown_on_one_line_or_refused(name: str) -> None:
    try:
        shown = display_name_of(name)
    except ValueError:
        return
    assert len(shown.splitlines()) == 1
    assert display_name_of(shown) == shown
