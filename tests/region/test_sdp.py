import asyncio
import re
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright

from region.ice import IceCredentials
from region.offer import Direction, Offer, Section
from region.sdp import (
    CNAME,
    Answer,
    OfferedSlot,
    OfferedSource,
    answer,
    parse_offer_untrusted,
)
from relay.errors import MalformedError, RemoteProtocolError
from relay.ids import Address, MediaKind, SourceKind, Ssrc
from relay.payload import HeaderExtension, PayloadType

OFFERS = Path(__file__).parent / "offers"
CHROMIUM = (OFFERS / "chromium.sdp").read_bytes().decode()
"""Chromium's: microphone, camera, 5 audio slots, 9 video slots and a data channel."""
AIORTC = (OFFERS / "aiortc.sdp").read_bytes().decode()
"""aiortc's: microphone, camera, 2 audio slots, 2 video slots."""

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


def answered(
    offer: Offer,
    *,
    sources: dict[str, SourceKind] = SOURCES,
    slot_ssrcs: dict[str, Ssrc] | None = None,
    slot_rtx_ssrcs: dict[str, Ssrc] | None = None,
) -> Answer:
    return answer(
        offer,
        sources=sources,
        ice=ICE,
        fingerprint=FINGERPRINT,
        candidates=ADDRESSES,
        slot_ssrcs=ssrcs_for(offer) if slot_ssrcs is None else slot_ssrcs,
        slot_rtx_ssrcs=slot_rtx_ssrcs or {},
    )


def section_lines(sdp: str, mid: str) -> list[str]:
    blocks = re.split(r"(?=^m=)", sdp, flags=re.M)
    (block,) = (block for block in blocks if f"a=mid:{mid}\r\n" in block)
    return block.splitlines()


def by_mid(offer: Offer, mid: str) -> Section:
    (section,) = (section for section in offer.sections if section.mid == mid)
    return section


def test_an_offer_of_chromium_is_understood() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    assert len(offer.sections) == 17
    assert offer.ice.ufrag in CHROMIUM
    assert offer.ice.password not in repr(offer)
    assert [text.split(" ")[0] for text in offer.fingerprints] == ["sha-256"]
    assert [section.mid for section in offer.slots] == [str(number) for number in range(2, 16)]
    microphone, camera, channel = (by_mid(offer, mid) for mid in ("0", "1", "16"))
    assert (microphone.media, microphone.direction) == (MediaKind.AUDIO, Direction.SENDONLY)
    assert microphone.codec is not None
    assert (microphone.codec.number, microphone.codec.channels) == (111, 2)
    assert microphone.codec.parameters == "minptime=10;useinbandfec=1"
    assert camera.codec is not None
    assert camera.codec.canonical is PayloadType.VP8
    assert "nack pli" in camera.codec.feedback
    assert camera.rtx_ssrcs[0][0] == camera.ssrcs[0]
    assert len(camera.ssrcs) == 1
    assert (1, "urn:ietf:params:rtp-hdrext:ssrc-audio-level") in microphone.extensions
    assert (channel.media, channel.codec) == (None, None)


def test_an_offer_of_aiortc_is_understood() -> None:
    offer = parse_offer_untrusted(AIORTC)
    assert len(offer.slots) == 4
    assert [text.split(" ")[0] for text in offer.fingerprints] == ["sha-256", "sha-384", "sha-512"]


def test_an_answer_settles_payload_types_extensions_sources_and_slots() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    result = answered(offer)
    assert result.payload_types == {
        111: PayloadType.OPUS,
        96: PayloadType.VP8,
        97: PayloadType.VP8_RTX,
    }
    assert result.extensions == {
        1: HeaderExtension.AUDIO_LEVEL,
        13: HeaderExtension.VIDEO_ORIENTATION,
        3: HeaderExtension.TRANSPORT_SEQUENCE,
    }
    camera = by_mid(offer, "1")
    assert result.sources[1] == OfferedSource(
        mid="1",
        kind=SourceKind.CAMERA,
        ssrc=camera.ssrcs[0],
        rtx_ssrc=camera.rtx_ssrcs[0][1],
    )
    assert result.sources[0].rtx_ssrc is None
    assert result.slots[0] == OfferedSlot(mid="2", media=MediaKind.AUDIO, ssrc=Ssrc(1_000))
    assert [slot.media for slot in result.slots].count(MediaKind.VIDEO) == 9


def test_aiortc_may_number_everything_otherwise() -> None:
    result = answered(parse_offer_untrusted(AIORTC))
    assert result.payload_types == {
        96: PayloadType.OPUS,
        97: PayloadType.VP8,
        98: PayloadType.VP8_RTX,
    }
    assert result.extensions == {2: HeaderExtension.AUDIO_LEVEL}


