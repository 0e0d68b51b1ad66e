"""The root of the errors. See `vmops.errors` for the tree."""

from __future__ import annotations


class VMOpsError(Exception):
    """The root of the tree."""
