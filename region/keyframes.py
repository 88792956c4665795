"""Keyframe requests merged per source: however many ask, the sender is asked rarely.

Pure; RFC 4585 §6.3.1 (PLI) and RFC 5104 §4.3.1 (FIR) are the requests it merges.
"""

from collections.abc import Collection

from relay.ids import SourceId

MIN_INTERVAL_S = 0.2
"""A source is asked at most this often."""


class KeyframeRequests:
    """Who was asked when, and who shall be asked again."""

    def __init__(self) -> None:
        self._asked_s: dict[SourceId, float] = {}
        self._waiting: set[SourceId] = set()

    def request(self, source: SourceId, now: float) -> bool:
        """Whether to ask now; if not, `due` gives the source when its interval is over."""
        asked_s = self._asked_s.get(source)
        if asked_s is not None and now - asked_s < MIN_INTERVAL_S:
            self._waiting.add(source)
            return False
        self._asked_s[source] = now
        self._waiting.discard(source)
        return True

    def due(self, now: float) -> list[SourceId]:
        """Those that were asked for too early and may be asked now; each is given once."""
        ready = [
            source
            for source in sorted(self._waiting)
            if now - self._asked_s[source] >= MIN_INTERVAL_S
        ]
        for source in ready:
            self._waiting.discard(source)
            self._asked_s[source] = now
        return ready

    def retain(self, sources: Collection[SourceId]) -> None:
        """Forget all but these: the others are gone."""
        self._asked_s = {each: at_s for each, at_s in self._asked_s.items() if each in sources}
        self._waiting &= set(sources)
