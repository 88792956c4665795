"""What senders are told that anyone wants of them: more at once, less only when it stays less.

Pure. A layer that stops and begins again costs a keyframe and a moment without it, so a passing
change of some receiver's bandwidth is not passed on.
"""

from collections.abc import Mapping

from region.encodings import merged
from relay.ids import Layer, SourceId

HOLD_S = 3.0
"""A layer has to be unwanted for so long before its sender is told."""

Layers = tuple[Layer, ...]


class Wishes:
    """What was told of each source."""

    def __init__(self) -> None:
        self._told: dict[SourceId, Layers] = {}
        self._excessive_s: dict[SourceId, float] = {}
        """Since when more is told than is wanted."""

    def update(self, wanted: Mapping[SourceId, Layers], now: float) -> dict[SourceId, Layers]:
        """What is to be told now, of these sources; others are forgotten."""
        self._told = {source: each for source, each in self._told.items() if source in wanted}
        self._excessive_s = {s: at for s, at in self._excessive_s.items() if s in wanted}
        changes = {}
        for source, layers in wanted.items():
            told = self._told.get(source)
            if told == layers:
                self._excessive_s.pop(source, None)
                continue
            held = now - self._excessive_s.setdefault(source, now) < HOLD_S
            if told is None and held and not layers:
                continue  # who has just come is seen in a moment
            tell = merged((*told, *layers), scalable=False) if told and held else layers
            if tell == layers:
                self._excessive_s.pop(source, None)
            if tell != told:
                changes[source] = self._told[source] = tell
        return changes

    def forget(self, source: SourceId) -> None:
        """Its sender has begun anew, and knows nothing."""
        self._told.pop(source, None)
        self._excessive_s.pop(source, None)
