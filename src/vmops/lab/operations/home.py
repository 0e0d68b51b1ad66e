"""The folder and the .vmx file of a new virtual machine, reserved before anything is in them."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass

from vmops.lab.inventory.argument_faults import directory_name
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.operations.journal import Work
from vmops.lab.shielded import to_its_end
from vmops.lab.storage.errors import FileExists
from vmops.lab.storage.paths import DatastorePath
from vmops.lab.storage.volumes import Volumes


@dataclass(frozen=True, slots=True)
class Home:
    """Where a new machine's .vmx file is, reserved by an empty file."""

    vmx: DatastorePath
    made_folder: bool


async def new_home(kernel: Kernel, wanted: DatastorePath, name: str, work: Work) -> Home:
    """Make a machine's home on a thread, noted, or none if the lab stops meanwhile.

    Raises:
        FileExists: the .vmx file is there.
    """
    volumes = kernel.service(Volumes)
    making = kernel.blocking(_make_home, volumes, wanted, name, work)
    return await to_its_end(making, lambda home: remove_home(volumes, home))


def _make_home(volumes: Volumes, wanted: DatastorePath, name: str, work: Work) -> Home:
    """Reserve the .vmx file. Blocking.

    A datastore alone gets a folder called like the machine, numbered if that is taken; a folder
    gets a .vmx file called like the machine.
    """
    plain = directory_name(name)
    if not wanted.path:
        for number in itertools.count():
            folder = wanted.joined(f"{plain}_{number}" if number else plain)
            vmx = folder.joined(f"{folder.name}.vmx")
            with suppress(FileExistsError):
                if not volumes.resolve(folder).exists():
                    work.comes(folder, vmx)
                volumes.resolve(folder).mkdir()
                return _reserve(volumes, vmx, made_folder=True)
    vmx = wanted
    if not wanted.name.endswith((".vmx", ".vmtx")):
        vmx = wanted.joined(f"{plain}.vmx")
    made = False
    work.comes(vmx.parent, vmx)
    with suppress(FileExistsError):
        volumes.resolve(vmx.parent).mkdir()
        made = True
    return _reserve(volumes, vmx, made_folder=made)


def _reserve(volumes: Volumes, vmx: DatastorePath, *, made_folder: bool) -> Home:
    home = Home(vmx, made_folder)
    try:
        with volumes.resolve(vmx).open("xb"):
            return home
    except FileExistsError:
        raise FileExists(vmx) from None


def remove_home(volumes: Volumes, home: Home) -> None:
    """Let go of a home in which nothing else was put."""
    with suppress(OSError):
        volumes.resolve(home.vmx).unlink(missing_ok=True)
    if home.made_folder:
        with suppress(OSError):
            volumes.resolve(home.vmx.parent).rmdir()
