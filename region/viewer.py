"""One participant's slots: shares its bandwidth out among them, and sets what they carry."""

from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass

from region.allocation import WORTH_A_KEYFRAME, Rates, Request, allocate
from region.downlink import Downlink
from region.encodings import Choice, choose, is_larger
from region.feed import Feed
from region.kernel import NO_STREAM, PathReport, Pump
from region.participant import Participant, Slot
from relay.control import Picture
from relay.ids import TOP_LAYER, Layer, MediaKind, SourceId, SourceKind, VideoCodec, kind_of


@dataclass(frozen=True, slots=True)
class _Carried:
    """What an egress was told to carry."""

    feed: Feed
    encoding: int
    limit: Layer
    layer: Layer
    """The layer that it was chosen for."""
    height_px: int
    """Of the place where it is shown; 0 for sound."""

    @property
    def arriving(self) -> Layer:
        """The layer that it is, or that stands in for it."""
        scalable = self.feed.encodings[self.encoding].spatial_layers > 1
        return self.layer if scalable else Layer(self.encoding, self.limit.temporal)

    def is_too_much_beside(self, wanted: "_Carried") -> bool:
        """Whether it is given up for want of bandwidth, and not because nobody looks so closely."""
        return (
            self.feed is wanted.feed
            and wanted.layer < self.layer
            and wanted.height_px >= self.height_px > 0
        )


