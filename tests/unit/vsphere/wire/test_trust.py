from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest

from vmops.errors import CertificateRefused, InvalidArgument
from vmops.vsphere.wire.trust import Trust, parse_thumbprint, thumbprint_of

HEX = hashlib.sha256(b"certificate").hexdigest()


@pytest.mark.parametrize("text", [HEX, HEX.upper(), thumbprint_of(b"certificate"), f" {HEX} "])
def test_takes_the_forms_in_which_thumbprints_are_shown(text: str) -> None:
    assert parse_thumbprint(text) == HEX


def test_refuses_sha1_and_says_so() -> None:
    with pytest.raises(InvalidArgument, match="SHA-1"):
        parse_thumbprint(":".join(["AB"] * 20))


@pytest.mark.parametrize("text", ["", "abc", HEX[:-1], HEX + "0", "g" * 64])
def test_refuses_what_is_no_thumbprint(text: str) -> None:
    with pytest.raises(InvalidArgument, match="64 hex digits"):
        parse_thumbprint(text)


def test_verifies_by_default() -> None:
    context = Trust().context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("trust", [Trust(thumbprint=HEX), Trust(insecure=True)])
def test_verifies_no_chain_where_a_pin_or_nothing_is_wanted(trust: Trust) -> None:
    assert trust.context().verify_mode is ssl.CERT_NONE


def test_names_a_ca_file_that_cannot_be_used(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(CertificateRefused, match=path.name):
            Trust(ca_file=path).context()


def test_a_pin_takes_one_certificate_only() -> None:
    trust = Trust(thumbprint=HEX)
    trust.check(b"certificate", "vc")
    with pytest.raises(CertificateRefused, match="not the pinned one"):
        trust.check(b"another", "vc")
    with pytest.raises(CertificateRefused):
        trust.check(None, "vc")


def test_another_host_is_pinned_by_what_the_server_tells() -> None:
    der = b"\x30\x03\x02\x01\x01"
    told = ssl.DER_cert_to_PEM_cert(der)
    by_certificate = Trust(insecure=True).of_host(told, "AA:BB")
    assert by_certificate == Trust(thumbprint=hashlib.sha256(der).hexdigest())
    sha1 = hashlib.sha1(b"certificate").hexdigest()  # noqa: S324 - what vSphere tells
    by_sha1 = Trust().of_host("", sha1.upper())
    by_sha1.check(b"certificate", "esx1")
    with pytest.raises(CertificateRefused):
        by_sha1.check(b"another", "esx1")


def test_another_host_of_which_nothing_is_told_is_verified_as_the_server_without_its_pin() -> None:
    assert Trust(thumbprint=HEX).of_host("", "") == Trust()
    assert Trust(insecure=True).of_host("garbage", "garbage") == Trust(insecure=True)
