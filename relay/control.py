"""Messages between a bridge and the focus, on the WebSocket that the bridge dials.

The wire is `relay.codec` in binary frames; `relay/PROTOCOL.md` tells the order. State goes
down whole, with a generation: a bridge replaces what it knew, so a lost message heals itself.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from relay.codec import Codec
from relay.ids import (
    U32,
    U64,
    Address,
    BridgeId,
    ConferenceId,
    Generation,
    ParticipantId,
    Region,
    SourceId,
    SourceKind,
)

CONTROL_VERSION = 1
MAX_CONTROL_BYTES = 4 << 20
MAX_SDP_CHARS = 200_000
HEARTBEAT_S = 1.0
"""A bridge reports this often; three missed ones mean that it is lost."""

CONTROL_SIGNATURE_CONTEXT = b"octomesh control v1\0"
"""What a bridge signs is this and the focus's nonce."""

Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Sdp = Annotated[str, Field(max_length=MAX_SDP_CHARS)]
Reason = Annotated[str, Field(max_length=500)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Focus → bridge, first of all: sign `nonce` with the key of your mesh certificate."""

    versions: tuple[int, ...]
    nonce: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Bridge → focus, the answer: who I am, and where I can be reached."""

    version: int
    software: Annotated[str, Field(max_length=64)]
    certificate_pem: Annotated[bytes, Field(max_length=16_384)]
    signature: Annotated[bytes, Field(max_length=1_024)]
    media_addresses: tuple[Address, ...]
    """Where clients and trunks send UDP; all of one socket."""
    relay_addresses: tuple[Address, ...]
    """Where other bridges dial the trunk's TLS."""
    ping_password: Annotated[str, Field(min_length=22, max_length=64)]
    """ICE password of the user fragment `ping`, by which anyone may measure an RTT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Focus → bridge: you are in the registry; generations begin anew with this focus."""

    version: int
    bridge: BridgeId
    region: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Focus → bridge, the last message: why you are not let in."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A bridge that may be at the other end of a trunk."""

    bridge: BridgeId
    region: Region
    relay_addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Focus → bridge: all other bridges; to each there shall be a trunk, and to no other."""

    generation: Generation
    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """A source that its participant has offered."""

    kind: SourceKind
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A participant, and the bridge it sits on."""

    participant: ParticipantId
    bridge: BridgeId
    sources: tuple[SourceState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How the streams that enter the mesh at `origin` pass the bridge that is told this."""

    origin: BridgeId
    upstream: BridgeId | None
    """Where they come from; None on the origin itself."""
    downstream: tuple[BridgeId, ...]
    """To whom they are announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConferenceState:
    """Focus → bridge: a conference as it is now; without seats it is over."""

    conference: ConferenceId
    generation: Generation
    seats: tuple[Seat, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MidKind:
    """Which source a media section of an offer carries."""

    mid: Annotated[str, Field(min_length=1, max_length=16)]
    kind: SourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocate:
    """Focus → bridge: answer this offer; a participant's later one replaces its transport."""

    request: U64
    conference: ConferenceId
    participant: ParticipantId
    offer: Sdp
    sources: tuple[MidKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocated:
    """Bridge → focus: the answer to give to the browser."""

    request: U64
    answer: Sdp


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Bridge → focus: no transport for that offer, and why (for the person to read)."""

    request: U64
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Focus → bridge: the pictures a participant wants, first the most; None leaves it to you."""

    conference: ConferenceId
    participant: ParticipantId
    sources: tuple[SourceId, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Focus → bridge: the participant left; forget its transport."""

    conference: ConferenceId
    participant: ParticipantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Bridge → focus: the participant's transport closed or fell silent."""

    conference: ConferenceId
    participant: ParticipantId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkReport:
    """One trunk as its reporter sees it; figures are from the media path, None before any."""

    peer: BridgeId
    up: bool
    rtt_ms: Figure | None
    rtt_min_ms: Figure | None
    rtt_p50_ms: Figure | None
    rtt_p95_ms: Figure | None
    jitter_ms: Figure | None
    loss: Figure | None
    """Share of probes unanswered, 0 to 1."""
    sources_out: U32
    """Relayed sources that cross from the reporter to the peer."""
    sources_in: U32
    sent_bps: Figure
    received_bps: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Bridge → focus, each second."""

    participants: U32
    cpu: Figure
    """Share of one core, 0 to 1 and a little over."""
    packets_per_s: Figure
    trunks: tuple[TrunkReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Bridge → focus: a certificate signing request to replace the certificate that ends soon."""

    csr_pem: Annotated[bytes, Field(max_length=16_384)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """Focus → bridge: the new certificate."""

    certificate_pem: Annotated[bytes, Field(max_length=16_384)]


FromFocus = (
    Challenge | Welcome | Denied | Mesh | ConferenceState | Allocate | View | Release | Renewed
)
FromBridge = Hello | Allocated | Refused | Gone | Heartbeat | Renew

FROM_FOCUS: Codec[FromFocus] = Codec(FromFocus, max_bytes=MAX_CONTROL_BYTES)
FROM_BRIDGE: Codec[FromBridge] = Codec(FromBridge, max_bytes=MAX_CONTROL_BYTES)
