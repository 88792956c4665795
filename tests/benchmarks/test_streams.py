"""What one stream carries, and whether the layer that came is the one that was asked for."""

import pytest

from benchmarks.load.counts import SenderStats, StreamStats
from benchmarks.load.roster import PAYLOAD_AUDIO, PAYLOAD_VIDEO
from benchmarks.load.streams import Got, Layers, Rates, layers_got
from benchmarks.load.watch import HEADERS_BYTES
from benchmarks.rates import Stream

NEW = StreamStats(*(0 for _ in StreamStats._fields))._replace(
    kind=PAYLOAD_VIDEO, layer_packets=(0, 0, 0), layer_bytes=(0, 0, 0)
)
UNSENT = SenderStats(*(0 for _ in SenderStats._fields))


def test_a_picture_counts_for_the_layer_that_it_had() -> None:
    rates = Rates()
    now = NEW._replace(packets=60, bytes=60_000, layer_packets=(0, 60, 0))
    rates.see_received(NEW, now, 2.0)
    rate = rates.of_received[Stream.P360]
    assert rate.packets_s == 30
    assert rate.bps == (60_000 + 60 * HEADERS_BYTES) * 8 / 2


def test_a_second_in_which_the_layer_changed_counts_for_none() -> None:
    rates = Rates()
    rates.see_received(NEW, NEW._replace(packets=60, layer_packets=(30, 30, 0)), 1.0)
    assert rates.of_received == {}


@pytest.mark.parametrize(("packets", "counts"), [(50, True), (3, False)])
def test_a_voice_counts_while_it_speaks(packets: int, counts: bool) -> None:
    rates = Rates()
    silent = NEW._replace(kind=PAYLOAD_AUDIO)
    rates.see_received(silent, silent._replace(packets=packets, bytes=packets * 110), 1.0)
    rates.see_sent(Stream.VOICE, UNSENT, UNSENT._replace(packets=packets, bytes=packets * 110), 1.0)
    assert (Stream.VOICE in rates.of_received) is counts
    assert (Stream.VOICE in rates.of_sent) is counts


def test_rates_are_means_over_all_streams_of_a_kind() -> None:
    rates = Rates()
    for packets in (10, 30):
        rates.see_sent(Stream.P180, UNSENT, UNSENT._replace(packets=packets, bytes=1), 1.0)
    rates.see_sent(Stream.P180, UNSENT, UNSENT, 1.0)  # it paused
    assert rates.of_sent[Stream.P180].packets_s == 20


def test_the_layer_that_came_is_that_of_most_packets_since_the_last_look() -> None:
    before = NEW._replace(ssrc=1, sender=7, layer_packets=(100, 0, 0))
    now = before._replace(layer_packets=(102, 0, 40))
    paused = NEW._replace(ssrc=2, sender=8, layer_packets=(5, 0, 0))
    fresh = NEW._replace(ssrc=3, sender=9, layer_packets=(0, 3, 0))
    got = layers_got([before, paused], [now, paused, fresh])
    assert {sender: each.layer for sender, each in got.items()} == {7: 2, 9: 1}


def test_packets_are_counted_of_pictures_that_were_the_same_all_the_time() -> None:
    before = NEW._replace(ssrc=1, sender=7, packets=800, layer_packets=(100, 0, 0))
    went_on = before._replace(packets=1_600, layer_packets=(200, 0, 0))
    changed = before._replace(packets=1_600, layer_packets=(150, 50, 0))
    switched = went_on._replace(sender=8)
    assert layers_got([before], [went_on]) == {7: Got(0, 800)}
    assert layers_got([before], [changed]) == {7: Got(0, None)}
    assert layers_got([before], [switched]) == {8: Got(0, None)}


def test_shares_are_of_the_pictures_that_were_asked_for_in_a_layer() -> None:
    layers = Layers()
    for got in (2, 2, 1):
        layers.see(2, Got(got, None))
    layers.see(2, None)
    layers.see(0, Got(0, None))
    assert [layers.share(2, got) for got in (2, 1, 0, None)] == [0.5, 0.25, 0, 0.25]
    assert layers.share(0, 0) == 1
    assert layers.share(1, 1) == 0


@pytest.mark.parametrize(
    ("came", "faults"), [(996, []), (970, ["3.0% of the pictures' packets left out"])]
)
def test_what_was_left_out_of_pictures_that_came_as_asked_is_a_fault(
    came: int, faults: list[str]
) -> None:
    layers = Layers()
    layers.see(2, Got(2, came), 1_000)
    layers.see(2, Got(2, None), 1_000)
    assert layers.whole == came / 1_000
    assert layers.faults == faults


def test_pictures_in_other_layers_than_were_asked_for_are_a_fault() -> None:
    layers = Layers()
    for got in (2, 2, 2, 1):
        layers.see(2, Got(got, 500), 1_000)
    assert layers.as_asked == 0.75
    assert layers.faults[0] == "75% of the pictures as asked for"
