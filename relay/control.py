"""Messages between a bridge and the focus, on the WebSocket that the bridge dials.

The wire is `relay.codec` in binary frames; `relay/PROTOCOL.md` tells the order. State goes
down whole, with a generation: a bridge replaces what it knew, so a lost message heals itself.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from relay.codec import Codec
from relay.ids import (
    U16,
    U32,
    U64,
    Address,
    BridgeId,
    ConferenceId,
    Generation,
    Layer,
    ParticipantId,
    Region,
    SourceId,
    SourceKind,
    VideoCodec,
)

CONTROL_VERSION = 1
MAX_CONTROL_BYTES = 4 << 20
MAX_SDP_CHARS = 400_000
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
    codec: VideoCodec = VideoCodec.VP8
    """What its cameras and screens shall be encoded with: everybody can decode it."""


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
    renews: bool = False
    """The offer is a later one of the same peer connection: new ICE credentials (a restart,
    RFC 8445 §2.4), more slots; otherwise it begins another transport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocated:
    """Bridge → focus: the answer to give to the browser."""

    request: U64
    answer: Sdp
    decodes: tuple[VideoCodec, ...] | None
    """What the browser's slots can show; None when it offered no slot for pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Bridge → focus: no transport for that offer, and why (for the person to read)."""

    request: U64
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that a participant wants to see."""

    source: SourceId
    height_px: U16
    """Of the place where it is shown, in its pixels; "height" is the smaller side."""
    stage: bool = False
    """It has the participant's attention: it grows before all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Focus → bridge: what a participant looks at; it replaces what was said before."""

    conference: ConferenceId
    participant: ParticipantId
    pictures: Annotated[tuple[Picture, ...], Field(max_length=256)] | None
    """First the most wanted; None leaves the choice to the bridge: everybody, at `height_px`."""
    last_n: U16 | None = None
    """At most so many cameras, of those who spoke last before others; None for no limit."""
    height_px: U16 = 360
    """Of pictures that are not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersWanted:
    """Bridge → focus: what anyone, in any region, wants of a source of one of its participants."""

    conference: ConferenceId
    participant: ParticipantId
    kind: SourceKind
    layers: Annotated[tuple[Layer, ...], Field(max_length=3)]
    """As in a trunk's demand; none when nobody wants it at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DominantSpeaker:
    """Bridge → focus: who is speaking in a conference, as its listeners there should see it."""

    conference: ConferenceId
    participant: ParticipantId | None


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
FromBridge = Hello | Allocated | Refused | Gone | LayersWanted | DominantSpeaker | Heartbeat | Renew

FROM_FOCUS: Codec[FromFocus] = Codec(FromFocus, max_bytes=MAX_CONTROL_BYTES)
FROM_BRIDGE: Codec[FromBridge] = Codec(FromBridge, max_bytes=MAX_CONTROL_BYTES)
