"""What an image store is to the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from vmops.model.image import DiskType, Image


class ImageStore(Protocol):
    """Where images come from: a directory here; HTTP and Glance are other stores."""

    def list(self) -> tuple[Image, ...]:
        """All images, by name."""

    def get(self, name_or_id: str) -> Image:
        """The image of this name or id.

        Raises:
            ImageNotFound: there is none; the error names some that there are.
            ImageNotAcceptable: its manifest or its file is broken.
        """

    def refuse_taken(self, name: str) -> None:
        """Let only names through that a new image can have now.

        Raises:
            AlreadyExists: an image of this name is there.
            InvalidName: no image can have it.
        """

    def receive(
        self,
        name: str,
        blocks: Iterable[bytes],
        *,
        disk_type: DiskType,
        properties: Mapping[str, str],
    ) -> Image:
        """Take a new image's bytes as they come; an image is there whole or not at all.

        Raises:
            AlreadyExists: an image of this name is there.
            ImageNotAcceptable: the bytes are not such an image.
        """

    def remove(self, name_or_id: str) -> None:
        """Take an image out of the store.

        Raises:
            ImageNotFound: there is no such image.
        """

    def open(self, image: Image) -> AbstractContextManager[BinaryIO]:
        """The image's bytes, ``image.size_bytes`` of them, inspected before they are given out.

        Raises:
            ImageNotAcceptable: the file is not (any more) what the store says of it.
        """
