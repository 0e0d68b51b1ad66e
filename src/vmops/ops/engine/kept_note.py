"""The note in a folder that was kept: it tells people what it is, and `vmops audit` to leave it."""

from __future__ import annotations

from datetime import UTC, datetime

from vmops.model.datastore_path import DatastorePath
from vmops.vsphere.session import Session

NOTE = "vmops-kept.txt"


def leave_note(session: Session, folder: DatastorePath, called: str, vmx: str) -> None:
    """Write the note, by HTTP: that is no call of the API.

    Raises:
        VMOpsError: it cannot be written.
    """
    text = (
        "This folder is kept on purpose.\n\n"
        f"{called} was taken out of the inventory by vmops on"
        f" {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC, without its disks being deleted.\n"
        "vmops audit leaves the folder alone as long as this file is in it.\n\n"
        f"To use the machine again, register {vmx}.\n"
        "To delete it with all that is on its disks, delete this folder.\n"
    )
    session.datastore_files.write(folder.joined(NOTE), text.encode())
