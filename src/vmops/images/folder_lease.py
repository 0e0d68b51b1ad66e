"""The lease of a temporary folder: a small file in it, which its owner writes anew now and then.

The file comes to be with the first renewal, so that what is short writes none. Who takes a folder
that was given up renames it first: the owner's next renewal finds no folder to write to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from vmops import in_flight
from vmops.errors import FileNotFound, LeaseLost, TransferFailed
from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.session import Session

LEASE_FILE = "vmops.lease"
FILLING = "image transfer"
"""What is done in the temporary folders of the cache."""
_NOT_FOUND = 404
PREFIX = "tmp"
"""What the names of temporary folders begin with; their owner follows."""


@contextlib.contextmanager
def leased_folder(
    session: Session, folder: DatastorePath, operation: str
) -> Iterator[in_flight.Lease]:
    """Have a temporary folder for what is done inside; it may come to be there."""
    file = folder.joined(LEASE_FILE)

    def replace(_: str, new: str) -> None:
        try:
            session.datastore_files.write(file, new.encode())
        except TransferFailed as failure:
            if failure.status != _NOT_FOUND:
                raise
            raise FileNotFound(str(folder)) from failure

    lease = in_flight.Lease(str(folder), operation, replace, group=session.client)
    if session.is_planning:
        yield lease
        return
    with in_flight.holding(lease):
        yield lease


@contextlib.contextmanager
def told_if_taken(session: Session, folder: DatastorePath, operation: str) -> Iterator[None]:
    """What is not found inside may be missing because another one has taken the folder.

    To be used inside the operation whose steps make the folder, before it takes them back.

    Raises:
        LeaseLost: the folder is not there.
    """
    try:
        yield
    except (FileNotFound, TransferFailed) as missing:
        is_missing = isinstance(missing, FileNotFound) or missing.status == _NOT_FOUND
        if not is_missing or session.datastore_files.exists(folder):
            raise
        lost = LeaseLost(str(folder), operation)
        for note in getattr(missing, "__notes__", ()):
            lost.add_note(note)
        raise lost from missing


def end_lease(session: Session, folder: DatastorePath, lease: in_flight.Lease) -> None:
    """Take the file out of the folder before that becomes something else."""
    with lease.ending():
        if lease.text:
            session.datastore_files.delete(folder.joined(LEASE_FILE), missing_ok=True)


def read_lease(session: Session, folder: DatastorePath) -> str:
    """What its owner wrote last; "" if it has written nothing yet, or the folder is gone."""
    try:
        return session.datastore_files.read(folder.joined(LEASE_FILE)).decode("utf-8", "replace")
    except FileNotFound:
        return ""
