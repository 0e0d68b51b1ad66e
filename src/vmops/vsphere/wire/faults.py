"""The server's faults as errors of vmops.

A fault is looked up by its name, then by the names of its parents, then by those of what caused it:
the most specific one that the table knows decides. What the table does not know keeps its name and
message as `VsphereFault`, or `TaskFailed` where a task ended with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vmops import errors
from vmops.errors import VMOpsError
from vmops.model.entity_name import plain
from vmops.vsphere.wire.moref import describe

if TYPE_CHECKING:
    from pyVmomi import vmodl

FAULTS: dict[str, type[VMOpsError]] = {
    # Sessions and rights
    "InvalidLogin": errors.InvalidLogin,
    "NotAuthenticated": errors.NotAuthenticated,
    "NoPermission": errors.NoPermission,
    "SecurityError": errors.Refused,
    "RestrictedVersion": errors.NotSupported,
    "RestrictedByAdministrator": errors.Refused,
    # What is not there, what is there already
    "ManagedObjectNotFound": errors.ManagedObjectNotFound,
    "NotFound": errors.NotFound,
    "FileNotFound": errors.FileNotFound,
    "AlreadyExists": errors.AlreadyExists,
    "DuplicateName": errors.DuplicateName,
    "FileAlreadyExists": errors.FileAlreadyExists,
    # States and other operations
    "InvalidPowerState": errors.InvalidPowerState,
    "InvalidState": errors.Conflict,
    "TaskInProgress": errors.Busy,
    "QuestionPending": errors.QuestionPending,
    "ResourceInUse": errors.Busy,
    "ConcurrentAccess": errors.Busy,
    "MethodDisabled": errors.Conflict,
    "FileLocked": errors.FileLocked,
    # Not enough of something
    "NoDiskSpace": errors.NoDiskSpace,
    "InsufficientStorageSpace": errors.NoDiskSpace,
    "InsufficientStorageIops": errors.Exhausted,
    "InsufficientResourcesFault": errors.Exhausted,
    "NoCompatibleHost": errors.NoSuitableHost,
    # What makes no sense
    "InvalidArgument": errors.InvalidArgument,
    "InvalidProperty": errors.InvalidArgument,
    "InvalidRequest": errors.InvalidArgument,
    "InvalidDiskFormat": errors.ImageNotAcceptable,
    "InvalidName": errors.InvalidName,
    "InvalidDatastorePath": errors.InvalidName,
    "DeviceNotSupported": errors.UnsupportedDevice,
    "InvalidDeviceSpec": errors.UnsupportedDevice,
    # What is normally there
    "ToolsUnavailable": errors.ToolsUnavailable,
    "ApplicationQuiesceFault": errors.QuiesceFailed,
    "FilesystemQuiesceFault": errors.QuiesceFailed,
    "HostCommunication": errors.Unavailable,
    "HostConnectFault": errors.Unavailable,
    "Timedout": errors.TimedOut,
    # What the endpoint cannot do
    "NotSupported": errors.NotSupported,
    "NotImplemented": errors.NotSupported,
    "MethodNotFound": errors.NotSupported,
}

# Faults that stay `VsphereFault` or `TaskFailed` on purpose: their name and the server's message
# tell more than any class of ours would, and nobody handles them one by one.
UNTRANSLATED: frozenset[str] = frozenset(
    {
        "CannotAccessFile",
        "CannotAccessVmComponent",
        "CannotCreateFile",
        "CannotDeleteFile",
        "CustomizationFault",
        "FileFault",
        "InvalidCollectorVersion",
        "InvalidDatastore",
        "InvalidFolder",
        "InvalidLocale",
        "InvalidType",
        "MigrationFault",
        "MismatchedBundle",
        "OutOfBounds",
        "RequestCanceled",
        "RuntimeFault",
        "SnapshotFault",
        "SystemError",
        "TooManySnapshotLevels",
        "UnexpectedFault",
        "VAppConfigFault",
        "VimFault",
        "VmConfigFault",
        "VmFaultToleranceIssue",
        "VmToolsUpgradeFault",
    }
)


def fault_name(fault: vmodl.MethodFault) -> str:
    """The name on the wire of a fault: "InvalidPowerState"."""
    return str(getattr(type(fault), "_wsdlName", type(fault).__name__))


def fault_chain(fault: vmodl.MethodFault) -> Iterator[vmodl.MethodFault]:
    """The fault, then what caused it, then what caused that."""
    seen: list[int] = []
    link: vmodl.MethodFault | None = fault
    while link is not None and id(link) not in seen:
        seen.append(id(link))
        yield link
        link = link.faultCause


def translate(fault: vmodl.MethodFault, *, method: str = "") -> VMOpsError:
    """The error for a fault that a call ended with."""
    return _known(fault, method) or errors.VsphereFault(
        fault_name(fault), fault_message(fault), method=method, causes=_causes(fault)
    )


def translate_task(fault: vmodl.MethodFault, message: str, *, task: str, entity: str) -> VMOpsError:
    """The error for a fault that a task ended with.

    ``task`` is its description id ("VirtualMachine.powerOn"), ``entity`` the object it worked on.
    """
    if message and not getattr(fault, "msg", None):
        vars(fault)["msg"] = message
    known = _known(fault, task)
    if known is not None:
        if entity:
            known.add_note(f"Task {task} on {entity}.")
        return known
    return errors.TaskFailed(
        fault_name(fault),
        message or fault_message(fault),
        method=task,
        causes=_causes(fault),
        entity=entity,
    )


def fault_message(fault: vmodl.MethodFault) -> str:
    """What the server says about it, "" if nothing."""
    texts = [str(getattr(fault, "msg", None) or "").strip()]
    texts += [str(m.message or "").strip() for m in getattr(fault, "faultMessage", None) or []]
    return " ".join(dict.fromkeys(text for text in texts if text))


def _causes(fault: vmodl.MethodFault) -> tuple[str, ...]:
    return tuple(fault_name(cause) for cause in fault_chain(fault))[1:]


def _known(fault: vmodl.MethodFault, method: str) -> VMOpsError | None:
    for link in fault_chain(fault):
        for kind in type(link).__mro__:
            error = FAULTS.get(vars(kind).get("_wsdlName", ""))
            if error is not None:
                message = fault_message(link) or fault_message(fault)
                return _build(error, link, message, method)
    return None


def _build(
    error: type[VMOpsError], fault: vmodl.MethodFault, message: str, method: str
) -> VMOpsError:
    special = _MESSAGES.get(fault_name(fault)) or _MESSAGES.get(error.__name__)
    if special is not None:
        return special(error, fault, message)
    where = f" ({fault_name(fault)}{f' in {method}' if method else ''})"
    return error(f"{_sentence(message or fault_name(fault))}{where}")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _missing_object(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    moref = getattr(fault, "obj", None)
    return error(describe(moref) if moref is not None else message)


def _missing_file(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    return error(str(getattr(fault, "file", "") or message))


def _file(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    words: dict[type[VMOpsError], str] = {
        errors.FileAlreadyExists: "There is a file {0} already.",
        errors.FileLocked: "The file {0} is in use.",
    }
    file = str(getattr(fault, "file", "") or "")
    return error(words[error].format(file) if file else _sentence(message or fault_name(fault)))


def _no_space(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    datastore = str(getattr(fault, "datastore", "") or "")
    name = f" {datastore}" if datastore else ""
    detail = f" {_sentence(message)}" if message else ""
    return error(f"The datastore{name} is full.{detail}")


def _power_state(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    existing = str(getattr(fault, "existingState", "") or "in another state")
    requested = str(getattr(fault, "requestedState", "") or "")
    if requested == existing:
        return error(f"The virtual machine is {existing} already.")
    needs = f"; this needs it to be {requested}" if requested else ""
    return error(f"The virtual machine is {existing}{needs}.")


def _no_permission(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    moref = getattr(fault, "object", None)
    privilege = str(getattr(fault, "privilegeId", "") or "")
    on = f" on {describe(moref)}" if moref is not None else ""
    what = f"the privilege {privilege}" if privilege else "a privilege"
    return error(f"The user lacks {what}{on}.")


def _duplicate(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    name = plain(str(getattr(fault, "name", "") or ""))
    taken = errors.DuplicateName(
        f"The name {name!r} is taken." if name else _sentence(message or "The name is taken")
    )
    taken.existing = getattr(fault, "object", None)
    return taken


def _argument(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    name = str(getattr(fault, "invalidProperty", "") or getattr(fault, "name", "") or "")
    which = f" {name!r}" if name else ""
    detail = f": {message}" if message else ""
    return error(_sentence(f"The server refuses the argument{which}{detail}"))


def _login(error: type[VMOpsError], fault: vmodl.MethodFault, message: str) -> VMOpsError:
    return error("The server refuses the login: user name or password is wrong.")


_MESSAGES: dict[str, Callable[[type[VMOpsError], vmodl.MethodFault, str], VMOpsError]] = {
    "ManagedObjectNotFound": _missing_object,
    "FileNotFound": _missing_file,
    "FileAlreadyExists": _file,
    "FileLocked": _file,
    "NoDiskSpace": _no_space,
    "InvalidPowerState": _power_state,
    "NoPermission": _no_permission,
    "DuplicateName": _duplicate,
    "InvalidArgument": _argument,
    "InvalidProperty": _argument,
    "InvalidLogin": _login,
}
