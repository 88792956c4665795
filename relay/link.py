"""One end of a trunk's control stream: hello, then each conference's announcements and demands.

Sans-IO: bytes in, events out; the bytes below it are TLS, the verified name of the peer is
an argument. It must not know UDP, SRTP or what a conference is for.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain, pairwise
from typing import Generic, TypeVar, assert_never

from relay.errors import CapacityError, LocalProtocolError, MalformedError, RemoteProtocolError
from relay.framing import FrameReader, frame
from relay.ids import BridgeId, ConferenceId, Generation, SourceId, Ssrc, kind_of
from relay.trunk_messages import (
    MAX_SOURCES,
    MAX_TRUNK_BYTES,
    TRUNK_MESSAGES,
    Announce,
    Bye,
    Demand,
    RelayedSource,
    TrunkHello,
    TrunkMessage,
    Wanted,
)

T = TypeVar("T")

MAX_CONFERENCES = 4_096
"""That a peer may announce or demand at a time: a bridge of one core serves far fewer."""
MAX_TRUNK_SOURCES = 16_384
"""That a peer may announce, and may demand, over all conferences: some 16 MB of memory."""
MAX_REASON_CHARS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The peer's hello is there and fits; `version` is spoken from now on."""

    hello: TrunkHello
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """All that the peer can send of the conference; nothing when it is over."""

    conference: ConferenceId
    sources: tuple[RelayedSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demanded:
    """All that the peer wants of the conference; nothing when it is over."""

    conference: ConferenceId
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerClosed:
    """The peer said goodbye; nothing comes after it."""

    reason: str


LinkEvent = Opened | Announced | Demanded | PeerClosed


class LinkState(Enum):
    """Where the link is in its life."""

    CONNECTING = auto()
    HELLO_SENT = auto()
    OPEN = auto()
    CLOSED = auto()


class _Step(Enum):
    START = auto()
    HELLO = auto()
    CLOSE = auto()


_TRANSITIONS: dict[tuple[LinkState, _Step], LinkState] = {
    (LinkState.CONNECTING, _Step.START): LinkState.HELLO_SENT,
    (LinkState.HELLO_SENT, _Step.HELLO): LinkState.OPEN,
    (LinkState.CONNECTING, _Step.CLOSE): LinkState.CLOSED,
    (LinkState.HELLO_SENT, _Step.CLOSE): LinkState.CLOSED,
    (LinkState.OPEN, _Step.CLOSE): LinkState.CLOSED,
    (LinkState.CLOSED, _Step.CLOSE): LinkState.CLOSED,
}


class Link:
    """One end of one connection. After an error or goodbye it is closed and says nothing more."""

    def __init__(
        self,
        local_hello: TrunkHello,
        expected_peer: BridgeId,
        *,
        dropped: Counter[str] | None = None,
    ) -> None:
        """`expected_peer` is the bridge that the TLS certificate names.

        What of the peer's is not taken is counted in `dropped`, by reason.
        """
        self._local_hello = local_hello
        self._expected_peer = expected_peer
        self._state = LinkState.CONNECTING
        self._reader = FrameReader(MAX_TRUNK_BYTES)
        self._unsent = bytearray()
        self._sent_sources = _Table[RelayedSource]()
        self._sent_wanted = _Table[Wanted]()
        self._sources = _Table[RelayedSource]()
        self._wanted = _Table[Wanted]()
        self._ssrc_owners: dict[Ssrc, ConferenceId] = {}
        self.dropped: Counter[str] = Counter() if dropped is None else dropped

    @property
    def state(self) -> LinkState:
        """Where the link is in its life."""
        return self._state

    @property
    def unsent_bytes(self) -> int:
        """How much waits for `data_to_send`; a shell bounds it and closes on a peer that stalls."""
        return len(self._unsent)

    @property
    def announced(self) -> tuple[Announced, ...]:
        """All that the peer announces at present."""
        sources = self._sources.by_conference.items()
        return tuple(Announced(conference=each, sources=items) for each, items in sources)

    @property
    def demanded(self) -> tuple[Demanded, ...]:
        """All that the peer wants at present."""
        wanted = self._wanted.by_conference.items()
        return tuple(Demanded(conference=each, wanted=items) for each, items in wanted)

    @property
    def sources_out(self) -> int:
        """How many sources cross from us to the peer: announced by us, wanted by it."""
        return _crossing(self._sent_sources, self._wanted)

    @property
    def sources_in(self) -> int:
        """How many sources cross from the peer to us."""
        return _crossing(self._sources, self._sent_wanted)

    def start(self) -> None:
        """The stream is up and its peer verified: say hello."""
        self._step(_Step.START)
        self._send(self._local_hello)

    def receive(self, data: bytes) -> list[LinkEvent]:
        """What the peer's bytes mean, in order; nothing once closed.

        MalformedError or RemoteProtocolError when they break the protocol: events of the
        same bytes are lost, the link is closed, and a goodbye that says why awaits sending.
        """
        if self._state is LinkState.CLOSED:
            return []
        events: list[LinkEvent] = []
        try:
            for payload in self._reader.receive_untrusted(data):
                event = self._on_message(TRUNK_MESSAGES.decode_untrusted(payload))
                if event is not None:
                    events.append(event)
                if isinstance(event, PeerClosed):
                    break
        except (MalformedError, RemoteProtocolError) as error:
            self.close(str(error))
            raise
        return events

    def data_to_send(self) -> bytes:
        """What to write to the stream now; it is the caller's from here on."""
        data = bytes(self._unsent)
        self._unsent.clear()
        return data

    def announce(self, conference: ConferenceId, sources: Iterable[RelayedSource]) -> None:
        """All that we can send of the conference; goes out only when it differs from the last.

        CapacityError when it is more than a peer takes, LocalProtocolError when not open.
        """
        self._require_open()
        whole = tuple(sorted(sources, key=lambda source: source.source))
        generation = self._sent_sources.replace(conference, whole)
        if generation is not None:
            self._send(Announce(conference=conference, generation=generation, sources=whole))

    def demand(self, conference: ConferenceId, wanted: Iterable[Wanted]) -> None:
        """All that we want of the conference; goes out only when it differs from the last.

        CapacityError when it is more than a peer takes, LocalProtocolError when not open.
        """
        self._require_open()
        some = (want for want in wanted if want.layers)
        whole = tuple(sorted(some, key=lambda want: want.source))
        generation = self._sent_wanted.replace(conference, whole)
        if generation is not None:
            self._send(Demand(conference=conference, generation=generation, wanted=whole))

    def withdraw(self) -> None:
        """Announce and demand nothing any more: media cannot cross, or its state was forgotten."""
        for conference in tuple(self._sent_sources.by_conference):
            self.announce(conference, ())
        for conference in tuple(self._sent_wanted.by_conference):
            self.demand(conference, ())

    def close(self, reason: str) -> None:
        """Say goodbye, if that was not done; the stream may be closed once it is sent."""
        if self._state in (LinkState.HELLO_SENT, LinkState.OPEN):
            self._send(Bye(reason=reason[:MAX_REASON_CHARS]))
        self._step(_Step.CLOSE)

    def _step(self, step: _Step) -> None:
        try:
            self._state = _TRANSITIONS[self._state, step]
        except KeyError:
            raise LocalProtocolError(f"a {self._state.name} link has no {step.name}") from None

    def _send(self, message: TrunkMessage) -> None:
        self._unsent += frame(TRUNK_MESSAGES.encode(message))

    def _require_open(self) -> None:
        if self._state is not LinkState.OPEN:
            raise LocalProtocolError(f"a {self._state.name} link carries no conference")

    def _on_message(self, message: TrunkMessage) -> LinkEvent | None:
        if isinstance(message, Bye):
            self._step(_Step.CLOSE)
            return PeerClosed(reason=message.reason)
        if (self._state is LinkState.HELLO_SENT) != isinstance(message, TrunkHello):
            raise RemoteProtocolError(f"{type(message).__name__} while {self._state.name}")
        match message:
            case TrunkHello():
                return self._on_hello(message)
            case Announce():
                return self._on_announce(message)
            case Demand():
                return self._on_demand(message)
            case _:
                assert_never(message)

    def _on_hello(self, hello: TrunkHello) -> Opened:
        if hello.bridge != self._expected_peer:
            raise RemoteProtocolError(
                f"the hello names {hello.bridge}, the certificate {self._expected_peer}"
            )
        common = set(hello.versions) & set(self._local_hello.versions)
        if not common:
            # Both ends come to this sentence's facts, each from the other's hello.
            raise RemoteProtocolError(
                f"no common trunk version: {self._local_hello.bridge} speaks "
                f"{_numbers(self._local_hello.versions)}, "
                f"{hello.bridge} speaks {_numbers(hello.versions)}"
            )
        self._step(_Step.HELLO)
        return Opened(hello=hello, version=max(common))

    def _on_announce(self, message: Announce) -> Announced | None:
        if message.generation <= self._sources.generation:
            self.dropped["announce_stale"] += 1
            return None
        _check_sources([source.source for source in message.sources])
        ssrcs = _ssrcs(message.sources)
        if len(set(ssrcs)) != len(ssrcs):
            raise RemoteProtocolError("two announced streams have one SSRC")
        if any(self._ssrc_owners.get(s, message.conference) != message.conference for s in ssrcs):
            raise RemoteProtocolError("an announced SSRC is another conference's")
        for ssrc in _ssrcs(self._sources.of(message.conference)):
            del self._ssrc_owners[ssrc]
        self._ssrc_owners.update(dict.fromkeys(ssrcs, message.conference))
        self._sources.receive(message.conference, message.generation, message.sources)
        return Announced(conference=message.conference, sources=message.sources)

    def _on_demand(self, message: Demand) -> Demanded | None:
        if message.generation <= self._wanted.generation:
            self.dropped["demand_stale"] += 1
            return None
        _check_sources([want.source for want in message.wanted])
        for want in message.wanted:
            if any(low.spatial >= high.spatial for low, high in pairwise(want.layers)):
                raise RemoteProtocolError("wanted layers do not ascend")
        self._wanted.receive(message.conference, message.generation, message.wanted)
        return Demanded(conference=message.conference, wanted=message.wanted)


class _Table(Generic[T]):
    """The present full state per conference, and the generation of the last change."""

    def __init__(self) -> None:
        self.by_conference: dict[ConferenceId, tuple[T, ...]] = {}
        self.generation = Generation(0)
        self._total = 0

    def of(self, conference: ConferenceId) -> tuple[T, ...]:
        return self.by_conference.get(conference, ())

    def replace(self, conference: ConferenceId, items: tuple[T, ...]) -> Generation | None:
        """The generation under which to send `items`, or None when they are no change."""
        if items == self.of(conference):
            return None
        self._set(conference, items)
        self.generation = Generation(self.generation + 1)
        return self.generation

    def receive(
        self, conference: ConferenceId, generation: Generation, items: tuple[T, ...]
    ) -> None:
        try:
            self._set(conference, items)
        except CapacityError as error:
            raise RemoteProtocolError(str(error)) from None
        self.generation = generation

    def _set(self, conference: ConferenceId, items: tuple[T, ...]) -> None:
        total = self._total + len(items) - len(self.of(conference))
        conferences = len(self.by_conference) + (conference not in self.by_conference)
        too_many = conferences > MAX_CONFERENCES or total > MAX_TRUNK_SOURCES
        if items and (too_many or len(items) > MAX_SOURCES):
            raise CapacityError(f"a trunk takes no {conferences} conferences with {total} sources")
        self._total = total
        if items:
            self.by_conference[conference] = items
        else:
            self.by_conference.pop(conference, None)


def _crossing(announced: _Table[RelayedSource], wanted: _Table[Wanted]) -> int:
    count = 0
    for conference, wants in wanted.by_conference.items():
        offered = {source.source for source in announced.of(conference)}
        count += sum(want.source in offered for want in wants)
    return count


def _ssrcs(sources: Iterable[RelayedSource]) -> list[Ssrc]:
    """Of all encodings of all these sources and of their retransmissions, as often as they come."""
    encodings = chain.from_iterable(source.encodings for source in sources)
    return [ssrc for encoding in encodings for ssrc in (encoding.ssrc, encoding.rtx_ssrc)]


def _check_sources(sources: list[SourceId]) -> None:
    if len(set(sources)) != len(sources):
        raise RemoteProtocolError("a source is there twice")
    try:
        for source in sources:
            kind_of(source)
    except ValueError:
        raise RemoteProtocolError("a source is of no kind") from None


def _numbers(versions: tuple[int, ...]) -> str:
    return ", ".join(str(version) for version in sorted(versions))
