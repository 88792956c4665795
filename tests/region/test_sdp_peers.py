"""Others' stacks take the answers to their own offers."""

import asyncio
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription
from playwright.sync_api import Page, sync_playwright

from region.ice import IceCredentials
from region.offer import parse_offer_untrusted
from relay.ids import SourceKind, VideoCodec
from tests.region.answering import ADDRESSES, MICROPHONE, SOURCES, answered, source_of, ssrcs_for


def test_aiortc_takes_the_answer_to_its_own_offer() -> None:
    async def run() -> list[str | None]:
        peer = RTCPeerConnection()
        peer.addTransceiver("audio", direction="sendonly")
        peer.addTransceiver("video", direction="sendonly")
        peer.addTransceiver("audio", direction="recvonly")
        peer.addTransceiver("video", direction="recvonly")
        try:
            await peer.setLocalDescription(await peer.createOffer())
            sdp = answered(peer.localDescription.sdp, tcp_candidates=ADDRESSES).sdp
            await peer.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="answer"))
            return [each.currentDirection for each in peer.getTransceivers()]
        finally:
            await peer.close()

    assert asyncio.run(run()) == ["sendonly", "sendonly", "recvonly", "recvonly"]


MAKE_PEER = """async () => {
    const peer = window.peer = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
    const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: true});
    const rids = [{rid: 'q', scaleResolutionDownBy: 4}, {rid: 'h', scaleResolutionDownBy: 2}];
    const sendEncodings = [...rids, {rid: 'f', scalabilityMode: 'L1T3'}];
    peer.addTransceiver(stream.getAudioTracks()[0], {direction: 'sendonly'});
    peer.addTransceiver(stream.getVideoTracks()[0], {direction: 'sendonly', sendEncodings});
    for (let i = 0; i < 3; i++) peer.addTransceiver('audio', {direction: 'recvonly'});
    for (let i = 0; i < 4; i++) peer.addTransceiver('video', {direction: 'recvonly'});
    peer.createDataChannel('x');
}"""
GROW = """() => {
    peer.restartIce();
    peer.addTransceiver('video', {direction: 'sendonly'});
    for (let i = 0; i < 2; i++) peer.addTransceiver('video', {direction: 'recvonly'});
}"""
OFFER = "async () => { await peer.setLocalDescription(); return peer.localDescription.sdp; }"
TAKE_ANSWER = """async (sdp) => {
    await peer.setRemoteDescription({type: 'answer', sdp});
    const [, camera] = peer.getSenders();
    return {
        directions: peer.getTransceivers().map((each) => each.currentDirection),
        rids: camera.getParameters().encodings.map((each) => each.rid),
        codec: camera.getParameters().codecs[0]?.mimeType,
        extensions: camera.getParameters().headerExtensions.map((each) => each.uri).sort(),
    };
}"""


def take(page: Page, sdp: str) -> dict[str, Any]:
    taken: dict[str, Any] = page.evaluate(TAKE_ANSWER, sdp)
    return taken


def offer_of(page: Page) -> str:
    text: str = page.evaluate(OFFER)
    return text


def check_a_life(page: Page) -> None:
    """An offer, then one with new credentials, another source and more slots."""
    page.evaluate(MAKE_PEER)
    first = answered(offer_of(page), codec=VideoCodec.VP9, tcp_candidates=ADDRESSES[:2])
    assert [each.rid for each in source_of(first, "1").encodings] == ["q", "h", "f"]
    taken = take(page, first.sdp)
    assert taken["directions"] == ["sendonly"] * 2 + ["recvonly"] * 7
    assert taken["rids"] == ["q", "h", "f"]
    assert taken["codec"] == "video/VP9"
    assert sum("stream-id" in uri or "sdes:mid" in uri for uri in taken["extensions"]) == 3
    assert any("dependency-descriptor" in uri for uri in taken["extensions"])
    page.evaluate(GROW)
    offer = parse_offer_untrusted(offer_of(page))
    assert offer.ice != first.offer.ice
    known = {slot.mid: slot.ssrc for slot in first.slots}
    second = answered(
        offer,
        sources=SOURCES | {offer.sections[-3].mid: SourceKind.SCREEN},
        ice=IceCredentials("another", "c" * 24),
        slot_ssrcs={mid: 100 + ssrc for mid, ssrc in ssrcs_for(offer).items()} | known,
        earlier=first,
        version=2,
    )
    taken = take(page, second.sdp)
    grown = ["sendonly", "recvonly", "recvonly"]
    assert taken["directions"] == ["sendonly"] * 2 + ["recvonly"] * 7 + grown
    assert second.sources[:2] == first.sources
    assert second.slots[:7] == first.slots


def check_less(page: Page) -> None:
    """Answers that leave sections idle, or reject them."""
    page.evaluate(MAKE_PEER)
    offer = parse_offer_untrusted(offer_of(page))
    slots = {mid: ssrc for mid, ssrc in ssrcs_for(offer).items() if mid != "4"}
    sparse = take(page, answered(offer, sources={}, slot_ssrcs=slots).sdp)["directions"]
    assert sparse.count("inactive") == 3
    assert sparse.count("recvonly") == 6
    page.evaluate(MAKE_PEER)
    text = offer_of(page)
    for codec in VideoCodec:
        text = text.replace(f"{codec.upper()}/90000", "VP7/90000")
    deaf = take(page, answered(text, sources=MICROPHONE).sdp)["directions"]
    assert deaf == ["sendonly", *["recvonly"] * 3]


def test_chromium_takes_the_answers_to_its_own_offers() -> None:
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--disable-background-networking",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = browser.new_page()
        page.route("**/*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        page.goto("https://meet.example/")
        check_a_life(page)
        check_less(page)
        browser.close()
