"""Makes the seeds in `corpus/` from real messages: `python -m tests.fuzz.seeds`.

They are kept in the repository; this is here for the next format. Certificates and arbitrary
values differ from time to time. Beside the numbered ones stand `found-…`: what a fuzzer found.
"""

import base64
import json
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, Phase, given, settings

from focus.tokens import mint_token
from region import rtcp
from relay import framing, identity, probe, trunk_messages
from relay.codec import Codec
from relay.control import FROM_BRIDGE, FROM_FOCUS, FromBridge, FromFocus
from relay.ids import BridgeId, Region
from relay.payload import PayloadType
from tests.fuzz.engine import HOUSE, SEEDS
from tests.fuzz.script import Op, record
from tests.fuzz.targets import NOW_S, authority
from tests.region import twcc
from tests.strategies import scalable, vp8
from tests.strategies.calls import Camera
from tests.strategies.descriptors import MODES
from tests.strategies.messages import values
from tests.strategies.rtp import DELTA, KEYFRAME, rtp

OFFERS = HOUSE / "tests" / "region" / "offers"


def write(target: str, seeds: Iterable[bytes]) -> None:
    directory = SEEDS / target
    directory.mkdir(parents=True, exist_ok=True)
    for made in directory.glob("[0-9]*"):  # what a fuzzer found stays
        made.unlink()
    for number, data in enumerate(seeds):
        (directory / f"{number:02}").write_bytes(data)


