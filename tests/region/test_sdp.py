import re

import pytest

from region.offer import parse_offer_untrusted
from region.sdp import CNAME, Answer, OfferedEncoding, OfferedSlot, OfferedSource
from relay.errors import RemoteProtocolError
from relay.ids import Address, MediaKind, SourceKind, Ssrc, VideoCodec
from relay.payload import EXTENSION_URIS, HeaderExtension, PayloadType
from tests.region.answering import (
    ADDRESSES,
    AIORTC,
    CHROMIUM,
    FINGERPRINT,
    FIREFOX,
    ICE,
    MICROPHONE,
    SIMULCAST,
    WEBRTCBIN,
    answered,
    by_mid,
    changed,
    section_lines,
    source_of,
)

DESCRIPTOR = EXTENSION_URIS[HeaderExtension.DEPENDENCY_DESCRIPTOR]
NUMBERS = EXTENSION_URIS[HeaderExtension.TRANSPORT_SEQUENCE]
GSTREAMER = {"audio0": SourceKind.MICROPHONE, "video1": SourceKind.CAMERA}


def formats(result: Answer, mid: str) -> list[str]:
    """What the section is answered with, in order, retransmissions left out."""
    first, *lines = section_lines(result.sdp, mid)
    names = dict(
        line.removeprefix("a=rtpmap:").split(" ") for line in lines if line.startswith("a=rtpmap:")
    )
    return [names[number] for number in first.split(" ")[3:] if not names[number].startswith("rtx")]


def feedback(result: Answer, mid: str, number: int) -> set[str]:
    prefix = f"a=rtcp-fb:{number} "
    lines = section_lines(result.sdp, mid)
    return {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}


def test_an_answer_settles_payload_types_extensions_sources_and_slots() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    result = answered(offer)
    assert result.payload_types == {
        111: PayloadType.OPUS,
        63: PayloadType.OPUS_RED,
        96: PayloadType.VP8,
        97: PayloadType.VP8_RTX,
        98: PayloadType.VP9,
        99: PayloadType.VP9_RTX,
        108: PayloadType.H264,
        109: PayloadType.H264_RTX,
        45: PayloadType.AV1,
        46: PayloadType.AV1_RTX,
    }
    assert result.extensions == {
        1: HeaderExtension.AUDIO_LEVEL,
        13: HeaderExtension.VIDEO_ORIENTATION,
        3: HeaderExtension.TRANSPORT_SEQUENCE,
        4: HeaderExtension.MID,
        10: HeaderExtension.RID,
        11: HeaderExtension.REPAIRED_RID,
    }
    camera = by_mid(offer, "1")
    encoding = OfferedEncoding(
        ssrc=camera.ssrcs[0], rtx_ssrc=dict(camera.rtx_ssrcs)[camera.ssrcs[0]], rid=None
    )
    assert result.sources[1] == OfferedSource(
        mid="1", kind=SourceKind.CAMERA, encodings=(encoding,), repairable=True
    )
    assert not result.sources[0].repairable
    assert result.slots[0] == OfferedSlot(
        mid="2", media=MediaKind.AUDIO, ssrc=Ssrc(1_000), numbered=True
    )
    assert [slot.media for slot in result.slots].count(MediaKind.VIDEO) == 9
    assert result.offer is offer


def test_aiortc_may_number_everything_otherwise() -> None:
    result = answered(AIORTC)
    assert result.payload_types == {
        96: PayloadType.OPUS,
        97: PayloadType.VP8,
        98: PayloadType.VP8_RTX,
        101: PayloadType.H264,
        102: PayloadType.H264_RTX,
    }
    assert result.extensions == {1: HeaderExtension.MID, 2: HeaderExtension.AUDIO_LEVEL}
    assert result.decodes == {VideoCodec.VP8, VideoCodec.H264}
    assert not any(slot.numbered for slot in result.slots)


def test_firefox_numbers_only_pictures() -> None:
    result = answered(FIREFOX)
    assert {slot.media: slot.numbered for slot in result.slots} == {
        MediaKind.AUDIO: False,
        MediaKind.VIDEO: True,
    }
    assert result.decodes == {VideoCodec.VP8, VideoCodec.VP9, VideoCodec.H264}
    assert result.payload_types[126] is PayloadType.H264
    lines = section_lines(result.sdp, "1")
    assert "a=extmap:8/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id" in lines
    assert not any("playout-delay" in line for line in lines)
    assert not any("rtp-stream-id" in line for line in section_lines(result.sdp, "3"))


