from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LocalProtocolError, MalformedError
from relay.framing import FrameReader, frame

payloads = st.lists(st.binary(min_size=1, max_size=50), max_size=6)


@given(sent=payloads, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_frames_arrive_whole_however_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(payload) for payload in sent)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader(50)
    received: list[bytes] = []
    for start, end in pairwise(edges):
        received += reader.receive_untrusted(stream[start:end])
    assert received == sent


@given(data=st.binary(max_size=200))
def test_garbage_is_frames_or_malformed(data: bytes) -> None:
    try:
        received = FrameReader(50).receive_untrusted(data)
    except MalformedError:
        return
    assert all(1 <= len(payload) <= 50 for payload in received)


@pytest.mark.parametrize("length", [0, 51, 0xFFFFFFFF])
def test_a_bad_length_is_refused_before_its_payload_is_there(length: int) -> None:
    reader = FrameReader(50)
    header = length.to_bytes(4, "big")
    assert reader.receive_untrusted(header[:3]) == []
    with pytest.raises(MalformedError, match=str(length)):
        reader.receive_untrusted(header[3:])


def test_the_longest_payload_passes() -> None:
    assert FrameReader(50).receive_untrusted(frame(b"x" * 50)) == [b"x" * 50]


def test_an_empty_payload_is_not_sent() -> None:
    with pytest.raises(LocalProtocolError):
        frame(b"")
