"""Payload types and header extensions as they are on every trunk.

A browser numbers them as it likes; the bridge translates at its edge, so two browsers
and two bridges never have to agree on a number.
"""

from enum import IntEnum


class PayloadType(IntEnum):
    """RFC 3551 §6: the dynamic payload types of a trunk."""

    VP8 = 96
    VP8_RTX = 97
    OPUS = 111
    OPUS_RTX = 112

    @property
    def retransmissions(self) -> "PayloadType | None":
        """RFC 4588 §8.6: the type that carries this one's retransmissions; None for itself one."""
        return _RETRANSMISSIONS.get(self)

    @property
    def clock_rate(self) -> int:
        """RTP timestamp ticks in a second."""
        return 48_000 if self in (PayloadType.OPUS, PayloadType.OPUS_RTX) else 90_000


_RETRANSMISSIONS = {
    PayloadType.VP8: PayloadType.VP8_RTX,
    PayloadType.OPUS: PayloadType.OPUS_RTX,
}


class HeaderExtension(IntEnum):
    """RFC 8285: the extension ids of a trunk; each is forwarded to receivers that negotiated it."""

    AUDIO_LEVEL = 1
    VIDEO_ORIENTATION = 2
    TRANSPORT_SEQUENCE = 3
    """Of one transport, which for this project's trunks is none: no bridge forwards it."""


EXTENSION_URIS = {
    HeaderExtension.AUDIO_LEVEL: "urn:ietf:params:rtp-hdrext:ssrc-audio-level",  # RFC 6464
    HeaderExtension.VIDEO_ORIENTATION: "urn:3gpp:video-orientation",  # 3GPP TS 26.114
    HeaderExtension.TRANSPORT_SEQUENCE: (
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
    ),
}