def test_gstreamer_sends_to_us_though_it_would_receive_too() -> None:
    result = answered(WEBRTCBIN, sources=GSTREAMER)
    camera = source_of(result, "video1")
    assert camera.encodings == (OfferedEncoding(ssrc=Ssrc(1786865761), rtx_ssrc=None, rid=None),)
    assert not camera.repairable
    assert result.decodes is None
    assert "a=recvonly" in section_lines(result.sdp, "video1")
    assert feedback(result, "video1", 97) == {"nack pli", "ccm fir", "transport-cc"}
    assert feedback(result, "audio0", 96) == set()


@pytest.mark.parametrize("preferred", list(VideoCodec))
def test_the_conferences_codec_comes_first_and_the_others_after_it(preferred: VideoCodec) -> None:
    result = answered(SIMULCAST, codec=preferred)
    others = [codec for codec in VideoCodec if codec is not preferred]
    wanted = [f"{codec.upper()}/90000" for codec in (preferred, *others)]
    assert formats(result, "1") == wanted
    assert formats(result, "4") == wanted
    assert formats(result, "0") == ["opus/48000/2", "red/48000/2"]
    assert result.decodes == set(VideoCodec)


def test_every_codec_has_its_retransmissions_and_parameters() -> None:
    lines = section_lines(answered(SIMULCAST).sdp, "1")
    assert lines[0] == "m=video 10000 UDP/TLS/RTP/SAVPF 96 97 45 46 98 99 108 109"
    for number, rtx in ((96, 97), (45, 46), (98, 99), (108, 109)):
        assert f"a=rtpmap:{rtx} rtx/90000" in lines
        assert f"a=fmtp:{rtx} apt={number}" in lines
    assert "a=fmtp:45 profile=0;level-idx=5;tier=0" in lines
    assert "a=fmtp:98 profile-id=0" in lines
    assert (
        "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" in lines
    )


def test_redundancy_is_of_the_opus_that_is_agreed_on() -> None:
    assert "a=fmtp:63 111/111" in section_lines(answered(CHROMIUM).sdp, "0")
    of_another = answered(changed(CHROMIUM, ("a=fmtp:63 111/111", "a=fmtp:63 9/9")))
    assert PayloadType.OPUS_RED not in of_another.payload_types.values()


def test_slots_decode_what_all_of_them_have() -> None:
    text = changed(CHROMIUM, (r"(?s)(a=mid:9\r.*?)AV1/90000", r"\1AV2/90000"))
    assert answered(text).decodes == {VideoCodec.VP9, VideoCodec.VP8, VideoCodec.H264}
    assert answered(text, slot_ssrcs={"14": Ssrc(1), "2": Ssrc(2)}).decodes == set(VideoCodec)
    assert answered(text, slot_ssrcs={"2": Ssrc(2)}).decodes is None


def test_a_section_leaves_out_what_it_numbers_otherwise() -> None:
    text = changed(CHROMIUM, (r"(?s)(a=mid:15.*?)a=rtpmap:96 VP8", r"\1a=rtpmap:127 VP8"))
    text = text.replace("SAVPF 96", "SAVPF 127 96")
    result = answered(text)
    assert result.payload_types[96] is PayloadType.VP8
    assert "VP8/90000" not in formats(result, "15")
    assert result.decodes == {VideoCodec.AV1, VideoCodec.VP9, VideoCodec.H264}


def test_h264_is_the_variant_that_most_sections_have() -> None:
    text = changed(
        CHROMIUM, (r"(?s)(m=video.*)(profile-level-id=42e01f)", r"\1profile-level-id=640c1f")
    )
    assert answered(text).payload_types[108] is PayloadType.H264
    text = changed(CHROMIUM, ("profile-level-id=42e01f", "profile-level-id=640c1f"))
    assert answered(text).payload_types[102] is PayloadType.H264


def test_a_source_is_received_with_the_feedback_that_we_do() -> None:
    result = answered(CHROMIUM)
    lines = section_lines(result.sdp, "1")
    assert lines[1] == "c=IN IP4 198.51.100.7"
    assert "a=recvonly" in lines
    for number in (96, 98, 108, 45):
        assert feedback(result, "1", number) == {"ccm fir", "nack", "nack pli", "transport-cc"}
    assert feedback(result, "0", 111) == {"transport-cc"}
    assert "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid" in lines
    assert f"a=extmap:3 {NUMBERS}" in lines
    assert "goog-remb" not in result.sdp


