"""Messages between two bridges on a trunk's TLS stream; `relay/PROTOCOL.md` tells the order.

Announcements and demands are the full state of one conference, with a generation that
counts all messages of that kind on the connection.
"""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from relay.codec import Codec
from relay.ids import (
    SPATIAL_LAYERS,
    U16,
    Address,
    BridgeId,
    ConferenceId,
    Generation,
    Layer,
    SourceId,
    Ssrc,
)

TRUNK_VERSION = 1
TRUNK_VERSIONS = (TRUNK_VERSION,)
MAX_TRUNK_BYTES = 1 << 20
"""No message is longer; a conference of MAX_SOURCES sources fits with room to spare."""
MAX_SOURCES = 2_048
"""Of one conference in one message."""
SRTP_KEY_BYTES = 28
"""RFC 7714 §12: 16 bytes of AES-128-GCM master key, then 12 of master salt."""

_Bridge = Annotated[BridgeId, Field(min_length=1, max_length=64)]
_Conference = Annotated[ConferenceId, Field(min_length=1, max_length=128)]
_Generation = Annotated[Generation, Field(ge=1, le=0xFFFFFFFFFFFFFFFF)]
_Source = Annotated[SourceId, Field(ge=1, le=0xFFFFFFFF)]
_SrtpKey = Annotated[bytes, Field(min_length=SRTP_KEY_BYTES, max_length=SRTP_KEY_BYTES)]
_Ssrc = Annotated[Ssrc, Field(ge=1, le=0xFFFFFFFF)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkHello:
    """Both ends' first message; later versions may add fields and never remove one."""

    versions: Annotated[tuple[U16, ...], Field(min_length=1, max_length=16)]
    features: Annotated[tuple[Annotated[str, Field(max_length=32)], ...], Field(max_length=64)]
    bridge: _Bridge
    srtp_key: _SrtpKey = field(repr=False)
    """Protects what the sender of this message sends, on this connection's trunk only."""
    # RFC 8445 §5.3: at least 24 bits of user fragment and 128 bits of password.
    ice_ufrag: Annotated[str, Field(min_length=4, max_length=256, pattern=r"^[A-Za-z0-9+/]+$")]
    ice_pwd: Annotated[str, Field(min_length=22, max_length=256)] = field(repr=False)
    media_addresses: Annotated[tuple[Address, ...], Field(max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedEncoding:
    """One RTP stream of a source, under link-local SSRCs.

    They are unique among all that the sender announces, and stay while it is announced.
    """

    ssrc: _Ssrc
    rtx_ssrc: _Ssrc
    """Of its retransmissions (RFC 4588)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedSource:
    """A source that the sender can send, and how it will look on this trunk."""

    source: _Source
    encodings: Annotated[
        tuple[RelayedEncoding, ...], Field(min_length=1, max_length=SPATIAL_LAYERS)
    ]
    """With simulcast one for each spatial layer, the lowest first; with SVC one has all of them."""
    origin: _Bridge
    """Where it enters the mesh."""
    hops: Annotated[int, Field(ge=1, le=8)]
    """Trunks it will have crossed behind this one: 1 where the sender is its origin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """All sources of the conference that the sender offers to the receiver; none ends it."""

    conference: _Conference
    generation: _Generation
    sources: Annotated[tuple[RelayedSource, ...], Field(max_length=MAX_SOURCES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody behind the sender of this receives of a source."""

    source: _Source
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=SPATIAL_LAYERS)]
    """The spatial layers that are wanted, ascending, each with the highest temporal one of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """All that the sender wants of the conference; what is not in it is not to be sent."""

    conference: _Conference
    generation: _Generation
    wanted: Annotated[tuple[Wanted, ...], Field(max_length=MAX_SOURCES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The last message: why the sender closes."""

    reason: Annotated[str, Field(max_length=500)]


TrunkMessage = TrunkHello | Announce | Demand | Bye

TRUNK_MESSAGES: Codec[TrunkMessage] = Codec(TrunkMessage, max_bytes=MAX_TRUNK_BYTES)
