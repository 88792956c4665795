"""What a focus says while it is measured, and what it does not say."""

import json
import ssl
from collections.abc import Sequence
from functools import partial

import pytest
import trio

from benchmarks.load import deployment
from benchmarks.load.deployment import Deployment, Heartbeats, means
from relay.errors import SettingsError

DEADLINE_S = 10.0
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NOTHING = b""


def mesh(cpu: float) -> bytes:
    """An answer with one bridge."""
    bridge = {"bridge": "a", "region": "here", "cpu": cpu, "packets_per_s": 100}
    body = json.dumps({"bridges": [bridge]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def focus(nursery: trio.Nursery, answers: Sequence[bytes]) -> tuple[str, trio.Event]:
    """Its URL, and when it has given them all; it is deaf from then on."""
    left, done = list(answers), trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        if not left:
            done.set()
            await trio.sleep_forever()
        await stream.send_all(left.pop(0))
        await stream.aclose()

    (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}", done


async def test_questions_in_vain_cost_a_sample_each(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "LOOK_S", 0.01)
    answers = (mesh(0.25), BAD_GATEWAY, NOTHING, mesh(0.75))
    url, done = await focus(nursery, answers)
    heartbeats = Heartbeats()
    nursery.start_soon(Deployment(url, ssl.create_default_context()).watch, heartbeats)
    with trio.fail_after(DEADLINE_S):
        await done.wait()
    assert means(heartbeats.loads) == {"a": 0.5}
    assert (heartbeats.asked, heartbeats.unanswered) == (4, 2)
    assert heartbeats.gaps == "the focus did not answer 2 of 4 times"
    nursery.cancel_scope.cancel()


def test_a_focus_that_always_answers_is_not_mentioned() -> None:
    assert Heartbeats(asked=60).gaps == ""


async def test_a_focus_that_does_not_answer_at_first_is_no_deployment(
    nursery: trio.Nursery,
) -> None:
    url, _ = await focus(nursery, [BAD_GATEWAY])
    with pytest.raises(SettingsError, match="502"):
        await Deployment(url, ssl.create_default_context()).check(None)
    nursery.cancel_scope.cancel()
