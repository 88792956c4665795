import pytest

from region.codecs import Codec
from relay.payload import PayloadType


def codec(encoding: str, parameters: str = "", *, clock_rate: int = 0, channels: int = 0) -> Codec:
    audio = encoding.lower() in ("opus", "red", "g722")
    return Codec(
        number=96,
        encoding=encoding,
        clock_rate=clock_rate or (48_000 if audio else 90_000),
        channels=channels or (2 if audio else 1),
        parameters=parameters,
        feedback=(),
    )


H264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="


@pytest.mark.parametrize(
    ("offered", "meaning"),
    [
        (codec("opus"), PayloadType.OPUS),
        (codec("OPUS", "sprop-stereo=0"), PayloadType.OPUS),
        (codec("opus", channels=1), None),
        (codec("G722"), None),
        (codec("red", "111/111"), PayloadType.OPUS_RED),
        (codec("red", "111/111/111"), PayloadType.OPUS_RED),
        (codec("red", "111/63"), None),
        (codec("red", "111"), None),
        (codec("red"), None),
        (codec("red", "111/111", clock_rate=90_000, channels=1), None),
        (codec("VP8"), PayloadType.VP8),
        (codec("VP8", "max-fs=12288;max-fr=60"), PayloadType.VP8),
        (codec("VP8", clock_rate=48_000), None),
        (codec("VP9"), PayloadType.VP9),
        (codec("VP9", "max-fs=12288; profile-id=0"), PayloadType.VP9),
        (codec("VP9", "profile-id=2"), None),
        (codec("AV1"), PayloadType.AV1),
        (codec("AV1", "level-idx=5;profile=0;tier=0"), PayloadType.AV1),
        (codec("AV1", "level-idx=5;profile=1;tier=0"), None),
        (codec("H264", H264 + "42e01f"), PayloadType.H264),
        (codec("H264", H264 + "42001f"), PayloadType.H264),
        (codec("H264", H264 + "42C015"), PayloadType.H264),
        (codec("H264", "packetization-mode=1"), PayloadType.H264),
        (codec("H264", H264 + "4d001f"), None),
        (codec("H264", H264 + "640c1f"), None),
        (codec("H264", H264 + "42e01"), None),
        (codec("H264", "packetization-mode=0;profile-level-id=42e01f"), None),
        (codec("H264", "profile-level-id=42e01f"), None),
        (codec("H264"), None),
        (codec("rtx", "apt=96"), None),
        (codec("ulpfec"), None),
    ],
    ids=lambda value: f"{value.encoding} {value.parameters}" if isinstance(value, Codec) else "",
)
def test_a_codec_is_carried_in_the_formats_that_a_bridge_can_tell(
    offered: Codec, meaning: PayloadType | None
) -> None:
    assert offered.canonical is meaning


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        (codec("opus", "stereo=1;maxplaybackrate=48000"), "minptime=10;useinbandfec=1;usedtx=1"),
        (codec("red", "111/111"), "111/111"),
        (codec("VP8", "max-fs=12288"), ""),
        (codec("VP9"), "profile-id=0"),
        (codec("AV1", "level-idx=5;profile=0;tier=0;x=y"), "profile=0;level-idx=5;tier=0"),
        (codec("AV1"), ""),
        (
            codec(
                "H264", "profile-level-id=42e01f;sprop-parameter-sets=Z0L,aM4;packetization-mode=1"
            ),
            "packetization-mode=1;profile-level-id=42e01f",
        ),
        (codec("H264", H264 + "42e01f"), H264 + "42e01f"),
        (codec("AV1", "profile=0;tier=0\ra=x"), "profile=0"),
    ],
)
def test_an_answer_repeats_what_makes_the_format(offered: Codec, answered: str) -> None:
    assert offered.answered_parameters == answered


@pytest.mark.parametrize(
    ("encoding", "parameters", "number"),
    [
        ("rtx", "apt=96", 96),
        ("RTX", " rtx-time=3000 ; apt = 96", 96),
        ("rtx", "apt=x", None),
        ("rtx", "apt=١", None),
        ("rtx", "", None),
        ("VP8", "apt=96", None),
    ],
)
def test_retransmissions_say_of_what_they_are(
    encoding: str, parameters: str, number: int | None
) -> None:
    assert codec(encoding, parameters).repairs == number


def test_constrained_baseline_is_told_from_the_whole() -> None:
    assert codec("H264", H264 + "42e01f").constrained
    assert codec("H264", H264 + "42c01f").constrained
    assert not codec("H264", H264 + "42001f").constrained
    assert not codec("H264", "packetization-mode=1").constrained
