"""One receiver's bandwidth, shared out among the pictures that it wants. Pure; sound goes first.

A picture climbs a ladder: the layers that its place on the screen can use, each dearer than
the one before. Everybody's steps are taken by urgency, as far as the budget goes.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.ids import SPATIAL_LAYERS, TEMPORAL_LAYERS, Layer, SourceId, SourceKind, VideoCodec

STAGE_FIRST = Layer(1, 2)
"""Up to here, 360p at 30 a second, a picture on the stage comes before all others."""
SPATIAL_FROM_PX = (0, 360, 720)
"""From which height of its place on a picture can use each spatial layer."""
WORTH_A_KEYFRAME = 1.2
"""Of what a larger picture costs there must be, to go over to it: keyframes are large."""
IGNORED_CHANGE = 0.15
"""Of the estimate: an estimator's wobble, which shall switch no layers."""
REALLOCATE_S = 5.0
"""Even without any greater change, for small ones add up."""

_CAMERA_BPS = {
    VideoCodec.VP8: (200_000, 500_000, 1_500_000),
    VideoCodec.VP9: (100_000, 300_000, 1_200_000),
    VideoCodec.AV1: (100_000, 300_000, 1_000_000),
    VideoCodec.H264: (400_000, 800_000, 2_000_000),
}
"""At 180p, 360p, 720p; with SVC what is below is within."""
_SCREEN_BPS = (300_000, 900_000, 2_500_000)
_TEMPORAL_SHARES = (0.5, 0.75, 1.0)


Ladder = list[tuple[Layer, int]]
"""Layers and their costs in bit/s, both ascending."""


