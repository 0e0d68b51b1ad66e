"""The engine's methods take what Nova's class took, in its order; anything more has a default."""

from __future__ import annotations

import inspect

import pytest

from vmops.ops.vmops.vmops import VMwareVMOps

# name: its parameters, with "=" before the default's text where there is one
SIGNATURES = {
    "__init__": "session virtapi volumeops cluster_name=None",
    "confirm_migration": "migration instance network_info",
    "destroy": "instance network_info destroy_disks=True",
    "finish_migration": "context migration instance disk_info network_info image_meta"
    " resize_instance=False block_device_info=None power_on=True",
    "finish_revert_migration": "instance network_info block_device_info power_on=True",
    "get_console_output": "instance",
    "get_diagnostics": "instance",
    "get_info": "instance",
    "get_vnc_console": "instance",
    "get_vnc_console_vcenter": "instance",
    "inject_network_info": "instance network_info",
    "list_instances": "",
    "live_migration": "context instance_ref dest post_method recover_method block_migration=False",
    "migrate_disk_and_power_off": "context instance dest instance_type",
    "pause": "instance",
    "plug_vifs": "instance network_info",
    "poll_rebooting_instances": "timeout instances",
    "power_off": "instance",
    "power_on": "context instance network_info block_device_info",
    "reboot": "instance network_info",
    "rescue": "context instance network_info image_meta",
    "resume": "instance",
    "snapshot": "context instance snapshot_name update_task_state",
    "spawn": "context instance image_meta network_info block_device_info=None",
    "suspend": "instance",
    "unpause": "instance",
    "unplug_vifs": "instance network_info",
    "unrescue": "instance",
}


@pytest.mark.parametrize("method", SIGNATURES)
def test_a_call_of_old_works(method: str) -> None:
    found = list(inspect.signature(getattr(VMwareVMOps, method)).parameters.values())[1:]
    wanted = SIGNATURES[method].split()
    assert [each.name for each in found[: len(wanted)]] == [text.split("=")[0] for text in wanted]
    for each, text in zip(found, wanted, strict=False):
        assert each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD, each.name
        if "=" in text:
            assert str(each.default) == text.split("=")[1], each.name
    for each in found[len(wanted) :]:
        assert each.default is not inspect.Parameter.empty, each.name
