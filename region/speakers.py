"""Who speaks: microphones ranked by level, steadily enough that slots do not flicker.

Levels are RFC 6464's: 0 is the loudest, 127 digital silence. Pure; it knows no stream.
"""

from collections.abc import Mapping

from relay.ids import SourceId

SILENT_DBOV = 60
"""At or beyond this a microphone carries no speech."""
HYSTERESIS_DB = 6
"""A source passes one that was ranked before it only when it is louder by this much."""


def ranked(levels: Mapping[SourceId, int], previous: tuple[SourceId, ...]) -> tuple[SourceId, ...]:
    """The sources that can be heard, the loudest first, keeping `previous` within the hysteresis.

    `levels` is −dBov by source. A source that falls silent goes to the end of the ranking
    but stays in it, so that whoever spoke last keeps a slot until others need it.
    """
    known = [source for source in previous if source in levels]
    newcomers = [
        source
        for source, level in sorted(levels.items(), key=lambda heard: (heard[1], heard[0]))
        if source not in known and level < SILENT_DBOV
    ]
    ranking = known + newcomers
    # Insertion sort with a threshold: one source moves up past the quieter ones before it.
    for place in range(1, len(ranking)):
        at = place
        while at and _clearly_louder(levels[ranking[at]], levels[ranking[at - 1]]):
            ranking[at - 1], ranking[at] = ranking[at], ranking[at - 1]
            at -= 1
    return tuple(ranking)


def _clearly_louder(level: int, other: int) -> bool:
    return level < SILENT_DBOV and other - level >= HYSTERESIS_DB
