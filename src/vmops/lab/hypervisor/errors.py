"""What a hypervisor cannot do."""

from __future__ import annotations


class HypervisorError(Exception):
    """The guest could not be started, stopped or asked; the text is fit for a user."""


class HypervisorMissing(HypervisorError):
    """There is no hypervisor on this machine; the text says what to install."""