def test_what_we_send_is_numbered_where_the_browser_reports_on_it() -> None:
    result = answered(CHROMIUM)
    video = next(slot for slot in result.slots if slot.media is MediaKind.VIDEO)
    assert video.numbered
    assert f"a=extmap:3 {NUMBERS}" in section_lines(result.sdp, video.mid)
    assert "transport-cc" in feedback(result, video.mid, 96)
    silent = answered(changed(CHROMIUM, (r"a=rtcp-fb:\d+ transport-cc\r\n", "")))
    assert not any(slot.numbered for slot in silent.slots)
    assert HeaderExtension.TRANSPORT_SEQUENCE not in silent.extensions.values()
    unmarked = answered(changed(CHROMIUM, (f"a=extmap:3 {NUMBERS}\r\n", "")))
    assert "transport-cc" not in unmarked.sdp


def test_dependency_descriptors_go_both_ways() -> None:
    result = answered(SIMULCAST)
    assert result.extensions[12] is HeaderExtension.DEPENDENCY_DESCRIPTOR
    assert "a=extmap-allow-mixed\r\n" in result.sdp.split("m=")[0]
    assert result.sdp.count("allow-mixed") == 1
    for mid in ("1", "4"):
        assert f"a=extmap:12 {DESCRIPTOR}" in section_lines(result.sdp, mid)


def test_dependency_descriptors_need_long_extensions() -> None:
    result = answered(changed(SIMULCAST, ("a=extmap-allow-mixed\r\n", "")))
    assert HeaderExtension.DEPENDENCY_DESCRIPTOR not in result.extensions.values()
    assert "allow-mixed" not in result.sdp


def test_long_extensions_may_be_one_sections() -> None:
    text = changed(
        SIMULCAST,
        (r"a=extmap-allow-mixed\r\n", ""),
        (r"(a=mid:1)", r"\1\r\na=extmap-allow-mixed"),
    )
    sdp = answered(text).sdp
    assert "a=extmap-allow-mixed" in section_lines(sdp, "1")
    assert f"a=extmap:12 {DESCRIPTOR}" in section_lines(sdp, "1")
    assert sdp.count("allow-mixed") == 1
    assert sdp.count(DESCRIPTOR) == 1


@pytest.mark.parametrize(("wire_id", "agreed"), [(14, True), (15, False), (16, True), (255, True)])
def test_wide_extension_ids_are_for_who_allows_them(wire_id: int, agreed: bool) -> None:
    text = changed(
        CHROMIUM, (r"a=extmap:14 .*\r\n", ""), ("extmap:13 urn", f"extmap:{wire_id} urn")
    )
    assert (wire_id in answered(text).extensions) is agreed
    narrow = answered(changed(text, ("a=extmap-allow-mixed\r\n", "")))
    assert (wire_id in narrow.extensions) is (wire_id == 14)


def test_an_extension_is_for_the_direction_that_was_offered() -> None:
    level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    for offered, source, slot in (
        ("sendonly", f"a=extmap:1/recvonly {level}", None),
        ("recvonly", None, f"a=extmap:1/sendonly {level}"),
        ("inactive", None, None),
        ("sendrecv", f"a=extmap:1 {level}", f"a=extmap:1 {level}"),
    ):
        sdp = answered(changed(CHROMIUM, ("extmap:1 ", f"extmap:1/{offered} "))).sdp
        for mid, wanted in (("0", source), ("2", slot)):
            found = [line for line in section_lines(sdp, mid) if level in line]
            assert found == ([] if wanted is None else [wanted])


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
    result = answered(CHROMIUM.replace(" rtx/90000", " flexfec-03/90000"))
    camera = source_of(result, "1")
    assert camera.encodings[0].rtx_ssrc is None
    assert not camera.repairable
    assert feedback(result, "1", 96) == {"ccm fir", "nack pli", "transport-cc"}


def test_sound_is_repaired_where_the_browser_offers_it() -> None:
    text = changed(
        AIORTC,
        ("SAVPF 96 9 0 8", "SAVPF 96 9 0 8 120"),
        (
            "(a=rtpmap:96 opus/48000/2)",
            "\\1\r\na=rtcp-fb:96 nack\r\na=rtpmap:120 rtx/48000\r\na=fmtp:120 apt=96",
        ),
    )
    result = answered(text)
    assert result.payload_types[120] is PayloadType.OPUS_RTX
    assert feedback(result, "0", 96) == {"nack"}


