"""A participant on GStreamer's webrtcbin; a child of `test_gstreamer`, run by Debian's Python.

It shows one colour and sounds one tone, has one slot for each, and does no signalling: JSON lines
go out by stdout (`offer`, then what it decodes, ten times a second) and `answer` comes in
by stdin, whose end is its end. Without arguments it says what GStreamer lacks, and fails if so.
"""

# mypy: ignore-errors
# GStreamer's bindings come from Debian and have no types.

import json
import sys
import threading
from array import array
from itertools import pairwise

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

COLOUR, TONE_HZ = sys.argv[1:] or (0, 0)
ELEMENTS = (
    "webrtcbin nicesrc dtlssrtpenc srtpenc vp8enc rtpvp8pay opusenc audiotestsrc videoconvert"
)
WIDTH, HEIGHT = 320, 240
RATE = 48_000
VIDEO = "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000"
AUDIO = (
    "application/x-rtp,media=audio,encoding-name=OPUS,payload=97"
    f",clock-rate={RATE},encoding-params=(string)2"
)
PIPELINE = f"""
    webrtcbin name=peer bundle-policy=max-bundle latency=100
    audiotestsrc is-live=true freq={TONE_HZ} volume=0.5 ! audio/x-raw,rate={RATE},channels=1
        ! opusenc ! rtpopuspay ! {AUDIO} ! peer.
    videotestsrc is-live=true pattern=solid-color foreground-color={COLOUR}
        ! video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=20/1
        ! vp8enc deadline=1 target-bitrate=200000 ! rtpvp8pay picture-id-mode=15-bit ! {VIDEO}
        ! peer.
"""
SHOW = "rtpvp8depay ! vp8dec ! videoconvert ! video/x-raw,format=I420"
PLAY = (
    "rtpopusdepay ! opusdec ! audioconvert ! audioresample"
    f" ! audio/x-raw,format=S16LE,rate={RATE},channels=1"
)
RECEIVED = " ! fakesink name=end signal-handoffs=true sync=false async=false"


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


class Peer:
    def __init__(self, ended: GLib.MainLoop) -> None:
        self._ended = ended
        self._decoded = {"pictures": 0, "sounds": 0}
        self._pipeline = Gst.parse_launch(PIPELINE)
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._failed)
        self._peer = self._pipeline.get_by_name("peer")
        # It has no candidate for loopback by itself. Kept, because of its only reference, which
        # floats, the binding makes its own.
        self._ice = self._peer.props.ice_agent
        self._ice.emit("add-local-ip-address", "127.0.0.1")
        self._peer.connect("on-negotiation-needed", self._negotiate)
        self._peer.connect("pad-added", self._receive)

    def start(self) -> None:
        for number in range(2):
            own = self._peer.emit("get-transceiver", number)
            own.props.direction = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
        for caps in (AUDIO, VIDEO):
            slot = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
            self._peer.emit("add-transceiver", slot, Gst.Caps.from_string(caps))
        self._pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(100, self._tell)

    def answer(self, text: str) -> None:
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self._peer.emit("set-remote-description", answer, None)

    def stop(self) -> None:
        self._pipeline.set_state(Gst.State.NULL)

    def _negotiate(self, _peer: Gst.Element) -> None:
        self._peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self._offer))

    def _offer(self, promise: Gst.Promise) -> None:
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        self._peer.emit("set-local-description", offer, None)
        say(offer=offer.sdp.as_text())

    def _receive(self, _peer: Gst.Element, pad: Gst.Pad) -> None:
        if pad.direction is not Gst.PadDirection.SRC:
            return
        is_video = pad.get_current_caps().get_structure(0).get_string("media") == "video"
        receiver = Gst.parse_bin_from_description((SHOW if is_video else PLAY) + RECEIVED, True)
        receiver.get_by_name("end").connect("handoff", self._see if is_video else self._hear)
        self._pipeline.add(receiver)
        receiver.sync_state_with_parent()
        pad.link(receiver.get_static_pad("sink"))

    def _see(self, _sink: Gst.Element, frame: Gst.Buffer, pad: Gst.Pad) -> None:
        size = pad.get_current_caps().get_structure(0)
        width, height = size.get_value("width"), size.get_value("height")
        planes = frame.extract_dup(0, frame.get_size())
        chroma = -(-width // 2) * -(-height // 2)
        self._decoded["pictures"] += 1
        self._decoded["u"] = planes[-2 * chroma + chroma // 2]
        self._decoded["v"] = planes[-chroma + chroma // 2]

    def _hear(self, _sink: Gst.Element, frame: Gst.Buffer, _pad: Gst.Pad) -> None:
        wave = array("h", frame.extract_dup(0, frame.get_size()))
        crossings = sum((before < 0) != (after < 0) for before, after in pairwise(wave))
        self._decoded["sounds"] += 1
        self._decoded["hertz"] = crossings * RATE / len(wave) / 2

    def _tell(self) -> bool:
        say(**self._decoded)
        return True

    def _failed(self, _bus: Gst.Bus, message: Gst.Message) -> None:
        say(failed=message.parse_error()[0].message)
        self._ended.quit()


def main() -> None:
    Gst.init(None)
    if len(sys.argv) == 1:
        missing = [name for name in ELEMENTS.split() if Gst.ElementFactory.find(name) is None]
        sys.exit(" ".join(missing) or 0)
    ended = GLib.MainLoop()
    peer = Peer(ended)

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(peer.answer, json.loads(line)["answer"])
        GLib.idle_add(ended.quit)

    threading.Thread(target=listen, daemon=True).start()
    peer.start()
    ended.run()
    peer.stop()


main()
