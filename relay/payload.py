"""Payload types and header extensions as they are on every trunk.

A browser numbers them as it likes; the bridge translates at its edge, so two browsers
and two bridges never have to agree on a number.
"""

from enum import IntEnum

from relay.ids import VideoCodec


class PayloadType(IntEnum):
    """RFC 3551 §6: the dynamic payload types of a trunk."""

    VP8 = 96
    VP8_RTX = 97
    VP9 = 98
    VP9_RTX = 99
    H264 = 100
    H264_RTX = 101
    AV1 = 102
    AV1_RTX = 103
    OPUS = 111
    OPUS_RTX = 112
    OPUS_RED = 113
    """RFC 2198: Opus with what the packet before carried, for where packets are lost."""

    @property
    def retransmissions(self) -> "PayloadType | None":
        """RFC 4588 §8.6: the type that carries this one's retransmissions; None where none does."""
        return _RETRANSMISSIONS.get(self)

    @property
    def codec(self) -> VideoCodec | None:
        """The codec of pictures; None for sound and retransmissions."""
        return _CODECS.get(self)

    @property
    def clock_rate(self) -> int:
        """RTP timestamp ticks in a second."""
        return 48_000 if self >= PayloadType.OPUS else 90_000

    @classmethod
    def of(cls, codec: VideoCodec) -> "PayloadType":
        """The type that carries this codec."""
        return cls[codec.name]


_RETRANSMISSIONS = {
    PayloadType.VP8: PayloadType.VP8_RTX,
    PayloadType.VP9: PayloadType.VP9_RTX,
    PayloadType.H264: PayloadType.H264_RTX,
    PayloadType.AV1: PayloadType.AV1_RTX,
    PayloadType.OPUS: PayloadType.OPUS_RTX,
}
_CODECS = {PayloadType.of(codec): codec for codec in VideoCodec}


class HeaderExtension(IntEnum):
    """RFC 8285: the extension ids of a trunk; each is forwarded to receivers that negotiated it."""

    AUDIO_LEVEL = 1
    VIDEO_ORIENTATION = 2
    TRANSPORT_SEQUENCE = 3
    """Of one transport: never forwarded, but written anew for receivers that want it."""
    DEPENDENCY_DESCRIPTOR = 4
    MID = 5
    """Tells us, as the next two, whose stream an SSRC is; of one transport, never forwarded."""
    RID = 6
    REPAIRED_RID = 7
    ABS_CAPTURE_TIME = 8
    """When the sender's camera or microphone had it: by this lips can be matched to voices."""

    @property
    def forwarded(self) -> bool:
        """Whether it means the same beyond the transport on which it came."""
        return self in (
            HeaderExtension.AUDIO_LEVEL,
            HeaderExtension.VIDEO_ORIENTATION,
            HeaderExtension.DEPENDENCY_DESCRIPTOR,
            HeaderExtension.ABS_CAPTURE_TIME,
        )


EXTENSION_URIS = {
    HeaderExtension.AUDIO_LEVEL: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",  # RFC 6464
    HeaderExtension.VIDEO_ORIENTATION: "urn:3gpp:video-orientation",  # 3GPP TS 26.114
    HeaderExtension.TRANSPORT_SEQUENCE: (
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    ),
    HeaderExtension.DEPENDENCY_DESCRIPTOR: (  # AV1 RTP specification, appendix A
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
    ),
    HeaderExtension.MID: "urn:ietf:params:rtp-hdrext:sdes:mid",  # RFC 9143
    HeaderExtension.RID: "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",  # RFC 8852
    HeaderExtension.REPAIRED_RID: "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    HeaderExtension.ABS_CAPTURE_TIME: (
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
    ),
}
