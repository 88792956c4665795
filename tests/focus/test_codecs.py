import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus.codecs import codecs_of, common_codec
from relay.ids import VideoCodec

AV1, VP9, VP8, H264 = VideoCodec.AV1, VideoCodec.VP9, VideoCodec.VP8, VideoCodec.H264


@pytest.mark.parametrize(
    ("decoders", "codec"),
    [
        ([], VP9),
        ([None, None], VP9),
        ([{VP9, VP8}, {VP8, VP9}], VP9),
        ([{VP9, VP8}, None, {VP8, H264}], VP8),
        ([{VP9, H264}, {VP8, H264}], H264),
        ([{AV1}, {AV1, VP9}], VP8),
        ([{VP9}, set()], VP8),
    ],
)
def test_it_is_the_first_preference_that_all_who_count_decode_or_else_vp8(
    decoders: list[set[VideoCodec] | None], codec: VideoCodec
) -> None:
    assert common_codec((VP9, VP8, H264), decoders) is codec


def test_vp8_is_the_last_resort_also_where_it_is_no_preference() -> None:
    assert common_codec((H264,), [{VP8, VP9}]) is VP8


@given(
    st.lists(st.sampled_from(VideoCodec), min_size=1, unique=True).map(tuple),
    st.lists(st.none() | st.frozensets(st.sampled_from(VideoCodec))),
)
def test_who_joins_never_makes_it_better(
    preferences: tuple[VideoCodec, ...], decoders: list[frozenset[VideoCodec] | None]
) -> None:
    order = [*preferences, VP8]
    ranks = [
        order.index(common_codec(preferences, decoders[:count]))
        for count in range(len(decoders) + 1)
    ]
    common = [common_codec(preferences, decoders[:count]) for count in range(len(decoders) + 1)]
    for count, codec in enumerate(common):
        counted = [each for each in decoders[:count] if each is not None]
        shared = set(preferences).intersection(*counted)
        assert codec in shared if shared else codec is VP8
        if count and set(preferences).intersection(*counted):
            assert ranks[count] >= ranks[count - 1]


@pytest.mark.parametrize(
    ("text", "codecs"),
    [("vp9,vp8", (VP9, VP8)), (" AV1 , h264", (AV1, H264)), ("vp8", (VP8,))],
)
def test_an_order_of_preference_is_names_and_commas(
    text: str, codecs: tuple[VideoCodec, ...]
) -> None:
    assert codecs_of(text) == codecs


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no codec ''; there are av1, vp9, vp8, h264"),
        ("vp8,", "there is no codec ''"),
        ("vp10", "there is no codec 'vp10'"),
        ("h.264", "there is no codec 'h.264'"),
        ("vp8,vp9,VP8", "a codec stands in the list once at most"),
    ],
)
def test_what_is_no_order_of_preference_is_refused_in_words(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="codec") as caught:
        codecs_of(text)
    assert str(caught.value).startswith(reason)
