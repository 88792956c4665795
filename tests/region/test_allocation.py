from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from region.allocation import (
    IGNORED_CHANGE,
    REALLOCATE_S,
    Budget,
    Rates,
    Request,
    allocate,
    nominal_rates,
)
from relay.ids import (
    SPATIAL_LAYERS,
    TEMPORAL_LAYERS,
    Layer,
    ParticipantId,
    SourceId,
    SourceKind,
    VideoCodec,
    source_id,
)
from tests.strategies.layers import layers

CAMERA, SCREEN = SourceKind.CAMERA, SourceKind.SCREEN
VP8, VP9, AV1, H264 = VideoCodec.VP8, VideoCodec.VP9, VideoCodec.AV1, VideoCodec.H264
LOWEST, STAGE_FIRST, TOP = Layer(0, 0), Layer(1, 2), Layer(2, 2)


def request(
    number: int,
    height_px: int = 180,
    *,
    stage: bool = False,
    screen: bool = False,
    codec: VideoCodec = VP8,
    rates_bps: Mapping[Layer, int] | None = None,
) -> Request:
    kind = SCREEN if screen else CAMERA
    return Request(
        source=source_id(ParticipantId(number), kind),
        height_px=height_px,
        stage=stage,
        screen=screen,
        rates_bps=Rates(nominal_rates(codec, kind, 3) if rates_bps is None else rates_bps),
    )


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    """Pictures of any rates, plausible and not."""
    rates = st.one_of(
        st.builds(
            nominal_rates,
            st.sampled_from(VideoCodec),
            st.sampled_from([CAMERA, SCREEN]),
            st.integers(1, 3),
        ),
        st.dictionaries(layers, st.integers(0, 3_000_000), max_size=9),
    )
    return [
        request(
            number,
            draw(st.sampled_from([0, 90, 180, 359, 360, 719, 720, 1080])),
            stage=draw(st.booleans()),
            screen=draw(st.booleans()),
            rates_bps=draw(rates),
        )
        for number in range(1, draw(st.integers(0, 6)) + 1)
    ]


budgets = st.integers(0, 10_000_000)


def cost_bps(wanted: list[Request], shown: Mapping[SourceId, Layer]) -> int:
    return sum(each.rates_bps[shown[each.source]] for each in wanted if each.source in shown)


def first_of(wanted: list[Request]) -> Request:
    there = [each for each in wanted if each.rates_bps]
    assume(there)
    return there[0]


# Whatever is wanted


@given(budgets, requests())
def test_all_together_cost_no_more_than_the_budget_but_for_the_first_at_its_cheapest(
    budget_bps: int, wanted: list[Request]
) -> None:
    shown = allocate(budget_bps, wanted)
    if cost_bps(wanted, shown) > budget_bps:
        assert shown == allocate(0, [first_of(wanted)])


@given(budgets, requests())
def test_the_most_wanted_picture_that_there_is_is_always_shown(
    budget_bps: int, wanted: list[Request]
) -> None:
    assert first_of(wanted).source in allocate(budget_bps, wanted)


@given(budgets, budgets, requests())
def test_more_bandwidth_never_shows_the_most_wanted_picture_worse(
    one_bps: int, other_bps: int, wanted: list[Request]
) -> None:
    first = first_of(wanted).source
    less, more = (allocate(each, wanted)[first] for each in sorted((one_bps, other_bps)))
    assert less <= more


@given(budgets, requests())
def test_only_layers_that_there_are_and_that_their_place_can_use_are_shown(
    budget_bps: int, wanted: list[Request]
) -> None:
    shown = allocate(budget_bps, wanted)
    for each in wanted:
        if each.source in shown:
            layer = shown[each.source]
            lowest = min(other.spatial for other in each.rates_bps)
            needed = 0 if each.height_px < 360 else 1 if each.height_px < 720 else 2
            assert layer in each.rates_bps
            assert layer.spatial <= max(needed, lowest)


