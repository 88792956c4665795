from region.floor import VOICE_BPS, VOICES_HELD_S, Floor
from relay.ids import ParticipantId, SourceKind, source_id

MICROPHONES = [source_id(ParticipantId(n), SourceKind.MICROPHONE) for n in range(1, 9)]
LOUD, QUIET, SILENT = 20, 40, 127
FIVE = {5}


def spoken(floor: Floor, *levels: int, slots: set[int] = FIVE, began_s: float, for_s: float) -> int:
    """How often it mattered to anybody that they spoke so."""
    news = 0
    for number in range(int(for_s / 0.2)):
        now = began_s + 0.2 * number
        said = dict(zip(MICROPHONES, [*levels, *[SILENT] * (8 - len(levels))], strict=True))
        news += floor.hear(said, slots, now)
    return news


def test_it_matters_who_begins_to_speak_and_not_how_loud_they_go_on() -> None:
    floor = Floor()
    assert spoken(floor, LOUD, QUIET, began_s=0.0, for_s=2.0)
    assert floor.dominant == ParticipantId(1)
    order = floor.voices
    assert spoken(floor, LOUD, LOUD - 15, began_s=2.0, for_s=0.6) == 0
    assert spoken(floor, SILENT, SILENT, LOUD, began_s=2.6, for_s=4.0)
    assert floor.voices != order


def test_places_within_the_slots_do_not_matter_and_those_at_their_end_do() -> None:
    def change(slots: set[int]) -> int:
        floor = Floor()
        spoken(floor, LOUD, 30, 45, slots=slots, began_s=0.0, for_s=3.0)
        return spoken(floor, LOUD, 30, 22, slots=slots, began_s=3.0, for_s=0.4)

    assert change({5}) == 0  # all three have a slot before and after
    assert change({1, 5}) == 1  # who hears one voice, and is the first, hears the second


def test_bandwidth_is_kept_for_the_voices_of_the_last_seconds() -> None:
    floor = Floor()
    assert floor.voices_bps == 0
    spoken(floor, LOUD, LOUD, QUIET, began_s=0.0, for_s=1.0)
    assert floor.voices_bps == 3 * VOICE_BPS
    spoken(floor, LOUD, began_s=1.0, for_s=VOICES_HELD_S - 1)
    assert floor.voices_bps == 3 * VOICE_BPS
    spoken(floor, LOUD, began_s=VOICES_HELD_S, for_s=2.0)
    assert floor.voices_bps == VOICE_BPS
