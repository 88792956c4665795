"""The parsers that are fuzzed: one function a parser, which raises what only a bug would.

A target takes any bytes. What the parser's contract lets it raise is swallowed here; where
it is cheap, what was parsed is built and parsed again, and must be the same.
"""

import base64
import contextlib
import functools
import hashlib
import hmac
import re
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from focus.tokens import TokenLedger, mint_token
from region import ice, offer, rtcp, sdp
from region.kernel import reference, reference_codecs, reference_egress, report
from relay import control, framing, identity, link, probe, trunk_messages
from relay.codec import Codec
from relay.errors import LocalProtocolError, MalformedError, RemoteProtocolError
from relay.ids import Address, BridgeId, Region, SourceKind, Ssrc, VideoCodec
from relay.payload import PayloadType
from tests.region import twcc
from tests.region.sent import SentPackets, Told
from tests.strategies.calls import SENDER_IDS
from web import messages

NOW_S = 1_900_000_000.0
"""Unix time of the fuzzed: certificates of the seeds are of around then."""
_FRAME_BYTES = 200
_CREDENTIALS = ice.IceCredentials("abcd", "p" * 22)
_PEER = BridgeId("eu-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row of the table."""

    run: Callable[[bytes], None]
    parsers: tuple[str, ...]
    """The `_untrusted` functions it is for, as `module.name` or `module.Class.name`."""
    max_bytes: int = 4_096


def _codec(codec: Codec[Any], data: bytes) -> None:
    try:
        message = codec.decode_untrusted(data)
    except MalformedError:
        return
    assert codec.decode_untrusted(codec.encode(message)) == message


def from_focus(data: bytes) -> None:
    """What the focus says to a bridge."""
    _codec(control.FROM_FOCUS, data)


def from_bridge(data: bytes) -> None:
    """What a bridge says to the focus."""
    _codec(control.FROM_BRIDGE, data)


def trunk(data: bytes) -> None:
    """One message between bridges."""
    _codec(trunk_messages.TRUNK_MESSAGES, data)


def framed(data: bytes) -> None:
    """A stream of frames, whole and in pieces as its first byte says."""
    if not data:
        return
    piece, data = data[0] % 9 + 1, data[1:]
    whole, cut = framing.FrameReader(_FRAME_BYTES), framing.FrameReader(_FRAME_BYTES)
    payloads: list[bytes] = []
    try:
        for at in range(0, len(data), piece):
            payloads += cut.receive_untrusted(data[at : at + piece])
    except MalformedError:
        try:
            whole.receive_untrusted(data)
        except MalformedError:
            return
        raise AssertionError("malformed in pieces only") from None
    assert whole.receive_untrusted(data) == payloads
    assert data.startswith(b"".join(framing.frame(payload) for payload in payloads))


def linked(data: bytes) -> None:
    """The whole core of a trunk's end, past its hello: frames, messages, states."""
    hello = trunk_messages.TrunkHello(
        versions=trunk_messages.TRUNK_VERSIONS,
        features=(),
        bridge=_PEER,
        srtp_key=bytes(28),
        ice_ufrag="abcd",
        ice_pwd="p" * 22,
        media_addresses=(),
    )
    end = link.Link(hello, _PEER)
    end.start()
    try:
        end.receive(framing.frame(trunk_messages.TRUNK_MESSAGES.encode(hello)))
        end.receive(data)
    except (MalformedError, RemoteProtocolError):
        assert end.state is link.LinkState.CLOSED
    framing.FrameReader(trunk_messages.MAX_TRUNK_BYTES).receive_untrusted(end.data_to_send())


def probed(data: bytes) -> None:
    """A probe's payload."""
    try:
        assert probe.encode_probe(probe.decode_probe_untrusted(data)) == data[:12]
        probe.PathMeter().receive_probe_untrusted(data, 1.0)
    except MalformedError:
        assert len(data) < 12


def echoed(data: bytes) -> None:
    """A series of echoes, 17 bytes each, to a meter that has probed."""
    meter = probe.PathMeter()
    sent = [meter.next_probe(now / 10) for now in range(4)]
    for at in range(0, len(data), 17):
        known, payload = data[at], data[at + 1 : at + 17]
        if known < 4:  # one that was sent, at a hold that is anything
            payload = (
                probe.encode_echo(
                    probe.Echo(
                        sequence=sent[known].sequence, sent_us=sent[known].sent_us, hold_us=0
                    )
                )[:12]
                + payload[12:]
            )
        try:
            assert probe.encode_echo(probe.decode_echo_untrusted(payload)) == payload
            meter.receive_echo_untrusted(payload, 0.5)
        except MalformedError:
            assert len(payload) < 16
    summary = meter.summary(5.0)
    assert summary.rtt_ms is None or 0 <= summary.rtt_ms <= 1_000
    assert summary.loss is None or 0 <= summary.loss <= 1


def stun_message(data: bytes) -> None:
    """A STUN message, to whom it is, and what a lite agent says to it."""
    try:
        message = ice.parse_stun_untrusted(data)
    except MalformedError:
        return
    with contextlib.suppress(MalformedError):
        ice.local_ufrag_untrusted(message)
    agent = ice.IceLite(_CREDENTIALS, None)
    reply = agent.receive_check(message, bytes(10) + b"\xff\xff\x7f\0\0\1\0\1\0", 1.0)
    if reply.response is not None:
        answer = ice.parse_stun_untrusted(reply.response)
        assert answer.transaction_id == message.transaction_id
        assert answer.message_class in (stun.Class.RESPONSE, stun.Class.ERROR)


_LINE = re.compile(r"[a-z]=[^\r\n]*")


def offered(data: bytes) -> None:
    """An SDP offer, and answers to it that no line of it has broken."""
    try:
        read = offer.parse_offer_untrusted(data.decode(errors="replace"))
    except MalformedError:
        return
    senders = [each for each in read.sections if each.direction in ("sendonly", "sendrecv")]
    kinds = {"audio": SourceKind.MICROPHONE, "video": SourceKind.CAMERA}
    wishes: dict[str, Any] = {
        "sources": {each.mid: kinds[each.media] for each in senders if each.media},
        "codec": VideoCodec.VP8,
        "ice": _CREDENTIALS,
        "fingerprint": "sha-256 " + ":".join(["AB"] * 32),
        "candidates": [Address(host="192.0.2.1", port=10_000)],
        "slot_ssrcs": {slot.mid: Ssrc(1_000 + at) for at, slot in enumerate(read.slots)},
        "session_id": 1,
    }
    try:
        first = sdp.answer(read, **wishes, version=1)
    except RemoteProtocolError:
        return
    again = sdp.answer(read, **wishes, version=2, earlier=first)
    assert again.payload_types == first.payload_types
    assert again.extensions == first.extensions
    lines = first.sdp.split("\r\n")
    assert lines.pop() == ""
    assert all(_LINE.fullmatch(line) for line in lines)
    formats = [line.split(" ")[3:] for line in lines if line.startswith("m=")]
    assert len(formats) == len(read.sections)
    for section, answered in zip(read.sections, formats, strict=True):
        assert set(answered) <= set(section.formats)
    assert len(set(first.payload_types.values())) == len(first.payload_types)
    assert all(1 <= len(source.encodings) <= sdp.MAX_ENCODINGS for source in first.sources)


def rtcp_compound(data: bytes) -> None:
    """A compound RTCP packet, which is the same when built again."""
    try:
        packets = rtcp.parse_compound_untrusted(data)
    except MalformedError:
        return
    try:
        built = rtcp.build_compound(*packets)
    except LocalProtocolError:
        # What libwebrtc's padding leaves may end between two words, which we do not build.
        assert data[-1] % 4
        return
    if len(built) <= rtcp.MAX_RTCP_BYTES:  # requests are built longer than they can be read
        assert rtcp.parse_compound_untrusted(built) == packets


_FEEDBACK_PACKETS = 64
_SENT_S = 1.0


def transport_feedback(data: bytes) -> None:
    """Transport-wide feedback on a few packets: the kernel's reading and the oracle's."""
    path, oracle = report.Path(), SentPackets()
    for _ in range(_FEEDBACK_PACKETS):
        assert path.sent(1_000, _SENT_S) == oracle.sent(int(_SENT_S * 1e6))
    for _ in range(2):  # what is told again is no news
        try:
            feedback = twcc.parse_feedback_untrusted(data)
        except MalformedError:
            assert not path.feedback(data, _SENT_S)
            assert not path.read(_SENT_S).heard
            return
        assert path.feedback(data, _SENT_S)
        read = path.read(_SENT_S)
        told = Told(read.acked_packets, read.lost_packets, read.never_sent)
        assert told == oracle.on_feedback(feedback)
        assert read.heard == bool(told.acked or told.lost)
        assert read.queue_s >= 0
        assert read.rtt_s is None or read.rtt_s >= 0


_EXTENSIONS = {number: extension for extension, number in SENDER_IDS.items()}
_SAME = {number: number for number in range(128)}


def rtp_reference(data: bytes) -> None:
    """The oracle of the kernel's tests: it has to be right about hostile packets too."""
    try:
        packet = reference.parse_untrusted(data)
    except MalformedError:
        return
    stream, egress = reference_egress.Stream(), reference_egress.Egress(video=True)
    egress.set_source(stream)
    for payload_type in PayloadType:
        named = tuple((_EXTENSIONS.get(number, 0), each) for number, each in packet.extensions)
        seen = stream.observe(replace(packet, payload_type=payload_type, extensions=named))
        left = egress.forward(stream, seen, joined_timestamp=lambda: 0)
        assert left is None or len(left.payload) == len(packet.payload)
    with contextlib.suppress(MalformedError):
        _, primary = reference_codecs.red_primary_untrusted(packet.payload)
        assert packet.payload.endswith(primary)
        assert reference_codecs.red_renumbered_untrusted(packet.payload, _SAME) == packet.payload
    built = reference.build(
        packet,
        payload_type=packet.payload_type,
        sequence=packet.sequence,
        timestamp=packet.timestamp,
        ssrc=packet.ssrc,
        csrc=None,
        extension_ids=dict(zip(range(1, 256), range(1, 256), strict=True)),
    )
    again = reference.parse_untrusted(built)
    assert again.payload == packet.payload
    assert set(again.extensions) <= set(packet.extensions)


def signalling(data: bytes) -> None:
    """A browser's text frame."""
    try:
        message = messages.parse_browser_message_untrusted(data.decode(errors="replace"))
    except MalformedError:
        return
    assert messages.parse_browser_message_untrusted(message.model_dump_json()) == message


@functools.cache
def authority() -> identity.MeshAuthority:
    """Always with the same key, so that the seeds' certificates are of this mesh."""
    key = ec.derive_private_key(20_260_101, ec.SECP256R1())
    template = x509.load_pem_x509_certificate(identity.MeshAuthority.create(NOW_S).certificate_pem)
    made = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    return identity.MeshAuthority(
        certificate_pem=made.public_bytes(Encoding.PEM),
        key_pem=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def _pem(data: bytes, name: str) -> bytes:
    """The input itself where it is text, or else wrapped: so both PEM and DER are reached."""
    if data.startswith(b"-----"):
        return data
    body = base64.encodebytes(data)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name.encode(), body, name.encode())


def certificate(data: bytes) -> None:
    """A bridge's certificate as the focus is shown it."""
    with contextlib.suppress(MalformedError, RemoteProtocolError):
        identity.verify_certificate_untrusted(
            _pem(data, "CERTIFICATE"), authority().certificate_pem, NOW_S
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    der: bytes

    def getpeercert(self, binary_form: bool) -> bytes:
        return self.der


def peer_certificate(data: bytes) -> None:
    """A certificate whose signature TLS has checked: names and uses alone are looked at."""
    try:
        name = identity.peer_bridge_of(_Shown(_der(data)))
    except RemoteProtocolError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name)


def _der(data: bytes) -> bytes:
    if data.startswith(b"-----"):
        try:
            return ssl.PEM_cert_to_DER_cert(data.decode())
        except ValueError:
            pass
    return data


def signing_request(data: bytes) -> None:
    """A certificate signing request, and the certificate that it leads to."""
    try:
        issued = authority().issue(
            _pem(data, "CERTIFICATE REQUEST"), _PEER, Region("eu"), NOW_S, 3_600
        )
    except MalformedError:
        return
    verified = identity.verify_certificate_untrusted(issued, authority().certificate_pem, NOW_S)
    assert verified == (_PEER, "eu")


@functools.cache
def _ledger() -> tuple[TokenLedger, bytes]:
    """A ledger, and the secret that its tokens are signed with."""
    with tempfile.TemporaryDirectory() as directory:
        mint_token(Path(directory), Region("eu"), 60.0)
        return TokenLedger(Path(directory)), (Path(directory) / "enrolment.key").read_bytes()


def token(data: bytes) -> None:
    """An enrolment token; what begins like a JSON object is signed, to get past the signature."""
    ledger, secret = _ledger()
    text = data.decode(errors="replace")
    if data.startswith(b"{"):
        head, body = _base64url(b'{"alg":"HS256","typ":"JWT"}'), _base64url(data)
        signature = hmac.digest(secret, head + b"." + body, hashlib.sha256)
        text = b".".join((head, body, _base64url(signature))).decode()
    with contextlib.suppress(MalformedError, RemoteProtocolError):
        ledger.check_untrusted(text, NOW_S)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


TARGETS = {
    "control-from-focus": Target(run=from_focus, parsers=("relay.codec.Codec.decode_untrusted",)),
    "control-from-bridge": Target(run=from_bridge, parsers=("relay.codec.Codec.decode_untrusted",)),
    "trunk-message": Target(run=trunk, parsers=("relay.codec.Codec.decode_untrusted",)),
    "framing": Target(
        run=framed, parsers=("relay.framing.FrameReader.receive_untrusted",), max_bytes=600
    ),
    "link": Target(run=linked, parsers=("relay.framing.FrameReader.receive_untrusted",)),
    "probe": Target(
        run=probed,
        parsers=(
            "relay.probe.decode_probe_untrusted",
            "relay.probe.PathMeter.receive_probe_untrusted",
        ),
        max_bytes=64,
    ),
    "echo": Target(
        run=echoed,
        parsers=(
            "relay.probe.decode_echo_untrusted",
            "relay.probe.PathMeter.receive_echo_untrusted",
        ),
        max_bytes=170,
    ),
    "certificate": Target(
        run=certificate, parsers=("relay.identity.verify_certificate_untrusted",)
    ),
    "peer-certificate": Target(run=peer_certificate, parsers=("relay.identity._bridge_untrusted",)),
    "signing-request": Target(
        run=signing_request, parsers=("relay.identity._requested_key_untrusted",)
    ),
    "token": Target(run=token, parsers=("focus.tokens.TokenLedger.check_untrusted",)),
    "stun": Target(
        run=stun_message,
        parsers=("region.ice.parse_stun_untrusted", "region.ice.local_ufrag_untrusted"),
        max_bytes=1_600,
    ),
    "offer": Target(run=offered, parsers=("region.offer.parse_offer_untrusted",), max_bytes=8_192),
    "rtcp": Target(run=rtcp_compound, parsers=("region.rtcp.parse_compound_untrusted",)),
    "transport-feedback": Target(
        run=transport_feedback,
        parsers=("region.kernel.report.Path.feedback",),
        max_bytes=1_600,
    ),
    "rtp-reference": Target(
        run=rtp_reference,
        parsers=(
            "region.kernel.reference.parse_untrusted",
            "region.kernel.reference_codecs.parse_picture_untrusted",
            "region.kernel.reference_codecs.red_primary_untrusted",
            "region.kernel.reference_codecs.red_renumbered_untrusted",
            "region.kernel.reference_descriptor.parse_untrusted",
        ),
        max_bytes=1_600,
    ),
    "signalling": Target(run=signalling, parsers=("web.messages.parse_browser_message_untrusted",)),
}