@given(budgets, requests())
def test_nothing_is_shown_where_a_better_layer_that_is_needed_costs_no_more(
    budget_bps: int, wanted: list[Request]
) -> None:
    shown = allocate(budget_bps, wanted)
    for each in wanted:
        if each.source in shown:
            layer, rates_bps = shown[each.source], each.rates_bps
            for better in rates_bps:
                if layer < better and better.spatial == layer.spatial:
                    assert rates_bps[better] > rates_bps[layer]


@given(budgets, requests(), st.integers(1, 6))
def test_of_pictures_that_are_alike_the_more_wanted_is_never_worse(
    budget_bps: int, wanted: list[Request], number: int
) -> None:
    alike = [
        request(
            other,
            wanted[0].height_px,
            stage=wanted[0].stage,
            screen=wanted[0].screen,
            rates_bps=wanted[0].rates_bps,
        )
        for other in range(11, 11 + number)
        if wanted
    ]
    mixed = [each for pair in zip(alike, wanted, strict=False) for each in pair]
    shown = allocate(budget_bps, mixed)
    ours = [shown.get(each.source, Layer(-1, -1)) for each in alike if each in mixed]
    assert ours == sorted(ours, reverse=True)


@given(requests())
def test_with_all_the_bandwidth_in_the_world_everything_is_as_good_as_its_place_can_use(
    wanted: list[Request],
) -> None:
    shown = allocate(10**12, wanted)
    for each in wanted:
        needed = 0 if each.height_px < 360 else 1 if each.height_px < 720 else 2
        lowest = min((other.spatial for other in each.rates_bps), default=0)
        usable = [layer for layer in each.rates_bps if layer.spatial <= max(needed, lowest)]
        assert shown.get(each.source) == max(usable, default=None)


# One receiver, by example


def test_a_thin_receiver_gets_one_readable_picture() -> None:
    wanted = [request(number, stage=number == 1) for number in range(1, 10)]
    shown = allocate(120_000, wanted)
    assert shown == {wanted[0].source: LOWEST}
    assert allocate(20_000, wanted) == shown
    assert allocate(0, wanted) == shown


def test_the_stage_reaches_360p_before_anybody_else_is_shown() -> None:
    stage, *tiles = [request(number, 720, stage=number == 1) for number in range(1, 5)]
    assert allocate(500_000, [stage, *tiles]) == {stage.source: STAGE_FIRST}
    assert allocate(600_000, [stage, *tiles]) == {
        stage.source: STAGE_FIRST,
        tiles[0].source: LOWEST,
    }


def test_everybody_is_shown_before_the_stage_is_better_than_360p() -> None:
    stage, *tiles = [request(number, 720, stage=number == 1) for number in range(1, 5)]
    shown = allocate(900_000, [stage, *tiles])
    assert shown[stage.source] == STAGE_FIRST
    assert {each.source for each in tiles} <= shown.keys()
    paused = allocate(750_000, [stage, *tiles])
    assert paused == {
        stage.source: STAGE_FIRST,
        tiles[0].source: LOWEST,
        tiles[1].source: LOWEST,
    }


def test_then_all_climb_step_by_step_the_stage_first() -> None:
    stage, tile, other = [request(number, 720, stage=number == 1) for number in range(1, 4)]
    wanted = [stage, tile, other]
    all_shown_bps = 500_000 + 2 * 100_000
    assert allocate(all_shown_bps + 625_000, wanted)[stage.source] == Layer(2, 1)
    shown = allocate(all_shown_bps + 625_000 + 50_000, wanted)
    assert (shown[tile.source], shown[other.source]) == (Layer(0, 1), LOWEST)
    shown = allocate(all_shown_bps + 625_000 + 100_000, wanted)
    assert (shown[tile.source], shown[other.source]) == (Layer(0, 1), Layer(0, 1))


