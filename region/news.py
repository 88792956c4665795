"""What a bridge finds when it looks: what its pump has to tell, of all conferences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from region.kernel import PathReport


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What has happened since the look before."""

    changed: frozenset[int] = frozenset()
    """Streams that have begun, ended, or become others."""
    reports: Mapping[int, PathReport] = field(default_factory=dict)
    """By transport: what is new of its path."""
    awaiting: frozenset[int] = frozenset()
    """All egresses that wait for a keyframe."""
    awaiting_anew: frozenset[int] = frozenset()
    """Of these, those that did not at the look before."""
