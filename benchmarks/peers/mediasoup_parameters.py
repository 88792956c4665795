"""RTP parameters as mediasoup's worker wants them, for what the load sends and receives. Pure.

mediasoup's library for Node computes them from what endpoints and router are capable of (ortc.js).
Both are known here: Opus, and VP8 with retransmissions, by numbers that ortc.js would give them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.load.description import Description, Section, Source
from relay.ids import MediaKind
from relay.payload import EXTENSION_URIS, HeaderExtension

OPUS, VP8, VP8_RTX = 100, 101, 102
"""Payload types inside of a router, and of all that it sends."""
FIRST_SSRC = 100_000
"""Of those that we give to it; the worker has one below for measuring paths."""

_CODECS: Mapping[MediaKind, dict[str, Any]] = {
    MediaKind.AUDIO: {"mimeType": "audio/opus", "clockRate": 48_000, "channels": 2},
    MediaKind.VIDEO: {"mimeType": "video/VP8", "clockRate": 90_000},
}
_EXTENSIONS = {
    MediaKind.AUDIO: {HeaderExtension.MID: 1, HeaderExtension.AUDIO_LEVEL: 10},
    # The worker numbers what it sends transport-wide only where it is video.
    MediaKind.VIDEO: {HeaderExtension.MID: 1, HeaderExtension.TRANSPORT_SEQUENCE: 5},
}
_FEEDBACK = ("nack pli", "ccm fir")
_BROWSERS_FEEDBACK = ("nack", *_FEEDBACK, "transport-cc")
_TEMPORAL_LAYERS = 3
"""Of each encoding of a camera that has several, as the load and browsers have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """Something that a member sends, as the router knows it."""

    id: str
    media: MediaKind
    ssrcs: tuple[int, ...]
    """Of its encodings inside of the router, the lowest first."""

    @property
    def simulcast(self) -> bool:
        """Whether there is something to choose."""
        return len(self.ssrcs) > 1


def produce(produced: Produced, source: Source, section: Section) -> dict[str, Any]:
    """What `transport.produce` is told; `section`: of our description, as we send it."""
    encodings: list[dict[str, Any]] = []
    mapped: list[dict[str, Any]] = []
    for encoding, ssrc in zip(source.encodings, produced.ssrcs, strict=True):
        name = {"rid": encoding.rid} if encoding.rid else {"ssrc": encoding.ssrc}
        repaired = section.rtx_payload is not None and not encoding.rid
        encodings.append(
            {
                **name,
                **({"rtx": {"ssrc": encoding.rtx_ssrc}} if repaired else {}),
                **_scalability(produced, spatial=1),
            }
        )
        mapped.append({**name, "mappedSsrc": ssrc})
    inside = {section.payload: OPUS if produced.media is MediaKind.AUDIO else VP8}
    if section.rtx_payload is not None:
        inside[section.rtx_payload] = VP8_RTX
    return {
        "producerId": produced.id,
        "kind": produced.media,
        "paused": False,
        "rtpParameters": _parameters(section, produced.media, encodings),
        "rtpMapping": {
            "codecs": [
                {"payloadType": number, "mappedPayloadType": mapped_number}
                for number, mapped_number in inside.items()
            ],
            "encodings": mapped,
        },
    }


def received(produced: Produced, *, mid: str, ssrc: int, as_browsers: bool) -> Section:
    """Where it comes to a member, by that SSRC; retransmissions by the next."""
    video = produced.media is MediaKind.VIDEO
    repaired = video and as_browsers
    payload = VP8 if video else OPUS
    feedback = _BROWSERS_FEEDBACK if as_browsers else _FEEDBACK
    return Section(
        mid=mid,
        media=produced.media,
        protocol="UDP/TLS/RTP/SAVPF",
        port=9,
        formats=(str(payload), *((str(VP8_RTX),) if repaired else ())),
        direction="sendonly",
        payload=payload,
        rtx_payload=VP8_RTX if repaired else None,
        feedback=feedback if video else (),
        extensions={
            meaning: number
            for meaning, number in _EXTENSIONS[produced.media].items()
            if as_browsers or meaning is HeaderExtension.AUDIO_LEVEL
        },
        ssrcs=(ssrc, ssrc + 1) if repaired else (ssrc,),
    )


def consume(consumer: str, produced: Produced, section: Section, layer: int) -> dict[str, Any]:
    """What `transport.consume` is told, so that it comes as the section says."""
    ssrc, *repairs = section.ssrcs
    encoding = {
        "ssrc": ssrc,
        **({"rtx": {"ssrc": repairs[0]}} if repairs else {}),
        **_scalability(produced, spatial=len(produced.ssrcs)),
    }
    return {
        "consumerId": consumer,
        "producerId": produced.id,
        "kind": produced.media,
        "type": "simulcast" if produced.simulcast else "simple",
        "paused": False,
        "rtpParameters": _parameters(section, produced.media, [encoding]),
        "consumableRtpEncodings": [
            {"ssrc": inside, **_scalability(produced, spatial=1)} for inside in produced.ssrcs
        ],
        **({"preferredLayers": preferred(layer)} if produced.simulcast else {}),
    }


def preferred(layer: int) -> dict[str, int]:
    """Of several encodings that one, with all its frames."""
    return {"spatialLayer": layer, "temporalLayer": _TEMPORAL_LAYERS - 1}


def described(transport: Mapping[str, Any], sections: Sequence[Section]) -> Description:
    """What the worker says of a transport that it has made, as if SDP had brought it."""
    return Description(
        ufrag=transport["iceParameters"]["usernameFragment"],
        password=transport["iceParameters"]["password"],
        lite=True,
        setup="passive",
        candidates=tuple((each["ip"], each["port"]) for each in transport["iceCandidates"]),
        sections=tuple(sections),
    )


def _parameters(
    section: Section, media: MediaKind, encodings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    codecs = [
        {
            **_CODECS[media],
            "payloadType": section.payload,
            "parameters": {},
            "rtcpFeedback": [
                {"type": name, "parameter": parameter}
                for name, _, parameter in (each.partition(" ") for each in section.feedback)
            ],
        }
    ]
    if section.rtx_payload is not None:
        codecs.append(
            {
                "mimeType": "video/rtx",
                "clockRate": _CODECS[media]["clockRate"],
                "payloadType": section.rtx_payload,
                "parameters": {"apt": section.payload},
                "rtcpFeedback": [],
            }
        )
    return {
        "mid": section.mid,
        "codecs": codecs,
        "headerExtensions": [
            {"uri": EXTENSION_URIS[meaning], "id": number, "encrypt": False, "parameters": {}}
            for meaning, number in section.extensions.items()
        ],
        "encodings": list(encodings),
        "rtcp": {"cname": "load", "reducedSize": True, "mux": True},
    }


def _scalability(produced: Produced, *, spatial: int) -> dict[str, str]:
    if not produced.simulcast:
        return {}
    return {"scalabilityMode": f"L{spatial}T{_TEMPORAL_LAYERS}"}
