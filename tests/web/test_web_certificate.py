import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from relay.errors import SettingsError
from web.certificate import given_web_certificate, load_web_certificate

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def kept(directory: Path) -> x509.Certificate:
    pem = load_web_certificate(directory, NOW, "office").certificate.read_bytes()
    return x509.load_pem_x509_certificate(pem)


def test_it_names_this_host_and_no_other(tmp_path: Path) -> None:
    names = kept(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "office"]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1"]


def test_it_is_for_servers_and_ends_within_397_days(tmp_path: Path) -> None:
    certificate = kept(tmp_path)
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime <= timedelta(days=397)


def test_it_is_kept_while_it_is_good_and_its_key_is_private(tmp_path: Path) -> None:
    assert kept(tmp_path) == kept(tmp_path)
    load_web_certificate(tmp_path, NOW + timedelta(days=300), "office")
    assert kept(tmp_path) == kept(tmp_path)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_it_is_renewed_when_it_ends_soon_or_the_host_has_another_name(tmp_path: Path) -> None:
    first = kept(tmp_path)
    load_web_certificate(tmp_path, NOW + timedelta(days=392), "office")
    pem = (tmp_path / "web-certificate.pem").read_bytes()
    second = x509.load_pem_x509_certificate(pem)
    assert second.serial_number != first.serial_number
    load_web_certificate(tmp_path, NOW + timedelta(days=392), "renamed")
    assert (tmp_path / "web-certificate.pem").read_bytes() != pem


def test_a_damaged_one_is_made_anew_and_can_be_served(tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / "web-key.pem").write_bytes(b"broken")
    made = load_web_certificate(tmp_path, NOW, "office")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)


def test_a_given_pair_is_used_as_it_is(tmp_path: Path) -> None:
    made = load_web_certificate(tmp_path)
    assert given_web_certificate(made.certificate, made.key) == made


@pytest.mark.parametrize(
    ("certificate", "key", "line"),
    [
        ("none.pem", "good.key", "--certificate .*none.pem: No such file or directory"),
        ("good.pem", "none.key", "--certificate-key .*none.key: No such file or directory"),
        ("good.key", "good.key", "--certificate .*good.key holds no certificate in PEM"),
        ("good.pem", "good.pem", "--certificate-key .*good.pem holds no private key in PEM"),
        ("good.pem", "locked.key", "--certificate-key .*locked.key is encrypted: give it plain"),
        ("good.pem", "other.key", "--certificate-key .*other.key is not the key of .*good.pem"),
        (".", "good.key", "--certificate .*: Is a directory"),
    ],
)
def test_a_pair_that_is_none_is_one_line(
    tmp_path: Path, certificate: str, key: str, line: str
) -> None:
    for name in ("good", "other"):
        made = load_web_certificate(tmp_path / name)
        made.certificate.rename(tmp_path / f"{name}.pem")
        made.key.rename(tmp_path / f"{name}.key")
    plain = load_pem_private_key((tmp_path / "good.key").read_bytes(), None)
    locked = plain.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(SettingsError, match=line) as caught:
        given_web_certificate(tmp_path / certificate, tmp_path / key)
    assert "\n" not in str(caught.value)
