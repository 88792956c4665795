"""Looks at gatherings once a second for a while, and keeps what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from benchmarks.load.counts import SenderStats, StreamStats
from benchmarks.load.gathering import Gathering, Person
from benchmarks.load.streams import LAYERS, Got, Layers, Rates, layers_got
from benchmarks.load.traffic import Traffic
from benchmarks.load.watch import Figures, Snapshot
from benchmarks.rates import Stream
from relay.ids import SourceKind

LOOK_S = 1.0


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a while has shown."""

    whole: Figures
    each_second: list[Figures]
    rates: Rates
    layers: Layers


@dataclass(slots=True)
class _Look:
    """At all streams of all people."""

    at_s: float
    received: dict[int, dict[int, StreamStats]] = field(default_factory=dict)
    """By client and SSRC."""
    sent: dict[int, tuple[Stream, SenderStats]] = field(default_factory=dict)
    """By sender."""

    def sent_since(self, earlier: "_Look", sender: int) -> int | None:
        """How many packets; None where the sender was not there or is gone."""
        if sender not in self.sent or sender not in earlier.sent:
            return None
        return self.sent[sender][1].packets - earlier.sent[sender][1].packets


async def measure(
    traffic: Traffic,
    gatherings: Sequence[Gathering],
    seconds: int,
    *,
    tell: Callable[[Figures], None] = lambda figures: None,
) -> Measured:
    """For so many seconds; `tell` gets the figures of each as it is over."""
    first = before = Snapshot.take(traffic.engine)
    people = [person for gathering in gatherings for person in gathering.people]
    earlier = _look(traffic, people)
    each_second: list[Figures] = []
    rates, layers = Rates(), Layers()
    begin = trio.current_time()
    for number in range(1, seconds + 1):
        await trio.sleep_until(begin + number * LOOK_S)
        now = Snapshot.take(traffic.engine)
        each_second.append(Figures.between(before, now))
        tell(each_second[-1])
        look = _look(traffic, people)
        _compare(earlier, look, rates)
        for gathering in gatherings:
            _ask_for_layers(gathering, earlier, look, layers)
        before, earlier = now, look
    return Measured(
        whole=Figures.between(first, before), each_second=each_second, rates=rates, layers=layers
    )


def _look(traffic: Traffic, people: Sequence[Person]) -> _Look:
    look = _Look(trio.current_time())
    for person in people:
        if person.member is None:
            continue
        for client in person.member.clients:
            look.received[client] = {each.ssrc: each for each in traffic.engine.streams(client)}
        for kind, senders in person.member.senders.items():
            for layer, sender in enumerate(senders):
                stream = Stream.VOICE if kind is SourceKind.MICROPHONE else LAYERS[layer]
                look.sent[sender] = stream, traffic.engine.sender_stats(sender)
    return look


def _compare(earlier: _Look, look: _Look, rates: Rates) -> None:
    seconds = look.at_s - earlier.at_s
    for client, streams in look.received.items():
        for ssrc, now in streams.items():
            before = earlier.received.get(client, {}).get(ssrc)
            if before is not None:
                rates.see_received(before, now, seconds)
    for sender, (kind, sent) in look.sent.items():
        if sender in earlier.sent:
            rates.see_sent(kind, earlier.sent[sender][1], sent, seconds)


def _ask_for_layers(gathering: Gathering, earlier: _Look, look: _Look, layers: Layers) -> None:
    cameras = {
        person.place: person.member.senders.get(SourceKind.CAMERA, ())
        for person in gathering.people
        if person.member is not None
    }
    for person in gathering.people:
        if person.member is None:
            continue
        got: dict[int, Got] = {}
        for client in person.member.clients:
            before = earlier.received.get(client, {})
            got |= layers_got(before.values(), look.received.get(client, {}).values())
        for watched in person.watching:
            senders = cameras.get(watched.place, ())
            of_it = (each for each in senders if each in got)
            sender = next(of_it, None)
            if sender is None:
                layers.see(watched.layer, None)
            else:
                layers.see(watched.layer, got[sender], look.sent_since(earlier, sender))
