"""What SRTP encrypts with, of a master key: for AES-128-GCM.

RFC 3711 section 4.3.1 with RFC 7714 section 11's salt of 12 bytes.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from relay.errors import LocalProtocolError

KEY_BYTES, SALT_BYTES = 16, 12
MASTER_BYTES = KEY_BYTES + SALT_BYTES
RTP_LABEL, RTCP_LABEL = 0, 3
"""RFC 3711 section 4.3.2: of the key; that of its salt is two more."""
_BLOCK_BYTES = 16


def session_keys(master: bytes, label: int = RTP_LABEL) -> tuple[bytes, bytes]:
    """A key of 16 bytes and a salt of 12, of a master key with its salt.

    `label`: RTP_LABEL or RTCP_LABEL. LocalProtocolError when `master` has another length.
    """
    if len(master) != MASTER_BYTES:
        raise LocalProtocolError("an AES-128-GCM master key and its salt have 28 bytes")
    key, salt = master[:KEY_BYTES], master[KEY_BYTES:]
    return _derived(key, salt, label), _derived(key, salt, label + 2)[:SALT_BYTES]


def _derived(key: bytes, salt: bytes, label: int) -> bytes:
    counter = bytearray(salt.ljust(_BLOCK_BYTES, b"\0"))
    counter[7] ^= label
    encryptor = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()
    return encryptor.update(bytes(counter))
