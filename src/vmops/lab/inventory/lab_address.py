"""Where this lab is reached and how its certificate is recognised, for URLs in answers."""

from __future__ import annotations

import hashlib
import ssl
from typing import NamedTuple

from vmops.lab.settings import LabSettings
from vmops.lab.state import load_identity


class LabAddress(NamedTuple):
    """``base_url`` is without a path; ``thumbprint`` is SHA-1 as vSphere writes it, ``AB:CD..``."""

    base_url: str
    thumbprint: str


def lab_address(settings: LabSettings) -> LabAddress:
    """Read port and certificate from the state folder. Blocking; only while the lab serves."""
    port = load_identity(settings).port
    certificate = ssl.PEM_cert_to_DER_cert(settings.certificate_file.read_text().strip())
    # A name of the certificate for humans and for old clients' pinning, as in vSphere's answers.
    digest = hashlib.sha1(certificate, usedforsecurity=False).hexdigest().upper()
    pairs = [digest[start : start + 2] for start in range(0, len(digest), 2)]
    return LabAddress(f"https://127.0.0.1:{port}", ":".join(pairs))
