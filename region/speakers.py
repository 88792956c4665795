"""Who speaks: the dominant speaker, and microphones in the order in which they deserve a slot.

Dominance is told from three time scales, as in Volfin & Cohen, "Dominant speaker
identification for multipoint videoconferencing" (2013): whoever speaks now, has spoken for
most of the last second, and stands out over the last seconds. Pictures follow it, slowly;
voices follow loudness, at once. Levels are RFC 6464's: 0 is the loudest, 127 digital silence.
Pure; it knows no stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp

from relay.ids import SourceId

SILENCE_DBOV = 127
SILENT_DBOV = 60
"""At or beyond this a microphone carries no speech."""

MEDIUM_S = 1.0
LONG_S = 4.0
TURN_SHARE = 0.5
"""Of the last second in speech: a turn, by which one may become dominant. No cough is so long."""
OVER_SHARE = 0.2
"""Below this a turn is over."""
GIVES_WAY_S = 0.6
"""Longer than pauses between words: a dominant speaker who is silent for it gives way."""
LOUDER_DB = 10
"""By so much over both scales somebody else is who people listen to, for all that both speak."""
MAX_STEP_S = 0.4
"""One measurement stands for no more time than this, however late it comes."""

STEADY_S = 8.0
"""What never stops in so long is no speech but noise, unless it is loud."""
ABOVE_NOISE_DB = 8
MAX_NOISE_DBOV = 53

RELEASE_DB_PER_S = 10.0
"""A voice falls so slowly in its rank, so that nobody loses a slot between two words."""
RANK_STEP_DB = 6.0
"""A voice keeps the rank of its last loudness until it differs by this much."""


class Speakers:
    """All microphones of one conference that are heard on this bridge, as time goes by."""

    def __init__(self) -> None:
        self.dominant: SourceId | None = None
        """Who is speaking; who spoke last while nobody does."""
        self._microphones: dict[SourceId, _Microphone] = {}
        self._ranking: list[SourceId] = []
        self._dominated: set[SourceId] = set()
        self._voices: list[SourceId] = []
        self._updated_s: float | None = None

    @property
    def ranking(self) -> tuple[SourceId, ...]:
        """Who was dominant, the last first; then who had a turn, the last first.

        For pictures: nobody moves for a cough. Who has not spoken yet is not in it.
        """
        return tuple(self._ranking)

    @property
    def voices(self) -> tuple[SourceId, ...]:
        """Who is heard, the loudest first but behind the dominant speaker; then who was.

        For audio slots: the first syllable already counts. Who was never heard is not in it.
        """
        return tuple(self._voices)

    @property
    def microphones(self) -> int:
        """How many there are, as of the last update."""
        return len(self._microphones)

    def update(self, levels: Mapping[SourceId, int], now: float) -> None:
        """Levels as they are now, in −dBov, of all microphones; each 0.2 s or faster."""
        elapsed_s = 0.0 if self._updated_s is None else min(now - self._updated_s, MAX_STEP_S)
        self._updated_s = now
        for source in self._microphones.keys() - levels.keys():
            self._forget(source)
        medium, long = 1 - exp(-elapsed_s / MEDIUM_S), 1 - exp(-elapsed_s / LONG_S)
        release_db = RELEASE_DB_PER_S * elapsed_s
        for source, level in levels.items():
            microphone = self._microphones.get(source)
            if microphone is None:
                microphone = self._microphones[source] = _Microphone(steady_since_s=now)
            microphone.hear(level, now)
            microphone.average(medium, long)
            microphone.rank(release_db)
            if microphone.begins_turn():
                self._promote(source)
        self._elect(now)
        self._sort_voices()

    def _forget(self, source: SourceId) -> None:
        del self._microphones[source]
        self._dominated.discard(source)
        for order in (self._ranking, self._voices):
            if source in order:
                order.remove(source)
        if source == self.dominant:
            self.dominant = None

    def _promote(self, source: SourceId) -> None:
        """A turn begins: before all who have never been dominant either."""
        if source not in self._dominated:
            if source in self._ranking:
                self._ranking.remove(source)
            self._ranking.insert(len(self._dominated), source)

    def _elect(self, now: float) -> None:
        candidates = [
            source
            for source, microphone in self._microphones.items()
            if microphone.loudness_db and microphone.share >= TURN_SHARE
        ]
        if self.dominant is not None:
            present = self._microphones[self.dominant]
            candidates = [
                source
                for source in candidates
                if source != self.dominant and self._microphones[source].outdoes(present, now)
            ]
        if candidates:
            # Of two who begin together the louder: the other may be an echo.
            self.dominant = max(candidates, key=lambda each: self._microphones[each].medium_db)
            self._dominated.add(self.dominant)
            self._ranking.remove(self.dominant)
            self._ranking.insert(0, self.dominant)

    def _sort_voices(self) -> None:
        heard = set(self._voices)
        for source, microphone in self._microphones.items():
            if microphone.ranked_db and source not in heard:
                self._voices.append(source)
        loudness = {source: self._microphones[source].ranked_db for source in self._voices}
        if self.dominant is not None and loudness.get(self.dominant):
            loudness[self.dominant] = float(SILENCE_DBOV)
        # Stable: of two that are equally loud, or silent, who was first stays so.
        self._voices.sort(key=lambda source: -loudness[source])


@dataclass(slots=True)
class _Microphone:
    """Loudness is in dB above `SILENT_DBOV`, and 0 without speech."""

    steady_since_s: float
    noise_dbov: int = SILENCE_DBOV
    quietest_dbov: int = 0
    """Since `steady_since_s`."""
    spoke_s: float = float("-inf")
    loudness_db: int = 0
    share: float = 0.0
    """Of the last second in speech."""
    medium_db: float = 0.0
    long_db: float = 0.0
    in_turn: bool = False
    envelope_db: float = 0.0
    ranked_db: float = 0.0

    def hear(self, level: int, now: float) -> None:
        """Immediately: is it speech, and how loud?"""
        if now - self.steady_since_s >= STEADY_S:
            self.noise_dbov, self.quietest_dbov, self.steady_since_s = self.quietest_dbov, 0, now
        if level > self.quietest_dbov:
            self.quietest_dbov = level
        noise_dbov = max(MAX_NOISE_DBOV, self.noise_dbov, self.quietest_dbov)
        if level < SILENT_DBOV and level <= noise_dbov - ABOVE_NOISE_DB:
            self.loudness_db, self.spoke_s = SILENT_DBOV - level, now
        else:
            self.loudness_db = 0

    def average(self, medium: float, long: float) -> None:
        """Over the last second and over the last seconds, by the weights of what is new."""
        self.share += medium * ((self.loudness_db > 0) - self.share)
        self.medium_db += medium * (self.loudness_db - self.medium_db)
        self.long_db += long * (self.loudness_db - self.long_db)

    def begins_turn(self) -> bool:
        """Whether it is a turn now and was none before."""
        before, least = self.in_turn, OVER_SHARE if self.in_turn else TURN_SHARE
        self.in_turn = self.share >= least
        return self.in_turn and not before

    def outdoes(self, dominant: "_Microphone", now: float) -> bool:
        """Whether this one, who has a turn, takes over: the other is silent, or far quieter."""
        return now - dominant.spoke_s >= GIVES_WAY_S or (
            self.medium_db >= dominant.medium_db + LOUDER_DB
            and self.long_db >= dominant.long_db + LOUDER_DB
        )

    def rank(self, release_db: float) -> None:
        """Up at once, down slowly, and in steps."""
        self.envelope_db = max(self.loudness_db, self.envelope_db - release_db, 0.0)
        change_db = abs(self.envelope_db - self.ranked_db)
        if not self.envelope_db or not self.ranked_db or change_db >= RANK_STEP_DB:
            self.ranked_db = self.envelope_db
