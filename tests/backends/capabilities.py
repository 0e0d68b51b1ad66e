"""What a test may need of a back end; the words are those of skips and of docs/coverage.md."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """One thing that not every back end has."""

    VCENTER = "a vCenter's cluster"
    DISTRIBUTED_NETWORK = "a distributed port group"
    TWO_DATASTORES = "two datastores"
    SHARED_DATASTORES = "datastores that every host has mounted"
    LOCAL_FILES = "datastores that are directories of this machine"
    NESTED_POOLS = "VMs in nested resource pools"
    DISK_BYTES = "disks with bytes"
    LINKED_CLONES = "linked clones"
    DISK_CONVERSION = "copies that convert a disk"
    DISK_GROWTH = "disks that grow"
    NFC_IMPORT = "imports that keep their bytes"
    CASE_BLIND_UUIDS = "lookups by UUID whatever its case"
    UNIQUE_NAMES = "names that are unique in a folder"
    REGISTERED_CONFIG = "a configuration read from the .vmx"
    POWER_FAULTS = "faults for power operations in a wrong state"
    PROMPT_UPDATES = "updates as soon as something changes"
    KEYED_PATHS = "paths that take a key of a list"
    LOGIN_FOR_FILES = "a login asked for at /folder"
    WHOLE_UPLOADS = "uploads that are whole or not there"
    NUMBERED_NICS = "NICs whose keys tell their numbers"
    CONSOLES = "consoles of running machines"
    TPM = "a virtual TPM"
    REMOVED_FOLDERS = "folders that can be removed"
    EXTENSIONS = "extensions that can be registered"
    STORAGE_POLICIES = "storage policies"
    ASSOCIATED_POLICIES = "policies that are told of machines and disks"
    HOST_NETWORKS = "port groups that hosts have of their own"
    COUNTED_CALLS = "calls counted at the server"
    CONTROL = "states set from outside"
    UNTOUCHED_DISKS = "disks that no guest writes to"
    HOT_UNPLUG = "cards that come out while it runs"
    FIRST_CLASS_DISKS = "first class disks"
    GUEST = "a guest that runs"
    NO_GUESTS = "machines that boot nothing"
