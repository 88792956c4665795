"""The roster's types; the code is `roster.pyx`."""

from collections.abc import Mapping, Sequence

from pylibsrtp import Session

PAYLOAD_AUDIO: int
PAYLOAD_VIDEO: int
PAYLOAD_VIDEO_RTX: int
"""RFC 4588."""

class Roster:
    """Clients, senders and scripts; from any thread. LocalProtocolError for unknown handles."""

    def add_client(
        self,
        fd: int,
        outbound: Session,
        inbound: Session,
        *,
        payload_types: Mapping[int, int],
        extensions: Mapping[int, int],
        repairs: Mapping[int, int],
        decrypt_one_in: int = 1,
        feedback: bool = True,
        reports: bool = True,
        nacks: bool = True,
        plis: bool = True,
    ) -> int:
        """A connected UDP socket, whose media is moved from now on; its handle.

        The sessions belong to the engine until `remove_client`, after which the socket may be
        closed. `payload_types`: PAYLOAD_… by number; `extensions`: ids from 1 to 14 by
        HeaderExtension; `repairs`: streams' SSRCs by those of their retransmissions.
        `decrypt_one_in`: of so many packets of a stream one is decrypted and looked into, 0 for
        none; order is checked of all. Without transport-wide numbers there is no feedback, and
        without repairs nothing is asked for again. CapacityError.
        """

    def renumber(
        self,
        client: int,
        *,
        payload_types: Mapping[int, int],
        extensions: Mapping[int, int],
        repairs: Mapping[int, int],
    ) -> None:
        """A later description's numbers."""

    def remove_client(self, client: int) -> None:
        """Let go of its socket and its sessions; what was counted stays in `totals`."""

    def add_sender(
        self,
        client: int,
        *,
        kind: int,
        ssrc: int,
        payload_type: int,
        layer: int = 0,
        rtx_ssrc: int = 0,
        rtx_payload_type: int = -1,
        mid: bytes = b"",
        rid: bytes = b"",
    ) -> int:
        """A stream that the client sends, once it is active and has a script; its handle.

        MID and RID go with its packets until the bridge has reported on it. CapacityError.
        """

    def add_script(
        self,
        frames: Sequence[tuple[int, int, int, bool, int]],
        *,
        cycle_us: int,
        keyframe_bytes: int = 0,
        packet_bytes: int,
    ) -> int:
        """What senders play again and again; its handle, for as long as the engine lives.

        A frame: when in the cycle (µs, ascending), bytes, temporal layer, whether it is a
        keyframe, audio level (RFC 6464). `keyframe_bytes`: of a keyframe that the bridge asks for,
        0 for as many as the frame has whose turn it is. `packet_bytes`: at most so much of a frame
        in a packet, up to 1,400. CapacityError.
        """
