"""Serial ports that a concentrator listens to, and the logs it writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.concentrator import concentrator
from tests.contract.engine import Bench
from tests.contract.needs import needs
from vmops.errors import InstanceNotFound, NotSupported
from vmops.model.instance import Instance

TAIL = 100 * 1024


def port_of(bench: Bench, instance: Instance) -> Any:
    devices = bench.vm(instance).config.hardware.device
    [port] = [each for each in devices if isinstance(each, vim.vm.device.VirtualSerialPort)]
    return port.backing


@needs(Capability.CONTROL)
def test_the_port_is_where_the_settings_say(bench: Bench, tmp_path: Path) -> None:
    ops = bench.engine(
        serial_port_service_uri="vmops",
        serial_port_proxy_uri="telnet://127.0.0.1:13370",
        serial_log_dir=tmp_path,
    )
    instance = bench.spawn(ops=ops, power_on=False)

    backing = port_of(bench, instance)
    assert (backing.serviceURI, backing.direction) == ("vmops", "server")
    assert backing.proxyURI == "telnet://127.0.0.1:13370"
    assert not (bench.root() / instance.uuid / "serial.log").exists()
    with pytest.raises(NotSupported, match="serial port"):
        bench.ops.get_console_output(instance)
    assert ops.get_console_output(instance) == b""
    content = b"".join(b"line %d\r\n" % number for number in range(20_000))
    (tmp_path / instance.uuid.replace("-", "")).write_bytes(content)
    assert ops.get_console_output(instance) == content[-TAIL:]
    with pytest.raises(InstanceNotFound):
        ops.get_console_output(a_uuid())


@needs(Capability.CONTROL)
def test_an_instance_with_a_log_of_its_own_keeps_it(bench: Bench, tmp_path: Path) -> None:
    instance = bench.spawn(power_on=False)
    (bench.root() / instance.uuid / "serial.log").write_bytes(b"its own")
    (tmp_path / instance.uuid.replace("-", "")).write_bytes(b"another's")
    assert bench.engine(serial_log_dir=tmp_path).get_console_output(instance) == b"its own"


@needs(Capability.GUEST)
def test_the_output_is_what_the_concentrator_heard(bench: Bench, tmp_path: Path) -> None:
    with concentrator(tmp_path, uri="vmops") as server:
        ops = bench.engine(
            serial_port_service_uri="vmops",
            serial_port_proxy_uri=server.address,
            serial_log_dir=tmp_path,
        )
        instance = bench.spawn(ops=ops)
        deadline = time.monotonic() + 60
        while b"tick 2" not in (heard := ops.get_console_output(instance)):
            assert time.monotonic() < deadline, heard
            time.sleep(0.1)
        assert ("name", instance.name) in server.said
        ops.destroy(instance, ())
