"""How a bridge comes by its identity, against a focus that may answer anything."""

import json
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from region import enrolment
from region.enrolment import RENEW_BEFORE_S, IdentityStore, load_or_enrol
from region.settings import RegionSettings
from relay.errors import RemoteProtocolError, SettingsError
from relay.identity import Identity, MeshAuthority, make_request, sign_challenge, verify_challenge
from relay.ids import BridgeId, Region
from tests.region.fake_focus import (
    BRIDGE,
    FRANKFURT,
    HOST,
    MESH,
    WEEK_S,
    enrol_door,
    granted,
    issue,
    settings_for,
)

TOKEN = "one-time"
SINGAPORE = Region("singapore")
Reply = Callable[[dict[str, str]], tuple[int, bytes]]


async def enrol(
    directory: Path, reply: Reply = granted, *, region: Region = FRANKFURT
) -> IdentityStore:
    refusal: SettingsError | None = None
    async with enrol_door(directory, reply) as (_, port, certificate):
        settings = settings_for(
            port, directory / "bridge", focus_ca=certificate, token=TOKEN, region=region
        )
        try:
            store = await load_or_enrol(settings)
        except SettingsError as error:
            refusal = error  # In here a nursery would wrap it.
    if refusal is not None:
        raise refusal
    return store


def offline(directory: Path, *, token: str | None = None) -> RegionSettings:
    """Settings of a bridge whose focus cannot be reached."""
    return settings_for(1, directory / "bridge", focus_ca=None, token=token)


async def test_a_token_buys_an_identity_that_works(tmp_path: Path) -> None:
    store = await enrol(tmp_path)
    assert (store.bridge, store.region) == (BRIDGE, FRANKFURT)
    signature = sign_challenge(store.identity.key_pem, b"nonce")
    verify_challenge(store.identity.certificate_pem, b"nonce", signature)
    assert store.identity.mesh_ca_pem == MESH.certificate_pem


async def test_the_focus_gets_the_token_and_a_request_but_no_key(tmp_path: Path) -> None:
    async with enrol_door(tmp_path, granted) as (door, port, certificate):
        settings = settings_for(port, tmp_path / "bridge", focus_ca=certificate, token=TOKEN)
        await load_or_enrol(settings)
    (request,) = door.requests
    assert (request["token"], request["region"]) == (TOKEN, FRANKFURT)
    assert request["csr"].startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert not any("PRIVATE" in value for value in request.values())
    assert door.heads[0].startswith("POST /api/bridges/enrol HTTP/1.1")


async def test_later_it_needs_neither_token_nor_focus(tmp_path: Path) -> None:
    first = await enrol(tmp_path)
    again = await load_or_enrol(offline(tmp_path))
    assert again.identity == first.identity
    assert (again.bridge, again.region) == (first.bridge, first.region)


async def test_a_stored_identity_comes_before_a_token(tmp_path: Path) -> None:
    first = await enrol(tmp_path)
    assert (await load_or_enrol(offline(tmp_path, token=TOKEN))).identity == first.identity


async def test_nobody_else_on_the_host_can_read_the_key(tmp_path: Path) -> None:
    await enrol(tmp_path)
    assert stat.S_IMODE((tmp_path / "bridge").stat().st_mode) == 0o700
    for file in (tmp_path / "bridge").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_without_a_token_the_operator_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not enrolled yet: make a token with `octomesh token`"):
        await load_or_enrol(offline(tmp_path))


async def test_a_refusal_is_told_in_the_words_of_the_focus(tmp_path: Path) -> None:
    def refuse(_: dict[str, str]) -> tuple[int, bytes]:
        return 403, json.dumps({"error": "the token has been used"}).encode()

    with pytest.raises(SettingsError, match="refused to enrol this bridge: the token has been use"):
        await enrol(tmp_path, refuse)
    assert not (tmp_path / "bridge").exists()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hello</html>"),
        (200, b"\xff\xfe"),
        (200, b""),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'"certificate"'),
        (200, b'{"certificate": 1, "mesh_ca": null}'),
        (502, b"Bad Gateway"),
        (403, b"[]"),
        (500, b'{"error": null}'),
    ],
)
async def test_an_answer_that_makes_no_sense_is_one_line_for_the_operator(
    tmp_path: Path, status: int, body: bytes
) -> None:
    with pytest.raises(SettingsError) as caught:
        await enrol(tmp_path, lambda _: (status, body))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bridge").exists()


async def test_a_certificate_of_another_mesh_is_not_taken(tmp_path: Path) -> None:
    other = MeshAuthority.create(time.time())

    def reply(request: dict[str, str]) -> tuple[int, bytes]:
        status, body = granted(request)
        return status, json.dumps(
            json.loads(body) | {"mesh_ca": other.certificate_pem.decode()}
        ).encode()

    with pytest.raises(SettingsError, match=r"certificate that cannot be used: .*not of this mesh"):
        await enrol(tmp_path, reply)


