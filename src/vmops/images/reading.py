"""What a reader of images raises where a file is not what it says: one error, with the reason."""

from __future__ import annotations

import contextlib
import lzma
import struct
import zlib
from collections.abc import Iterator

from vmops.errors import ImageNotAcceptable, VMOpsError
from vmops.images.formats import Broken
from vmops.images.vmdk_descriptor import BadDescriptor

_OF_CONTENT = (
    *(ValueError, ArithmeticError, LookupError, struct.error, zlib.error, lzma.LZMAError),
    *(EOFError, RecursionError, MemoryError, AssertionError),
)
"""What reading a number, a text or a stream can raise where it is made to mislead."""


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Tell of whatever a reader cannot make sense of inside; ``name`` is the file's.

    Raises:
        ImageNotAcceptable: with the reason, in place of what the content of a file made happen.
    """
    try:
        yield
    except VMOpsError:
        raise
    except (Broken, BadDescriptor) as broken:
        raise ImageNotAcceptable(f"{name} is refused: {broken}.") from None
    except _OF_CONTENT as failure:
        said = str(failure)[:200] or type(failure).__name__
        raise ImageNotAcceptable(f"{name} cannot be read: {said}.") from None
