"""What was asked for makes no sense. See `vmops.errors` for the tree."""

from __future__ import annotations

from vmops.errors.base import VMOpsError


class Invalid(VMOpsError):
    """What was asked for makes no sense, whatever the state of things."""


class InvalidArgument(Invalid):
    """The server refuses an argument; the message names it."""


class InvalidName(Invalid):
    """A name has characters or a form that are not allowed."""


class InstanceUnacceptable(Invalid):
    """The instance's flavor cannot be built here, or does not fit its image."""


class ResizeError(Invalid):
    """The instance cannot have this size: a disk does not shrink. It was not touched."""


class ImageNotAcceptable(Invalid):
    """The image is broken, unsafe, or of a kind that cannot be used."""


class UnsupportedDevice(Invalid):
    """A device model is unknown or cannot be used here."""