def encoded(codec: Codec[Any], union: object) -> list[bytes]:
    """A few of each message of the union, always the same ones."""
    seeds: list[bytes] = []
    for member in get_args(union):
        distinct = sorted(_examples(codec, member), key=lambda data: (len(data), data))
        # The emptiest, a middle one and the fullest.
        seeds += dict.fromkeys((distinct[0], distinct[len(distinct) // 2], distinct[-1]))
    return seeds


def _examples(codec: Codec[Any], member: type) -> set[bytes]:
    found: set[bytes] = set()

    @settings(
        derandomize=True,
        database=None,
        max_examples=20,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(message=values(member))
    def collect(message: Any) -> None:
        found.add(codec.encode(message))

    collect()
    return found


def stun_seeds() -> list[bytes]:
    def message(kind: stun.Class, **attributes: Any) -> stun.Message:
        made = stun.Message(
            message_method=stun.Method.BINDING, message_class=kind, transaction_id=b"octomeshfuzz"
        )
        made.attributes.update({name.replace("_", "-"): each for name, each in attributes.items()})
        return made

    check = message(
        stun.Class.REQUEST,
        USERNAME="abcd:efgh",
        PRIORITY=1_845_494_271,
        ICE_CONTROLLING=7,
        USE_CANDIDATE=None,
    )
    bare = bytes(check)
    check.add_message_integrity(b"p" * 22)
    response = message(stun.Class.RESPONSE, XOR_MAPPED_ADDRESS=("192.0.2.1", 4_567))
    response.add_message_integrity(b"p" * 22)
    return [
        bare,
        bytes(check),
        bytes(response),
        bytes(message(stun.Class.RESPONSE, XOR_MAPPED_ADDRESS=("2001:db8::1", 4_567))),
        bytes(message(stun.Class.ERROR, ERROR_CODE=(487, "Role Conflict"))),
        bytes(message(stun.Class.INDICATION)),
        bytes(message(stun.Class.REQUEST, USERNAME="abcd:efgh", ICE_CONTROLLED=9)),
    ]


def rtcp_seeds() -> list[bytes]:
    block = rtcp.ReportBlock(
        ssrc=2,
        fraction_lost=12,
        packets_lost=-3,
        highest_sequence=70_000,
        jitter_ticks=40,
        last_sr=5,
        delay_since_last_sr=6,
    )
    report = rtcp.SenderReport(
        ssrc=1, ntp=1 << 40, timestamp_ticks=3, packets=4, octets=5, reports=(block,)
    )
    empty = rtcp.ReceiverReport(ssrc=1)
    names = rtcp.Sdes(chunks=(rtcp.SdesChunk(ssrc=1, cname="octomesh"),))
    fir = rtcp.Fir(sender_ssrc=1, entries=(rtcp.FirEntry(ssrc=2, sequence=3),))
    compounds: list[tuple[rtcp.RtcpPacket, ...]] = [
        (report, names),
        (rtcp.ReceiverReport(ssrc=1, reports=(block, block)), names),
        (empty, rtcp.Pli(sender_ssrc=1, media_ssrc=2)),
        (empty, fir),
        (empty, rtcp.Bye(ssrcs=(1, 2), reason="over")),
        (rtcp.App(subtype=0, ssrc=1, name="OCTO", data=bytes(12)),),
        (rtcp.Sdes(chunks=(rtcp.SdesChunk(ssrc=1, cname=None),)),),
        # RFC 4585 §6.2.1 (NACK), transport-wide feedback, REMB.
        (rtcp.Other(packet_type=205, count=1, body=bytes.fromhex("0000000100000002000a0005")),),
        (
            rtcp.Other(
                packet_type=205,
                count=15,
                body=bytes.fromhex("00000001000000020001000700000a012003d00004080c0804080c08"),
            ),
        ),
        (
            rtcp.Other(
                packet_type=206,
                count=15,
                body=bytes.fromhex("000000010000000052454d4201 13f7a0 00000002"),
            ),
        ),
    ]
    built = [rtcp.build_compound(*packets) for packets in compounds]
    last = bytearray(built[2] + bytes(3) + b"\x04")
    last[8] |= 0x20  # padding of the last packet
    last[11] += 1
    return [*built, bytes(last)]


def feedback_seeds() -> list[bytes]:
    """One-bit and two-bit vectors, runs, and deltas of both sizes."""
    few = [twcc.Arrival(at, 40 * at) for at in (0, 1, 3, 4, 6)]
    slow = [twcc.Arrival(at, 1_000 * at) for at in (0, 1, 5)]
    early = [twcc.Arrival(0, 500), twcc.Arrival(1, 20), twcc.Arrival(30, 21)]
    run = [twcc.Arrival(at, at) for at in range(40)]
    return [
        twcc.build_feedback(
            twcc.Feedback(
                base_sequence=65_530,
                statuses=arrivals[-1].offset + 1 + behind,
                reference_ticks=3 * twcc.REFERENCE_TICKS,
                count=255,
                arrivals=tuple(arrivals),
            )
        )
        for behind, arrivals in ((0, few), (0, slow), (5_000, early), (2, run), (3, few[:1]))
    ]


def rtp_seeds() -> list[bytes]:
    """What a browser sends, then what it may send, with every form of header."""
    level = (1, b"\x8a")
    return [
        rtp(sequence=1, timestamp=2, ssrc=1, payload=KEYFRAME + bytes(20), marker=True),
        rtp(sequence=2, timestamp=2, ssrc=1, payload=DELTA + bytes(20)),
        rtp(sequence=3, timestamp=2, ssrc=1, payload=b"\x90\x80\x81\x23\x00" + bytes(20)),
        rtp(sequence=4, timestamp=2, ssrc=1, payload=b"\x90\xf0\x81\x23\x05\x20\x00" + bytes(9)),
        rtp(sequence=5, timestamp=2, ssrc=2, payload_type=111, extensions=(level,)),
        rtp(sequence=6, timestamp=2, ssrc=2, payload_type=111, extensions=((2, b"x"), level)),
        rtp(
            sequence=7,
            timestamp=2,
            ssrc=2,
            payload_type=111,
            extensions=((1, b"\x05"), (20, b""), (200, bytes(255))),
            two_byte=True,
        ),
        rtp(sequence=8, timestamp=2, ssrc=1, csrcs=tuple(range(15)), padding=7),
        rtp(sequence=65_535, timestamp=2**32 - 1, ssrc=1, payload=b""),
        rtp(
            sequence=9,
            timestamp=2,
            ssrc=1,
            extensions=tuple((number, bytes(16)) for number in range(1, 15)),
        ),
        # Nothing behind the extensions, so that their end is the datagram's.
        rtp(sequence=10, timestamp=2, ssrc=1, payload=b"", extensions=((1, b"abc"),)),
        rtp(
            sequence=11,
            timestamp=2,
            ssrc=1,
            payload=b"",
            extensions=((1, b"ab"), (20, b"ab")),
            two_byte=True,
        ),
    ]


def layered_seeds() -> list[list[bytes]]:
    """The first pictures of VP8 with layers, and of each scalable mode, a list for each."""
    cameras: list[Camera] = [
        vp8.Camera(encoder=vp8.Encoder(picture_id=120, tl0picidx=254), sequence=0, timestamp=0)
    ]
    types = (PayloadType.VP8, PayloadType.VP9, PayloadType.AV1, PayloadType.AV1)
    for mode, payload_type in zip(MODES, types, strict=True):
        encoder = scalable.Encoder(mode)
        cameras.append(
            scalable.Camera(encoder=encoder, payload_type=payload_type, sequence=0, timestamp=0)
        )
    return [
        # Of the SSRC that the kernel's target takes for its first stream.
        [packet[:11] + b"\0" + packet[12:] for _ in range(6) for packet in camera.take()]
        for camera in cameras
    ]


def kernel_seeds() -> list[bytes]:
    packets = rtp_seeds()
    compounds = rtcp_seeds()
    plain = [record(Op.MEDIA, packet) for packet in packets]
    exact = [record(Op.EXACT, packet) for packet in packets]
    sealed = [record(Op.SEALED, packet) for packet in packets]
    lost = [record(Op.MEDIA, packet[:2] + b"\3" + packet[3:]) for packet in packets]
    restored = [record(Op.RESTORED, packet) for packet in packets]
    nack = record(Op.NACK, b"\x08\0\1")
    layers = [record(Op.LAYER, b"\0" + bytes([limits])) for limits in (0x05, 0x0A, 0xC0)]
    feedback = [record(Op.RTCP, packet) for packet in compounds]
    sealed_feedback = [record(Op.SEALED_RTCP, packet) for packet in compounds]
    return [
        *(b"".join(each) for each in (plain, exact, sealed, feedback, sealed_feedback)),
        b"".join(record(Op.STRANGER, message) for message in (*stun_seeds(), *compounds, b"\x16")),
        b"".join(lost + restored),
        b"".join(lost[:2] + plain[1:6]) + nack + restored[0] + nack,
        plain[0] + record(Op.SOURCE, b"\0\2") + sealed[0] + record(Op.SOURCE, b"\0\0") + plain[0],
        plain[0] + record(Op.STREAM, b"\0") + plain[0] + record(Op.TRANSPORT, b"\1") + sealed[0],
        record(Op.MAPS, bytes(range(1, 31))) + b"".join(plain),
        record(Op.ADDRESS, b"\0") + b"".join(exact) + record(Op.DRAIN, compounds[0]) + feedback[0],
        record(Op.RAW, b"\x16\xfe\xfd" + bytes(20)) + record(Op.RAW, b"\x80" + bytes(40)),
        # By TCP: what a sender frames, then what is sent to a receiver, then what is no frame.
        b"".join(record(Op.FRAMES, b"\x08" + each) for each in (*packets, *compounds)),
        record(Op.FRAMES, b"\x06") + b"".join(plain) + record(Op.FRAMES, b"\x22") + feedback[0],
        record(Op.FRAMES, b"\x1a\x00\x14\x00") + record(Op.FRAMES, b"\x12" + bytes(40)),
        record(Op.FRAMES, b"\x50GET /")
        + record(Op.FRAMES, b"\x0f\x01")
        + record(Op.FRAMES, b"\x80"),
        *(
            b"".join(record(Op.MEDIA, packet) + layers[at % 3] for at, packet in enumerate(packets))
            for packets in layered_seeds()
        ),
    ]


def signalling_seeds() -> list[bytes]:
    sdp = (OFFERS / "aiortc.sdp").read_text()[:400]
    frames: list[dict[str, Any]] = [
        {"type": "join", "room": "standup", "name": "Ada", "region": "eu", "rtts_ms": {"eu": 1.5}},
        {"type": "join", "room": "standup", "name": "Ωμέγα", "region": None},
        {"type": "offer", "attempt": 0, "sdp": sdp, "sources": {"0": "microphone", "1": "camera"}},
        {"type": "mute", "kind": "screen", "muted": True},
        {"type": "offer", "attempt": 1, "renews": True, "sdp": "v=0", "sources": {"9": "screen"}},
        {"type": "view", "pictures": None},
        {"type": "view", "pictures": [], "last_n": 3, "height_px": 90},
        {
            "type": "view",
            "pictures": [
                {"source": 6, "height_px": 720, "stage": True},
                {"source": 10, "height_px": 180},
            ],
            "last_n": None,
        },
        {"type": "leave"},
    ]
    return [json.dumps(each).encode() for each in frames]


def shortened(offer: bytes) -> bytes:
    """The sections of an offer that differ, so that thousands of it are read in a second."""
    session, *sections = offer.split(b"m=")
    kept: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}
    for section in sections:
        (mid,) = re.findall(rb"a=mid:(\S+)", section)
        numbers: dict[bytes, bytes] = {}
        for number, name in re.findall(rb"a=rtpmap:(\d+) (\w+)/", section):
            numbers.setdefault(name, number)
        names = (b"opus", b"OPUS", b"red", b"VP8", b"VP9", b"H264", b"AV1", b"rtx")
        carried = {number for name, number in numbers.items() if name in names}
        lines = [
            line
            for line in section.splitlines(keepends=True)
            if not (other := re.match(rb"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ", line))
            or other[1] in carried
        ]
        (direction,) = re.findall(rb"a=(send|recv)", section)[:1] or [b""]
        kept.setdefault((section[:5], direction), (mid, b"m=" + b"".join(lines)))
    group = b"BUNDLE " + b" ".join(mid for mid, _ in kept.values())
    session = re.sub(rb"BUNDLE [^\r\n]*", group, session)
    return session + b"".join(section for _, section in kept.values())


def identity_seeds() -> None:
    mesh = authority()
    _, request = identity.make_request()
    own = mesh.issue(request, BridgeId("eu-1"), Region("eu"), NOW_S, 3_600)
    pems = [own, mesh.certificate_pem]
    ders = [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems]
    write("certificate", pems + ders)
    write("peer-certificate", ders)
    der = x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)
    write("signing-request", [request, der])


def token_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as directory:
        token = mint_token(Path(directory), Region("eu"), 3_600, now_s=NOW_S)
    body = token.split(".")[1]
    claims = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    old = json.loads(claims) | {"exp": 5, "iat": "x"}
    return [token.encode(), claims, json.dumps(old).encode()]


def main() -> None:
    write("control-from-focus", encoded(FROM_FOCUS, FromFocus))
    write("control-from-bridge", encoded(FROM_BRIDGE, FromBridge))
    trunk = encoded(trunk_messages.TRUNK_MESSAGES, trunk_messages.TrunkMessage)
    write("trunk-message", trunk)
    write("link", [framing.frame(message) for message in trunk] + [_frames(trunk)])
    write("framing", [b"\0" + _frames(trunk[:3]), b"\x03" + _frames([b"a", b"bc", b"d" * 20])])
    write("probe", [probe.encode_probe(probe.Probe(sequence=7, sent_us=8))])
    echo = probe.encode_echo(probe.Echo(sequence=0, sent_us=0, hold_us=9))
    write("echo", [b"\0" + echo, b"\0" + echo + b"\1" + echo + b"\7" + echo])
    identity_seeds()
    write("token", token_seeds())
    write("stun", stun_seeds())
    write("offer", [shortened(path.read_bytes()) for path in sorted(OFFERS.iterdir())])
    write("rtcp", rtcp_seeds())
    write("transport-feedback", feedback_seeds())
    layered = [packets[at] for packets in layered_seeds() for at in (0, 3)]
    write("rtp-reference", rtp_seeds() + layered)
    write("signalling", signalling_seeds())
    write("kernel", kernel_seeds())


def _frames(messages: list[bytes]) -> bytes:
    return b"".join(framing.frame(message) for message in messages)


if __name__ == "__main__":
    main()
