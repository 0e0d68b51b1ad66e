"""Our own readers of disk image formats: where in a file the bytes of its disk are.

A reader has one open file and nothing else: whatever an image names, no other file is opened. What
it reads is counted against the file's size (`layout.Budget`), so that its work is bounded by that.
"""

from vmops.images.formats.layout import Broken as Broken
from vmops.images.formats.layout import Extent as Extent
from vmops.images.formats.layout import Layout as Layout
from vmops.images.formats.table import READERS as READERS
from vmops.images.formats.table import find as find
