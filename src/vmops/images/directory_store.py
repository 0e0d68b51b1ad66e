"""An image store that is a directory.

Each image is a manifest that a person can read and write, and the file that it names beside it::

    # tiny.yaml
    name: tiny
    file: tiny.vmdk
    disk_type: streamOptimized      # or sparse, preallocated, thin, thick, eagerZeroedThick
    properties:                     # as in Glance
      vmware_ostype: otherLinux64Guest
      vmware_adaptertype: paraVirtual
      hw_vif_model: vmxnet3

``id`` and ``checksum`` ("sha256:<hex>") may be there too. Without an id the name makes one, so that
a manifest written by hand is complete with the three first lines. An image that is no VMDK has
``disk_format`` (iso, qcow2, raw) or ``container_format`` (ova) in place of ``disk_type``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from vmops import in_flight
from vmops.errors import AlreadyExists, ImageNotAcceptable, ImageNotFound, VMOpsError
from vmops.images.inspection import ImageFacts, inspect, inspect_open, opened
from vmops.images.intake import Intake
from vmops.images.private_copy import write_sparse
from vmops.images.temporary_files import remove_unfinished, temporary_file, unfinished
from vmops.images.verified import VerifiedStream
from vmops.in_flight import Judgment
from vmops.model.datastore_path import check_file_name
from vmops.model.image import DiskType, Image, ImageProperties
from vmops.whole_files import give_new_name, write_new

_SUFFIX = ".yaml"
_BLOCK = 1024 * 1024
_KEYS = {
    "id", "name", "file", "disk_type", "disk_format", "container_format", "checksum", "properties",
}  # fmt: skip
_KIND_KEYS = ("disk_type", "disk_format", "container_format")


class DirectoryImageStore:
    """The images of one directory. The directory need not exist until an image is added."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def list(self) -> tuple[Image, ...]:
        """All images whose manifest and file are sound, by name."""
        return self.look()[0]

    def look(self) -> tuple[tuple[Image, ...], tuple[str, ...]]:
        """The same, and what is wrong with each of the others."""
        found, wrong = [], []
        for manifest in sorted(self.directory.glob(f"*{_SUFFIX}")):
            try:
                found.append(self._read(manifest)[0])
            except VMOpsError as error:
                wrong.append(f"{manifest.name.removesuffix(_SUFFIX)}: {error}")
        return tuple(found), tuple(wrong)

    def get(self, name_or_id: str) -> Image:
        """See `ImageStore.get`."""
        return self._read(self._manifest_of(name_or_id), whole=True)[0]

    @contextlib.contextmanager
    def open(self, image: Image) -> Iterator[BinaryIO]:
        """See `ImageStore.open`."""
        manifest = self._manifest_of(image.id)
        known, file = self._read(manifest)
        if known.size_bytes != image.size_bytes:
            raise ImageNotAcceptable(
                f"{file.name} has {known.size_bytes} bytes now, but {image.size_bytes} were"
                " expected: it was changed."
            )
        try:
            stream = file.open("rb", buffering=0)
        except FileNotFoundError:
            raise ImageNotFound(image.name) from None  # another process has just removed it
        with stream:
            self._inspected(manifest, stream, file.name)
            stream.seek(0)
            if known.checksum is None:
                yield stream
                return
            verified = VerifiedStream(stream, known.size_bytes, known.checksum, file.name)
            with io.BufferedReader(verified, _BLOCK) as reader:
                yield reader

    def add(
        self,
        source: Path,
        name: str,
        *,
        disk_type: DiskType | None = None,
        disk_format: str | None = None,
        properties: Mapping[str, str] | None = None,
        observe_bytes: Callable[[int, int], None] | None = None,
    ) -> Image:
        """Inspect ``source``, copy it into the store and write its manifest.

        ``disk_type`` is needed for a flat image only, ``disk_format`` only for the bytes of a disk
        that shall be converted ("raw"). What is compressed is unpacked; all formats but VMDK, ISO
        and OVA, and VMDKs in several files, are converted to streamOptimized.
        ``observe_bytes(done, total)`` follows the copy. A failure leaves the store as it was.

        Raises:
            AlreadyExists: an image of this name is there.
            ImageNotAcceptable: the file or a property cannot be used.
            InvalidName: the name has characters that file names cannot have.
            NoDiskSpace: there is no room for it in the store.
            NotSupported: a program is needed for it that is not here.
        """
        self.refuse_taken(name)
        intake = Intake(
            source=source,
            folder=self.directory,
            scratch=self._temporary,
            disk_type=disk_type,
            disk_format=disk_format,
            observe=observe_bytes or (lambda done, total: None),
        )
        with intake.taken() as (facts, blocks):
            return self._store(name, blocks, facts, properties or {})

    def refuse_taken(self, name: str) -> None:
        """See `ImageStore.refuse_taken`."""
        check_file_name(name)
        check_file_name(f"{name}{_SUFFIX}")  # the longest name of a file that is made of it
        if (self.directory / f"{name}{_SUFFIX}").exists():
            raise AlreadyExists(f"There is an image {name!r} already; remove it first.")

    def receive(
        self,
        name: str,
        blocks: Iterable[bytes],
        *,
        disk_type: DiskType,
        properties: Mapping[str, str],
    ) -> Image:
        """See `ImageStore.receive`."""
        self.refuse_taken(name)
        facts = ImageFacts(size_bytes=0, capacity_bytes=None, disk_type=disk_type)
        return self._store(name, blocks, facts, properties)

    def _store(
        self, name: str, blocks: Iterable[bytes], facts: ImageFacts, properties: Mapping[str, str]
    ) -> Image:
        """Write the file, look into it, then write the manifest: an image is there from then on."""
        wanted = {k: v for k, v in properties.items() if k != "vmware_disktype"}
        ImageProperties.from_mapping({**wanted, "vmware_disktype": facts.disk_type.value})
        manifest = self.directory / f"{name}{_SUFFIX}"
        target = self.directory / f"{name}{_file_suffix(facts)}"
        with self._temporary() as temporary:
            checksum = _write_blocks(blocks, temporary)
            in_flight.check()
            found = inspect(temporary, facts.disk_type)
            if (found.disk_format, found.container_format) != (
                facts.disk_format,
                facts.container_format,
            ):
                raise ImageNotAcceptable(f"The file of {name!r} changed while it was read.")
            entry: dict[str, Any] = {
                "id": str(uuid.uuid4()),
                "name": name,
                "file": target.name,
                **_kind(facts),
                "checksum": f"sha256:{checksum}",
                "properties": wanted,
            }
            try:
                give_new_name(temporary, target)
            except FileExistsError:
                if target.is_dir():
                    raise
                raise AlreadyExists(
                    f"There is a file {target.name} in {self.directory}, which is not of image"
                    f" {name!r}. Remove it, or give it a manifest."
                ) from None
            try:
                write_new(manifest, yaml.safe_dump(entry, sort_keys=False).encode())
            except BaseException as failure:
                target.unlink(missing_ok=True)
                if isinstance(failure, FileExistsError):
                    self.refuse_taken(name)
                raise
        return _image(entry, found)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        """The name of a new file in the directory; what dead processes left there goes first."""
        for left, judgment in self.unfinished():
            if judgment.may_be_taken:
                self.remove_unfinished(left, judgment)
        with temporary_file(self.directory) as temporary:
            yield temporary

    def unfinished(self) -> Iterator[tuple[Path, Judgment]]:
        """Files that are being written, or that dead processes left; see `temporary_files`."""
        return unfinished(self.directory)

    def remove_unfinished(self, file: Path, judgment: Judgment) -> None:
        """Remove what a dead process left; one that is at work after all is left alone.

        Its bytes may have got an image's name already: that goes, too, if there is no manifest.
        """
        remove_unfinished(file, judgment, {str(entry["file"]) for entry in self._entries()})

    def _entries(self) -> Iterator[dict[str, Any]]:
        for manifest in self.directory.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(ImageNotAcceptable, ImageNotFound):
                yield _load(manifest)

    def remove(self, name_or_id: str) -> None:
        """Take an image out of the store; what was spawned from it is not touched.

        Raises:
            ImageNotFound: there is no such image.
        """
        manifest = self._manifest_of(name_or_id)
        file = _file_named(manifest, _load(manifest))
        try:
            manifest.unlink()
        except FileNotFoundError:
            raise ImageNotFound(name_or_id) from None  # another process was faster
        file.unlink(missing_ok=True)

    def _manifest_of(self, name_or_id: str) -> Path:
        manifests = sorted(self.directory.glob(f"*{_SUFFIX}"))
        for manifest in manifests:
            with contextlib.suppress(ImageNotAcceptable, ImageNotFound):
                entry = _load(manifest)
                if name_or_id in {entry["name"], _id_of(entry)}:
                    return manifest
            if manifest.stem == name_or_id:
                return manifest
        raise ImageNotFound(name_or_id, [manifest.stem for manifest in manifests[:10]])

    def _read(self, manifest: Path, *, whole: bool = False) -> tuple[Image, Path]:
        """An image and its file, which other processes may remove or replace meanwhile."""
        while True:
            entry = _load(manifest)
            try:
                return self._described(manifest, entry, whole=whole)
            except ImageNotAcceptable:
                if _load(manifest) == entry:
                    raise

    def _described(
        self, manifest: Path, entry: dict[str, Any], *, whole: bool
    ) -> tuple[Image, Path]:
        """What is known of all of the file, or of its headers alone."""
        file = _file_named(manifest, entry)
        _claimed(entry)  # what is wrong with the manifest is told first
        with opened(file) as stream:
            return _image(entry, _facts(entry, stream, file.name, whole=whole)), file

    def _inspected(self, manifest: Path, stream: BinaryIO, name: str) -> None:
        """Look into all of a file that is going to be used, as it is open now."""
        _facts(_load(manifest), stream, name, whole=True)


