"""The extension under which virtual machines are managed."""

from __future__ import annotations

from datetime import UTC, datetime

from pyVmomi import vim

from vmops.specs.virtual_machine import MANAGED_TYPE


def managing_extension(key: str) -> vim.Extension:
    """The `vim.Extension` of this key, which manages machines that are instances."""
    words = vim.Description(label="vmops", summary="Instances that vmops manages")
    return vim.Extension(
        key=key,
        version="1.0",
        description=words,
        company="vmops",
        lastHeartbeatTime=datetime.now(UTC),
        managedEntityInfo=[
            vim.ext.ManagedEntityInfo(type=MANAGED_TYPE, description="An instance of vmops")
        ],
    )
