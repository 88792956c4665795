"""Which codec a conference's pictures have: the best that all who see them can decode.

Knows neither SDP nor who can encode what; the order of preference is the operator's.
"""

from collections.abc import Iterable, Set

from relay.ids import VideoCodec

DEFAULT_CODECS = (VideoCodec.VP8, VideoCodec.H264)
LAST_RESORT = VideoCodec.VP8
"""RFC 7742 §5 makes every browser decode it."""


def common_codec(
    preferences: tuple[VideoCodec, ...], decoders: Iterable[Set[VideoCodec] | None]
) -> VideoCodec:
    """The first of `preferences` that all `decoders` have; None is one who does not count."""
    counted = [decoder for decoder in decoders if decoder is not None]
    for codec in preferences:
        if all(codec in decoder for decoder in counted):
            return codec
    return LAST_RESORT


def codecs_of(text: str) -> tuple[VideoCodec, ...]:
    """An order of preference as an operator writes it; ValueError, readable, when it is none."""
    names = [name.strip().lower() for name in text.split(",")]
    known = [codec.value for codec in VideoCodec]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no codec {name[:40]!r}; there are {', '.join(known)}")
    if len(set(names)) != len(names):
        raise ValueError("a codec stands in the list once at most")
    return tuple(VideoCodec(name) for name in names)
