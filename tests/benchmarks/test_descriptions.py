"""Descriptions and checks that are damaged on their way: malformed, and nothing worse."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load import stun
from benchmarks.load.description import (
    Description,
    Identity,
    Wish,
    make_sources,
    parse_untrusted,
    write_answer,
    write_offer,
)
from region.offer import parse_offer_untrusted
from relay.errors import MalformedError
from relay.ids import MediaKind, SourceKind
from relay.payload import HeaderExtension

PASSWORD = "p" * 24
IDENTITY = Identity(
    ufrag="abcd", password=PASSWORD, fingerprint=":".join(["AB"] * 32), address=("192.0.2.1", 5)
)
WISH = Wish(
    microphone=True,
    camera=3,
    screen=True,
    audio_slots=2,
    video_slots=3,
    as_browsers=True,
    rids=True,
)
OFFER = write_offer(WISH, make_sources(WISH), IDENTITY)
CHECK = stun.write_check(
    username="them:us", password=PASSWORD.encode(), controlling=True, tie_breaker=5, nominates=True
)[1]


def test_a_bridge_reads_what_is_offered() -> None:
    offer = parse_offer_untrusted(OFFER)
    camera = offer.sections[1]
    assert camera.simulcast_rids == ("q", "h", "f")
    assert len(offer.sections[2].rtx_ssrcs) == 1
    assert len(offer.slots) == 5


def test_an_answer_takes_the_numbers_of_the_offer() -> None:
    offer = parse_untrusted(OFFER)
    answer = parse_untrusted(write_answer(offer, IDENTITY))
    assert [section.mid for section in answer.sections] == [str(mid) for mid in range(8)]
    assert answer.payload_of(MediaKind.VIDEO) == offer.payload_of(MediaKind.VIDEO)
    assert answer.extensions == offer.extensions
    assert answer.extensions[HeaderExtension.MID] == HeaderExtension.MID
    assert (answer.setup, answer.candidates) == ("active", (("192.0.2.1", 5),))
    assert not answer.slots


def test_a_section_without_a_codec_of_ours_is_rejected() -> None:
    offer = OFFER.replace("VP8/90000", "VP9/90000")
    answer = write_answer(parse_untrusted(offer), IDENTITY)
    assert answer.count("m=video 0 ") == 5
    assert "a=group:BUNDLE 0 3 4\r\n" in answer


def test_sources_have_ssrcs_of_their_own() -> None:
    sources = make_sources(WISH)
    assert [source.kind for source in sources] == list(SourceKind)
    encodings = [encoding for source in sources for encoding in source.encodings]
    ssrcs = {number for each in encodings for number in (each.ssrc, each.rtx_ssrc)}
    assert len(ssrcs) == 2 * len(encodings) == 10


@given(st.data())
def test_a_damaged_description_is_read_or_malformed(data: st.DataObject) -> None:
    lines = OFFER.split("\r\n")
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "cut", "text"]))
        if change == "drop":
            del lines[at]
        elif change == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        else:
            lines[at] = lines[at][:2] + data.draw(st.text(max_size=30))
    with contextlib.suppress(MalformedError):
        assert isinstance(parse_untrusted("\r\n".join(lines)), Description)


def test_a_check_is_read_as_it_was_written() -> None:
    message = stun.parse_untrusted(CHECK)
    assert (message.type, message.username) == (stun.BINDING_REQUEST, "them:us")
    assert message.use_candidate
    assert message.is_signed_by(PASSWORD.encode())
    assert not message.is_signed_by(b"another")


@pytest.mark.parametrize("address", [("192.0.2.7", 4711), ("2001:db8::7", 65_535)])
def test_a_response_is_signed_and_of_its_transaction(address: tuple[str, int]) -> None:
    written = stun.write_response(b"t" * 12, address, PASSWORD.encode())
    message = stun.parse_untrusted(written)
    assert (message.type, message.transaction) == (stun.BINDING_RESPONSE, b"t" * 12)
    assert message.is_signed_by(PASSWORD.encode())


@given(st.binary(max_size=200) | st.integers(0, len(CHECK)).map(lambda end: CHECK[:end]))
def test_what_is_no_check_is_malformed(data: bytes) -> None:
    if data != CHECK:
        with pytest.raises(MalformedError):
            stun.parse_untrusted(data)


@given(st.integers(0, 8 * len(CHECK) - 1))
def test_a_check_of_which_a_bit_was_changed_is_not_believed(bit: int) -> None:
    changed = bytearray(CHECK)
    changed[bit // 8] ^= 1 << bit % 8
    # The fingerprint behind the signature is for telling STUN from other things: nobody checks it.
    if bit // 8 < len(CHECK) - 8:
        with contextlib.suppress(MalformedError):
            assert not stun.parse_untrusted(bytes(changed)).is_signed_by(PASSWORD.encode())
