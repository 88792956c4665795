"""Offers of several makers, and answers to them."""

import re
from pathlib import Path
from typing import Any

from region.ice import IceCredentials
from region.offer import Offer, Section, parse_offer_untrusted
from region.sdp import Answer, OfferedSource, answer
from relay.ids import Address, SourceKind, Ssrc, VideoCodec

OFFERS = Path(__file__).parent / "offers"


def _offer(name: str) -> str:
    return (OFFERS / f"{name}.sdp").read_bytes().decode()


CHROMIUM = _offer("chromium")
"""Chromium's: microphone, camera, 5 audio slots, 9 video slots and a data channel."""
SIMULCAST = _offer("chromium_simulcast")
"""Chromium's: microphone, camera in three qualities, screen in layers, a slot of each kind."""
FIREFOX = _offer("firefox")
"""In the manner of Firefox: microphone, camera in three qualities, a slot of each kind."""
AIORTC = _offer("aiortc")
"""aiortc's: microphone, camera, 2 audio slots, 2 video slots."""
WEBRTCBIN = _offer("webrtcbin")
"""GStreamer's: microphone and camera."""

ICE = IceCredentials("bridge", "b" * 24)
FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
ADDRESSES = (
    Address(host="198.51.100.7", port=10_000),
    Address(host="2001:db8::7", port=10_000),
    Address(host="198.51.100.7", port=10_010),
)
SOURCES = {"0": SourceKind.MICROPHONE, "1": SourceKind.CAMERA}
MICROPHONE = {"0": SourceKind.MICROPHONE}


def ssrcs_for(offer: Offer) -> dict[str, Ssrc]:
    return {section.mid: Ssrc(1_000 + index) for index, section in enumerate(offer.slots)}


def answered(offer: Offer | str, **others: Any) -> Answer:
    """The answer with defaults for what `others` does not say."""
    if isinstance(offer, str):
        offer = parse_offer_untrusted(offer)
    arguments: dict[str, Any] = {
        "sources": SOURCES,
        "codec": VideoCodec.VP8,
        "ice": ICE,
        "fingerprint": FINGERPRINT,
        "candidates": ADDRESSES,
        "slot_ssrcs": ssrcs_for(offer),
        "session_id": 7,
        "version": 1,
    }
    return answer(offer, **arguments | others)


def section_lines(sdp: str, mid: str) -> list[str]:
    blocks = re.split(r"(?=^m=)", sdp, flags=re.M)
    (block,) = (block for block in blocks if f"a=mid:{mid}\r\n" in block)
    return block.splitlines()


def by_mid(offer: Offer, mid: str) -> Section:
    (section,) = (section for section in offer.sections if section.mid == mid)
    return section


def source_of(result: Answer, mid: str) -> OfferedSource:
    (source,) = (source for source in result.sources if source.mid == mid)
    return source


def changed(text: str, *replacements: tuple[str, str]) -> str:
    """`text` with each regular expression replaced, every one of which must have been there."""
    for old, new in replacements:
        text, count = re.subn(old, new, text)
        assert count, old
    return text
