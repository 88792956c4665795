"""A bridge's identity on disk: enrols once with a token, keeps and replaces its certificate.

The one-off HTTPS call is httpx's; the key never leaves this machine. The wire is in
`relay/PROTOCOL.md`, "Enrolment".
"""

import os
import ssl
import time
from pathlib import Path

import httpx
import structlog
import trio

from region.reasons import reason_of
from region.settings import RegionSettings
from relay.errors import MalformedError, RemoteProtocolError, SettingsError
from relay.identity import (
    Identity,
    make_request,
    sign_challenge,
    valid_until_s,
    verify_certificate_untrusted,
    verify_challenge,
)
from relay.ids import BridgeId, Region

ENROL_TIMEOUT_S = 10.0
RENEW_BEFORE_S = 2 * 86_400
"""A certificate is renewed when it has less than this left."""
_LAST_WRITTEN = "mesh-ca.pem"

log = structlog.get_logger()


def focus_ssl_context(settings: RegionSettings) -> ssl.SSLContext:
    """How the focus's web certificate is verified: the system's authorities, or the file given."""
    return ssl.create_default_context(cafile=settings.focus_ca)


class IdentityStore:
    """The certificate, key and mesh authority in the state directory."""

    def __init__(self, identity: Identity, bridge: BridgeId, region: Region, directory: Path):
        self.identity = identity
        self._ends_s = valid_until_s(identity.certificate_pem)
        self.bridge = bridge
        self.region = region
        self._directory = directory

    def ends_soon(self) -> bool:
        """Whether it is time to renew."""
        return self._ends_s - time.time() < RENEW_BEFORE_S

    def replace(self, key_pem: bytes, certificate_pem: bytes) -> None:
        """Use a renewed certificate; RemoteProtocolError when it is not ours."""
        authority = self.identity.mesh_ca_pem
        bridge, region = verify_certificate_untrusted(certificate_pem, authority, time.time())
        if (bridge, region) != (self.bridge, self.region):
            raise RemoteProtocolError("the renewed certificate names another bridge")
        self.identity = Identity(
            certificate_pem=certificate_pem, key_pem=key_pem, mesh_ca_pem=authority
        )
        self._ends_s = valid_until_s(certificate_pem)
        _save(self._directory, self.identity)


def has_identity(state_dir: Path) -> bool:
    """Whether a bridge that uses this directory has enrolled."""
    return (state_dir / _LAST_WRITTEN).exists()


async def load_or_enrol(settings: RegionSettings) -> IdentityStore:
    """The stored identity, or a new one for the token; SettingsError tells what is missing."""
    stored = _load(settings)
    if stored is not None:
        return stored
    if settings.token is None:
        raise SettingsError(
            "this bridge is not enrolled yet: make a token with `octomesh token` on the focus's "
            "host and give it by --token-file or OCTOMESH_REGION_TOKEN"
        )
    key_pem, csr_pem = make_request()
    reply = await _enrol(settings, settings.token, csr_pem)
    identity = Identity(
        certificate_pem=reply["certificate"].encode(),
        key_pem=key_pem,
        mesh_ca_pem=reply["mesh_ca"].encode(),
    )
    try:
        bridge, region = verify_certificate_untrusted(
            identity.certificate_pem, identity.mesh_ca_pem, time.time()
        )
    except (MalformedError, RemoteProtocolError) as error:
        raise SettingsError(f"the focus sent a certificate that cannot be used: {error}") from None
    if region != settings.region:
        raise SettingsError(f"the token is for region {region}, not for {settings.region}")
    _save(settings.state_dir, identity)
    log.info("enrolled", bridge=bridge, region=region)
    return IdentityStore(identity, bridge, region, settings.state_dir)


def _load(settings: RegionSettings) -> IdentityStore | None:
    directory = settings.state_dir
    try:
        identity = Identity(
            certificate_pem=(directory / "bridge-cert.pem").read_bytes(),
            key_pem=(directory / "bridge-key.pem").read_bytes(),
            mesh_ca_pem=(directory / _LAST_WRITTEN).read_bytes(),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{directory} cannot be read: {error.strerror}") from None
    try:
        bridge, region = verify_certificate_untrusted(
            identity.certificate_pem, identity.mesh_ca_pem, time.time()
        )
        # A crash between two writes may have left the key of one and the certificate of another.
        proof = sign_challenge(identity.key_pem, b"")
        verify_challenge(identity.certificate_pem, b"", proof)
    except (MalformedError, RemoteProtocolError) as error:
        if settings.token is not None:
            log.warning("certificate-unusable", reason=str(error))
            return None
        raise SettingsError(
            f"the certificate in {directory} cannot be used ({error}); enrol with a new token"
        ) from None
    if region != settings.region:
        raise SettingsError(
            f"{directory} belongs to a bridge of region {region}, not of {settings.region}"
        )
    return IdentityStore(identity, bridge, region, directory)


def _save(directory: Path, identity: Identity) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(directory / "bridge-key.pem", identity.key_pem)
        _write(directory / "bridge-cert.pem", identity.certificate_pem)
        _write(directory / _LAST_WRITTEN, identity.mesh_ca_pem)
    except OSError as error:
        raise SettingsError(f"{directory} cannot be written: {error.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    """Replace the file at once or not at all; only its owner may read it."""
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)


async def _enrol(settings: RegionSettings, token: str, csr_pem: bytes) -> dict[str, str]:
    url = f"{settings.focus_url.rstrip('/')}/api/bridges/enrol"
    body = {"token": token, "csr": csr_pem.decode(), "region": settings.region}
    try:
        context = focus_ssl_context(settings)
        with trio.fail_after(ENROL_TIMEOUT_S):
            async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                response = await client.post(url, json=body)
                reply = response.json()
    except (httpx.HTTPError, OSError, trio.TooSlowError) as error:
        raise SettingsError(
            f"the focus at {settings.focus_url} cannot be reached: {reason_of(error)}"
        ) from None
    except ValueError:
        raise SettingsError(f"{settings.focus_url} does not answer like a focus") from None
    if response.status_code != 200:
        why = reply.get("error") if isinstance(reply, dict) else None
        raise SettingsError(
            f"the focus refused to enrol this bridge: {why or response.status_code}"
        )
    wanted = ("certificate", "mesh_ca")
    if not isinstance(reply, dict) or not all(isinstance(reply.get(each), str) for each in wanted):
        raise SettingsError(f"{settings.focus_url} does not answer like a focus")
    return {each: reply[each] for each in wanted}
