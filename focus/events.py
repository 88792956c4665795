"""What happens to the focus, and what it does about it."""

from collections.abc import Mapping
from dataclasses import dataclass

from focus.notices import Notice
from focus.placement import Wish
from focus.registry import Bridge, ConnectionId
from relay.control import DominantSpeaker, FromFocus, Heartbeat, LayersWanted, View
from relay.ids import BridgeId, ConferenceId, ParticipantId, SourceKind, VideoCodec


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeUp:
    """A bridge proved who it is, on a new connection."""

    bridge: Bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeLost:
    """A bridge's connection ended."""

    bridge: BridgeId
    connection: ConnectionId


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatReceived:
    """A bridge is alive and tells how it does."""

    bridge: BridgeId
    connection: ConnectionId
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeAnswered:
    """A bridge answered an offer."""

    bridge: BridgeId
    connection: ConnectionId
    request: int
    answer: str
    decodes: frozenset[VideoCodec] | None
    """What the participant's slots can show; None when it offered none for pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRefused:
    """A bridge does not answer an offer, and why."""

    bridge: BridgeId
    connection: ConnectionId
    request: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantGone:
    """A bridge saw a participant's transport end."""

    bridge: BridgeId
    connection: ConnectionId
    conference: ConferenceId
    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersWantedReceived:
    """A bridge says what is wanted of a source of one of its participants."""

    bridge: BridgeId
    connection: ConnectionId
    wanted: LayersWanted


@dataclass(frozen=True, slots=True, kw_only=True)
class DominantSpeakerReceived:
    """A bridge says who is speaking, for its own people in that conference."""

    bridge: BridgeId
    connection: ConnectionId
    speaker: DominantSpeaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Somebody wants into a conference, under a number that nobody else has."""

    conference: ConferenceId
    participant: ParticipantId
    name: str
    wish: Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferReceived:
    """A participant offers a transport, or offers more for the one it has."""

    conference: ConferenceId
    participant: ParticipantId
    attempt: int
    sdp: str
    sources: Mapping[str, SourceKind]
    """Media section (`mid`) to what it carries."""
    renews: bool = False
    """It is a later offer of the same peer connection, whose transport stays."""
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteChanged:
    """A participant stops a source or goes on with it."""

    conference: ConferenceId
    participant: ParticipantId
    kind: SourceKind
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChanged:
    """A participant looks at something else."""

    view: View

    @property
    def conference(self) -> ConferenceId:
        """The participant's."""
        return self.view.conference

    @property
    def participant(self) -> ParticipantId:
        """Whose view it is."""
        return self.view.participant


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A participant left, or its socket closed."""

    conference: ConferenceId
    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A participant goes on by another socket, and may have missed what it was told."""

    conference: ConferenceId
    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passed."""

    now: float


Event = (
    BridgeUp
    | BridgeLost
    | HeartbeatReceived
    | BridgeAnswered
    | BridgeRefused
    | ParticipantGone
    | LayersWantedReceived
    | DominantSpeakerReceived
    | Join
    | OfferReceived
    | MuteChanged
    | ViewChanged
    | Leave
    | Resume
    | Tick
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToBridge:
    """Send this on the live connection of that bridge."""

    bridge: BridgeId
    message: FromFocus


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseBridge:
    """End that connection: it was replaced, or it fell silent."""

    bridge: BridgeId
    connection: ConnectionId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToParticipant:
    """Tell a participant."""

    conference: ConferenceId
    participant: ParticipantId
    notice: Notice


Effect = ToBridge | CloseBridge | ToParticipant
