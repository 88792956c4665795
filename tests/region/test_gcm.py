"""AES-128-GCM as the kernel has it, by itself: against published vectors and OpenSSL."""

import ctypes
import mmap
import os
import shlex
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from region.kernel.transports import CRYPT_WAYS

KERNEL = Path(__file__).resolve().parents[2] / "region" / "kernel"
SOURCE = """
#include "gcm.h"
int ways(void) { return gcm_ways(); }
void seal(int way, const uint8_t *secret, const uint8_t *nonce, const uint8_t *aad,
          int aad_length, uint8_t *data, int length) {
    gcm_key key;
    gcm_expand(&key, secret);
    gcm_seal(way, &key, nonce, aad, aad_length, data, length);
}
int opened(int way, const uint8_t *secret, const uint8_t *nonce, const uint8_t *aad,
           int aad_length, uint8_t *data, int length) {
    gcm_key key;
    gcm_expand(&key, secret);
    return gcm_open(way, &key, nonce, aad, aad_length, data, length);
}
"""
BITS = {"aes-ni": 1, "vaes": 2}
TAG_BYTES = 16
GUARD = b"\xa5" * 64
"""Before what is encrypted, where nothing may be written."""


class Fenced:
    """Memory behind which there is none: whoever reads on from its end dies."""

    def __init__(self) -> None:
        self._pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        self._at = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        fence = ctypes.c_void_p(self._at + mmap.PAGESIZE)
        assert ctypes.CDLL(None).mprotect(fence, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0

    def put(self, data: bytes) -> ctypes.c_void_p:
        """Where they stand, to the last byte."""
        first = mmap.PAGESIZE - len(data)
        self._pages[first - len(GUARD) : mmap.PAGESIZE] = GUARD + data
        return ctypes.c_void_p(self._at + first)

    def take(self, length: int) -> bytes:
        """What has become of them."""
        first = mmap.PAGESIZE - length
        assert self._pages[first - len(GUARD) : first] == GUARD
        return self._pages[first : mmap.PAGESIZE]


class Gcm:
    """One way, as `AESGCM` has it."""

    def __init__(self, library: ctypes.CDLL, way: str) -> None:
        self._library, self._way = library, BITS[way]
        self._key, self._nonce, self._aad, self._data = (Fenced() for _ in range(4))

    def seal(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        """With the tag behind."""
        return self._run(self._library.seal, key, nonce, data + bytes(TAG_BYTES), aad)[1]

    def open(self, key: bytes, nonce: bytes, data: bytes, aad: bytes) -> bytes | None:
        """None for what is not authentic."""
        authentic, text = self._run(self._library.opened, key, nonce, data, aad)
        return text[:-TAG_BYTES] if authentic else None

    def _run(
        self, function: Callable[..., int], key: bytes, nonce: bytes, data: bytes, aad: bytes
    ) -> tuple[int, bytes]:
        places = (self._key.put(key), self._nonce.put(nonce), self._aad.put(aad))
        room = self._data.put(data)
        result = function(self._way, *places, len(aad), room, len(data) - TAG_BYTES)
        return result, self._data.take(len(data))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    directory = tmp_path_factory.mktemp("gcm")
    source, built = directory / "gcm.c", directory / "gcm.so"
    source.write_text(SOURCE)
    compiler = shlex.split(sysconfig.get_config_var("CC"))
    flags = ["-shared", "-fPIC", "-O3", "-fno-strict-aliasing", "-Wall", "-Werror"]
    subprocess.run([*compiler, *flags, f"-I{KERNEL}", source, "-o", built], check=True)
    return ctypes.CDLL(os.fspath(built))


@pytest.fixture(params=CRYPT_WAYS)
def gcm(library: ctypes.CDLL, request: pytest.FixtureRequest) -> Gcm:
    return Gcm(library, request.param)


def test_the_kernel_has_the_ways_that_the_processor_has(library: ctypes.CDLL) -> None:
    assert {name for name, bit in BITS.items() if library.ways() & bit} == {*CRYPT_WAYS}


class Vector(NamedTuple):
    key: str
    nonce: str
    aad: str
    text: str
    sealed: str
    """With its tag."""


_TEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
_SEALED = (
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
    "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
)
VECTORS = {
    # The GCM specification by McGrew and Viega, appendix B, to which NIST SP 800-38D refers.
    "gcm 1": Vector("00" * 16, "00" * 12, "", "", "58e2fccefa7e3061367f1d57a4e7455a"),
    "gcm 2": Vector(
        "00" * 16,
        "00" * 12,
        "",
        "00" * 16,
        "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
    ),
    "gcm 3": Vector(
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "",
        _TEXT + "1aafd255",
        _SEALED + "473f59854d5c2af327cd64a62cf35abd2ba6fab4",
    ),
    "gcm 4": Vector(
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        _TEXT,
        _SEALED + "5bc94fbc3221a5db94fae95ae7121a47",
    ),
    "rfc 7714 16.1": Vector(
        "000102030405060708090a0b0c0d0e0f",
        "51753c6580c2726f20718414",
        "8040f17b8041f8d35501a0b2",
        "47616c6c696120657374206f6d6e69732064697669736120696e20706172746573207472" + "6573",
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf"
        "8833899d7f27beb16a9152cf765ee4390cce",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_published_vectors_come_out(gcm: Gcm, name: str) -> None:
    key, nonce, aad, text, sealed = map(bytes.fromhex, VECTORS[name])
    assert gcm.seal(key, nonce, text, aad) == sealed
    assert gcm.open(key, nonce, sealed, aad) == text


def test_every_length_is_as_openssl_has_it(gcm: Gcm) -> None:
    random = Random(1)
    text, aad, nonce = random.randbytes(600), random.randbytes(100), random.randbytes(12)
    key = random.randbytes(16)
    openssl = AESGCM(key)
    for length in range(len(text) + 1):
        for aad_length in range(len(aad) + 1):
            clear, beside = text[:length], aad[:aad_length]
            sealed = openssl.encrypt(nonce, clear, beside)
            assert gcm.seal(key, nonce, clear, beside) == sealed
            assert gcm.open(key, nonce, sealed, beside) == clear


def test_every_length_of_a_datagram_is_as_openssl_has_it_with_any_key(gcm: Gcm) -> None:
    random = Random(2)
    for length in range(600, 2_049):
        key, nonce, text = (random.randbytes(size) for size in (16, 12, length))
        aad = random.randbytes(random.choice((12, 16, 20, 64, 65, 255, 256, 257, 1_000)))
        sealed = AESGCM(key).encrypt(nonce, text, aad)
        assert gcm.seal(key, nonce, text, aad) == sealed
        assert gcm.open(key, nonce, sealed, aad) == text


@pytest.mark.parametrize("length", [0, 1, 15, 16, 100, 255, 256, 400])
def test_no_bit_can_be_turned(gcm: Gcm, length: int) -> None:
    random = Random(length)
    key, nonce, text, aad = (random.randbytes(size) for size in (16, 12, length, 20))
    sealed = gcm.seal(key, nonce, text, aad)
    for part, (before, behind) in {
        "data": (b"", sealed),
        "aad": (aad, b""),
        "nonce": (nonce, b""),
    }.items():
        whole = before + behind
        for bit in range(8 * len(whole)):
            turned = bytearray(whole)
            turned[bit // 8] ^= 1 << bit % 8
            given = {"data": sealed, "aad": aad, "nonce": nonce} | {part: bytes(turned)}
            assert gcm.open(key, given["nonce"], given["data"], given["aad"]) is None
