"""Which RTP streams of a source carry a wanted layer, as far as its streams are alive.

With simulcast each spatial layer is an encoding of its own, and a sender that is short of
bandwidth stops the upper ones; with SVC one encoding carries all layers. Pure; it knows
neither the kernel nor a trunk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.ids import TOP_LAYER, Layer, VideoCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One RTP stream of a source as it is seen here."""

    alive: bool
    """Whether packets came lately."""
    codec: VideoCodec | None = None
    """Of its last packets; None while that is unknown."""
    spatial_layers: int = 1
    """How many it has inside, as far as was seen: more than one with SVC only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an egress shall carry."""

    encoding: int
    """Index among the source's encodings."""
    limit: Layer
    """The highest layers that pass: with SVC both, otherwise the temporal one counts."""


def choose(encodings: Sequence[Encoding], target: Layer) -> Choice:
    """What to show for `target`: its encoding, or the best below that, or the next above it.

    Where none is alive it is the target's own, so that it shows as soon as packets come.
    `encodings` has at least one, the lowest spatial layer first.
    """
    own = min(target.spatial, len(encodings) - 1)
    alive = [index for index, each in enumerate(encodings) if each.alive]
    # While the codec changes, the encodings of simulcast stay alive for a moment.
    scalable = [index for index in alive if _scalable(encodings[index])]
    usable = scalable or alive or [own]
    last = usable[-1]
    if encodings[last].spatial_layers > 1:
        lacking = target.spatial >= encodings[last].spatial_layers
        return Choice(encoding=last, limit=_smooth(target) if lacking else target)
    index = max((each for each in usable if each <= own), default=usable[0])
    return Choice(encoding=index, limit=_smooth(target) if index < own else target)


def is_larger(encodings: Sequence[Encoding], choice: Choice, target: Layer) -> bool:
    """Whether a larger picture than was wanted stands in for it; with SVC what is wanted comes."""
    return choice.encoding > target.spatial and not _scalable(encodings[choice.encoding])


def carried(encodings: Sequence[Encoding], layers: Iterable[Layer]) -> dict[int, Layer]:
    """What of a source crosses a trunk where `layers` are wanted: each encoding and its limit.

    A layer that is not alive is stood in for by one that is, wanted or not: its receivers
    could not know what to ask for.
    """
    limits: dict[int, Layer] = {}
    for layer in layers:
        choice = choose(encodings, layer)
        limit = limits.get(choice.encoding, choice.limit)
        limits[choice.encoding] = Layer(
            max(limit.spatial, choice.limit.spatial), max(limit.temporal, choice.limit.temporal)
        )
    return limits


def merged(layers: Iterable[Layer], *, scalable: bool) -> tuple[Layer, ...]:
    """All that is wanted of a source, ascending: each spatial layer, and the best temporal of it.

    With a `scalable` codec one is enough: the layers below come with it.
    """
    highest: dict[int, int] = {}
    for layer in layers:
        highest[layer.spatial] = max(layer.temporal, highest.get(layer.spatial, 0))
    if scalable and highest:
        return (Layer(max(highest), max(highest.values())),)
    return tuple(Layer(spatial, highest[spatial]) for spatial in sorted(highest))


def _scalable(encoding: Encoding) -> bool:
    return encoding.codec is not None and encoding.codec.scalable


def _smooth(layer: Layer) -> Layer:
    """A smaller picture than was wanted can at least move fully, for no more bandwidth."""
    return Layer(layer.spatial, TOP_LAYER.temporal)
