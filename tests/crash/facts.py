"""All that a lab has, by the second view: equal after a run that was killed and one that was not.

What differs between two good runs is left out: identities that the server draws, times, and the
logs that guests write.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pyVmomi import vim

from tests.backends import files, second_view
from tests.builders import UUID_PREFIX, qemu_img
from tests.contract.engine import Bench

Facts = dict[str, str]
"""What something is, by what it is of."""

LOOKED_AT = 4 * 1024 * 1024
"""Bytes of each disk that are compared: all that is ever written lies there."""
PASSING = (".vmsd", ".log", ".nvram", ".vmxf", ".vmem", ".vmss", ".lck")
"""Files that may be there or not."""
FCD_FOLDER = "fcd"
"""The server keeps it when the last first class disk has gone."""
_HEX = "[0-9a-f]"
_DRAWN = re.compile(
    rf"\b{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}\b"
    rf"|\b{_HEX}{{32}}\b|6000C29[0-9A-F -]{{20,}}[0-9A-F]|(?<=test-volume-){_HEX}{{8}}",
    re.IGNORECASE,
)
_HINT = re.compile(r'^parentFileNameHint="(.*)"', re.MULTILINE)
_VOLUMES = "/vmfs/volumes/"
_PATHS = ("name", "config", "runtime.powerState", "runtime.host", "snapshot")
_NOTES = ("vmops.", "volume-", "nvp.", "RemoteDisplay.", "efi.")


def of(bench: Bench, *, guests: bool = False) -> Facts:
    """Everything: machines, files and what is in them.

    With ``guests``, what is on disks is theirs: they write.
    """
    found: Facts = {}
    for values in second_view.every(bench.content, vim.VirtualMachine, *_PATHS).values():
        found.update(_machine(values))
        if not guests:
            found.update(_disks(bench, values))
    for root in sorted(bench.root().parent.iterdir()):
        found.update(_files(root, guests=guests))
    return found


def without_cache(facts: Facts, cache_folder: str) -> Facts:
    """What is left when the image cache is not looked at: who needs it fills it."""
    mark = f"] {cache_folder}"
    return {key: value for key, value in facts.items() if mark not in key}


def differences(wanted: Facts, found: Facts) -> list[str]:
    """In words what is not as it should be."""
    said = []
    for key in sorted(wanted.keys() | found.keys()):
        if key not in found:
            said.append(f"{key} is missing")
        elif key not in wanted:
            said.append(f"{key} is left")
        elif wanted[key] != found[key]:
            said.append(f"{key} is {found[key]}, not {wanted[key]}")
    return said


def _machine(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    config, name = values.get("config"), _plain(values.get("name", ""))
    if config is None:
        yield f"machine {name}", "without a configuration"
        return
    extra = {_plain(str(o.key)): _plain(str(o.value)) for o in config.extraConfig if o.value}
    shown = {
        "power": values.get("runtime.powerState"),
        "host": second_view.properties(values["runtime.host"], "name").get("name"),
        "size": (config.hardware.numCPU, config.hardware.memoryMB, config.guestId),
        "boot": [type(each).__name__ for each in config.bootOptions.bootOrder],
        "notes": sorted(pair for pair in extra.items() if pair[0].startswith(_NOTES)),
        "snapshots": _snapshots(values.get("snapshot")),
        "devices": [_device(each) for each in config.hardware.device],
        "annotation": config.annotation,
    }
    for key, value in shown.items():
        yield f"machine {name}: {key}", str(value)


def _disks(bench: Bench, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    config, name = values.get("config"), _plain(values.get("name", ""))
    for device in config.hardware.device if config is not None else ():
        if isinstance(device, vim.vm.device.VirtualDisk):
            path = str(getattr(device.backing, "fileName", ""))
            yield f"machine {name}: bytes of {_plain(path)}", _content(bench, path)


def _snapshots(info: Any) -> list[str]:
    trees = list(info.rootSnapshotList) if info is not None else []
    return [f"{tree.name} {_snapshots_below(tree)}" for tree in trees]


def _snapshots_below(tree: Any) -> list[str]:
    return [f"{each.name} {_snapshots_below(each)}" for each in tree.childSnapshotList or ()]


def _device(device: Any) -> str:
    backing = getattr(device, "backing", None)
    where = getattr(backing, "fileName", None) or getattr(backing, "deviceName", None)
    parent = getattr(backing, "parent", None)
    facts = [
        type(device).__name__.rpartition(".")[2],
        device.key,
        device.controllerKey,
        device.unitNumber,
        _plain(str(where)),
        _plain(str(parent.fileName)) if parent else "",
        getattr(device, "capacityInKB", ""),
        getattr(device, "macAddress", ""),
    ]
    return " ".join(str(fact) for fact in facts)


def _files(root: Path, *, guests: bool) -> Iterator[tuple[str, str]]:
    for path, size in files.tree(root).items():
        if path.endswith(PASSING) or path == FCD_FOLDER:
            continue
        key = f"file [{root.name}] {_plain(path)}"
        if path.endswith("-flat.vmdk") and not (guests and path.startswith(UUID_PREFIX)):
            with (root / path).open("rb") as stream:
                yield key, f"{size} bytes, {_digest(stream.read(LOOKED_AT))}"
        else:
            yield key, "a folder" if size < 0 else "there"


def _content(bench: Bench, path: str) -> str:
    """What the guest reads of a disk's beginning, by qemu-img."""
    try:
        descriptor = files.local(bench.root(path[1:].partition("]")[0]), path)
        layers = _layers(descriptor, bench.root().parent, "")
        options = ",".join(f"{key}={value}" for key, value in layers)
        with tempfile.NamedTemporaryFile() as copy:
            words = ("dd", "--image-opts", "-O", "raw", f"bs={LOOKED_AT}", "count=1")
            qemu_img(*words, f"if={options}", f"of={copy.name}")
            return _digest(copy.read())
    except (OSError, ValueError, AssertionError) as error:
        return f"not readable: {error}"


def _layers(descriptor: Path, datastores: Path, prefix: str) -> Iterable[tuple[str, str]]:
    yield f"{prefix}driver", "qcow2" if files.is_delta(descriptor) else "raw"
    yield f"{prefix}file.filename", str(files.flat_of(descriptor))
    if found := _HINT.search(descriptor.read_text()):
        elsewhere = found[1].removeprefix(_VOLUMES)
        parent = descriptor.parent / found[1] if elsewhere == found[1] else datastores / elsewhere
        yield from _layers(parent, datastores, f"{prefix}backing.")


def images(store: Path, own: Iterable[str]) -> Facts:
    """The files of an image store beside its ``own``, and what is in the disks among them."""
    found: Facts = {}
    for file in store.iterdir():
        if file.name in own:
            continue
        found[f"image {_plain(file.name)}"] = "there"
        if file.suffix == ".vmdk":
            with tempfile.NamedTemporaryFile() as copy:
                words = ("dd", "-f", "vmdk", "-O", "raw", f"bs={LOOKED_AT}", "count=1")
                qemu_img(*words, f"if={file}", f"of={copy.name}")
                found[f"image {file.name}"] = _digest(copy.read())
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content.rstrip(b"\0")).hexdigest()[:12]


def _plain(text: str) -> str:
    """A text without identities that were drawn; those of tests' instances stay."""
    return _DRAWN.sub(lambda found: found[0] if found[0].startswith(UUID_PREFIX) else "*", text)