def _claimed(entry: Mapping[str, Any]) -> DiskType | None:
    said = entry.get("disk_type")
    return ImageProperties.from_mapping({"vmware_disktype": said}).disk_type if said else None


def _facts(entry: Mapping[str, Any], stream: BinaryIO, name: str, *, whole: bool) -> ImageFacts:
    """What a file is, as its manifest says, too."""
    facts = inspect_open(
        stream, name, _claimed(entry), entry.get("disk_format"), check_digests=False, whole=whole
    )
    said = entry.get("container_format", "bare")
    if facts.container_format != said:
        raise ImageNotAcceptable(f"{name} is said to be {said}, but is {facts.container_format}.")
    return facts


def _image(entry: Mapping[str, Any], facts: ImageFacts) -> Image:
    """What a manifest says of a file of which this was found."""
    properties = ImageProperties.from_mapping(
        {**entry.get("properties", {}), "vmware_disktype": facts.disk_type.value}
    )
    if facts.package is not None:
        properties = properties.with_defaults(facts.package.defaults)
    return Image(
        id=_id_of(entry),
        name=str(entry["name"]),
        size_bytes=facts.size_bytes,
        disk_format=facts.disk_format,
        container_format=facts.container_format,
        capacity_bytes=facts.capacity_bytes,
        checksum=entry.get("checksum"),
        properties=properties,
        package=facts.package,
    )


