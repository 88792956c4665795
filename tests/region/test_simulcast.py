import pytest

from region.sdp import OfferedEncoding
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind, Ssrc
from relay.payload import HeaderExtension
from tests.region.answering import (
    CHROMIUM,
    FIREFOX,
    SIMULCAST,
    SOURCES,
    WEBRTCBIN,
    answered,
    changed,
    section_lines,
    source_of,
)

THREE = tuple(OfferedEncoding(ssrc=None, rtx_ssrc=None, rid=rid) for rid in "qhf")
MID_ALONE = (OfferedEncoding(ssrc=None, rtx_ssrc=None, rid=None),)
LINES = r"(?<=a=rid:q send\r\n)a=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f"
GROUP = """a=ssrc-group:SIM 11 12 13\r
a=ssrc-group:FID 11 21\r
a=ssrc-group:FID 12 22\r
a=ssrc-group:FID 13 23\r
a=ssrc:11 cname:x\r
a=ssrc:21 cname:x\r
a=ssrc:12 cname:x\r
a=ssrc:22 cname:x\r
a=ssrc:13 cname:x\r
a=ssrc:23 cname:x\r
"""


@pytest.mark.parametrize("offer", [SIMULCAST, FIREFOX], ids=["chromium", "firefox"])
def test_qualities_with_rids_are_taken_in_the_browsers_order(offer: str) -> None:
    result = answered(offer)
    camera = source_of(result, "1")
    assert camera.encodings == THREE
    assert camera.repairable
    lines = section_lines(result.sdp, "1")
    assert [line for line in lines if line.startswith(("a=rid", "a=simulcast"))] == [
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:f recv",
        "a=simulcast:recv q;h;f",
    ]
    assert {HeaderExtension.MID, HeaderExtension.RID, HeaderExtension.REPAIRED_RID} <= set(
        result.extensions.values()
    )


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("q;~h;f", "q;h;f"),
        ("f,q;h", "f;h"),
        ("x,q;h", "q;h"),
        ("x;h", "h"),
        ("q;q;h", "q;h"),
        ("f;h;q;z", "f;h;q"),
        ("~f", "f"),
    ],
)
def test_of_what_is_offered_the_first_three_that_exist_are_taken(sent: str, taken: str) -> None:
    text = changed(
        SIMULCAST, ("a=simulcast:send q;h;f", f"a=rid:z send\r\na=simulcast:send {sent}")
    )
    result = answered(text)
    rids = taken.split(";")
    assert [each.rid for each in source_of(result, "1").encodings] == rids
    lines = section_lines(result.sdp, "1")
    assert f"a=simulcast:recv {taken}" in lines
    assert [line for line in lines if line.startswith("a=rid")] == [f"a=rid:{r} recv" for r in rids]


def test_what_a_browser_would_receive_of_many_is_not_what_it_sends() -> None:
    for order in ("recv a;b send q;h;f", "send q;h;f recv a;b"):
        text = changed(SIMULCAST, ("simulcast:send q;h;f", f"simulcast:{order}"))
        assert source_of(answered(text), "1").encodings == THREE
    text = changed(SIMULCAST, ("a=simulcast:send q;h;f", "a=simulcast:recv q;h;f"))
    assert [each.rid for each in source_of(answered(text), "1").encodings] == ["q"]


def test_one_rid_by_itself_names_the_stream() -> None:
    result = answered(changed(SIMULCAST, (LINES, "a=x")))
    assert source_of(result, "1").encodings == THREE[:1]
    lines = section_lines(result.sdp, "1")
    assert "a=rid:q recv" in lines
    assert not any("simulcast" in line for line in lines)


def test_one_rid_beside_an_ssrc_is_not_needed() -> None:
    text = changed(CHROMIUM, (r"(?=a=ssrc-group:FID)", "a=rid:q send\r\n"))
    result = answered(text)
    (encoding,) = source_of(result, "1").encodings
    assert (encoding.ssrc, encoding.rid) == (923817224, None)
    assert not any("a=rid" in line for line in section_lines(result.sdp, "1"))