def test_a_stage_that_stands_behind_others_climbs_before_them() -> None:
    tile, stage = request(1, 720), request(2, 720, stage=True)
    assert allocate(600_000, [tile, stage]) == {tile.source: LOWEST, stage.source: STAGE_FIRST}


def test_in_each_round_the_stage_climbs_before_others_but_the_most_wanted() -> None:
    first, tile, stage = request(1, 720), request(2, 720), request(3, 720, stage=True)
    wanted = [first, tile, stage]
    all_shown_bps = 500_000 + 2 * 100_000
    shown = allocate(all_shown_bps + 50_000 + 625_000, wanted)
    assert shown == {
        first.source: Layer(0, 1),
        tile.source: LOWEST,
        stage.source: Layer(2, 1),
    }


def test_what_is_too_dear_for_one_picture_may_still_show_another() -> None:
    first, dear, cheap = request(1), request(2, codec=H264), request(3, codec=AV1)
    assert allocate(160_000, [first, dear, cheap]) == {first.source: LOWEST, cheap.source: LOWEST}


def test_a_screen_is_shown_before_any_camera_gets_its_second_layer() -> None:
    stage, screen = request(1, 720, stage=True), request(2, 720, screen=True)
    shown = allocate(250_000, [stage, screen])
    assert shown == {stage.source: LOWEST, screen.source: LOWEST}
    tight = allocate(249_000, [stage, screen])
    assert tight == {stage.source: LOWEST}


def test_a_screen_that_is_most_wanted_is_shown_however_little_there_is() -> None:
    screen, camera = request(1, 720, screen=True), request(2, 720)
    assert allocate(10_000, [screen, camera]) == {screen.source: LOWEST}


def test_a_tile_takes_no_more_than_its_height_needs() -> None:
    heights = {179: 0, 359: 0, 360: 1, 719: 1, 720: 2, 2160: 2}
    for height_px, spatial in heights.items():
        tile = request(1, height_px)
        assert allocate(10_000_000, [tile]) == {tile.source: Layer(spatial, 2)}


def test_a_picture_of_one_encoding_is_shown_however_small_its_place() -> None:
    only_high = {Layer(2, 0): 700_000, Layer(2, 2): 1_500_000}
    tile = request(1, 90, rates_bps=only_high)
    assert allocate(10_000_000, [tile]) == {tile.source: Layer(2, 2)}


def test_a_larger_picture_is_never_shown_at_the_lowest_rate_of_pictures() -> None:
    stage = request(1, 720, stage=True)
    for budget_bps in range(500_000, 1_125_000, 25_000):
        assert allocate(budget_bps, [stage]) == {stage.source: Layer(1, 2)}
    assert allocate(1_125_000, [stage]) == {stage.source: Layer(2, 1)}


def test_going_over_to_a_larger_picture_needs_more_room_than_staying_with_it() -> None:
    stage = request(1, 720, stage=True)
    small, large = (replace(stage, held=held) for held in (Layer(1, 2), Layer(2, 1)))
    budget_bps = 1_200_000
    assert allocate(budget_bps, [small]) == {stage.source: Layer(1, 2)}
    assert allocate(budget_bps, [large]) == {stage.source: Layer(2, 1)}
    assert allocate(1_350_000, [small]) == {stage.source: Layer(2, 1)}


def test_a_layer_that_a_better_one_undercuts_is_passed_over() -> None:
    rates_bps = {Layer(0, 0): 90_000, Layer(0, 2): 200_000, Layer(1, 0): 150_000}
    tile = request(1, 360, rates_bps=rates_bps)
    assert allocate(149_999, [tile]) == {tile.source: Layer(0, 0)}
    assert allocate(150_000, [tile]) == {tile.source: Layer(1, 0)}


def test_a_picture_without_any_layer_is_not_shown_and_the_next_counts_as_the_first() -> None:
    nothing, tile = request(1, rates_bps={}), request(2)
    assert allocate(0, [nothing, tile]) == {tile.source: LOWEST}
    assert allocate(0, [nothing]) == allocate(0, []) == {}


