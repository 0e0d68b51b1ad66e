"""The name that a guest is told to call itself: what RFC 1123 allows, whatever it was."""

from __future__ import annotations

import re
import unicodedata

_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_GAP = re.compile(r"[\s_]+")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9.-]+")
_DASHES = re.compile(r"-{2,}")


def guest_host_name(name: str, instance_uuid: str) -> str:
    """The host name for an instance of this name: letters, digits and dashes, dots between labels.

    "My VM_1." becomes "my-vm-1", "Wéb" becomes "web". Of a name with nothing that can stay it is
    "server-" and the UUID.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii").lower()
    plain = _NOT_IN_A_NAME.sub("", _GAP.sub("-", plain.strip()))
    labels = (_DASHES.sub("-", label).strip("-") for label in plain.split("."))
    cut = [label[:_LONGEST_LABEL].rstrip("-") for label in labels if label]
    while len(".".join(cut)) > _LONGEST_NAME:
        cut.pop()
    return ".".join(cut) or f"server-{instance_uuid}"
