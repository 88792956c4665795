"""Who speaks in a conference, as its plan and its bandwidth have to know it. Pure.

`region.speakers` tells it from levels; this tells when that matters to anybody.
"""

from collections.abc import Iterable, Mapping

from region.conference import LOUDEST_RELAYED
from region.speakers import SILENT_DBOV, Speakers
from relay.ids import ParticipantId, SourceId, participant_of

VOICES_HELD_S = 5.0
"""Bandwidth is kept for as many voices as there were lately: people draw breath."""
VOICE_BPS = 60_000
"""Of a voice: Opus at 32 kbit/s in 50 packets a second, headers included."""


class Floor:
    """The microphones of one conference that are heard on this bridge."""

    def __init__(self) -> None:
        self._speakers = Speakers()
        self._heard = 0
        self._heard_s = 0.0

    @property
    def dominant(self) -> ParticipantId | None:
        """Who is speaking, or spoke last."""
        source = self._speakers.dominant
        return None if source is None else participant_of(source)

    @property
    def ranking(self) -> tuple[SourceId, ...]:
        """As `Speakers` has it."""
        return self._speakers.ranking

    @property
    def voices(self) -> tuple[SourceId, ...]:
        """As `Speakers` has it."""
        return self._speakers.voices

    @property
    def voices_bps(self) -> int:
        """What the voices cost a receiver."""
        return self._heard * VOICE_BPS

    def hear(self, levels: Mapping[SourceId, int], slots: Iterable[int], now: float) -> bool:
        """Levels as they are now; whether anybody with so many slots may hear or see others."""
        if not (levels or self._heard or self._speakers.microphones):
            return False
        heard = sum(level < SILENT_DBOV for level in levels.values())
        if heard >= self._heard or now - self._heard_s > VOICES_HELD_S:
            self._heard, self._heard_s = min(heard, LOUDEST_RELAYED), now
        counts = {*slots, LOUDEST_RELAYED}
        before = self._order(counts)
        self._speakers.update(levels, now)
        return self._order(counts) != before

    def _order(self, counts: Iterable[int]) -> tuple[object, ...]:
        """Of voices who is among the first counts, and not in which place: a slot is a slot.

        And one more, for none has its own voice in a slot.
        """
        voices = self._speakers.voices
        firsts = [frozenset(voices[:first]) for count in counts for first in (count, count + 1)]
        return self._speakers.ranking, *firsts
