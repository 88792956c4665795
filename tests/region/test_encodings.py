import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.encodings import Choice, Encoding, carried, choose, merged
from relay.ids import TOP_LAYER, Layer, VideoCodec
from tests.strategies.layers import layers

DEAD = Encoding(alive=False)
VP8 = Encoding(alive=True, codec=VideoCodec.VP8)
VP9 = Encoding(alive=True, codec=VideoCodec.VP9, spatial_layers=3)
SILENT_VP9 = Encoding(alive=False, codec=VideoCodec.VP9, spatial_layers=3)

encodings = st.lists(
    st.one_of(
        st.builds(
            Encoding,
            alive=st.booleans(),
            codec=st.none() | st.sampled_from([VideoCodec.VP8, VideoCodec.H264]),
        ),
        st.builds(
            Encoding,
            alive=st.booleans(),
            codec=st.sampled_from([VideoCodec.VP9, VideoCodec.AV1]),
            spatial_layers=st.integers(1, 3),
        ),
    ),
    min_size=1,
    max_size=3,
)


@given(encodings, layers)
def test_what_is_alive_is_shown_before_what_is_not(seen: list[Encoding], target: Layer) -> None:
    choice = choose(seen, target)
    assert 0 <= choice.encoding < len(seen)
    assert seen[choice.encoding].alive or not any(each.alive for each in seen)


@given(encodings, layers)
def test_the_limit_lets_pass_what_was_aimed_at(seen: list[Encoding], target: Layer) -> None:
    limit = choose(seen, target).limit
    assert limit.spatial == target.spatial
    assert limit.temporal >= target.temporal


@given(st.lists(st.sampled_from([VP8, DEAD]), min_size=1, max_size=3), layers)
def test_nothing_better_than_aimed_at_is_shown_while_anything_else_is_there(
    seen: list[Encoding], target: Layer
) -> None:
    choice = choose(seen, target)
    if choice.encoding > target.spatial:
        assert not any(each.alive for each in seen[: choice.encoding])


@pytest.mark.parametrize(
    ("seen", "target", "choice"),
    [
        ([VP8, VP8, VP8], Layer(1, 0), Choice(encoding=1, limit=Layer(1, 0))),
        ([VP8, VP8, DEAD], Layer(2, 1), Choice(encoding=1, limit=Layer(2, 2))),
        ([VP8, DEAD, VP8], Layer(1, 0), Choice(encoding=0, limit=Layer(1, 2))),
        ([DEAD, DEAD, VP8], Layer(0, 1), Choice(encoding=2, limit=Layer(0, 1))),
        ([DEAD, VP8, VP8], Layer(0, 1), Choice(encoding=1, limit=Layer(0, 1))),
        ([DEAD, DEAD, DEAD], Layer(1, 1), Choice(encoding=1, limit=Layer(1, 1))),
        ([DEAD], Layer(2, 1), Choice(encoding=0, limit=Layer(2, 1))),
        ([VP8], Layer(2, 1), Choice(encoding=0, limit=Layer(2, 1))),
    ],
    ids=[
        *("its own", "the best below", "below though above is nearer", "the next above"),
        *("the lowest above", "none alive", "none alive of one", "the only one"),
    ],
)
def test_of_simulcast_one_encoding_is_shown(
    seen: list[Encoding], target: Layer, choice: Choice
) -> None:
    assert choose(seen, target) == choice


def test_of_svc_the_one_encoding_is_shown_within_the_aims_limits() -> None:
    assert choose([DEAD, DEAD, VP9], Layer(0, 1)) == Choice(encoding=2, limit=Layer(0, 1))
    assert choose([DEAD, DEAD, VP9], TOP_LAYER) == Choice(encoding=2, limit=TOP_LAYER)


def test_svc_with_fewer_spatial_layers_than_aimed_at_moves_fully() -> None:
    two = Encoding(alive=True, codec=VideoCodec.AV1, spatial_layers=2)
    assert choose([DEAD, DEAD, two], Layer(2, 0)).limit == Layer(2, 2)
    assert choose([DEAD, DEAD, two], Layer(1, 0)).limit == Layer(1, 0)


def test_svc_whose_layers_were_not_seen_yet_is_shown() -> None:
    unseen = Encoding(alive=True, codec=VideoCodec.AV1)
    assert choose([DEAD, DEAD, unseen], Layer(0, 1)) == Choice(encoding=2, limit=Layer(0, 1))


def test_when_the_codec_changes_the_new_one_is_shown_as_soon_as_it_comes() -> None:
    assert choose([VP8, VP8, VP9], Layer(0, 2)).encoding == 2
    unseen = Encoding(alive=True, codec=VideoCodec.AV1)
    assert choose([VP8, VP8, unseen], Layer(0, 2)).encoding == 2
    assert choose([VP8, VP8, SILENT_VP9], Layer(0, 2)).encoding == 0


def test_vp9_without_spatial_layers_inside_is_simulcast() -> None:
    plain = Encoding(alive=True, codec=VideoCodec.VP9)
    assert choose([plain, plain, plain], Layer(1, 2)).encoding == 1
    assert choose([plain, plain, DEAD], Layer(2, 0)) == Choice(encoding=1, limit=Layer(2, 2))


@given(encodings, st.lists(layers))
def test_a_trunk_carries_what_each_wanted_layer_would_be_shown_from(
    seen: list[Encoding], wanted: list[Layer]
) -> None:
    crossing = carried(seen, wanted)
    choices = [choose(seen, layer) for layer in wanted]
    assert crossing.keys() == {choice.encoding for choice in choices}
    for choice in choices:
        limit = crossing[choice.encoding]
        assert limit.spatial >= choice.limit.spatial
        assert limit.temporal >= choice.limit.temporal


def test_what_stands_in_for_a_dead_encoding_crosses_once() -> None:
    assert carried([VP8, VP8, DEAD], [Layer(1, 0), Layer(2, 0)]) == {1: Layer(2, 2)}
    assert carried([VP8, VP8, VP8], [Layer(0, 2), Layer(2, 1)]) == {0: Layer(0, 2), 2: Layer(2, 1)}
    assert carried([DEAD, DEAD, VP9], [Layer(0, 2), Layer(1, 0)]) == {2: Layer(1, 2)}
    assert carried([VP8, VP8, VP8], []) == {}


@given(st.lists(layers), st.booleans())
def test_merged_layers_ascend_and_cover_all_that_is_wanted(
    wanted: list[Layer], scalable: bool
) -> None:
    short = merged(wanted, scalable=scalable)
    spatials = [layer.spatial for layer in short]
    assert spatials == sorted(set(spatials))
    assert len(short) <= 1 or not scalable
    for layer in wanted:
        covering = [
            each
            for each in short
            if each.temporal >= layer.temporal
            and (each.spatial >= layer.spatial if scalable else each.spatial == layer.spatial)
        ]
        assert covering
    assert merged(short, scalable=scalable) == short


def test_only_wanted_spatial_layers_are_in_the_merged_ones() -> None:
    wanted = [Layer(2, 0), Layer(0, 1), Layer(0, 2), Layer(0, 0)]
    assert merged(wanted, scalable=False) == (Layer(0, 2), Layer(2, 0))
    assert merged(wanted, scalable=True) == (Layer(2, 2),)
    assert merged([], scalable=True) == merged([], scalable=False) == ()
