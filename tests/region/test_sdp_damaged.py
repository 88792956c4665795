import re

from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from region.offer import Offer, Section, parse_offer_untrusted
from region.sdp import Answer
from relay.errors import MalformedError, RemoteProtocolError
from relay.ids import VideoCodec
from tests.region.answering import AIORTC, FIREFOX, SIMULCAST, answered

LINE_NAMES = [
    *("mid", "ssrc", "ssrc-group", "rtpmap", "fmtp", "rtcp-fb", "extmap", "setup"),
    *("rid", "simulcast", "extmap-allow-mixed"),
]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Lines dropped, doubled, moved; bytes of a line changed."""
    lines = draw(st.sampled_from([AIORTC, FIREFOX, SIMULCAST])).split("\r\n")
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
                name = draw(st.sampled_from(LINE_NAMES))
                value = draw(st.text(alphabet="0123456789 abc/:;,~=*-", max_size=12))
                lines[index] = f"a={name}:{value}"
    return "\r\n".join(lines)


@given(text=damaged(), codec=st.sampled_from(VideoCodec))
@settings(max_examples=150)
def test_a_damaged_offer_is_answered_consistently_or_refused(text: str, codec: VideoCodec) -> None:
    try:
        offer = parse_offer_untrusted(text)
        result = answered(offer, codec=codec)
    except (MalformedError, RemoteProtocolError):
        return
    again = answered(offer, codec=codec, earlier=result, version=2)
    check(offer, result)
    check(offer, again)
    assert again.payload_types == result.payload_types
    assert again.extensions == result.extensions


def check(offer: Offer, result: Answer) -> None:
    """Nothing is answered that was not offered, and others can read it."""
    assert len(set(result.payload_types.values())) == len(result.payload_types)
    assert len(set(result.extensions.values())) == len(result.extensions)
    assert result.sdp.count("\n") == result.sdp.count("\r\n")
    assert all(1 <= len(source.encodings) <= 3 for source in result.sources)
    blocks = result.sdp.split("\r\nm=")[1:]
    assert len(blocks) == len(offer.sections)
    for section, block in zip(offer.sections, blocks, strict=True):
        media_line = block.splitlines()[0].split(" ")
        assert media_line[0] == section.media_name
        assert set(media_line[3:]) <= set(section.formats)
        offered = {(each.wire_id, each.uri) for each in section.extensions}
        agreed = re.findall(r"a=extmap:(\d+)(?:/\w+)? (\S+)", block)
        assert {(int(wire_id), uri) for wire_id, uri in agreed} <= offered
    if all(map(is_readable, offer.sections)):
        media = SessionDescription.parse(result.sdp).media
        assert [each.rtp.muxId for each in media] == [each.mid for each in offer.sections]


def is_readable(section: Section) -> bool:
    """Whether aiortc would take its media line, which is repeated where it is rejected."""
    return all(map(str.isdigit, section.formats)) and section.protocol == "UDP/TLS/RTP/SAVPF"