# The budget


def test_the_first_estimate_is_taken_as_it_is_and_sound_goes_first() -> None:
    budget = Budget()
    assert budget.update(300_000, 100_000, 0.0)
    assert budget.bps == 200_000
    assert Budget().update(0, 0, 0.0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_small_changes_are_ignored_and_greater_ones_followed_at_once(sign: int) -> None:
    budget = Budget()
    budget.update(1_000_000, 100_000, 0.0)
    assert not budget.update(1_000_000 + sign * 149_000, 100_000, 0.2)
    assert budget.bps == 900_000
    assert budget.update(1_000_000 + sign * 150_000, 100_000, 0.4)
    assert budget.bps == 900_000 + sign * 150_000


def test_small_changes_that_add_up_are_followed_too() -> None:
    budget = Budget()
    budget.update(1_000_000, 0, 0.0)
    assert not budget.update(900_000, 0, 0.2)
    assert budget.update(810_000, 0, 0.4)


def test_more_sound_that_counts_is_followed() -> None:
    budget = Budget()
    budget.update(300_000, 40_000, 0.0)
    assert not budget.update(300_000, 80_000, 0.2)
    assert budget.update(300_000, 120_000, 0.4)


def test_every_few_seconds_even_small_changes_are_followed() -> None:
    budget = Budget()
    budget.update(1_000_000, 0, 10.0)
    assert not budget.update(990_000, 0, 10.0 + REALLOCATE_S - 0.1)
    assert budget.update(990_000, 0, 10.0 + REALLOCATE_S)
    assert budget.bps == 990_000
    assert not budget.update(1_000_000, 0, 10.1 + REALLOCATE_S)


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 10**6)), min_size=1))
def test_the_budget_is_never_far_from_the_estimate(estimates: list[tuple[int, int]]) -> None:
    budget = Budget()
    taken_bps = 0
    for number, (estimate_bps, audio_bps) in enumerate(estimates):
        if budget.update(estimate_bps, audio_bps, number / 5):
            taken_bps = estimate_bps
        assert budget.bps >= 0
        off_bps = abs(budget.bps - max(0, estimate_bps - audio_bps))
        assert off_bps < max(1, IGNORED_CHANGE * taken_bps)


# Nominal rates


@pytest.mark.parametrize(
    ("codec", "top_bps"), [(VP8, 1_500_000), (VP9, 1_200_000), (AV1, 1_000_000), (H264, 2_000_000)]
)
def test_a_camera_costs_what_its_codec_does(codec: VideoCodec, top_bps: int) -> None:
    rates_bps = nominal_rates(codec, CAMERA, 3)
    assert len(rates_bps) == SPATIAL_LAYERS * TEMPORAL_LAYERS
    assert rates_bps[TOP] == top_bps
    assert rates_bps[Layer(2, 0)] == top_bps // 2


@pytest.mark.parametrize("codec", VideoCodec)
@pytest.mark.parametrize("kind", [CAMERA, SCREEN])
def test_better_costs_more_unless_the_codec_has_it_for_nothing(
    codec: VideoCodec, kind: SourceKind
) -> None:
    for spatial_layers in (1, 2, 3):
        rates_bps = nominal_rates(codec, kind, spatial_layers)
        costs = [rates_bps[layer] for layer in sorted(rates_bps)]
        assert costs == sorted(costs)
        assert max(layer.spatial for layer in rates_bps) == spatial_layers - 1


def test_a_picture_of_fewer_layers_is_as_large_at_its_top() -> None:
    assert nominal_rates(VP8, CAMERA, 1)[Layer(0, 2)] == nominal_rates(VP8, CAMERA, 3)[TOP]
    assert nominal_rates(VP8, CAMERA, 2)[Layer(0, 2)] == 500_000
    assert nominal_rates(AV1, SCREEN, 1)[Layer(0, 2)] == 2_500_000
