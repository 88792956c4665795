"""RTCP of one conference: keyframe requests and NACKs find whom they concern."""

from collections.abc import Iterable

from region.flows import Flows
from region.kernel import Pump
from region.keyframes import KeyframeRequests
from region.legs import Leg
from region.participant import OWN_SSRC, Participant, Slot
from region.rtcp import Pli, ReceiverReport, build_compound
from region.trunks import Trunks
from relay.ids import BridgeId, MediaKind, SourceId, Ssrc, participant_of

MADE_GOOD_S = 2.0
"""A keyframe makes up for all that was lost before it. What is missed until it is there was lost
before, and keyframe upon keyframe would fill a thin link with nothing else."""


class RtcpRouter:
    """Reads a conference's flows and changes none of them."""

    def __init__(self, flows: Flows, *, pump: Pump, trunks: Trunks) -> None:
        self._flows = flows
        self._pump = pump
        self._trunks = trunks
        self._keyframes = KeyframeRequests()
        self._made_good_s: dict[tuple[SourceId, int], float] = {}
        """By encoding: when a keyframe was asked for to make up for what was lost."""

    # Keyframes

    def request_keyframe(self, source: SourceId, encoding: int, now: float) -> None:
        """Ask for one where the source comes from, unless that was done a moment ago."""
        self._send_pli(source, self._keyframes.request(source, encoding, now))

    @property
    def defers(self) -> bool:
        """Whether a keyframe was asked for too soon, so that `ask_awaited` will ask for it."""
        return self._keyframes.defers

    def ask_awaited(self, awaiting: frozenset[int], now: float) -> bool:
        """Ask for what these egresses wait for, and for what it was too early to ask again.

        Whether any of that is of a source that sends.
        """
        feeds = self._flows.feeds
        awaited = {
            (source, encoding)
            for source, encoding in self._flows.awaited(awaiting)
            if source in feeds and feeds[source].answers
        }
        # Before what is due, which goes along with it.
        for source, encoding in sorted(awaited):
            self.request_keyframe(source, encoding, now)
        for source, encodings in self._keyframes.due(now).items():
            self._send_pli(source, encodings)
        return any(feeds[source].alive for source, _ in awaited)

    def slot_keyframe(self, participant: Participant, ssrc: Ssrc, now: float) -> None:
        """A client cannot decode what is in one of its slots."""
        viewer = self._flows.viewers.get(participant.id)
        for slot in participant.slots:
            if viewer is not None and slot.ssrc == ssrc and (carried := viewer.in_slot(slot)):
                self.request_keyframe(*carried, now)

    def all_slots_keyframe(self, participant: Participant, now: float) -> None:
        """What went to a client was lost for a while: longer, most likely, than is kept of it.

        Browsers wait for seconds before they ask by themselves.
        """
        viewer = self._flows.viewers.get(participant.id)
        for slot in participant.slots:
            video = slot.media is MediaKind.VIDEO
            if video and viewer is not None and (carried := viewer.in_slot(slot)):
                self.request_keyframe(*carried, now)

    def leg_keyframe(self, peer: BridgeId, ssrc: Ssrc, now: float) -> bool:
        """A peer needs a keyframe of what goes to it by this SSRC; whether that is ours."""
        leg = self._leg(peer, ssrc)
        if leg is not None:
            self.request_keyframe(leg.source, leg.encoding, now)
        return leg is not None

    def forget(self, source: SourceId) -> None:
        """It is gone, or comes in other encodings from now on: none of the old can be asked for."""
        self._keyframes.forget(source)

    def retain_only_what_flows(self) -> None:
        """Forget whom nobody can be asked for any more."""
        feeds = self._flows.feeds
        self._keyframes.retain(feeds.keys())
        self._made_good_s = {of: at_s for of, at_s in self._made_good_s.items() if of[0] in feeds}

    def _send_pli(self, source: SourceId, encodings: Iterable[int]) -> None:
        incoming = self._flows.incoming.get(source)
        if incoming is not None:
            ssrcs = [incoming.encodings[each].ssrc for each in encodings]
            if ssrcs:
                self._trunks.send_rtcp(incoming.peer, _plis(ssrcs))
            return
        known = self._flows.own_ssrcs.get(source, {})
        ssrcs = [known[each] for each in encodings if each in known]
        viewer = self._flows.viewers.get(participant_of(source))
        if viewer is not None and ssrcs:
            self._pump.send_rtcp(viewer.participant.transport, _plis(ssrcs))

    # Repair

    def slot_nack(
        self, participant: Participant, ssrc: Ssrc, sequences: list[int], now: float
    ) -> None:
        """A client misses packets of one of its slots.

        What is not kept any more costs a keyframe; browsers notice that after three seconds.
        """
        for slot in participant.slots:
            if slot.ssrc == ssrc and self._pump.retransmit(slot.egress, sequences).gone:
                self._make_good(participant, slot, now)

    def _make_good(self, participant: Participant, slot: Slot, now: float) -> None:
        viewer = self._flows.viewers.get(participant.id)
        carried = None if viewer is None else viewer.in_slot(slot)
        if carried and now - self._made_good_s.get(carried, float("-inf")) >= MADE_GOOD_S:
            self._made_good_s[carried] = now
            self.request_keyframe(*carried, now)

    def leg_nack(self, peer: BridgeId, ssrc: Ssrc, sequences: list[int]) -> bool:
        """A peer misses packets of what goes to it by this SSRC; whether that is ours."""
        leg = self._leg(peer, ssrc)
        if leg is not None:
            self._pump.retransmit(leg.egress, sequences)
        return leg is not None

    def path_loss(self, participant: Participant, fraction: float, now: float) -> None:
        """A client's receiver report says how much it misses."""
        viewer = self._flows.viewers.get(participant.id)
        if viewer is not None:
            viewer.downlink.on_loss(fraction, now)

    def _leg(self, peer: BridgeId, ssrc: Ssrc) -> Leg | None:
        legs = self._flows.legs.get(peer)
        return None if legs is None else legs.of_ssrc(ssrc)


def _plis(media_ssrcs: Iterable[Ssrc]) -> bytes:
    # It begins with the bridge's own SSRC, by which SRTCP knows its sender.
    plis = (Pli(sender_ssrc=OWN_SSRC, media_ssrc=ssrc) for ssrc in media_ssrcs)
    return build_compound(ReceiverReport(ssrc=OWN_SSRC), *plis)