async def test_no_certificate_at_all_is_not_taken(tmp_path: Path) -> None:
    body = json.dumps({"certificate": "trust me", "mesh_ca": MESH.certificate_pem.decode()})
    with pytest.raises(SettingsError, match="certificate that cannot be used"):
        await enrol(tmp_path, lambda _: (200, body.encode()))


async def test_a_token_of_another_region_is_told_so(tmp_path: Path) -> None:
    reply = partial(granted, bridge=BridgeId("singapore-1"), region=SINGAPORE)
    with pytest.raises(SettingsError, match="token is for region singapore, not for frankfurt"):
        await enrol(tmp_path, reply)
    assert not (tmp_path / "bridge").exists()


async def test_a_directory_of_another_region_is_not_used(tmp_path: Path) -> None:
    await enrol(tmp_path)
    with pytest.raises(SettingsError, match="belongs to a bridge of region frankfurt, not of sing"):
        await enrol(tmp_path, region=SINGAPORE)


async def test_a_focus_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"focus at https://{HOST}:1/ cannot be reached"):
        await load_or_enrol(offline(tmp_path, token=TOKEN))


async def test_a_focus_that_nobody_vouches_for_gets_no_token(tmp_path: Path) -> None:
    async with enrol_door(tmp_path, granted) as (door, port, _):
        settings = settings_for(port, tmp_path / "bridge", focus_ca=None, token=TOKEN)
        with pytest.raises(SettingsError, match=r"cannot be reached: .*certificate"):
            await load_or_enrol(settings)
    assert door.requests == []


async def test_a_file_that_is_no_authority_is_told_so(tmp_path: Path) -> None:
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("trust me")
    settings = settings_for(1, tmp_path / "bridge", focus_ca=nonsense, token=TOKEN)
    with pytest.raises(SettingsError, match=r"focus at .* cannot be reached"):
        await load_or_enrol(settings)


async def test_a_focus_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(enrolment, "ENROL_TIMEOUT_S", 0.1)

    async def hang_up_never(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    (listener,) = await nursery.start(partial(trio.serve_tcp, host=HOST), hang_up_never, 0)
    port = listener.socket.getsockname()[1]
    settings = settings_for(port, tmp_path / "bridge", focus_ca=None, token=TOKEN)
    with pytest.raises(SettingsError, match="cannot be reached"):
        await load_or_enrol(settings)
    nursery.cancel_scope.cancel()


async def test_a_damaged_certificate_asks_for_a_new_token(tmp_path: Path) -> None:
    await enrol(tmp_path)
    (tmp_path / "bridge" / "bridge-cert.pem").write_text("ruined")
    with pytest.raises(SettingsError, match=r"cannot be used .*; enrol with a new token"):
        await load_or_enrol(offline(tmp_path))


async def test_with_a_new_token_a_damaged_identity_is_replaced(tmp_path: Path) -> None:
    first = await enrol(tmp_path)
    (tmp_path / "bridge" / "bridge-cert.pem").write_text("ruined")
    second = await enrol(tmp_path)
    assert second.identity.key_pem != first.identity.key_pem
    assert (await load_or_enrol(offline(tmp_path))).identity == second.identity


async def test_a_state_directory_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bridge").write_text("")
    with pytest.raises(SettingsError, match="bridge cannot be read"):
        await enrol(tmp_path)


def stored(directory: Path, lifetime_s: float) -> IdentityStore:
    """A store whose certificate has so long to live."""
    key_pem, csr_pem = make_request()
    certificate_pem = MESH.issue(csr_pem, BRIDGE, FRANKFURT, time.time(), lifetime_s)
    identity = Identity(
        certificate_pem=certificate_pem, key_pem=key_pem, mesh_ca_pem=MESH.certificate_pem
    )
    return IdentityStore(identity, BRIDGE, FRANKFURT, directory / "bridge")


def test_a_certificate_is_to_be_renewed_two_days_before_its_end(tmp_path: Path) -> None:
    assert not stored(tmp_path, RENEW_BEFORE_S + 3_600).ends_soon()
    assert stored(tmp_path, RENEW_BEFORE_S - 3_600).ends_soon()


async def test_a_renewed_certificate_is_used_and_kept(tmp_path: Path) -> None:
    store = stored(tmp_path, RENEW_BEFORE_S - 3_600)
    key_pem, csr_pem = make_request()
    store.replace(key_pem, issue(csr_pem))
    assert not store.ends_soon()
    kept = await load_or_enrol(offline(tmp_path))
    assert kept.identity == store.identity
    assert kept.identity.key_pem == key_pem


@pytest.mark.parametrize(
    ("bridge", "region"),
    [(BridgeId("frankfurt-2"), FRANKFURT), (BRIDGE, SINGAPORE)],
)
def test_a_renewed_certificate_of_somebody_else_is_not_taken(
    tmp_path: Path, bridge: BridgeId, region: Region
) -> None:
    store = stored(tmp_path, WEEK_S)
    before = store.identity
    key_pem, csr_pem = make_request()
    with pytest.raises(RemoteProtocolError, match="names another bridge"):
        store.replace(key_pem, issue(csr_pem, bridge, region))
    assert store.identity == before
    assert not (tmp_path / "bridge").exists()
