"""What a UUID looks like, in lower case as vSphere writes it."""

from __future__ import annotations

import re

UUID_TEXT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID and nothing else."""
    return re.fullmatch(UUID_TEXT, text) is not None
