"""Consoles for viewers: plain VNC, and a WebSocket that a ticket opens once."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from pyVmomi import vim

from tests.backends import second_view
from tests.backends.capabilities import Capability
from tests.builders import a_uuid
from tests.contract.engine import OF_WAITING, Bench
from tests.contract.needs import needs
from tests.contract.test_console import read_until, text_of
from tests.contract.test_power import OFF, ON, SUSPENDED, in_state
from tests.rfb import Viewer
from vmops import EngineSettings, Instance
from vmops.errors import ConsoleTypeUnavailable, DuplicateName, Exhausted, InstanceNotFound
from vmops.lab.operations.console_tickets import LIFETIME_S, ConsoleTickets
from vmops.ops.engine.vnc import VncPorts

PASSWORD = "only8chr"
MANY = 40


def free_ports(count: int) -> int:
    """The first of so many TCP ports that nobody listens at."""
    for first in range(42_000, 60_000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise LookupError("there are no free ports")


def options(bench: Bench, instance: Instance) -> dict[str, str]:
    """The VNC settings of a VM, as the second view has them."""
    prefix = "RemoteDisplay.vnc."
    found = second_view.extra_config(bench.vm(instance))
    return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}


def host_of(bench: Bench, instance: Instance) -> str:
    host = second_view.properties(bench.vm(instance), "runtime.host")["runtime.host"]
    return str(second_view.properties(host, "name")["name"])


def vnc_spawned(bench: Bench, *, power_on: bool = True, **settings: Any) -> tuple[Any, Instance]:
    """An engine that gives out VNC ports, and an instance that has one."""
    given = {"console": "vnc", "vnc_port": free_ports(10), "vnc_port_total": 10, **settings}
    ops = bench.engine(**given)
    return ops, bench.spawn(ops=ops, power_on=power_on)


# Plain VNC


def test_a_new_instance_has_the_lowest_free_port_and_a_password_of_its_own(bench: Bench) -> None:
    first = free_ports(10)
    ops, one = vnc_spawned(bench, vnc_port=first)
    two = bench.spawn(ops=ops)
    found = [options(bench, instance) for instance in (one, two)]
    assert [each["port"] for each in found] == [str(first), str(first + 1)]
    assert all(each["enabled"].lower() == "true" for each in found)
    assert len({each["password"] for each in found} - {""}) == 2
    assert all(len(each["password"]) == 8 for each in found)
    ops.destroy(one, None)
    assert options(bench, bench.spawn(ops=ops))["port"] == str(first)


def test_without_ports_in_the_settings_there_is_no_vnc(bench: Bench) -> None:
    instance = in_state(bench, ON)
    assert options(bench, instance) == {}
    with pytest.raises(ConsoleTypeUnavailable, match=r"RemoteDisplay\.vnc\.port"):
        bench.engine(console="vnc").get_vnc_console(instance)


def test_the_console_is_at_the_endpoint_or_at_the_host(bench: Bench) -> None:
    ops, instance = vnc_spawned(bench, vnc_password=PASSWORD)
    expected = {
        "port": int(options(bench, instance)["port"]),
        "internal_access_path": None,
        "password": PASSWORD,
    }
    at_endpoint = urlsplit(bench.backend.url).hostname
    assert ops.get_vnc_console(instance) == {"host": at_endpoint, **expected}
    at_host = host_of(bench, instance)
    assert ops.get_vnc_console_vcenter(instance) == {"host": at_host, **expected}


@needs(Capability.VCENTER, Capability.CONTROL)
def test_the_vcenter_console_follows_the_instance_to_its_host(bench: Bench) -> None:
    ops, instance = vnc_spawned(bench)
    before = ops.get_vnc_console_vcenter(instance)
    hosts = second_view.every(bench.content, vim.HostSystem, "name")
    other = next(h for h, found in hosts.items() if found["name"] != before["host"])
    second_view.finished(bench.vm(instance).MigrateVM_Task(host=other, priority="defaultPriority"))
    after = ops.get_vnc_console_vcenter(instance)
    assert after["host"] == hosts[other]["name"] == host_of(bench, instance)
    assert {**after, "host": ""} == {**before, "host": ""}


def test_ports_that_others_took_are_passed_over(bench: Bench) -> None:
    first = free_ports(10)
    taken = {"RemoteDisplay.vnc.port": str(first)}
    bench.spawn(extra_config=taken, power_on=False)
    _, instance = vnc_spawned(bench, vnc_port=first)
    assert options(bench, instance)["port"] == str(first + 1)


def test_when_all_ports_are_taken_nothing_is_created(bench: Bench) -> None:
    ops, _ = vnc_spawned(bench, vnc_port_total=1)
    before = bench.world()
    with pytest.raises(Exhausted, match="VNC"):
        bench.spawn(ops=ops)
    assert bench.world() == before


@needs(Capability.UNIQUE_NAMES)
def test_a_spawn_that_fails_gives_its_port_back(bench: Bench) -> None:
    ops = bench.engine(vnc_port=free_ports(10), vnc_port_total=1)
    taken = bench.spawn(power_on=False)
    for _ in range(2):
        with pytest.raises(DuplicateName):
            bench.spawn(ops=ops, instance=Instance(uuid=a_uuid(), name=taken.name))
    assert options(bench, bench.spawn(ops=ops))["enabled"]


@needs(Capability.CONTROL)
def test_many_that_run_have_a_port_each(bench: Bench) -> None:
    """No port is given twice, wherever they may go."""
    count = MANY if Capability.GUEST in bench.backend.lacks else 6
    first = free_ports(count)
    # Engines that share a session, as those of one process do.
    engines = [bench.engine(vnc_port=first, vnc_port_total=count) for _ in range(2)]
    bench.spawn(power_on=False)  # the image is in the cache

    def one(number: int) -> Instance:
        return bench.spawn(ops=engines[number % 2])

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(one, range(count)))
    wanted = ("runtime.powerState", "config.extraConfig", "config.instanceUuid")
    there = second_view.every(bench.content, vim.VirtualMachine, *wanted)
    uuids = {instance.uuid for instance in made}
    found = [values for values in there.values() if values["config.instanceUuid"] in uuids]
    ports = [
        int(option.value)
        for values in found
        for option in values["config.extraConfig"]
        if option.key == "RemoteDisplay.vnc.port"
    ]
    assert {values["runtime.powerState"] for values in found} == {ON}
    assert sorted(ports) == list(range(first, first + count))


@needs(Capability.CONTROL, Capability.NO_GUESTS)
def test_two_hundred_spawns_under_way_have_a_port_each(bench: Bench) -> None:
    """Ports of spawns whose VMs are not there yet, and of two engines; then all are free again."""
    first, count = 20_000, 200
    settings = EngineSettings(vnc_port=first, vnc_port_total=count + 1)
    ports = [VncPorts(bench.session, settings) for _ in range(2)]
    ops, taken = bench.engine(vnc_port=first, vnc_port_total=1), []
    there = bench.spawn(ops=ops, power_on=False)  # one that is there has the first port

    def one(number: int) -> None:
        with ports[number % 2].reserve() as given:
            taken.append(int(given["RemoteDisplay.vnc.port"]))
            all_begun.wait(60.0)

    all_begun = Barrier(count)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(one, range(count)))
    assert options(bench, there)["port"] == str(first)
    assert sorted(taken) == list(range(first + 1, first + 1 + count))
    with ports[0].reserve() as given:
        assert int(given["RemoteDisplay.vnc.port"]) == first + 1


@pytest.mark.parametrize("state", [OFF, SUSPENDED])
@pytest.mark.parametrize("console", ["vnc", "webmks"])
@needs(Capability.CONSOLES)
def test_what_does_not_run_has_no_console(bench: Bench, console: str, state: str) -> None:
    _, instance = vnc_spawned(bench, power_on=state != OFF)
    if state == SUSPENDED:
        second_view.finished(bench.vm(instance).SuspendVM_Task())
    ops = bench.engine(console=console)
    for look in (ops.get_vnc_console, ops.get_vnc_console_vcenter):
        with pytest.raises(ConsoleTypeUnavailable, match=instance.uuid):
            look(instance)


@pytest.mark.parametrize("console", ["auto", "vnc", "webmks"])
def test_an_unknown_instance(bench: Bench, console: str) -> None:
    ops = bench.engine(console=console)
    for look in (ops.get_vnc_console, ops.get_vnc_console_vcenter):
        with pytest.raises(InstanceNotFound):
            look(a_uuid())


def test_an_endpoint_without_tickets_has_no_such_console(bench: Bench) -> None:
    if Capability.CONSOLES not in bench.backend.lacks:
        pytest.skip("this one has tickets")
    instance = in_state(bench, ON)
    with pytest.raises(ConsoleTypeUnavailable, match=instance.uuid):
        bench.engine(console="webmks").get_vnc_console(instance)


@needs(Capability.COUNTED_CALLS)
@pytest.mark.parametrize(
    ("console", "call"), [("vnc", "RetrievePropertiesEx"), ("webmks", "AcquireTicket")]
)
def test_a_console_costs_one_call(bench: Bench, console: str, call: str) -> None:
    ops, instance = vnc_spawned(bench, console=console)
    ops.get_vnc_console_vcenter(instance)
    bench.backend.forget_calls()
    ops.get_vnc_console_vcenter(instance)
    assert {k: n for k, n in bench.backend.calls().items() if k not in OF_WAITING} == {call: 1}


# Tickets


@needs(Capability.CONSOLES)
def test_by_default_an_endpoint_of_today_gives_a_ticket(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    instance = in_state(bench, ON)
    with caplog.at_level(logging.DEBUG):
        console = bench.ops.get_vnc_console(instance)
    path = console["internal_access_path"] or ""
    assert path.startswith("/ticket/")
    assert console["host"]
    assert console["port"]
    assert len(path) > len("/ticket/") + 16
    assert path.removeprefix("/ticket/") not in caplog.text
    again = bench.ops.get_vnc_console(instance)
    assert again["internal_access_path"] != path


class WebSocketLine:
    """A viewer's line through a ticket; an aiohttp client, which checks the frames."""

    def __init__(self, console: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._data = b""
        address = f"wss://{console['host']}:{console['port']}{console['internal_access_path']}"
        thumbprint = bytes.fromhex(console["thumbprint"].replace(":", ""))
        self._session = self._run(self._open())
        try:
            self.socket = self._run(
                self._session.ws_connect(
                    address,
                    protocols=("binary",),
                    ssl=aiohttp.Fingerprint(thumbprint) if len(thumbprint) == 32 else False,
                )
            )
        except BaseException:
            self._run(self._end())
            self._loop.close()
            raise

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def _end(self) -> None:
        await self._session.close()
        await asyncio.sleep(0.25)  # TLS says goodbye after the session is closed

    def _run(self, work: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, 60))

    def send(self, data: bytes) -> None:
        self._run(self.socket.send_bytes(data))

    def receive(self, count: int) -> bytes:
        while len(self._data) < count:
            message = self._run(self.socket.receive())
            assert message.type is aiohttp.WSMsgType.BINARY, message
            self._data += message.data
        found, self._data = self._data[:count], self._data[count:]
        return found

    def close(self) -> None:
        self._run(self.socket.close())
        self._run(self._end())
        self._loop.close()


