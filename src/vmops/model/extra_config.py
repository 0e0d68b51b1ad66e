"""The keys of a virtual machine's ``extraConfig`` that carry what vSphere has no field for.

``nvp.*`` are those of Nova's driver, so that tools which know its virtual machines know ours.
"""

from __future__ import annotations

INSTANCE_UUID = "nvp.vm-uuid"
INTERFACE_ID = "nvp.iface-id.{index}"
OPERATION = "vmops.operation"
"""The spawn that is under way; "" or absent at rest. See `vmops.in_flight`."""
WORKER = "vmops.worker"
"""Who is changing the instance in several steps, as `vmops.in_flight` marks it; "" at rest."""
IMAGE_ID = "vmops.image-id"
PAUSED = "vmops.paused"
"""1 on a suspended VM: it is paused. On a running one it means nothing. See `instances.pause`."""
RESCUE = "vmops.rescue"
"""JSON of what `instances.rescue` must put back; absent on an instance that is not rescued."""
RESIZE = "vmops.resize"
"""JSON of what `vmops.ops.resize.revert` must put back; absent unless a resize is under way."""
REPLACED_DISKS = "vmops.replaced-disks"
"""JSON list of the disks that a confirmed resize has replaced. Nothing uses them: they are deleted
at once, or, if that failed, with the next confirm or with the VM."""
EFI_QUICK_BOOT = "efi.quickBoot.enabled"
"""FALSE makes EFI follow the boot order instead of its last choice."""
TYPEMATIC_DELAY = "keyboard.typematicMinDelay"
"""Microseconds before a held key repeats."""
VNC_ENABLED = "RemoteDisplay.vnc.enabled"
VNC_PORT = "RemoteDisplay.vnc.port"
VNC_PASSWORD = "RemoteDisplay.vnc.password"  # noqa: S105 - a key's name
ROOT_VOLUME = "vmops.root-volume"
"""The volume that the instance boots from: its id, or its first class disk's."""
MADE_VOLUME = "vmops.volume"
"""The id of the volume whose disk a VM holds that is never powered on."""
MOVED_VOLUME = "vmops.moved-volume.{volume}"
"""Where a detached volume's disk is that the server had moved away from its shadow VM; there until
the shadow VM has it back. See `vmops.ops.volumes.moved`."""
VOLUME_PREFIX = "volume-"
"""``volume-<volume id>`` = UUID of an attached volume's disk, or its path where the server tells no
UUIDs."""
