"""What has to come to a bridge of one conference, for what is shown here and passed on. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from region.conference import Knowledge, Layers, Plan
from relay.ids import (
    SPATIAL_LAYERS,
    TEMPORAL_LAYERS,
    TOP_LAYER,
    BridgeId,
    Layer,
    SourceId,
    SourceKind,
    kind_of,
    participant_of,
)

_TOP_ALONE = (TOP_LAYER,)
_LAYERS = [
    [Layer(spatial, temporal) for temporal in range(TEMPORAL_LAYERS)]
    for spatial in range(SPATIAL_LAYERS)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What has to come here, for those who are here and those to whom it is passed on."""

    peers: Mapping[BridgeId, Mapping[SourceId, Layers]]
    """What is wanted from each peer that announces anything; what is not in it is not."""
    own: Mapping[SourceId, Layers]
    """What anybody anywhere wants of each source of a participant here; empty for nothing."""


def demands(
    planned: Plan, knowledge: Knowledge, targets: Iterable[tuple[SourceId, Layer]]
) -> Demands:
    """What `planned` needs, where each of `targets` is a picture and how good a slot shows it.

    A slot that still shows something else than it shall has two targets: the one goes on until
    the other has come. Pictures that pause are in none.
    """
    wanted: dict[SourceId, list[int]] = {}
    """Of each source the highest temporal layer of each spatial one; −1 for none."""
    for source, layer in targets:
        _want(wanted, source, layer)
    for leg in planned.legs.values():
        for source, layers in leg.items():
            for layer in layers:
                _want(wanted, source, layer)
    own = knowledge.own
    for source in _listened_to(knowledge, planned, own):
        _want(wanted, source, TOP_LAYER)
    scalable = knowledge.state.codec.scalable
    short = {
        source: _TOP_ALONE
        if kind_of(source) is SourceKind.MICROPHONE
        else _layers_of(best, scalable=scalable)
        for source, best in wanted.items()
        if source in planned.unmuted
    }
    peers: dict[BridgeId, dict[SourceId, Layers]] = {peer: {} for peer in knowledge.offered}
    for source in short.keys() & planned.upstreams.keys():
        peers[planned.upstreams[source]][source] = short[source]
    return Demands(peers=peers, own={source: short.get(source, ()) for source in own})


def _want(wanted: dict[SourceId, list[int]], source: SourceId, layer: Layer) -> None:
    best = wanted.get(source)
    if best is None:
        best = wanted[source] = [-1] * SPATIAL_LAYERS
    if layer.temporal > best[layer.spatial]:
        best[layer.spatial] = layer.temporal


def _layers_of(best: Sequence[int], *, scalable: bool) -> Layers:
    """What `region.encodings.merged` would make of all that is wanted of a source."""
    spatials = [spatial for spatial, temporal in enumerate(best) if temporal >= 0]
    if scalable:
        return (_LAYERS[spatials[-1]][max(best)],)
    return tuple(_LAYERS[spatial][best[spatial]] for spatial in spatials)


def _listened_to(knowledge: Knowledge, planned: Plan, own: set[SourceId]) -> Iterator[SourceId]:
    """Microphones that must come so that the loudest can be told: all, where anybody listens.

    A bridge announces only its loudest, so who is behind no slot and on no leg today may speak
    next; of those here that goes for listeners elsewhere, too.
    """
    listeners = {each for each, local in knowledge.locals.items() if local.audio_slots}
    elsewhere = any(
        source in own and kind_of(source) is SourceKind.MICROPHONE
        for leg in planned.legs.values()
        for source in leg
    )

    def is_needed(source: SourceId) -> bool:
        others = len(listeners) - (participant_of(source) in listeners)
        return others > 0 or (elsewhere and source in own)

    voices = (
        source
        for source in own | planned.upstreams.keys()
        if kind_of(source) is SourceKind.MICROPHONE
    )
    return (source for source in voices if is_needed(source))