class Viewer:
    """`hear` and `see` say what; `share_out` how good; `carry_…` have the kernel do it."""

    def __init__(self, participant: Participant, pump: Pump) -> None:
        self.participant = participant
        self.downlink = Downlink(reports=any(slot.numbered for slot in participant.slots))
        self._pump = pump
        self.wanted_bps = 0
        """What its pictures would cost at the sizes at which they are shown, as far as its path
        carries that; as of the last `share_out`."""
        self._heard: Mapping[Slot, SourceId] = {}
        self._shown: Mapping[Slot, SourceId] = {}
        self._pictures: tuple[Picture, ...] = ()
        self._layers: dict[SourceId, Layer] = {}
        self._rates_bps: dict[SourceId, Rates] = {}
        """As of the last `share_out`."""
        self._spare_bps = 0
        """What it left, and larger pictures that stand in have not taken."""
        self._carried: dict[int, _Carried] = {}
        """By egress: what it carries or will as soon as a keyframe comes."""
        self._before: dict[int, list[_Carried]] = {}
        """By egress: what it was told before, one of which it carries until then."""
        self._targets: tuple[tuple[SourceId, Layer], ...] | None = None
        """Of the pictures in `_carried`, as their feeds were when they were carried last."""

    def follow(self, report: PathReport, now: float) -> None:
        """What its path's feedback says: reckon with it, and have the kernel do so."""
        transport, downlink = self.participant.transport, self.downlink
        downlink.on_report(report, now)
        limit_bps, rtt_s = downlink.new_repeats_bps(), downlink.new_rtt_s(report.rtt_s)
        if limit_bps is not None or rtt_s is not None:
            self._pump.set_path(transport, rtt_s=rtt_s, repeats_bps=limit_bps)
        if (probe := downlink.next_probe(now)) is not None:
            self._pump.probe(transport, probe.rate_bps, probe.duration_s, probe.cluster)
        self._tell_ample()

    def _tell_ample(self) -> None:
        if (ample := self.downlink.new_ample()) is not None:
            self._pump.set_path(self.participant.transport, ample=ample)

    def hear(self, heard: Mapping[Slot, SourceId]) -> None:
        """Whose voice is to be in which slot."""
        self._heard = heard

    def see(self, shown: Mapping[Slot, SourceId], pictures: tuple[Picture, ...]) -> None:
        """Which picture is to be in which slot, and which are the most wanted, these first."""
        self._shown, self._pictures = shown, pictures

    def hears_any(self, sources: Set[SourceId]) -> bool:
        """Whether one of them is to be in one of its slots for voices."""
        return not sources.isdisjoint(self._heard.values())

    def sees_any(self, sources: Set[SourceId]) -> bool:
        """Whether one of them is to be in one of its slots for pictures."""
        return not sources.isdisjoint(self._shown.values())

    def share_out(
        self,
        feeds: Mapping[SourceId, Feed],
        codec: VideoCodec,
        audio_bps: int,
        now: float,
        *,
        small: bool,
    ) -> bool:
        """Decide anew at which layer each picture is shown; whether any is at another.

        `small`: none is larger than it must be.
        """
        requests = [
            Request(
                source=picture.source,
                height_px=picture.height_px,
                stage=picture.stage,
                screen=kind_of(picture.source) is SourceKind.SCREEN,
                rates_bps=_rates_bps(feeds[picture.source], codec, small=small),
                held=self._layers.get(picture.source),
            )
            for picture in self._pictures
            if picture.source in feeds
        ]
        before = self._layers
        budget_bps = self.downlink.budget_bps(audio_bps, now)
        self._layers = allocate(budget_bps, requests)
        self._rates_bps = {each.source: each.rates_bps for each in requests}
        costs_bps = (self._rates_bps[source][layer] for source, layer in self._layers.items())
        self._spare_bps = budget_bps - sum(costs_bps)
        full_bps = (
            feeds[each.source].rates_bps(codec).shown_bps(each.height_px) for each in requests
        )
        self.wanted_bps = min(budget_bps, sum(full_bps))
        best_bps = sum(each.rates_bps.best_bps for each in requests)
        self.downlink.on_wanted(audio_bps + int(WORTH_A_KEYFRAME * best_bps))
        self._tell_ample()
        return self._layers != before

    def carry_voices(self, feeds: Mapping[SourceId, Feed]) -> None:
        """Let each slot for a voice carry what it shall."""
        for slot in self.participant.slots:
            if slot.media is MediaKind.AUDIO:
                source = self._heard.get(slot)
                feed = None if source is None else feeds.get(source)
                wanted = None if feed is None else _Carried(feed, 0, TOP_LAYER, TOP_LAYER, 0)
                self._set(slot.egress, wanted)

    def carry_pictures(self, feeds: Mapping[SourceId, Feed]) -> None:
        """Let each slot for a picture carry what it shall, as far as it is there."""
        self._targets = None
        heights_px = {picture.source: picture.height_px for picture in self._pictures}
        for slot in self.participant.slots:
            if slot.media is MediaKind.AUDIO:
                continue
            source = self._shown.get(slot)
            feed = None if source is None else feeds.get(source)
            layer = None if source is None else self._layers.get(source)
            if feed is None or layer is None:
                self._set(slot.egress, None)
                continue
            choice = self._choose(feed, layer)
            height_px = heights_px.get(feed.source, 0)
            self._set(slot.egress, _Carried(feed, choice.encoding, choice.limit, layer, height_px))

    def _choose(self, feed: Feed, layer: Layer) -> Choice:
        """What to show of it for this layer: nothing larger that the path is known not to carry."""
        choice = choose(feed.encodings, layer)
        if not self.downlink.is_known or not is_larger(feed.encodings, choice, layer):
            return choice
        rates_bps = self._rates_bps[feed.source]
        larger_bps = rates_bps.get(Layer(choice.encoding, choice.limit.temporal))
        if larger_bps is None or larger_bps - rates_bps[layer] > self._spare_bps:
            return Choice(encoding=layer.spatial, limit=layer)
        self._spare_bps -= larger_bps - rates_bps[layer]
        return choice

    def targets(self, awaiting: Collection[int]) -> Iterator[tuple[SourceId, Layer]]:
        """What has to come so that every picture is as it shall be, and until then as it is.

        `awaiting` are the egresses that wait for a keyframe.
        """
        if self._targets is None:
            self._targets = tuple(
                (each.feed.source, layer)
                for each in self._carried.values()
                if kind_of(each.feed.source).media is MediaKind.VIDEO
                for layer in {each.layer, each.arriving}
            )
        yield from self._targets
        for egress, before in list(self._before.items()):
            if egress in awaiting:
                yield from ((each.feed.source, each.arriving) for each in before)
            else:
                del self._before[egress]

    def awaited(self, awaiting: frozenset[int]) -> Iterator[tuple[SourceId, int]]:
        """The encodings of which these egresses need a keyframe."""
        if awaiting.isdisjoint(self._carried):  # mostly: it is asked of everybody at each look
            return
        for egress, carried in self._carried.items():
            if egress in awaiting:
                yield carried.feed.source, carried.encoding

    def in_slot(self, slot: Slot) -> tuple[SourceId, int] | None:
        """The source and encoding that a slot shall carry."""
        carried = self._carried.get(slot.egress)
        return None if carried is None else (carried.feed.source, carried.encoding)

    def _set(self, egress: int, wanted: _Carried | None) -> None:
        before = self._carried.get(egress)
        if before == wanted:
            return
        if wanted is None:
            self._pump.set_source(egress, NO_STREAM)
            self._carried.pop(egress, None)
            self._before.pop(egress, None)
            return
        if before is None or before.limit != wanted.limit:
            self._pump.set_layer(egress, wanted.limit.spatial, wanted.limit.temporal)
        if before is None or (before.feed, before.encoding) != (wanted.feed, wanted.encoding):
            if before is not None and before.is_too_much_beside(wanted):
                # A moment without a new picture is better than a queue in which sound stands.
                self._pump.set_source(egress, NO_STREAM)
            self._pump.set_source(egress, wanted.feed.streams[wanted.encoding])
            if before is not None and before not in (told := self._before.setdefault(egress, [])):
                told.append(before)
        self._carried[egress] = wanted


def _rates_bps(feed: Feed, codec: VideoCodec, *, small: bool) -> Rates:
    rates_bps = feed.rates_bps(codec)
    if not small:
        return rates_bps
    lowest = min((layer.spatial for layer in rates_bps), default=0)
    return Rates({each: bps for each, bps in rates_bps.items() if each.spatial == lowest})
