"""The mesh's own certificate authority, kept in the state directory."""

from pathlib import Path

from focus.private_files import create_private
from relay.identity import MeshAuthority

_AUTHORITY_FILE = "mesh-authority.pem"
_END_OF_CERTIFICATE = b"-----END CERTIFICATE-----\n"

CERTIFICATE_LIFETIME_S = 7 * 86_400
"""Of a bridge's certificate; bridges renew theirs long before."""


def load_authority(state_dir: Path, now: float) -> MeshAuthority:
    """The state directory's authority, made on first use; SettingsError when it is damaged.

    Certificate and key are one file, so that there is never one without the other.
    """
    fresh = MeshAuthority.create(now)
    kept = create_private(state_dir / _AUTHORITY_FILE, fresh.certificate_pem + fresh.key_pem)
    certificate_pem, separator, key_pem = kept.partition(_END_OF_CERTIFICATE)
    return MeshAuthority.load(certificate_pem + separator, key_pem)