def test_a_slot_is_sent_under_its_ssrc() -> None:
    lines = section_lines(answered(CHROMIUM).sdp, "3")
    assert "a=sendonly" in lines
    assert f"a=ssrc:1001 cname:{CNAME}" in lines
    assert "a=msid:- slot-3" in lines
    assert "a=rtpmap:111 opus/48000/2" in lines
    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1" in lines
    assert not any("sdes:" in line for line in lines)


def test_an_answer_has_one_passive_lite_transport() -> None:
    sdp = answered(CHROMIUM).sdp
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


def test_an_answer_has_the_session_and_version_that_it_is_given() -> None:
    assert "\r\no=- 77 3 IN IP4 127.0.0.1\r\n" in answered(CHROMIUM, session_id=77, version=3).sdp


def test_candidates_stand_in_the_first_section() -> None:
    sdp = answered(CHROMIUM, tcp_candidates=ADDRESSES[:1]).sdp
    lines = [line for line in section_lines(sdp, "0") if "candidate" in line]
    assert len(lines) == len(ADDRESSES) + 2
    assert sum("tcptype passive" in line for line in lines) == 1
    assert sdp.count("candidate") == len(lines)


def test_a_bridge_may_be_reached_by_tcp_alone() -> None:
    tcp = Address(host="2001:db8::7", port=443)
    lines = section_lines(answered(CHROMIUM, candidates=(), tcp_candidates=[tcp]).sdp, "0")
    assert lines[0].startswith("m=audio 9 ")
    assert [line for line in lines if line.startswith("a=candidate")] == [
        "a=candidate:1 1 tcp 1520435199 2001:db8::7 443 typ host tcptype passive"
    ]


def test_a_data_channel_is_rejected_out_of_the_bundle() -> None:
    lines = section_lines(answered(CHROMIUM).sdp, "16")
    assert lines[0] == "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"


def test_what_nobody_asked_for_stays_idle() -> None:
    result = answered(CHROMIUM, sources={"1": SourceKind.CAMERA}, slot_ssrcs={"2": Ssrc(9)})
    assert "a=inactive" in section_lines(result.sdp, "0")
    assert "a=inactive" in section_lines(result.sdp, "3")
    assert [slot.mid for slot in result.slots] == ["2"]
    assert [source.mid for source in result.sources] == ["1"]


def test_a_section_without_a_codec_of_ours_is_rejected() -> None:
    offer = parse_offer_untrusted(re.sub(r"(VP8|VP9|AV1|H264)/90000", "VP7/90000", CHROMIUM))
    result = answered(offer, sources=MICROPHONE)
    assert {slot.media for slot in result.slots} == {MediaKind.AUDIO}
    assert result.decodes is None
    assert section_lines(result.sdp, "1")[0] == "m=video 0 UDP/TLS/RTP/SAVPF 96"
    with pytest.raises(RemoteProtocolError, match="camera"):
        answered(offer)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("a=setup:actpass", "a=setup:passive", "handshake"),
        (r"a=mid:0\r\n(.*\r\n)*?a=rtcp-mux\r\n", "a=mid:0\r\n", "first section"),
        (r"(?s)(a=mid:2\r.*?)a=rtpmap:111 opus", r"\1a=rtpmap:120 opus", "OPUS in two ways"),
        (r"a=rtpmap:111 opus", "a=rtpmap:96 opus", "as another codec"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 16 0 1", "first section"),
    ],
)
def test_an_offer_that_cannot_be_served_is_refused_in_words(
    old: str, new: str, reason: str
) -> None:
    text = changed(CHROMIUM, (old, new)).replace("SAVPF 111", "SAVPF 111 96 120")
    offer = parse_offer_untrusted(text)
    with pytest.raises(RemoteProtocolError, match=reason):
        answered(offer)


def test_sources_that_are_not_offered_are_refused() -> None:
    for sources in (
        {"99": SourceKind.MICROPHONE},
        {"2": SourceKind.MICROPHONE},
        {"0": SourceKind.CAMERA},
    ):
        with pytest.raises(RemoteProtocolError, match="offers no such media"):
            answered(CHROMIUM, sources=sources)


def test_one_kind_cannot_be_sent_twice() -> None:
    offer = parse_offer_untrusted(CHROMIUM.replace("a=recvonly", "a=sendonly\r\na=ssrc:5 cname:x"))
    with pytest.raises(RemoteProtocolError, match="twice"):
        answered(offer, sources={"1": SourceKind.CAMERA, "7": SourceKind.CAMERA})
    with pytest.raises(RemoteProtocolError, match="twice"):
        answered(offer, sources={"7": SourceKind.CAMERA, "8": SourceKind.SCREEN})
