"""How a server proves who it is: by a certificate that is verified, or by one that is pinned."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from vmops.errors import CertificateRefused, InvalidArgument
from vmops.vsphere.wire.reaching import reach

_SHA256_DIGITS = 64
_SHA1_DIGITS = 40
_LOOK_S = 5.0


def parse_thumbprint(text: str) -> str:
    """The SHA-256 thumbprint as 64 lower-case hex digits, from "AA:BB:..." or plain hex.

    Raises:
        InvalidArgument: it is a SHA-1 thumbprint, or none at all.
    """
    digits = re.sub(r"[:\s]", "", text).lower()
    if len(digits) == _SHA1_DIGITS and re.fullmatch("[0-9a-f]+", digits):
        raise InvalidArgument(
            "The thumbprint is a SHA-1 one, which can be forged; give the SHA-256 thumbprint"
            " (64 hex digits)."
        )
    if len(digits) != _SHA256_DIGITS or not re.fullmatch("[0-9a-f]+", digits):
        raise InvalidArgument("A thumbprint is the SHA-256 of a certificate: 64 hex digits.")
    return digits


def thumbprint_of(certificate: bytes) -> str:
    """The SHA-256 thumbprint of a DER certificate, in the form that people compare: "AA:BB:..."."""
    digits = hashlib.sha256(certificate).hexdigest().upper()
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What makes a server trusted.

    By default its certificate is verified against the system's authorities, or those in
    ``ca_file``. A ``thumbprint`` replaces that: exactly this certificate, whoever signed it.
    ``insecure`` takes any certificate.
    """

    ca_file: Path | None = None
    thumbprint: str = ""
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """The TLS settings for connections under this trust.

        Raises:
            CertificateRefused: ``ca_file`` cannot be read or has no certificate.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise CertificateRefused(
                f"The certificates of {self.ca_file} cannot be used: {error}."
            ) from error
        if self.thumbprint or self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def check(self, certificate: bytes | None, host: str) -> None:
        """Compare a new connection's certificate with the pin, before anything is sent on it.

        Raises:
            CertificateRefused: it is another certificate.
        """
        if not self.thumbprint:
            return
        certificate = certificate or b""
        kind = "sha1" if len(self.thumbprint) == _SHA1_DIGITS else "sha256"
        if not hmac.compare_digest(hashlib.new(kind, certificate).hexdigest(), self.thumbprint):
            shown = thumbprint_of(certificate)
            raise CertificateRefused(
                f"The certificate of {host} is not the pinned one: its SHA-256 thumbprint is"
                f" {shown}. Somebody may be in between, or the certificate was renewed."
            )

    def of_host(self, certificate: str, thumbprint: str) -> Trust:
        """How to trust another host that a trusted server names with its certificate or thumbprint.

        Such a thumbprint may be SHA-1, which is all that older vSphere tells: it came over a
        trusted connection, and nobody can make a certificate for a given SHA-1. With neither, the
        host is trusted as the server itself is, but for its pin.
        """
        if certificate:
            try:
                der = ssl.PEM_cert_to_DER_cert(certificate)
            except ValueError:
                der = b""
            if der:
                return Trust(thumbprint=hashlib.sha256(der).hexdigest())
        digits = re.sub(r"[:\s]", "", thumbprint).lower()
        if len(digits) in {_SHA1_DIGITS, _SHA256_DIGITS} and re.fullmatch("[0-9a-f]+", digits):
            return Trust(thumbprint=digits)
        return Trust(ca_file=self.ca_file, insecure=self.insecure)

    def refusal(self, host: str, port: int, error: ssl.SSLError) -> CertificateRefused:
        """What to tell when verification failed; looks at the certificate once more for that."""
        why = getattr(error, "verify_message", "") or str(error)
        text = f"The certificate of {host} is not trusted: {why}."
        shown = _shown_thumbprint(host, port)
        if shown:
            text += (
                f" Its SHA-256 thumbprint is {shown}; compare it with the server's own, then pin it"
                " (--thumbprint), or name the authority that signed it (--ca-file)."
            )
        return CertificateRefused(text)


def _shown_thumbprint(host: str, port: int) -> str:
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    try:
        with (
            reach(host, port, time.monotonic() + _LOOK_S) as plain,
            unverified.wrap_socket(plain, server_hostname=host) as connected,
        ):
            return thumbprint_of(connected.getpeercert(binary_form=True) or b"")
    except OSError:
        return ""
