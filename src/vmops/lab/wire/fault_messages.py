"""The sentence that stands beside a fault for people, where who raised it gave none."""

from __future__ import annotations

import re

from pyVmomi import vmodl

from vmops.lab.kernel.fault_text import message

_SENTENCES = {
    "AlreadyExists": "The specified key, name, or identifier '{name}' already exists.",
    "DuplicateName": "The name '{name}' already exists.",
    "FileAlreadyExists": "Cannot complete the operation because the file or folder {file}"
    " already exists",
    "FileLocked": "Unable to access file {file} since it is locked",
    "FileNotFound": "File {file} was not found",
    "InvalidArgument": "A specified parameter was not correct: {invalidProperty}",
    "InvalidCollectorVersion": "The version of the update set is not known to this collector.",
    "InvalidDatastorePath": "Invalid datastore path '{datastorePath}'.",
    "InvalidLogin": "Cannot complete login due to an incorrect user name or password.",
    "InvalidPowerState": "The attempted operation cannot be performed in the current state"
    " ({existingState}).",
    "InvalidProperty": "The property '{name}' does not exist.",
    "InvalidState": "The operation is not allowed in the current state.",
    "ManagedObjectNotFound": "The object has already been deleted or has not been completely"
    " created",
    "MethodNotFound": "The method '{method}' does not exist.",
    "NotAuthenticated": "The session is not authenticated.",
    "NotSupported": "The operation is not supported on the object.",
    "RequestCanceled": "The task was canceled by a user.",
    "SystemError": "A general system error occurred: {reason}",
    "TaskInProgress": "The operation cannot be allowed at the current time because another task"
    " is already in progress.",
}


def message_of(fault: vmodl.MethodFault) -> str:
    """The fault's own message, or the usual sentence for its type."""
    if text := message(fault):
        return text
    name = type(fault).__name__.rpartition(".")[2]
    sentence = _SENTENCES.get(name)
    if sentence is not None:
        return sentence.format_map(vars(fault))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).capitalize() + "."
