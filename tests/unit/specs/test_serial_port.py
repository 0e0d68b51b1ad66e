"""Where a new machine's serial port goes."""

from __future__ import annotations

from typing import Any

import pytest
from pyVmomi import vim

from tests.builders import an_instance
from vmops.model.datastore_path import DatastorePath
from vmops.specs.virtual_machine import NewMachine, new_machine

LOG = DatastorePath.parse("[ds] a/serial.log")
_Serial: Any = vim.vm.device.VirtualSerialPort


def backings(**fields: Any) -> list[Any]:
    machine = NewMachine(
        instance=an_instance(),
        vmx=DatastorePath.parse("[ds] a/a.vmx"),
        guest_id="otherGuest",
        **fields,
    )
    devices = [change.device for change in new_machine(machine).deviceChange]
    return [each.backing for each in devices if isinstance(each, _Serial)]


def test_there_is_none_unless_it_is_asked_for() -> None:
    assert backings(serial_proxy_uri="telnet://c:1") == []


def test_it_writes_to_a_log() -> None:
    [backing] = backings(serial_log=LOG)
    assert isinstance(backing, _Serial.FileBackingInfo)
    assert backing.fileName == str(LOG)


@pytest.mark.parametrize("proxy", ["", "telnet://concentrator:13370"])
def test_an_address_goes_before_a_log(proxy: str) -> None:
    [backing] = backings(serial_log=LOG, serial_service_uri="any", serial_proxy_uri=proxy)
    assert isinstance(backing, _Serial.URIBackingInfo)
    assert (backing.serviceURI, backing.direction) == ("any", "server")
    assert backing.proxyURI == (proxy or None)
