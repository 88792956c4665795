import pytest
from hypothesis import given
from hypothesis import strategies as st

from region.ice import IceCredentials
from region.offer import Direction, Extension, parse_offer_untrusted
from relay.errors import MalformedError
from relay.ids import MediaKind
from relay.payload import PayloadType
from tests.region.answering import AIORTC, CHROMIUM, FIREFOX, SIMULCAST, WEBRTCBIN, by_mid, changed

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"


def test_an_offer_of_chromium_is_understood() -> None:
    offer = parse_offer_untrusted(CHROMIUM)
    assert len(offer.sections) == 17
    assert offer.ice.ufrag in CHROMIUM
    assert offer.ice.password not in repr(offer)
    assert [text.split(" ")[0] for text in offer.fingerprints] == ["sha-256"]
    assert [section.mid for section in offer.slots] == [str(number) for number in range(2, 16)]
    microphone, camera, channel = (by_mid(offer, mid) for mid in ("0", "1", "16"))
    assert (microphone.media, microphone.direction) == (MediaKind.AUDIO, Direction.SENDONLY)
    (opus, first), (red, second) = microphone.carried
    assert (opus, first.number, first.channels) == (PayloadType.OPUS, 111, 2)
    assert first.parameters == "minptime=10;useinbandfec=1"
    assert (red, second.number, second.redundant) == (PayloadType.OPUS_RED, 63, 111)
    vp8 = camera.carried[0][1]
    assert "nack pli" in vp8.feedback
    rtx = camera.retransmissions_of(vp8)
    assert rtx is not None
    assert rtx.number == 97
    assert [(meaning.name, codec.number) for meaning, codec in camera.carried] == [
        ("VP8", 96),
        ("H264", 102),
        ("H264", 108),
        ("AV1", 45),
        ("VP9", 98),
    ]
    assert camera.rtx_ssrcs[0][0] == camera.ssrcs[0]
    assert len(camera.ssrcs) == 1
    level = Extension(
        wire_id=1,
        uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        direction=Direction.SENDRECV,
    )
    assert level in microphone.extensions
    assert camera.mixed_extensions
    assert (channel.media, channel.carried) == (None, ())


def test_an_offer_of_aiortc_is_understood() -> None:
    offer = parse_offer_untrusted(AIORTC)
    assert len(offer.slots) == 4
    assert [text.split(" ")[0] for text in offer.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    assert not offer.mixed_extensions


def test_an_offer_of_gstreamer_is_understood() -> None:
    offer = parse_offer_untrusted(WEBRTCBIN)
    microphone, camera = offer.sections
    assert (microphone.mid, microphone.ssrcs) == ("audio0", (1862619096,))
    assert (camera.mid, camera.direction) == ("video1", Direction.SENDRECV)
    assert [meaning for meaning, _ in camera.carried] == [PayloadType.VP8]


def test_an_extension_may_be_for_one_direction() -> None:
    camera = by_mid(parse_offer_untrusted(FIREFOX), "1")
    directions = {each.wire_id: each.direction for each in camera.extensions}
    assert directions[3] is Direction.SENDRECV
    assert directions[6] is Direction.RECVONLY
    assert directions[8] is Direction.SENDONLY


def test_an_extension_of_the_session_is_every_sections_once() -> None:
    text = changed(AIORTC, (r"a=msid-semantic", f"a=extmap:1 {MID}\r\na=msid-semantic"))
    offer = parse_offer_untrusted(text)
    for section in offer.sections:
        assert [each.uri for each in section.extensions].count(MID) == 1


def test_mixed_extensions_may_be_one_sections() -> None:
    text = changed(
        SIMULCAST, (r"a=extmap-allow-mixed\r\n", ""), (r"(a=mid:1)", r"\1\r\na=extmap-allow-mixed")
    )
    offer = parse_offer_untrusted(text)
    assert not offer.mixed_extensions
    assert [section.mid for section in offer.sections if section.mixed_extensions] == ["1"]


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
    assert offer.can_carry(offer.sections[0])


def test_redundancy_alone_carries_nothing() -> None:
    text = changed(CHROMIUM, ("opus/48000/2", "speex/48000/2"))
    offer = parse_offer_untrusted(text)
    assert {section.media for section in offer.slots} == {MediaKind.VIDEO}


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
        ("a=ssrc:", "a=ssrc-group:SIM 1 0\r\na=ssrc:"),
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
        CHROMIUM + "".join(f"a=extmap:1 urn:{number}\r\n" for number in range(300)),
        CHROMIUM + "a=" + "x" * 400_000,
    ],
    ids=[
        *("empty", "no section", "65 sections", "long section", "many ssrcs", "many extensions"),
        "long text",
    ],
)
def test_offers_are_bounded(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_offer_untrusted(text)


@given(st.text(max_size=300))
def test_any_text_parses_or_is_malformed(text: str) -> None:
    for prefix in ("", "v=0\r\n", AIORTC, SIMULCAST):
        try:
            parse_offer_untrusted(prefix + text)
        except MalformedError:
            continue
