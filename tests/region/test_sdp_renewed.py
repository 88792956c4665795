import pytest

from region.sdp import Answer
from relay.errors import RemoteProtocolError
from relay.ids import SourceKind, Ssrc
from relay.payload import PayloadType
from tests.region.answering import (
    CHROMIUM,
    SIMULCAST,
    SOURCES,
    answered,
    changed,
    section_lines,
)

SESSION, *SECTIONS = CHROMIUM.split("m=")
FEWER = "m=".join([changed(SESSION, ("BUNDLE .*", "BUNDLE 0 1 2 3\r")), *SECTIONS[:4]])
"""Chromium's first four sections; all of it is what the same browser may offer next."""


@pytest.fixture
def first() -> Answer:
    return answered(FEWER)


def test_a_renewed_offer_may_have_more_slots(first: Answer) -> None:
    known = {slot.mid: slot.ssrc for slot in first.slots}
    more = {str(number): Ssrc(2_000 + number) for number in range(4, 16)}
    second = answered(CHROMIUM, earlier=first, version=2, slot_ssrcs=known | more)
    assert "o=- 7 1 " in first.sdp
    assert "o=- 7 2 " in second.sdp
    assert len(second.slots) == 14
    assert second.slots[: len(known)] == first.slots
    assert second.sources == first.sources
    assert first.payload_types.items() <= second.payload_types.items()


def test_a_renewed_offer_may_have_one_more_source() -> None:
    first = answered(SIMULCAST)
    second = answered(
        SIMULCAST, earlier=first, version=2, sources=SOURCES | {"2": SourceKind.SCREEN}
    )
    assert [source.kind for source in second.sources] == list(SourceKind)
    assert second.sources[:2] == first.sources
    assert second.payload_types == first.payload_types


def test_numbers_stay_though_others_would_now_be_chosen() -> None:
    first = answered(changed(SIMULCAST, ("profile-level-id=42e01f", "profile-level-id=640c1f")))
    assert first.payload_types[102] is PayloadType.H264
    second = answered(SIMULCAST, earlier=first, version=2)
    assert second.payload_types == first.payload_types
    assert "a=rtpmap:102 H264/90000" in section_lines(second.sdp, "1")


def test_what_is_not_offered_again_keeps_its_number() -> None:
    first = answered(SIMULCAST)
    second = answered(changed(SIMULCAST, ("AV1/90000", "AV2/90000")), earlier=first, version=2)
    assert second.payload_types[45] is PayloadType.AV1
    assert "AV1" not in second.sdp


def test_new_credentials_are_of_the_same_connection(first: Answer) -> None:
    restarted = changed(
        FEWER, ("a=ice-ufrag:.*", "a=ice-ufrag:new1"), ("a=ice-pwd:.*", "a=ice-pwd:" + "n" * 24)
    )
    second = answered(restarted, earlier=first, version=2)
    assert second.offer.ice != first.offer.ice
    assert second.payload_types == first.payload_types


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (r"(SAVPF |rtpmap:|rtcp-fb:|fmtp:|apt=)96\b", r"\g<1>127", "VP8 otherwise"),
        ("a=extmap:4 urn", "a=extmap:9 urn", "header extensions otherwise"),
        ("a=fingerprint:sha-256 ..:", "a=fingerprint:sha-256 00:", "another connection"),
    ],
)
def test_a_renewed_offer_cannot_contradict_the_one_before(
    first: Answer, old: str, new: str, reason: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=reason):
        answered(changed(FEWER, (old, new)), earlier=first, version=2)


def test_a_number_cannot_become_another_codecs(first: Answer) -> None:
    swapped = changed(
        FEWER, ("a=rtpmap:96 VP8", "a=rtpmap:96 VP9"), ("a=rtpmap:98 VP9", "a=rtpmap:98 VP8")
    )
    with pytest.raises(RemoteProtocolError, match="otherwise than before"):
        answered(swapped, earlier=first, version=2)
    without_vp9 = answered(changed(FEWER, ("VP9/90000", "X/90000")))
    reused = changed(
        FEWER, ("VP8/90000", "X/90000"), (r"a=rtpmap:96 X", "a=rtpmap:96 VP9"), ("98 VP9", "98 X")
    )
    with pytest.raises(RemoteProtocolError, match="as another codec"):
        answered(reused, earlier=without_vp9, version=2)


def test_what_was_left_out_before_is_left_out_again() -> None:
    text = changed(SIMULCAST, (r"(?s)(a=mid:2\r.*?)a=extmap:13 urn", r"\1a=extmap:20 urn"))
    first = answered(text)
    assert 20 not in first.extensions
    second = answered(text, earlier=first, version=2)
    assert second.extensions == first.extensions
    assert second.sdp == first.sdp.replace("o=- 7 1", "o=- 7 2")