def test_qualities_grouped_by_ssrc_are_taken_in_the_groups_order() -> None:
    text = changed(CHROMIUM, (r"a=ssrc-group:FID (.*\r\n)*?(?=m=)", GROUP))
    result = answered(text)
    camera = source_of(result, "1")
    assert camera.encodings == tuple(
        OfferedEncoding(ssrc=Ssrc(ssrc), rtx_ssrc=Ssrc(ssrc + 10), rid=None)
        for ssrc in (11, 12, 13)
    )
    assert camera.repairable
    assert "simulcast" not in result.sdp


def test_a_fourth_of_a_group_is_left() -> None:
    group = GROUP.replace("SIM 11 12 13", "SIM 11 12 13 14")
    text = changed(CHROMIUM, (r"a=ssrc-group:FID (.*\r\n)*?(?=m=)", group))
    assert [each.ssrc for each in source_of(answered(text), "1").encodings] == [11, 12, 13]


def test_an_ssrc_is_of_one_stream() -> None:
    text = changed(CHROMIUM, (r"a=ssrc-group:FID (.*\r\n)*?(?=m=)", GROUP))
    with pytest.raises(RemoteProtocolError, match="SSRC of its camera twice"):
        answered(changed(text, ("SIM 11 12 13", "SIM 11 12 21")))


def test_rids_that_packets_do_not_tell_are_no_use() -> None:
    without = (r"a=extmap:8/sendonly .*\r\n", "")
    result = answered(changed(FIREFOX, without))
    (encoding,) = source_of(result, "1").encodings
    assert (encoding.ssrc, encoding.rtx_ssrc) == (2512743219, 1140301178)
    assert "a=rid" not in result.sdp
    no_ssrc = (r"(?s)(a=mid:1.*)a=simulcast.*?(?=m=audio)", r"\1")
    by_mid_alone = answered(changed(FIREFOX, without, no_ssrc))
    assert source_of(by_mid_alone, "1").encodings == MID_ALONE


def test_retransmissions_need_to_tell_of_which_quality_they_are() -> None:
    result = answered(changed(FIREFOX, (r"a=extmap:9/sendonly .*\r\n", "")))
    camera = source_of(result, "1")
    assert camera.encodings == THREE
    assert not camera.repairable


def test_a_stream_without_a_name_is_known_by_its_section() -> None:
    text = changed(CHROMIUM, (r"a=ssrc(-group)?:.*\r\n", ""))
    result = answered(text)
    microphone, camera = result.sources
    assert microphone.encodings == camera.encodings == MID_ALONE
    assert camera.repairable
    assert not microphone.repairable


def test_a_stream_that_nothing_names_is_refused_in_words() -> None:
    text = changed(WEBRTCBIN, (r"a=ssrc:.*\r\n", ""), (r"a=extmap:1 .*\r\n", ""))
    with pytest.raises(RemoteProtocolError, match="SSRC or MID it sends its microphone"):
        answered(text, sources={"audio0": SourceKind.MICROPHONE})


def test_a_microphone_has_one_encoding() -> None:
    text = changed(CHROMIUM, (r"a=ssrc:1248555525 cname", "a=ssrc-group:SIM 5 6\r\na=ssrc:5 cname"))
    assert [each.ssrc for each in source_of(answered(text), "0").encodings] == [5]


def test_a_camera_and_a_screen_may_both_have_layers() -> None:
    result = answered(SIMULCAST, sources=SOURCES | {"2": SourceKind.SCREEN})
    screen = source_of(result, "2")
    (encoding,) = screen.encodings
    assert (encoding.ssrc, encoding.rtx_ssrc) == (665419805, 3122986280)
    assert screen.repairable
    assert source_of(result, "1").encodings == THREE