def test_a_source_is_received_with_the_feedback_that_we_do() -> None:
    lines = section_lines(answered(parse_offer_untrusted(CHROMIUM)).sdp, "1")
    assert lines[0] == "m=video 10000 UDP/TLS/RTP/SAVPF 96 97"
    assert lines[1] == "c=IN IP4 198.51.100.7"
    assert "a=recvonly" in lines
    assert {line for line in lines if line.startswith("a=rtcp-fb")} == {
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 transport-cc",
    }
    assert "a=rtpmap:97 rtx/90000" in lines
    assert "a=fmtp:97 apt=96" in lines
    assert "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid" in lines
    assert (
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
        in (lines)
    )


def test_a_picture_slot_repeats_what_was_lost_under_a_second_ssrc() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    video = next(section.mid for section in offer.slots if section.media is MediaKind.VIDEO)
    result = answered(offer, slot_rtx_ssrcs={video: Ssrc(77)})
    slot = next(slot for slot in result.slots if slot.mid == video)
    assert slot.rtx_ssrc == 77
    lines = section_lines(result.sdp, video)
    assert f"a=ssrc-group:FID {slot.ssrc} 77" in lines
    assert f"a=ssrc:77 cname:{CNAME}" in lines


def test_a_source_without_retransmissions_is_not_asked_for_any() -> None:
    text = CHROMIUM.replace(" rtx/90000", " flexfec-03/90000")
    result = answered(parse_offer_untrusted(text))
    assert result.sources[1].rtx_ssrc is None
    lines = section_lines(result.sdp, "1")
    assert "a=rtcp-fb:96 nack" not in lines
    assert "a=rtcp-fb:96 nack pli" in lines


def test_a_slot_is_sent_under_its_ssrc() -> None:
    lines = section_lines(answered(parse_offer_untrusted(CHROMIUM)).sdp, "3")
    assert "a=sendonly" in lines
    assert f"a=ssrc:1001 cname:{CNAME}" in lines
    assert "a=msid:- slot-3" in lines
    assert "a=rtpmap:111 opus/48000/2" in lines
    assert "a=fmtp:111 minptime=10;useinbandfec=1" in lines
    assert not any("sdes:mid" in line for line in lines)


def test_an_answer_has_one_passive_lite_transport() -> None:
    sdp = answered(parse_offer_untrusted(CHROMIUM)).sdp
    assert sdp.endswith("\r\n")
    assert "a=ice-lite\r\n" in sdp.split("m=")[0]
    bundle = "a=group:BUNDLE " + " ".join(str(number) for number in range(16)) + "\r\n"
    assert bundle in sdp
    for mid in map(str, range(16)):
        lines = section_lines(sdp, mid)
        assert "a=setup:passive" in lines
        assert "a=rtcp-mux" in lines
        assert f"a=fingerprint:{FINGERPRINT}" in lines
        assert f"a=ice-ufrag:{ICE.ufrag}" in lines


def test_candidates_are_hosts_in_our_order_of_preference() -> None:
    sdp = answered(parse_offer_untrusted(CHROMIUM)).sdp
    lines = [line for line in section_lines(sdp, "0") if "candidate" in line]
    assert lines == [
        "a=candidate:1 1 udp 2130706431 198.51.100.7 10000 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::7 10000 typ host",
        "a=candidate:1 1 udp 2130705919 198.51.100.7 10010 typ host",
        "a=end-of-candidates",
    ]
    assert sdp.count("a=candidate") == 3


def test_a_data_channel_is_rejected_out_of_the_bundle() -> None:
    lines = section_lines(answered(parse_offer_untrusted(CHROMIUM)).sdp, "16")
    assert lines[0] == "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"


def test_what_nobody_asked_for_stays_idle() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    result = answered(offer, sources={"1": SourceKind.CAMERA}, slot_ssrcs={"2": Ssrc(9)})
    assert "a=inactive" in section_lines(result.sdp, "0")
    assert "a=inactive" in section_lines(result.sdp, "3")
    assert [slot.mid for slot in result.slots] == ["2"]
    assert [source.mid for source in result.sources] == ["1"]


