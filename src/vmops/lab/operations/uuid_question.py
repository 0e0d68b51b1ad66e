"""Machines whose files are elsewhere than they were: moved, or copied?

A .vmx file says where it was written (``uuid.location``). One that lies elsewhere now belongs to a
machine that was moved, or to a copy, which needs addresses and a UUID of its own. Nobody can tell
but the user; ``uuid.action`` in the extra configuration ("create" or "keep") answers beforehand.
"""

from __future__ import annotations

import copy

from pyVmomi import vim, vmodl

from vmops.lab.inventory.file_faults import storage_faults
from vmops.lab.machine.config import bios_uuid
from vmops.lab.machine.devices.nics import new_mac_address
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.question import Choice, Question
from vmops.lab.machine.tools_info import without_guest_values
from vmops.lab.machine.vmx_file import LOCATION, without_location, write_vmx
from vmops.lab.operations.questions import ask

_CANCEL = Choice(label="button.uuid.cancel", summary="Cancel")
_MOVED = Choice(label="button.uuid.movedTheVM", summary="I Moved It")
_COPIED = Choice(label="button.uuid.copiedTheVM", summary="I Copied It")
_QUESTION = Question(
    message_id="msg.uuid.altered",
    text=(
        "The files of this virtual machine were moved or copied since it was last powered on. "
        "A copy needs a UUID and network addresses of its own; "
        'who does not know what was done answers "I Copied It".'
    ),
    choices=(_CANCEL, _MOVED, _COPIED),
    default=2,
)
_ACTIONS = {"create": _COPIED, "keep": _MOVED}


async def resolve_location(vm: Machine) -> None:
    """Before a start: if the machine's files are elsewhere now, do what the user says of it.

    Raises:
        vmodl.fault.RequestCanceled: the answer was "Cancel".
        vim.fault.NoDiskSpace, vim.fault.FileFault: the .vmx file cannot be written.
    """
    options = vm.extra_config
    if LOCATION not in options:
        return
    choice = _ACTIONS.get(options.get("uuid.action", "").lower()) or await ask(vm, _QUESTION)
    if choice is _CANCEL:
        raise vmodl.fault.RequestCanceled(msg="The question was answered with Cancel.")
    config = copy.deepcopy(vm.config)
    config.extraConfig = without_location(config.extraConfig)
    if choice is _COPIED:
        config.uuid = bios_uuid()
        for card in config.hardware.device:
            if isinstance(card, vim.vm.device.VirtualEthernetCard) and card.addressType != "manual":
                card.macAddress = new_mac_address(vm.kernel)
    stored = copy.copy(config)
    stored.extraConfig = without_guest_values(vm, config.extraConfig)
    with storage_faults(vm.vmx):
        await vm.kernel.blocking(write_vmx, vm.store.volumes, vm.vmx, stored)
    vm.publish({"config": config})
