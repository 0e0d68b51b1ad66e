"""``RemoteDisplay.vnc.*``: what is served, without guests."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from tests.lab.client import Client
from tests.lab.specs import extra

ON = {"RemoteDisplay.vnc.enabled": "TRUE", "RemoteDisplay.vnc.password": "secret12"}


@pytest.fixture
def served(client: Client, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, str]]:
    """Which console is served where, as the hypervisor was told."""
    told = {}
    hypervisor = client.lab.kernel.hypervisor

    async def serve(key: str, port: int, password: str) -> None:
        told[key] = (port, password)

    async def stop(key: str) -> None:
        told.pop(key, None)

    monkeypatch.setattr(hypervisor, "serve_vnc", serve)
    monkeypatch.setattr(hypervisor, "stop_vnc", stop)
    return told


def test_it_is_served_from_power_on(
    client: Client, name: str, served: dict[str, tuple[int, str]]
) -> None:
    vm = client.create(name, extraConfig=extra(**ON, **{"RemoteDisplay.vnc.port": "5999"}))
    assert served == {}

    client.result(vm.PowerOnVM_Task())

    assert served == {vm._moId: (5999, "secret12")}


def test_it_changes_while_the_machine_runs(
    client: Client, name: str, served: dict[str, tuple[int, str]]
) -> None:
    vm = client.create(name)
    client.result(vm.PowerOnVM_Task())

    client.reconfigure(vm, extraConfig=extra(**ON, **{"RemoteDisplay.vnc.port": "5998"}))
    assert served == {vm._moId: (5998, "secret12")}
    client.reconfigure(vm, extraConfig=extra(**{"RemoteDisplay.vnc.enabled": "FALSE"}))
    assert served == {}


def test_a_port_is_one_machines(
    client: Client, name: str, served: dict[str, tuple[int, str]]
) -> None:
    options = extra(**ON, **{"RemoteDisplay.vnc.port": "5997"})
    first = client.create(f"{name}-1", extraConfig=options)
    second = client.create(f"{name}-2", extraConfig=options)
    client.result(first.PowerOnVM_Task())

    with pytest.raises(vim.fault.GenericVmConfigFault, match="5997"):
        client.result(second.PowerOnVM_Task())

    assert second.runtime.powerState == "poweredOff"
    client.result(first.PowerOffVM_Task())
    client.result(second.PowerOnVM_Task())


def test_without_a_password_nobody_is_let_in(
    client: Client, name: str, served: dict[str, tuple[int, str]]
) -> None:
    vm = client.create(name, extraConfig=extra(**{"RemoteDisplay.vnc.enabled": "TRUE"}))

    client.result(vm.PowerOnVM_Task())

    assert served == {}


def test_a_port_that_is_none_keeps_it_off(
    client: Client, name: str, served: dict[str, tuple[int, str]]
) -> None:
    vm = client.create(name, extraConfig=extra(**ON, **{"RemoteDisplay.vnc.port": "70000"}))

    with pytest.raises(vim.fault.GenericVmConfigFault):
        client.result(vm.PowerOnVM_Task())

    assert vm.runtime.powerState == "poweredOff"
