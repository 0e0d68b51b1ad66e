"""How each row of the table of states is called: one call of the engine for an instance."""

from __future__ import annotations

from collections.abc import Callable

from pyVmomi import vim

from tests.backends import second_view
from tests.builders import MEMORY_MIB
from tests.contract.engine import Bench
from tests.contract.volumes import MadeVolume
from vmops import Flavor, Instance, Vif

PRESENT = "02:00:00:7e:57:01"
"""The MAC address of the NIC that each instance of the table has."""
_OTHER = "02:00:00:7e:57:02"
_BIGGER = Flavor(vcpus=2, memory_mib=2 * MEMORY_MIB)


def present(bench: Bench) -> Vif:
    return Vif(network=bench.backend.network, mac_address=PRESENT, id="present")


def _other(bench: Bench) -> Vif:
    return Vif(network=bench.backend.network, mac_address=_OTHER, id="other")


def _snapshot(bench: Bench, instance: Instance) -> None:
    made = bench.ops.snapshot(None, instance, f"made-{instance.uuid}", lambda **_: None)
    bench.images.store.remove(made.image.id)


def _live_migration(bench: Bench, instance: Instance) -> None:
    told: list[str] = []
    bench.ops.live_migration(
        None,
        instance,
        _other_host(bench, instance),
        lambda *_: told.append("post"),
        lambda *_: told.append("recover"),
    )
    assert told == ["post"]


def _other_host(bench: Bench, instance: Instance) -> str:
    """The name of a host where the instance is not."""
    vm = bench.vm(instance)
    own = vm and second_view.properties(vm, "runtime.host")["runtime.host"]
    hosts = second_view.every(bench.content, vim.HostSystem, "name")
    return next(str(values["name"]) for host, values in hosts.items() if host != own)


# By instance the volume that it has, and under "spare" one that none has.
VOLUMES: dict[str, MadeVolume] = {}


def _attach(bench: Bench, instance: Instance) -> None:
    bench.ops.attach_volume(None, VOLUMES["spare"].connection, instance)


def _detach(bench: Bench, instance: Instance) -> None:
    volume = VOLUMES.get(instance.uuid) or VOLUMES["spare"]
    bench.ops.detach_volume(None, volume.connection, instance)


METHODS: dict[str, Callable[[Bench, Instance], object]] = {
    "list_instances": lambda b, _: b.ops.list_instances(),
    "get_info": lambda b, i: b.ops.get_info(i),
    "get_diagnostics": lambda b, i: b.ops.get_diagnostics(i),
    "typed_diagnostics": lambda b, i: b.ops.get_instance_diagnostics(i),
    "get_console_output": lambda b, i: b.ops.get_console_output(i),
    "screenshot": lambda b, i: b.ops.get_console_screenshot(i),
    "get_vnc_console": lambda b, i: b.ops.get_vnc_console(i),
    "vnc_console_vcenter": lambda b, i: b.ops.get_vnc_console_vcenter(i),
    "spawn": lambda b, i: b.ops.spawn(None, i, "flat", ()),
    "power_on": lambda b, i: b.ops.power_on(None, i),
    "power_off": lambda b, i: b.ops.power_off(i),
    "reboot_soft": lambda b, i: b.ops.reboot(i, None, "SOFT"),
    "reboot_hard": lambda b, i: b.ops.reboot(i, None, "HARD"),
    "poll_rebooting": lambda b, i: b.ops.poll_rebooting_instances(30, [i]),
    "suspend": lambda b, i: b.ops.suspend(i),
    "resume": lambda b, i: b.ops.resume(i),
    "pause": lambda b, i: b.ops.pause(i),
    "unpause": lambda b, i: b.ops.unpause(i),
    "rescue": lambda b, i: b.ops.rescue(None, i, None, "flat"),
    "unrescue": lambda b, i: b.ops.unrescue(i),
    "plug_vifs": lambda b, i: b.ops.plug_vifs(i, [present(b), _other(b)]),
    "unplug_vifs": lambda b, i: b.ops.unplug_vifs(i, [present(b)]),
    "attach_interface": lambda b, i: b.ops.attach_interface(None, i, None, _other(b)),
    "detach_interface": lambda b, i: b.ops.detach_interface(None, i, present(b)),
    "inject_network_info": lambda b, i: b.ops.inject_network_info(i, [present(b)]),
    "attach_volume": _attach,
    "detach_volume": _detach,
    "snapshot": _snapshot,
    "live_migration": _live_migration,
    "migrate_and_off": lambda b, i: b.ops.migrate_disk_and_power_off(None, i, "", _BIGGER),
    "finish_migration": lambda b, i: b.ops.finish_migration(None, None, i, None, None, None),
    "confirm_migration": lambda b, i: b.ops.confirm_migration(None, i, None),
    "revert_migration": lambda b, i: b.ops.finish_revert_migration(i, None),
    "destroy": lambda b, i: b.ops.destroy(i, None),
}