class Rates(dict[Layer, int]):
    """What it costs to show each layer that there is, all that it needs included.

    Not to be changed once it is asked for ladders: many receivers share them.
    """

    __slots__ = ("_ladders", "best_bps")

    def __init__(self, rates_bps: Mapping[Layer, int]) -> None:
        super().__init__(rates_bps)
        self.best_bps = max(self.values(), default=0)
        self._ladders: dict[tuple[int, int | None], Ladder] = {}

    def shown_bps(self, height_px: int) -> int:
        """The best of them that a place so high can use."""
        ladder = self.ladder(height_px, None) if self else ()
        return ladder[-1][1] if ladder else 0

    def ladder(self, height_px: int, held: Layer | None) -> Ladder:
        """All temporal layers of a spatial one, then the next; none that a better one undercuts.

        For a place so high in which `held` is shown already. A larger picture is not shown at
        the lowest rate: what moves in it would be seen to jump.
        """
        needed = bisect_right(SPATIAL_FROM_PX, height_px) - 1
        which = needed, None if held is None else held.spatial
        ladder = self._ladders.get(which)
        if ladder is None:
            ladder = self._ladders[which] = self._make_ladder(*which)
        return ladder

    def _make_ladder(self, needed: int, held: int | None) -> Ladder:
        lowest = min(layer.spatial for layer in self)
        moving = {layer.spatial for layer in self if layer.temporal}
        ladder: Ladder = []
        for layer in sorted(self, reverse=True):
            cost_bps = self[layer]
            if held is not None and layer.spatial > held:
                cost_bps = int(cost_bps * WORTH_A_KEYFRAME)
            if (
                layer.spatial <= max(needed, lowest)
                and (layer.spatial == lowest or layer.temporal or layer.spatial not in moving)
                and (not ladder or cost_bps < ladder[-1][1])
            ):
                ladder.append((layer, cost_bps))
        return ladder[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A picture that a receiver wants."""

    source: SourceId
    height_px: int
    """Of its place on the receiver's screen; "height" is the smaller side."""
    stage: bool
    screen: bool
    rates_bps: Rates
    held: Layer | None = None
    """At which it is shown already."""


def allocate(budget_bps: int, requests: Sequence[Request]) -> dict[SourceId, Layer]:
    """The layer at which each picture is shown; those that are not in it pause.

    `requests` has each source once, the most wanted first. That one is shown whatever the
    budget; but for it, all together cost no more than that. Where a step is too dear, others
    may still take theirs, but pictures that are shown climb on only when all could be paid:
    so a larger budget never shows the most wanted one worse.
    """
    share = _Share(budget_bps, [request for request in requests if request.rates_bps])
    share.show_first()
    for place in share.screens:
        share.climb(place, 1)
    if share.enough:
        for place in share.stage:
            share.climb_to(place, STAGE_FIRST)
    for place in share.places:
        share.climb(place, 1)
    while share.enough and not share.at_the_top:
        for place in share.by_urgency:
            share.climb(place, share.steps[place] + 1)
    return share.shown()


class Budget:
    """How much may be shared out: it follows an estimate, but not in each of its wobbles."""

    def __init__(self) -> None:
        self.bps = 0
        """For pictures, at the last time that `update` said to allocate anew."""
        self._estimate_bps: int | None = None
        self._allocated_s = 0.0

    def update(self, estimate_bps: int, audio_bps: int, now: float) -> bool:
        """Whether to allocate anew, with the estimate as it is now less what sound needs."""
        bps = max(0, estimate_bps - audio_bps)
        if (
            self._estimate_bps is not None
            and abs(bps - self.bps) < IGNORED_CHANGE * self._estimate_bps
            and now - self._allocated_s < REALLOCATE_S
        ):
            return False
        self.bps, self._estimate_bps, self._allocated_s = bps, estimate_bps, now
        return True


def nominal_rates(codec: VideoCodec, kind: SourceKind, spatial_layers: int) -> dict[Layer, int]:
    """What each layer of a camera or screen may cost at most, for where it was not measured.

    `spatial_layers` counts encodings with simulcast, what is inside of one with SVC; the
    highest is the whole picture, each below it half as high.
    """
    whole = _SCREEN_BPS if kind is SourceKind.SCREEN else _CAMERA_BPS[codec]
    return {
        Layer(spatial, temporal): int(bps * _TEMPORAL_SHARES[temporal])
        for spatial, bps in enumerate(whole[SPATIAL_LAYERS - spatial_layers :])
        for temporal in range(TEMPORAL_LAYERS)
    }


class _Share:
    """A budget that is being shared out: how far each picture has climbed, and what is left."""

    def __init__(self, budget_bps: int, requests: Sequence[Request]) -> None:
        self.enough = True
        """Whether every step could be paid so far."""
        self.steps = [0] * len(requests)
        self.places = range(len(requests))
        self.screens = [place for place in self.places if requests[place].screen]
        self.stage = [place for place in self.places if requests[place].stage]
        self.by_urgency = [
            *self.places[:1],
            *(place for place in self.stage if place),
            *(place for place in self.places[1:] if not requests[place].stage),
        ]
        self._requests = requests
        self._ladders = [each.rates_bps.ladder(each.height_px, each.held) for each in requests]
        self._left_bps = budget_bps

    @property
    def at_the_top(self) -> bool:
        return all(self.steps[place] == len(self._ladders[place]) for place in self.places)

    def show_first(self) -> None:
        for place in self.places[:1]:
            self._left_bps -= self._dearer_bps(place)
            self.steps[place] = 1

    def climb(self, place: int, to: int) -> None:
        """Up to so many steps of its ladder, as far as what is left pays for them."""
        while self.steps[place] < min(to, len(self._ladders[place])):
            dearer_bps = self._dearer_bps(place)
            if dearer_bps > self._left_bps:
                self.enough = False
                return
            self._left_bps -= dearer_bps
            self.steps[place] += 1

    def climb_to(self, place: int, layer: Layer) -> None:
        self.climb(place, sum(each <= layer for each, _ in self._ladders[place]))

    def shown(self) -> dict[SourceId, Layer]:
        return {
            self._requests[place].source: self._ladders[place][steps - 1][0]
            for place, steps in enumerate(self.steps)
            if steps
        }

    def _dearer_bps(self, place: int) -> int:
        """What the next step costs more than what is shown now."""
        ladder, step = self._ladders[place], self.steps[place]
        return ladder[step][1] - (ladder[step - 1][1] if step else 0)
