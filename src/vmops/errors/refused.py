"""The server, or our own care, says no. See `vmops.errors` for the tree."""

from __future__ import annotations

from vmops.errors.base import VMOpsError


class Refused(VMOpsError):
    """The server, or our own care about who it is, says no."""


class InvalidLogin(Refused):
    """User name or password is wrong."""


class NotAuthenticated(Refused):
    """The session is not (or no longer) logged in, and a new login did not help."""


class NoPermission(Refused):
    """The user lacks a privilege; the message names object and privilege."""


class CertificateRefused(Refused):
    """The server's certificate is not trusted, or is not the pinned one."""