class TcpLine:
    """A viewer's line as ESXi 6 has it."""

    def __init__(self, console: Any) -> None:
        self._socket = socket.create_connection(("127.0.0.1", console["port"]), timeout=60)
        self.send = self._socket.sendall

    def receive(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            assert more, "the server hung up"
            data += more
        return data

    def close(self) -> None:
        self._socket.close()


def as_png(width: int, rows: list[bytes]) -> bytes:
    """Rows of RGB as PNG, three times as large, as tesseract likes its letters."""
    scale = 3
    large = []
    for row in rows:
        wide = b"".join(row[at : at + 3] * scale for at in range(0, 3 * width, 3))
        large += [b"\0" + wide] * scale
    head = struct.pack(">IIBBBBB", width * scale, len(rows) * scale, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(large), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@needs(Capability.GUEST)
@pytest.mark.parametrize("kind", ["vnc", "webmks"])
def test_a_viewer_reads_what_the_guest_shows(bench: Bench, kind: str, tmp_path: Path) -> None:
    ops, instance = vnc_spawned(bench, console=kind)
    bench.serial(instance).wait_for("tick 2")
    console = ops.get_vnc_console(instance)
    line = (TcpLine if kind == "vnc" else WebSocketLine)(console)
    try:
        viewer = Viewer(line.send, line.receive)
        viewer.log_in(console.get("password"))

        def read() -> str:
            return text_of(as_png(viewer.width, viewer.picture()), tmp_path / "screen.png")

        assert "vmops boot sector" in read_until("tick", read)
    finally:
        line.close()


@needs(Capability.GUEST)
def test_a_wrong_password_shows_nothing(bench: Bench) -> None:
    ops, instance = vnc_spawned(bench, vnc_password=PASSWORD)
    line = TcpLine(ops.get_vnc_console(instance))
    try:
        with pytest.raises(PermissionError):
            Viewer(line.send, line.receive).log_in("wrong")
    finally:
        line.close()


@needs(Capability.GUEST)
def test_a_ticket_works_once(bench: Bench) -> None:
    instance = bench.spawn()
    console = bench.ops.get_vnc_console(instance)
    first = WebSocketLine(console)
    assert first.socket.protocol == "binary"
    assert first.receive(12).startswith(b"RFB 003.")
    first.close()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        WebSocketLine(console)
    assert refused.value.status == 404


@needs(Capability.CONTROL)
def test_a_ticket_dies_unused_after_a_while(bench: Bench) -> None:
    instance = bench.spawn()
    console = bench.ops.get_vnc_console(instance)

    async def wait(kernel: Any) -> None:
        tickets = kernel.service(ConsoleTickets)
        tickets.clock = lambda: time.monotonic() + LIFETIME_S + 1.0

    async def wait_no_more(kernel: Any) -> None:
        kernel.service(ConsoleTickets).clock = time.monotonic

    lab = bench.control.lab
    lab.on_loop(wait)
    try:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            WebSocketLine(console)
    finally:
        lab.on_loop(wait_no_more)
    assert refused.value.status == 404
    assert (
        bench.ops.get_vnc_console(instance)["internal_access_path"]
        != (console["internal_access_path"])
    )


@needs(Capability.GUEST)
def test_a_ticket_dies_with_the_guest(bench: Bench) -> None:
    instance = bench.spawn()
    console = bench.ops.get_vnc_console(instance)
    bench.ops.power_off(instance)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        WebSocketLine(console)
    bench.ops.power_on(None, instance)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        WebSocketLine(console)


@needs(Capability.GUEST)
def test_a_moved_port_is_where_the_console_says(bench: Bench) -> None:
    """Somebody may give a VM another port while it runs."""
    ops, instance = vnc_spawned(bench)
    port = free_ports(1)
    value = vim.option.OptionValue(key="RemoteDisplay.vnc.port", value=str(port))
    change = vim.vm.ConfigSpec(extraConfig=[value])
    second_view.finished(bench.vm(instance).ReconfigVM_Task(change))
    console = ops.get_vnc_console(instance)
    assert console["port"] == port
    line = TcpLine(console)
    try:
        Viewer(line.send, line.receive).log_in(console["password"])
    finally:
        line.close()
