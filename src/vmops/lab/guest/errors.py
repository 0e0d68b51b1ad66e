"""What can go wrong while a guest image is made; each text says what to do about it.

GuestError
├── PackagesUnavailable     the Debian packages cannot be fetched
├── PackageContentsChanged  a package lacks a file the builder takes from it
└── BuildFailed             a tool refused, or the image does not fit
"""

from __future__ import annotations


class GuestError(Exception):
    """A guest image could not be made."""


class PackagesUnavailable(GuestError):
    """The Debian packages a guest is made of cannot be fetched on this machine."""


class PackageContentsChanged(GuestError):
    """A package was fetched, but a file that the builder takes from it is not there."""


class BuildFailed(GuestError):
    """A tool used by the builder failed, or what was asked for does not fit."""