def test_a_section_without_a_codec_of_ours_is_rejected() -> None:
    text = CHROMIUM.replace("VP8/90000", "VP7/90000")
    offer = parse_offer_untrusted(text)
    result = answered(offer, sources=MICROPHONE)
    assert {slot.media for slot in result.slots} == {MediaKind.AUDIO}
    assert section_lines(result.sdp, "1")[0] == "m=video 0 UDP/TLS/RTP/SAVPF 96"
    with pytest.raises(RemoteProtocolError, match="camera"):
        answered(offer)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (r"a=ssrc(-group)?:.*\r\n", "", "SSRC"),
        (r"a=ssrc(-group)?:.*\r\n", "a=rid:h send\r\n", "simulcast"),
        ("a=setup:actpass", "a=setup:passive", "handshake"),
        (r"a=mid:0\r\n(.*\r\n)*?a=rtcp-mux\r\n", "a=mid:0\r\n", "first section"),
        (r"(?s)(a=mid:15.*?)a=rtpmap:96 VP8", r"\1a=rtpmap:127 VP8", "two ways"),
        (r"(?s)(a=mid:2\r.*?)a=rtpmap:111 opus", r"\1a=rtpmap:96 opus", "two ways"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 16 0 1", "first section"),
    ],
)
def test_an_offer_that_cannot_be_served_is_refused_in_words(
    old: str, new: str, reason: str
) -> None:
    changed = re.sub(old, new, CHROMIUM)
    assert changed != CHROMIUM
    changed = changed.replace("SAVPF 111", "SAVPF 111 96").replace("SAVPF 96", "SAVPF 127 96")
    offer = parse_offer_untrusted(changed)
    with pytest.raises(RemoteProtocolError, match=reason):
        answered(offer)


def test_sources_that_are_not_offered_are_refused() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    for sources in (
        {"99": SourceKind.MICROPHONE},
        {"2": SourceKind.MICROPHONE},
        {"0": SourceKind.CAMERA},
    ):
        with pytest.raises(RemoteProtocolError, match="offers no such media"):
            answered(offer, sources=sources)


def test_one_kind_cannot_be_sent_twice() -> None:
    offer = parse_offer_untrusted(CHROMIUM.replace("a=recvonly", "a=sendonly\r\na=ssrc:5 cname:x"))
    with pytest.raises(RemoteProtocolError, match="twice"):
        answered(offer, sources={"1": SourceKind.CAMERA, "7": SourceKind.CAMERA})
    with pytest.raises(RemoteProtocolError, match="twice"):
        answered(offer, sources={"7": SourceKind.CAMERA, "8": SourceKind.SCREEN})


def test_wide_extension_ids_are_not_agreed_on() -> None:
    text = CHROMIUM.replace("a=extmap:13 urn:3gpp", "a=extmap:15 urn:3gpp")
    result = answered(parse_offer_untrusted(text))
    assert 15 not in result.extensions


