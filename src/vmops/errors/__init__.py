"""Every error that vmops raises, in one tree.

::

    VMOpsError
    ├── NotFound
    │   ├── InstanceNotFound
    │   │   └── OriginalNotFound
    │   ├── ImageNotFound
    │   ├── DatastoreNotFound
    │   │   └── NoSuitableDatastore
    │   ├── NetworkNotFound
    │   ├── NetworkAdapterNotFound
    │   ├── SwitchNotFound
    │   ├── ClusterNotFound
    │   ├── HostNotFound
    │   ├── VolumeNotFound
    │   │   └── VolumeNotAttached
    │   ├── StoragePolicyNotFound
    │   ├── FileNotFound
    │   ├── NotRescued
    │   ├── NotResized
    │   ├── NoRootDisk
    │   └── ManagedObjectNotFound
    ├── Conflict
    │   ├── AlreadyExists
    │   │   ├── InstanceExists
    │   │   ├── DuplicateName
    │   │   └── FileAlreadyExists
    │   ├── NetworkAmbiguous
    │   ├── InvalidPowerState
    │   │   ├── InstancePowerOffFailure
    │   │   ├── InstanceRebootFailure
    │   │   ├── InstanceResumeFailure
    │   │   └── InstanceSuspendFailure
    │   ├── InvalidState
    │   ├── MigrationPreCheckFailed
    │   ├── InvalidVlanTag
    │   ├── InvalidVlanPortGroup
    │   ├── Busy
    │   ├── LeaseLost
    │   ├── Preempted
    │   ├── VolumeInUse
    │   ├── QuestionPending
    │   ├── FileLocked
    │   └── LeftBehind
    ├── Refused
    │   ├── InvalidLogin
    │   ├── NotAuthenticated
    │   ├── NoPermission
    │   └── CertificateRefused
    ├── Exhausted
    │   ├── NoDiskSpace
    │   └── NoSuitableHost
    ├── Invalid
    │   ├── InvalidArgument
    │   ├── InvalidName
    │   ├── InstanceUnacceptable
    │   ├── ResizeError
    │   ├── ImageNotAcceptable
    │   └── UnsupportedDevice
    ├── Unavailable
    │   ├── ConnectionLost
    │   ├── TimedOut
    │   ├── SessionOverload
    │   ├── ToolsUnavailable
    │   ├── QuiesceFailed
    │   └── ConsoleTypeUnavailable
    ├── TransferFailed
    ├── NotSupported
    └── VsphereFault
        └── TaskFailed

A message is one or two sentences for a person: what is wrong, and what to do where that is known.
What was undone, or could not be, is added to an error as notes (`BaseException.add_note`).
"""

from __future__ import annotations

from vmops.errors.base import VMOpsError
from vmops.errors.conflict import (
    AlreadyExists,
    Busy,
    Conflict,
    DuplicateName,
    FileAlreadyExists,
    FileLocked,
    InstanceExists,
    InstancePowerOffFailure,
    InstanceRebootFailure,
    InstanceResumeFailure,
    InstanceSuspendFailure,
    InvalidPowerState,
    InvalidState,
    InvalidVlanPortGroup,
    InvalidVlanTag,
    LeaseLost,
    LeftBehind,
    MigrationPreCheckFailed,
    NetworkAmbiguous,
    Preempted,
    QuestionPending,
    VolumeInUse,
)
from vmops.errors.exhausted import Exhausted, NoDiskSpace, NoSuitableHost
from vmops.errors.invalid import (
    ImageNotAcceptable,
    InstanceUnacceptable,
    Invalid,
    InvalidArgument,
    InvalidName,
    ResizeError,
    UnsupportedDevice,
)
from vmops.errors.not_found import (
    ClusterNotFound,
    DatastoreNotFound,
    FileNotFound,
    HostNotFound,
    ImageNotFound,
    InstanceNotFound,
    ManagedObjectNotFound,
    NetworkAdapterNotFound,
    NetworkNotFound,
    NoRootDisk,
    NoSuitableDatastore,
    NotFound,
    NotRescued,
    NotResized,
    OriginalNotFound,
    StoragePolicyNotFound,
    SwitchNotFound,
    VolumeNotAttached,
    VolumeNotFound,
)
from vmops.errors.refused import (
    CertificateRefused,
    InvalidLogin,
    NoPermission,
    NotAuthenticated,
    Refused,
)
from vmops.errors.server import NotSupported, TaskFailed, TransferFailed, VsphereFault
from vmops.errors.unavailable import (
    UNANSWERED,
    ConnectionLost,
    ConsoleTypeUnavailable,
    QuiesceFailed,
    SessionOverload,
    TimedOut,
    ToolsUnavailable,
    Unavailable,
)

__all__ = [
    "UNANSWERED",
    "AlreadyExists",
    "Busy",
    "CertificateRefused",
    "ClusterNotFound",
    "Conflict",
    "ConnectionLost",
    "ConsoleTypeUnavailable",
    "DatastoreNotFound",
    "DuplicateName",
    "Exhausted",
    "FileAlreadyExists",
    "FileLocked",
    "FileNotFound",
    "HostNotFound",
    "ImageNotAcceptable",
    "ImageNotFound",
    "InstanceExists",
    "InstanceNotFound",
    "InstancePowerOffFailure",
    "InstanceRebootFailure",
    "InstanceResumeFailure",
    "InstanceSuspendFailure",
    "InstanceUnacceptable",
    "Invalid",
    "InvalidArgument",
    "InvalidLogin",
    "InvalidName",
    "InvalidPowerState",
    "InvalidState",
    "InvalidVlanPortGroup",
    "InvalidVlanTag",
    "LeaseLost",
    "LeftBehind",
    "ManagedObjectNotFound",
    "MigrationPreCheckFailed",
    "NetworkAdapterNotFound",
    "NetworkAmbiguous",
    "NetworkNotFound",
    "NoDiskSpace",
    "NoPermission",
    "NoRootDisk",
    "NoSuitableDatastore",
    "NoSuitableHost",
    "NotAuthenticated",
    "NotFound",
    "NotRescued",
    "NotResized",
    "NotSupported",
    "OriginalNotFound",
    "Preempted",
    "QuestionPending",
    "QuiesceFailed",
    "Refused",
    "ResizeError",
    "SessionOverload",
    "StoragePolicyNotFound",
    "SwitchNotFound",
    "TaskFailed",
    "TimedOut",
    "ToolsUnavailable",
    "TransferFailed",
    "Unavailable",
    "UnsupportedDevice",
    "VMOpsError",
    "VolumeInUse",
    "VolumeNotAttached",
    "VolumeNotFound",
    "VsphereFault",
]
