"""A meeting client without a browser: real signalling, ICE, DTLS and SRTP keys, made-up media.

It is this project's own and proves no interoperability (the tests do, with Chromium and
aiortc); it makes load, and can be many in one process. Works on trio.
"""

import json
import re
import secrets
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
from aioice import stun
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from pylibsrtp import Policy, Session
from trio_websocket import WebSocketConnection, open_websocket_url

CONNECT_TIMEOUT_S = 20.0
CONSENT_INTERVAL_S = 4.0
RECEIVE_BUFFER_BYTES = 4 << 20

OPUS, VP8, VP8_RTX = 111, 96, 97
AUDIO_LEVEL, TRANSPORT_SEQUENCE = 1, 3
ENCODINGS = 3
_LEVEL_EXTMAP = f"a=extmap:{AUDIO_LEVEL} urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_NUMBER_EXTMAP = (
    f"a=extmap:{TRANSPORT_SEQUENCE} "
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)
_PROFILES = {
    b"SRTP_AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    b"SRTP_AES128_CM_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client offers."""

    microphone: bool = False
    camera: bool = False
    audio_slots: int = 0
    video_slots: int = 0
    as_browsers: bool = False
    """Three encodings of a camera, retransmissions, and transport-wide feedback both ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a client has once it is connected."""

    socket: socket.socket
    bridge: tuple[str, int]
    outbound: Session
    inbound: Session
    source_ssrcs: Mapping[str, int]
    """By `microphone` or `camera`, whose lowest encoding it is."""
    camera_ssrcs: Sequence[int]
    """Its encodings, the lowest first."""
    slot_ssrcs: Sequence[int]


class LoadCertificate:
    """One certificate for all clients of a process: browsers would have one each."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "load")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex(":").upper()
        self.context = SSL.Context(SSL.DTLS_METHOD)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_tlsext_use_srtp(b":".join(_PROFILES))
        # The load does not check whom it talks to: it sends nothing that is worth it.
        self.context.set_verify(SSL.VERIFY_NONE, lambda *_: True)


class Client:
    """One participant; its socket's address is its own, as a browser's would be."""

    def __init__(
        self,
        certificate: LoadCertificate,
        wish: Wish,
        *,
        host: str = "127.0.0.1",
        hear: Callable[[dict[str, Any]], None] = lambda message: None,
    ):
        """`hear` gets each signalling message once it is connected."""
        self._certificate = certificate
        self.wish = wish
        self.hear = hear
        self._signalling: WebSocketConnection | None = None
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(16)
        self._source_ssrcs = {
            kind: secrets.randbelow(2**32 - 16) + 1
            for kind, wanted in (("microphone", wish.microphone), ("camera", wish.camera))
            if wanted
        }
        self._camera_ssrcs = [
            self._source_ssrcs["camera"] + 2 * number
            for number in range(ENCODINGS if wish.as_browsers else 1)
            if wish.camera
        ]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._plain = socket.socket(family, socket.SOCK_DGRAM)
        self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._socket = trio.socket.from_stdlib_socket(self._plain)
        self._host = host
        self._remote = ("", b"")
        self.participant: int | None = None
        self.moved = False
        """Whether the focus has given up the bridge; this client does not follow."""
        self.connection: Connection | None = None

    async def run(
        self,
        url: str,
        room: str,
        name: str,
        *,
        region: str | None = None,
        tls: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Join, connect, and stay until cancelled; started when media can flow."""
        await self._socket.bind((self._host, 0))
        with self._socket:
            signal_url = f"ws{url.removeprefix('http').rstrip('/')}/api/signal"
            async with open_websocket_url(
                signal_url, ssl_context=tls, max_message_size=4 << 20
            ) as signalling:
                with trio.fail_after(CONNECT_TIMEOUT_S):
                    answer = await self._join(signalling, room, name, region)
                    self.connection = await self._connect(answer)
                self._signalling = signalling
                task_status.started(self.connection)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_consent, self.connection)
                    while True:
                        message = json.loads(await signalling.get_message())
                        self.moved |= message["type"] == "moved"
                        self.hear(message)

    async def say(self, message: dict[str, Any]) -> None:
        """Send a signalling message, once it is connected."""
        assert self._signalling is not None
        await self._signalling.send_message(json.dumps(message))

    async def _join(
        self, signalling: WebSocketConnection, room: str, name: str, region: str | None
    ) -> str:
        join: dict[str, Any] = {"type": "join", "room": room, "name": name}
        join |= {"region": region, "rtts_ms": {}}
        sdp, mids = self._offer()
        offer = {"type": "offer", "attempt": 0, "sdp": sdp, "sources": mids}
        await signalling.send_message(json.dumps(join))
        await signalling.send_message(json.dumps(offer))
        while True:
            message = json.loads(await signalling.get_message())
            match message["type"]:
                case "joined":
                    self.participant = message["you"]["id"]
                case "answer":
                    return str(message["sdp"])
                case "error":
                    raise RuntimeError(message["message"])

    def _offer(self) -> tuple[str, dict[str, str]]:
        """RFC 8866: sources sendonly, slots recvonly, one bundle."""
        sections: list[list[str]] = []
        mids: dict[str, str] = {}

        def section(
            media: str, payload: int, codec: str, direction: str, ssrcs: Sequence[int] = ()
        ) -> str:
            mid = str(len(sections))
            repaired = self.wish.as_browsers and media == "video"
            lines = [
                f"m={media} 9 UDP/TLS/RTP/SAVPF {payload}{f' {VP8_RTX}' if repaired else ''}",
                "c=IN IP4 0.0.0.0",
                f"a=mid:{mid}",
                f"a={direction}",
                "a=rtcp-mux",
                f"a=rtpmap:{payload} {codec}",
                f"a=ice-ufrag:{self._ufrag}",
                f"a=ice-pwd:{self._password}",
                f"a=fingerprint:sha-256 {self._certificate.fingerprint}",
                "a=setup:actpass",
            ]
            if media == "audio":
                lines.append(_LEVEL_EXTMAP)
            else:
                lines += [f"a=rtcp-fb:{payload} nack pli", f"a=rtcp-fb:{payload} ccm fir"]
            if self.wish.as_browsers:
                lines += [_NUMBER_EXTMAP, f"a=rtcp-fb:{payload} transport-cc", "a=rtcp-rsize"]
            if repaired:
                lines += [
                    f"a=rtcp-fb:{payload} nack",
                    f"a=rtpmap:{VP8_RTX} rtx/90000",
                    f"a=fmtp:{VP8_RTX} apt={VP8}",
                ]
                # RFC 5576 §4.2, and as libwebrtc groups encodings; the number behind retransmits.
                lines += [f"a=ssrc-group:FID {ssrc} {ssrc + 1}" for ssrc in ssrcs]
                lines += [f"a=ssrc:{ssrc + 1} cname:load" for ssrc in ssrcs]
            if len(ssrcs) > 1:
                lines.append(f"a=ssrc-group:SIM {' '.join(map(str, ssrcs))}")
            lines += [f"a=ssrc:{ssrc} cname:load" for ssrc in ssrcs]
            sections.append(lines)
            return mid

        for kind, ssrc in self._source_ssrcs.items():
            if kind == "microphone":
                mids[section("audio", OPUS, "opus/48000/2", "sendonly", [ssrc])] = kind
            else:
                mids[section("video", VP8, "VP8/90000", "sendonly", self._camera_ssrcs)] = kind
        for _ in range(self.wish.audio_slots):
            section("audio", OPUS, "opus/48000/2", "recvonly")
        for _ in range(self.wish.video_slots):
            section("video", VP8, "VP8/90000", "recvonly")
        bundle = " ".join(str(mid) for mid in range(len(sections)))
        head = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {bundle}"]
        return "\r\n".join([*head, *(line for lines in sections for line in lines), ""]), mids

    async def _connect(self, answer: str) -> Connection:
        password = _one(r"a=ice-pwd:(\S+)", answer)
        self._remote = (_one(r"a=ice-ufrag:(\S+)", answer), password.encode())
        candidates = [
            (host, int(port))
            for host, port in re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+)", answer)
            if (":" in host) == (":" in self._host)
        ]
        # The one in our own network first: this is a load on one machine.
        bridge = min(candidates, key=lambda each: each[0] != self._host)
        await self._check_until_answered(bridge)
        keys = await self._handshake(bridge)
        sent_by_bridge = {int(ssrc) for ssrc in re.findall(r"a=ssrc:(\d+)", answer)} - set(
            self._source_ssrcs.values()
        )
        return Connection(
            socket=self._plain,
            bridge=bridge,
            outbound=keys[0],
            inbound=keys[1],
            source_ssrcs=self._source_ssrcs,
            camera_ssrcs=self._camera_ssrcs,
            slot_ssrcs=tuple(sorted(sent_by_bridge)),
        )

    def _check(self) -> bytes:
        """RFC 8445 §7.1: nominating at once, for there is one pair."""
        ufrag, password = self._remote
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{ufrag}:{self._ufrag}"
        request.attributes["PRIORITY"] = 1_853_824_767
        request.attributes["ICE-CONTROLLING"] = secrets.randbits(64)
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(password)
        return bytes(request)

    async def _check_until_answered(self, bridge: tuple[str, int]) -> None:
        while True:
            await self._socket.sendto(self._check(), bridge)
            with trio.move_on_after(0.5):
                data = await self._socket.recv(2048)
                if data[0] < 4:
                    response = stun.parse_message(data)
                    if response.message_class is stun.Class.RESPONSE:
                        return

    async def _handshake(self, bridge: tuple[str, int]) -> tuple[Session, Session]:
        connection = SSL.Connection(self._certificate.context, None)
        connection.set_connect_state()
        connection.set_ciphertext_mtu(1_200)
        while True:
            done = True
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                done = False
            try:
                while True:
                    await self._socket.sendto(connection.bio_read(16_384), bridge)
            except SSL.WantReadError:
                pass
            if done:
                return self._sessions(connection)
            with trio.move_on_after(connection.DTLSv1_get_timeout() or 1.0):
                data = await self._socket.recv(4096)
                if 20 <= data[0] < 64:
                    connection.bio_write(data)
                continue
            connection.DTLSv1_handle_timeout()

    def _sessions(self, connection: SSL.Connection) -> tuple[Session, Session]:
        """RFC 5764 §4.2: client key, server key, client salt, server salt."""
        profile, key_bytes, salt_bytes = _PROFILES[connection.get_selected_srtp_profile()]
        material = connection.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (key_bytes + salt_bytes)
        )
        keys = [material[i * key_bytes : (i + 1) * key_bytes] for i in (0, 1)]
        salts = material[2 * key_bytes :]
        outbound, inbound = (keys[0] + salts[:salt_bytes]), (keys[1] + salts[salt_bytes:])
        return (
            Session(Policy(key=outbound, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)),
            Session(Policy(key=inbound, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile)),
        )

    async def _keep_consent(self, connection: Connection) -> None:
        """RFC 7675 §5.1."""
        while True:
            await trio.sleep(CONSENT_INTERVAL_S)
            await self._socket.sendto(self._check(), connection.bridge)


def _one(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"the answer has no {pattern}")
    return found.group(1)
