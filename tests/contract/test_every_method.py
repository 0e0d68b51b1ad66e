"""Every public method of the engine is called on every back end, on an instance fit for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.backends.capabilities import Capability
from tests.contract.engine import Bench
from tests.contract.needs import needs
from tests.contract.volumes import a_shadow_vm
from vmops import Flavor, Instance, Vif, VMwareVMOps, units
from vmops.errors import (
    ConsoleTypeUnavailable,
    HostNotFound,
    ImageNotAcceptable,
    InstanceNotFound,
    NotSupported,
    VMOpsError,
)
from vmops.model.block_devices import VolumeKind
from vmops.ops.volumes.made import WantedVolume

Call = Callable[[Bench, Instance], Any]
BIG = Flavor(vcpus=2, memory_mib=256, root_gib=0)


def _network(bench: Bench) -> str:
    return next(n.name for n in bench.session.inventory.networks() if not n.is_uplink)


def _live_migration(bench: Bench, instance: Instance) -> None:
    """To a host that is not there: where there is one host only, there is nowhere to go."""
    with pytest.raises(HostNotFound):
        bench.ops.live_migration(None, instance, "no-such-host", _nobody, _nobody)


def _nobody(*_arguments: Any) -> None:
    raise AssertionError("nobody is to be called")


def _resized(then: Call) -> Call:
    def call(bench: Bench, instance: Instance) -> Any:
        bench.ops.migrate_disk_and_power_off(None, instance, "", BIG)
        return then(bench, instance)

    return call


def _after(method: str, then: str) -> Call:
    def call(bench: Bench, instance: Instance) -> Any:
        getattr(bench.ops, method)(instance)
        return getattr(bench.ops, then)(instance)

    return call


def _plain(method: str, *more: Any) -> Call:
    return lambda bench, instance: getattr(bench.ops, method)(instance, *more)


def _vif(bench: Bench) -> Vif:
    return Vif(network=_network(bench), mac_address="00:50:56:12:34:56", id="one")


def _unrescue(bench: Bench, instance: Instance) -> None:
    bench.ops.rescue(None, instance, None, "flat")
    bench.ops.unrescue(instance)


def _detach_interface(bench: Bench, instance: Instance) -> None:
    """Off: a guest of one sector does not let go of a card."""
    bench.ops.attach_interface(None, instance, None, _vif(bench))
    bench.ops.power_off(instance)
    bench.ops.detach_interface(None, instance, _vif(bench))


def _detach_volume(bench: Bench, instance: Instance) -> None:
    connection = a_shadow_vm(bench).connection
    bench.ops.attach_volume(None, connection, instance)
    bench.ops.detach_volume(None, connection, instance)


def _made_volume(bench: Bench) -> str:
    name = f"vmops-test-{uuid.uuid4()}"
    wanted = WantedVolume(name=name, size_bytes=4 * units.MIB, kind=VolumeKind.VMDK)
    return bench.ops.create_volume(wanted).name


CALLS: dict[str, Call] = {
    "list_instances": lambda bench, _: bench.ops.list_instances(),
    "get_info": _plain("get_info"),
    "spawn": lambda bench, _: bench.spawn(),
    "destroy": _plain("destroy", None),
    "power_on": lambda bench, instance: bench.ops.power_on(None, instance, None, None),
    "power_off": _plain("power_off"),
    "reboot": _plain("reboot", None),
    "suspend": _plain("suspend"),
    "resume": _after("suspend", "resume"),
    "pause": _plain("pause"),
    "unpause": _after("pause", "unpause"),
    "rescue": lambda bench, instance: bench.ops.rescue(None, instance, None, "flat"),
    "unrescue": _unrescue,
    "poll_rebooting_instances": lambda bench, i: bench.ops.poll_rebooting_instances(30, [i]),
    "snapshot": lambda bench, i: bench.ops.snapshot(None, i, f"of {i.uuid}", lambda **_: None),
    "live_migration": _live_migration,
    "migrate_disk_and_power_off": _resized(lambda *_: None),
    "finish_migration": _resized(
        lambda bench, i: bench.ops.finish_migration(None, None, i, None, None, None)
    ),
    "confirm_migration": _resized(lambda bench, i: bench.ops.confirm_migration(None, i, None)),
    "finish_revert_migration": _resized(
        lambda bench, i: bench.ops.finish_revert_migration(i, None)
    ),
    "get_diagnostics": _plain("get_diagnostics"),
    "get_instance_diagnostics": _plain("get_instance_diagnostics"),
    "get_console_output": _plain("get_console_output"),
    "get_console_screenshot": _plain("get_console_screenshot"),
    "get_vnc_console": _plain("get_vnc_console"),
    "get_vnc_console_vcenter": _plain("get_vnc_console_vcenter"),
    "plug_vifs": lambda bench, instance: bench.ops.plug_vifs(instance, [_vif(bench)]),
    "unplug_vifs": lambda bench, instance: bench.ops.unplug_vifs(instance, [_vif(bench)]),
    "attach_interface": lambda b, i: b.ops.attach_interface(None, i, None, _vif(b)),
    "detach_interface": _detach_interface,
    "inject_network_info": lambda b, i: b.ops.inject_network_info(i, [_vif(b)]),
    "attach_volume": lambda b, i: b.ops.attach_volume(None, a_shadow_vm(b).connection, i),
    "detach_volume": _detach_volume,
    "volumeops": lambda b, i: b.ops.volumeops.get_volume_connector(i),
    "create_volume": lambda b, _: _made_volume(b),
    "list_volumes": lambda b, _: b.ops.list_volumes(),
    "find_volume": lambda b, _: b.ops.find_volume(_made_volume(b)),
    "delete_volume": lambda b, _: b.ops.delete_volume(_made_volume(b)),
}
UNKNOWN_IS_SUCCESS = {"destroy", "poll_rebooting_instances", "volumeops"}
NO_INSTANCE = {
    "list_instances",
    "spawn",
    "create_volume",
    "list_volumes",
    "find_volume",
    "delete_volume",
}


def test_none_is_left_out() -> None:
    public = {name for name in dir(VMwareVMOps) if not name.startswith("_")}
    assert set(CALLS) == public


@needs(Capability.NO_GUESTS)  # what guests make of each has tests of its own
@pytest.mark.parametrize("method", CALLS)
def test_it_works_or_says_what_the_endpoint_lacks(bench: Bench, method: str) -> None:
    instance = bench.spawn()
    try:
        CALLS[method](bench, instance)
    except (NotSupported, ConsoleTypeUnavailable, ImageNotAcceptable):
        lacks = {c.name for c in bench.backend.lacks}
        assert lacks & {"CONSOLES", "DISK_BYTES"}, "this endpoint has everything"
    if method == "destroy":
        assert bench.vm(instance) is None
    else:
        assert bench.vm(instance) is not None


@pytest.mark.parametrize("method", sorted(set(CALLS) - NO_INSTANCE - UNKNOWN_IS_SUCCESS))
def test_an_unknown_instance_is_named(bench: Bench, method: str) -> None:
    unknown = Instance(uuid="00000000-1111-4222-8333-444444444444", name="nobody")
    with pytest.raises(VMOpsError) as said:
        CALLS[method](bench, unknown)
    assert isinstance(said.value, InstanceNotFound)
    assert unknown.uuid in str(said.value)
