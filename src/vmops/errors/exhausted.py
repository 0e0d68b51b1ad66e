"""There is not enough. See `vmops.errors` for the tree."""

from __future__ import annotations

from vmops.errors.base import VMOpsError


class Exhausted(VMOpsError):
    """There is not enough of something."""


class NoDiskSpace(Exhausted):
    """The datastore is full."""


class NoSuitableHost(Exhausted):
    """No host can run the instance."""
