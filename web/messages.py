"""Signalling messages between a browser and the web room, as `web/PROTOCOL.md` documents them.

JSON text frames, one object each, told apart by `type`. What a browser sends is validated
by these models; what it does not know it ignores.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from relay.control import MAX_SDP_CHARS
from relay.errors import MalformedError

MAX_SIGNALLING_BYTES = 640 << 10
"""The largest frame from a browser: an offer as long as it may be, whose line ends JSON doubles."""

KindName = Literal["microphone", "camera", "screen"]
CodecName = Literal["av1", "vp9", "vp8", "h264"]
U16 = Annotated[int, Field(ge=0, le=0xFFFF)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


# From the browser


class Join(_Message):
    """First message: who wants into which room, and how far each region is."""

    type: Literal["join"] = "join"
    room: Annotated[str, Field(min_length=1, max_length=128)]
    name: Annotated[str, Field(min_length=1, max_length=80)]
    region: Annotated[str, Field(max_length=32)] | None = None
    """An explicit choice, which wins over the measurements."""
    rtts_ms: dict[str, Annotated[float, Field(ge=0, le=60_000)]] = Field(
        default_factory=dict, max_length=256
    )
    """Region to measured round trip."""
    resume: Annotated[str, Field(max_length=64)] | None = Field(default=None, repr=False)
    """What `joined` said on the connection that this one is to replace."""


class Offer(_Message):
    """An SDP offer: own sources `sendonly`, slots `recvonly`; may follow `join` without waiting."""

    type: Literal["offer"] = "offer"
    attempt: Annotated[int, Field(ge=0)]
    """Counts the browser's offers; the answer repeats it."""
    renews: bool = False
    """It is a later offer of the peer connection that the one before it was of."""
    sdp: Annotated[str, Field(max_length=MAX_SDP_CHARS)]
    sources: dict[Annotated[str, Field(min_length=1, max_length=16)], KindName] = Field(
        max_length=8
    )
    """Media section (`mid`) to what it carries."""


class Mute(_Message):
    """One of the sender's sources stops or goes on."""

    type: Literal["mute"] = "mute"
    kind: KindName
    muted: bool


class Picture(_Message):
    """A picture that is wanted, and how high the place is where it is shown."""

    source: Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
    height_px: U16
    stage: bool = False


class View(_Message):
    """The pictures wanted, the most wanted first; null leaves the choice to the bridge."""

    type: Literal["view"] = "view"
    pictures: Annotated[list[Picture], Field(max_length=256)] | None
    last_n: U16 | None = None
    """At most so many cameras; null for as many as the server gives."""
    height_px: U16 = 360
    """Of pictures that are not listed."""


class Leave(_Message):
    """A polite end."""

    type: Literal["leave"] = "leave"


FromBrowser = Annotated[Join | Offer | Mute | View | Leave, Field(discriminator="type")]


# To the browser


class Source(_Message):
    """A source in the roster; `id` is the CSRC that names it in a slot."""

    id: int
    kind: KindName
    muted: bool


class Person(_Message):
    """A participant in the roster."""

    id: int
    name: str
    region: str
    bridge: str
    sources: list[Source]


class IceServer(_Message):
    """As browsers take it: an `RTCIceServer` (W3C WebRTC §4.2.3)."""

    urls: list[str]
    username: str
    credential: Annotated[str, Field(repr=False)]


class Joined(_Message):
    """The answer to `join`: you are in, here is everybody else."""

    type: Literal["joined"] = "joined"
    room: str
    you: Person
    people: list[Person]
    codec: CodecName
    ice_servers: list[IceServer]
    resumed: bool
    """You are who you were on the connection before: your id and your transport are the same."""
    resume: Annotated[str, Field(repr=False)]
    """For the `join` of a connection that is to go on as this participant; a secret."""


class Answer(_Message):
    """The bridge's SDP answer to the offer of that attempt."""

    type: Literal["answer"] = "answer"
    attempt: int
    sdp: str


class PersonChanged(_Message):
    """Somebody joined, moved, muted or got new sources: the whole of that person."""

    type: Literal["person"] = "person"
    person: Person


class PersonLeft(_Message):
    """Somebody is gone."""

    type: Literal["left"] = "left"
    id: int


class CodecChanged(_Message):
    """Cameras and screens are to be encoded with this from now on."""

    type: Literal["codec"] = "codec"
    codec: CodecName


class Layer(_Message):
    """A spatial layer, and the highest temporal one that is wanted with it; both from 0."""

    spatial: int
    temporal: int


class LayersChanged(_Message):
    """What anyone wants of one of your sources: the spatial layers, ascending; empty is nothing."""

    type: Literal["layers"] = "layers"
    kind: KindName
    layers: list[Layer]


class SpeakerChanged(_Message):
    """Who is speaking; null for nobody."""

    type: Literal["speaker"] = "speaker"
    id: int | None


class Moved(_Message):
    """You sit on another bridge now: make a new peer connection and offer it."""

    type: Literal["moved"] = "moved"
    region: str
    bridge: str


ErrorCode = Literal[
    "bad-request",
    "no-bridge",
    "unknown-region",
    "offer-refused",
    "room-full",
    "internal",
]


class Error(_Message):
    """What went wrong, in words for a person; with `fatal` the socket closes after it."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str
    fatal: bool
    attempt: int | None = None
    """Of the offer that came to nothing."""


ToBrowser = (
    Joined
    | Answer
    | PersonChanged
    | PersonLeft
    | CodecChanged
    | LayersChanged
    | SpeakerChanged
    | Moved
    | Error
)

_FROM_BROWSER: TypeAdapter[Join | Offer | Mute | View | Leave] = TypeAdapter(FromBrowser)


def parse_browser_message_untrusted(text: str) -> Join | Offer | Mute | View | Leave:
    """The message in one text frame; MalformedError, never with the frame's contents."""
    if len(text) > MAX_SIGNALLING_BYTES:
        raise MalformedError(f"frame of {len(text)} characters is over {MAX_SIGNALLING_BYTES}")
    try:
        return _FROM_BROWSER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise MalformedError(f"{where}: {first['type']}") from None
