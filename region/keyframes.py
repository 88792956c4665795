"""Keyframe requests merged per source: however many ask, the sender is asked rarely.

Pure; RFC 4585 §6.3.1 (PLI) and RFC 5104 §4.3.1 (FIR) are the requests it merges. A request
names an encoding; those of a source that wait together are asked for together.
"""

from collections.abc import Collection

from relay.ids import SourceId

MIN_INTERVAL_S = 0.2
"""A source is asked at most this often."""


class KeyframeRequests:
    """Who was asked when, and who shall be asked again for what."""

    def __init__(self) -> None:
        self._asked_s: dict[SourceId, float] = {}
        self._waiting: dict[SourceId, set[int]] = {}

    def request(self, source: SourceId, encoding: int, now: float) -> list[int]:
        """The encodings to ask for now; none where `due` will give them in time."""
        self._waiting.setdefault(source, set()).add(encoding)
        asked_s = self._asked_s.get(source)
        if asked_s is not None and now - asked_s < MIN_INTERVAL_S:
            return []
        self._asked_s[source] = now
        return sorted(self._waiting.pop(source))

    @property
    def defers(self) -> bool:
        """Whether `due` will give anything."""
        return bool(self._waiting)

    def due(self, now: float) -> dict[SourceId, list[int]]:
        """What was asked for too early and may be asked for now; each is given once."""
        ready = {
            source: sorted(encodings)
            for source, encodings in sorted(self._waiting.items())
            if now - self._asked_s[source] >= MIN_INTERVAL_S
        }
        for source in ready:
            del self._waiting[source]
            self._asked_s[source] = now
        return ready

    def forget(self, source: SourceId) -> None:
        """What waited was of encodings that it has no more."""
        self._waiting.pop(source, None)

    def retain(self, sources: Collection[SourceId]) -> None:
        """Forget all but these: the others are gone."""
        self._asked_s = {each: at_s for each, at_s in self._asked_s.items() if each in sources}
        self._waiting = {each: what for each, what in self._waiting.items() if each in sources}
