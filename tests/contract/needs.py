"""What a test needs of its back end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.capabilities import Capability
from tests.backends.registry import KINDS


def needs(*capabilities: Capability) -> pytest.MarkDecorator:
    """Skip a test on back ends that lack one of these, naming it."""
    return pytest.mark.needs(*capabilities)


def skips(definition: Any, kind: str) -> str | None:
    """Why a test does not run on a back end: the first thing that is lacking; else None."""
    lacks = KINDS[kind].lacks
    for marker in definition.iter_markers("needs"):
        for capability in marker.args:
            if capability in lacks:
                return f"needs {capability}: {lacks[capability]}"
    return None