def test_session_level_transport_counts_for_all_sections() -> None:
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE a",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:" + "p" * 22,
        "a=fingerprint:sha-1 00:11",
        "a=fingerprint:SHA-256 " + ":".join(["ab"] * 32),
        "a=setup:active",
        "m=audio 9 UDP/TLS/RTP/SAVPF 109",
        "c=IN IP4 0.0.0.0",
        "a=mid:a",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtpmap:109 OPUS/48000/2",
        "a=ssrc:1 cname:x",
    ]
    offer = parse_offer_untrusted("\n".join(lines))
    assert offer.ice == IceCredentials("abcd", "p" * 22)
    assert offer.fingerprints == ("sha-256 " + ":".join(["AB"] * 32),)
    result = answered(offer, sources={"a": SourceKind.MICROPHONE})
    assert result.payload_types == {109: PayloadType.OPUS}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=0", "v=1"),
        ("s=-", "hello"),
        ("a=group:BUNDLE 0", "a=group:BUNDLE 99"),
        ("a=group:BUNDLE", "a=group:LS"),
        ("a=mid:1\r", "a=mid:0\r"),
        ("a=mid:1\r", "a=mid:a b\r"),
        ("a=mid:1\r", "a=mid:" + "1" * 17 + "\r"),
        ("a=ice-pwd:", "a=ice-pwd:short\r\na=x:"),
        ("a=ice-ufrag:", "a=ice-ufrag:!!!!\r\na=x:"),
        ("a=ice-ufrag:", "a=x:"),
        ("a=fingerprint:sha-256", "a=fingerprint:md5"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("m=audio 9", "m=audio 99999"),
        ("m=audio 9", "m=audio nine"),
        ("a=ssrc:", "a=ssrc:9999999999 cname:x\r\na=ssrc:"),
        ("SAVPF 111", "SAVPF 300 111"),
    ],
)
def test_an_offer_against_the_rules_is_malformed(old: str, new: str) -> None:
    text = CHROMIUM.replace("a=rtpmap:111", "a=rtpmap:300 opus/48000/2\r\na=rtpmap:111")
    parse_offer_untrusted(text)
    with pytest.raises(MalformedError):
        parse_offer_untrusted(text.replace(old, new))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=0\r\n",
        "v=0\r\n" + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" * 65,
        CHROMIUM + "a=x\r\n" * 1_100,
        CHROMIUM + "".join(f"a=ssrc:{number} cname:x\r\n" for number in range(1, 40)),
        CHROMIUM + "a=" + "x" * 200_000,
    ],
    ids=["empty", "no section", "65 sections", "long section", "many ssrcs", "long text"],
)
def test_offers_are_bounded(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_offer_untrusted(text)


@given(st.text(max_size=300))
def test_any_text_parses_or_is_malformed(text: str) -> None:
    for prefix in ("", "v=0\r\n", CHROMIUM):
        parse_and_answer(prefix + text)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Lines dropped, doubled, moved; bytes of a line changed."""
    lines = AIORTC.split("\r\n")
    for _ in range(draw(st.integers(1, 6))):
        index = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                del lines[index]
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), lines[index])
            case 2:
                at = draw(st.integers(0, len(lines[index])))
                text = draw(st.text(st.characters(codec="latin-1"), max_size=3))
                lines[index] = lines[index][:at] + text + lines[index][at + 1 :]
            case _:
                name = draw(st.sampled_from(["mid", "ssrc", "rtpmap", "extmap", "setup", "rid"]))
                value = draw(st.text(alphabet="0123456789 abc/:;=*-", max_size=12))
                lines[index] = f"a={name}:{value}"
    return "\r\n".join(lines)


@given(damaged())
@settings(max_examples=150)
def test_a_damaged_offer_is_answered_or_refused(text: str) -> None:
    parse_and_answer(text)


def parse_and_answer(text: str) -> None:
    try:
        offer = parse_offer_untrusted(text)
        result = answered(offer)
    except (MalformedError, RemoteProtocolError):
        return
    assert len(set(result.payload_types.values())) == len(result.payload_types)
    assert len(set(result.extensions.values())) == len(result.extensions)
    assert result.sdp.count("\r\nm=") == len(offer.sections)
    assert result.sdp.count("\n") == result.sdp.count("\r\n")


def test_aiortc_takes_the_answer_to_its_own_offer() -> None:
    async def run() -> list[str | None]:
        peer = RTCPeerConnection()
        peer.addTransceiver("audio", direction="sendonly")
        peer.addTransceiver("video", direction="sendonly")
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")
        try:
            await peer.setLocalDescription(await peer.createOffer())
            offer = parse_offer_untrusted(peer.localDescription.sdp)
            sdp = answered(offer).sdp
            await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
            return [each.currentDirection for each in peer.getTransceivers()]
        finally:
            await peer.close()

    assert asyncio.run(run()) == ["sendonly", "sendonly", "recvonly", "recvonly"]


MAKE_OFFER = """async () => {
    const peer = window.peer = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
    const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
    peer.addTransceiver(stream.getAudioTracks()[0], {direction: 'sendonly'});
    peer.addTransceiver(stream.getVideoTracks()[0], {direction: 'sendonly'});
    for (let i = 0; i < 5; i++) peer.addTransceiver('audio', {direction: 'recvonly'});
    for (let i = 0; i < 9; i++) peer.addTransceiver('video', {direction: 'recvonly'});
    peer.createDataChannel('x');
    await peer.setLocalDescription();
    return peer.localDescription.sdp;
}"""
TAKE_ANSWER = """async (sdp) => {
    await window.peer.setRemoteDescription({type: 'answer', sdp});
    return window.peer.getTransceivers().map((each) => each.currentDirection);
}"""


def test_chromium_takes_the_answer_to_its_own_offer() -> None:
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--disable-background-networking",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto("https://meet.example/")
        offer = parse_offer_untrusted(page.evaluate(MAKE_OFFER))
        full = page.evaluate(TAKE_ANSWER, answered(offer).sdp)
        assert full == ["sendonly"] * 2 + ["recvonly"] * 14
        offer = parse_offer_untrusted(page.evaluate(MAKE_OFFER))
        slots = {mid: ssrc for mid, ssrc in ssrcs_for(offer).items() if mid != "9"}
        sparse = page.evaluate(TAKE_ANSWER, answered(offer, sources={}, slot_ssrcs=slots).sdp)
        assert sparse.count("inactive") == 3
        assert sparse.count("recvonly") == 13
        offer = parse_offer_untrusted(page.evaluate(MAKE_OFFER).replace("VP8/90", "VP7/90"))
        deaf = page.evaluate(TAKE_ANSWER, answered(offer, sources=MICROPHONE).sdp)
        assert deaf == ["sendonly", *["recvonly"] * 5]
        browser.close()