def _file_suffix(facts: ImageFacts) -> str:
    if facts.container_format == "ova":
        return ".ova"
    if facts.disk_format != "vmdk":
        return f".{facts.disk_format}"
    return ".img" if facts.disk_type.is_flat else ".vmdk"


def _kind(facts: ImageFacts) -> dict[str, str]:
    """How the manifest says what the file is."""
    if facts.container_format != "bare":
        return {"container_format": facts.container_format}
    if facts.disk_format != "vmdk":
        return {"disk_format": facts.disk_format}
    return {"disk_type": facts.disk_type.value}


def _load(manifest: Path) -> dict[str, Any]:
    """A manifest's entries, checked for form.

    Raises:
        ImageNotFound: it is not there (any more).
        ImageNotAcceptable: it is no manifest.
    """
    try:
        entry = yaml.safe_load(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ImageNotFound(manifest.stem) from None
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise ImageNotAcceptable(f"{manifest} is not readable YAML: {failure}") from None
    if not isinstance(entry, dict):
        raise ImageNotAcceptable(f"{manifest} is not a mapping with name, file and disk_type.")
    missing = {"name", "file"} - entry.keys()
    if not entry.keys() & set(_KIND_KEYS):
        missing.add("disk_type")
    if missing:
        raise ImageNotAcceptable(f"{manifest} has no {', '.join(sorted(missing))}.")
    unknown = entry.keys() - _KEYS
    if unknown:
        raise ImageNotAcceptable(
            f"{manifest} has unknown keys: {', '.join(sorted(map(str, unknown)))}."
        )
    if not isinstance(entry.get("properties", {}), dict):
        raise ImageNotAcceptable(f"{manifest}: properties must be a mapping.")
    return entry


def _id_of(entry: Mapping[str, Any]) -> str:
    given = entry.get("id")
    return str(given) if given else str(uuid.uuid5(uuid.NAMESPACE_URL, f"vmops:{entry['name']}"))


def _file_named(manifest: Path, entry: Mapping[str, Any]) -> Path:
    """The image file, which lies beside its manifest and is no link out of the store."""
    file = manifest.parent / check_file_name(str(entry["file"]))
    if file.is_symlink():
        raise ImageNotAcceptable(f"{file} is a symbolic link; images are files of the store.")
    return file


def _write_blocks(blocks: Iterable[bytes], target: Path) -> str:
    """Write and hash in one pass; the file is on disk when this returns its SHA-256."""
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in blocks:
            digest.update(block)
            yield block

    with target.open("xb") as writer:
        write_sparse(hashed(), writer)
        os.fsync(writer.fileno())
    return digest.hexdigest()
