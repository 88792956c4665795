from region.encodings import Encoding
from region.feed import SCREEN_ALIVE_S, Feed
from region.kernel import ALIVE_S, StreamStats
from relay.ids import Layer, ParticipantId, SourceKind, VideoCodec, source_id
from relay.payload import PayloadType

CAMERA = source_id(ParticipantId(1), SourceKind.CAMERA)
SILENT = Encoding(alive=False)


def counted(
    *layer_bytes: int,
    last_packet_s: float,
    payload_type: int = PayloadType.VP8,
    spatial_layers: int = 0,
) -> StreamStats:
    total = sum(layer_bytes)
    return StreamStats(
        packets=total // 100,
        bytes=total,
        highest_sequence=1,
        base_sequence=1,
        jitter_ticks=0,
        level=127,
        last_packet_s=last_packet_s,
        last_timestamp=0,
        given_up=0,
        ssrc=7,
        rtx_ssrc=0,
        payload_type=payload_type,
        layer_bytes=(*layer_bytes, *(0,) * (9 - len(layer_bytes))),
        spatial_layers=spatial_layers,
        report_ntp=0,
        reported_s=0.0,
    )


NOTHING = counted(last_packet_s=0.0, payload_type=-1)


def test_a_source_that_sends_nothing_costs_what_its_layers_may_cost() -> None:
    rates = Feed(CAMERA, [1, 2, 3]).rates_bps(VideoCodec.VP8)
    assert set(rates) == {Layer(s, t) for s in range(3) for t in range(3)}
    assert rates[Layer(2, 2)] == 1_500_000


def test_an_encoding_lives_while_packets_come() -> None:
    feed = Feed(CAMERA, [1, 2])
    low = counted(1_000, last_packet_s=5.0)
    assert feed.look([low, NOTHING], 5.1)
    assert feed.encodings == (Encoding(alive=True, codec=VideoCodec.VP8), SILENT)
    assert not feed.look([low, NOTHING], 5.2)
    assert feed.look([low, NOTHING], 5.1 + ALIVE_S)
    assert not feed.encodings[0].alive


def test_temporal_layers_cost_all_that_is_below_them() -> None:
    feed = Feed(CAMERA, [1])
    feed.look([counted(100, last_packet_s=1.0)], 1.0)
    feed.look([counted(100 + 50_000, 25_000, 50_000, last_packet_s=2.0)], 2.0)
    rates = feed.rates_bps(VideoCodec.VP8)
    assert [rates[Layer(0, t)] for t in range(3)] == [400_000, 600_000, 1_000_000]


def test_simulcast_layers_are_measured_each_in_its_own_encoding() -> None:
    feed = Feed(CAMERA, [1, 2, 3])
    for at_s, low, high in ((1.0, 100, 100), (2.0, 10_100, 100_100)):
        stats = [counted(low, last_packet_s=at_s), NOTHING, counted(high, last_packet_s=at_s)]
        feed.look(stats, at_s)
    rates = feed.rates_bps(VideoCodec.VP8)
    assert rates[Layer(0, 0)] == 80_000
    assert rates[Layer(2, 0)] == 800_000
    assert rates[Layer(1, 2)] == 500_000  # of which nothing comes: what it may cost


def test_the_layers_of_a_scalable_encoding_are_told_apart_within_it() -> None:
    feed = Feed(CAMERA, [1, 2, 3])
    for at_s, scale in ((1.0, 1), (2.0, 2)):
        layers = [each * scale for each in (1_000, 0, 0, 5_000, 0, 0, 20_000, 0, 20_000)]
        all_layers = counted(
            *layers, last_packet_s=at_s, payload_type=PayloadType.VP9, spatial_layers=3
        )
        feed.look([all_layers, NOTHING, NOTHING], at_s)
    assert feed.codec is VideoCodec.VP9
    rates = feed.rates_bps(VideoCodec.VP9)
    assert rates[Layer(0, 0)] == 8_000
    assert rates[Layer(1, 0)] == 40_000
    assert rates[Layer(2, 2)] == 320_000


def test_a_rate_follows_in_steps_and_not_in_leaps() -> None:
    feed = Feed(CAMERA, [1])
    feed.look([counted(100, last_packet_s=1.0)], 1.0)
    feed.look([counted(12_600, last_packet_s=2.0)], 2.0)
    feed.look([counted(12_600 + 25_000, last_packet_s=3.0)], 3.0)
    assert 100_000 < feed.rates_bps(VideoCodec.VP8)[Layer(0, 0)] < 200_000


def test_after_a_pause_rates_are_measured_anew() -> None:
    feed = Feed(CAMERA, [1])
    feed.look([counted(100, last_packet_s=1.0)], 1.0)
    feed.look([counted(12_600, last_packet_s=2.0)], 2.0)
    feed.look([counted(12_600, last_packet_s=2.0)], 9.0)
    feed.look([counted(13_000, last_packet_s=10.0)], 10.0)
    assert feed.rates_bps(VideoCodec.VP8)[Layer(0, 0)] == 750_000  # nominal: of one encoding


def test_a_screen_on_which_nothing_moves_lives_on() -> None:
    screen = Feed(source_id(ParticipantId(1), SourceKind.SCREEN), [1])
    screen.look([counted(1_000, last_packet_s=5.0)], 5.1)
    screen.look([counted(1_000, last_packet_s=5.0)], 5.0 + 2 * ALIVE_S)
    assert screen.encodings[0].alive
    screen.look([counted(1_000, last_packet_s=5.0)], 5.0 + SCREEN_ALIVE_S)
    assert not screen.encodings[0].alive


def test_a_camera_that_was_asked_for_less_still_has_its_highest_layer() -> None:
    feed = Feed(CAMERA, [1, 2, 3])
    for at_s in (1.0, 2.0):
        two_layers = counted(
            int(at_s * 1_000),
            last_packet_s=at_s,
            payload_type=PayloadType.VP9,
            spatial_layers=2,
        )
        feed.look([two_layers, NOTHING, NOTHING], at_s)
    assert feed.rates_bps(VideoCodec.VP9)[Layer(2, 2)] == 1_200_000
