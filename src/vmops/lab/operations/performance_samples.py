"""Samples of what the guests use, taken every twenty seconds and whenever somebody asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyVmomi import vim

from vmops.lab.hypervisor.errors import HypervisorError
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.vmx_devices import place_name
from vmops.lab.operations.performance_counters import (
    BY_NAME,
    WHOLE,
    Reading,
    Shape,
    Values,
    values_between,
)

log = logging.getLogger(__name__)

INTERVAL_S = 20
"""How often an ESXi host takes samples."""
KEPT = 180
"""Samples of an hour, which is as long as a host keeps them."""
_FRESH_S = 2.0
_AT_LEAST_S = 0.2  # over less time than this a rate says nothing

_device = vim.vm.device


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a guest did up to a moment, since the sample before."""

    timestamp: datetime
    values: Values


@dataclass(slots=True)
class _History:
    reading: Reading
    boot_time: datetime | None
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=KEPT))


class PerformanceSamples:
    """What is known of the guests that run. One event loop."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._histories: dict[str, _History] = {}
        self._taking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def start(self) -> None:
        """Take samples from now on, until the lab stops."""
        self._kernel.run_in_background(self._run(), "performance samples")

    async def _run(self) -> None:
        while True:
            for vm in self._kernel.registry.all(Machine):
                try:
                    await self.take(vm)
                except Exception:  # one machine that cannot be looked at is not all of them
                    log.exception("no sample of %s", vm.moid)
            for moid in [each for each in self._taking if each not in self._kernel.registry]:
                self._histories.pop(moid, None)
                del self._taking[moid]
            await asyncio.sleep(INTERVAL_S)

    async def take(self, vm: Machine, *, at_least_every_s: float = 0.0) -> None:
        """Take a sample of a machine, unless there is one of the last ``at_least_every_s``.

        One that does not run has none, and loses those it had.
        """
        if vm.power_state != "poweredOn" or not vm.is_accessible:
            self._histories.pop(vm.moid, None)
            return
        async with self._taking[vm.moid]:  # readings must follow each other in time
            await self._take(vm, at_least_every_s)

    async def _take(self, vm: Machine, at_least_every_s: float) -> None:
        history = self._histories.get(vm.moid)
        now = time.monotonic()
        boot_time = vm.properties["runtime"].bootTime
        if history is not None and history.boot_time != boot_time:
            history = None
        if (
            history is not None
            and history.samples
            and now - history.reading.at < max(at_least_every_s, _AT_LEAST_S)
        ):
            return
        try:
            used = await self._kernel.hypervisor.statistics(vm.moid)
        except HypervisorError:  # it has just ended, or is on its way
            return
        reading = Reading(at=time.monotonic(), used=used)
        if history is None:
            # The first one counts from the guest's start.
            self._histories[vm.moid] = history = _History(_begun(reading, boot_time), boot_time)
        values = values_between(history.reading, reading, _shape(vm))
        history.reading = reading
        before = self.latest(vm)
        history.samples.append(Sample(timestamp=datetime.now(UTC), values=values))
        if _shown(before) != _shown(values):
            self._kernel.touch(vm, "summary")

    async def samples(self, vm: Machine) -> list[Sample]:
        """Return the samples of a machine, oldest first, the last one fresh."""
        await self.take(vm, at_least_every_s=_FRESH_S)
        history = self._histories.get(vm.moid)
        return [] if history is None or vm.power_state != "poweredOn" else list(history.samples)

    def latest(self, vm: Machine) -> Values:
        """Return the values of the last sample; none if there is none."""
        history = self._histories.get(vm.moid)
        if history is None or not history.samples or vm.power_state != "poweredOn":
            return {}
        return history.samples[-1].values


def _begun(reading: Reading, boot_time: datetime | None) -> Reading:
    """Return the reading at a guest's start: it had used nothing."""
    since = datetime.now(UTC) - boot_time if boot_time is not None else None
    seconds = 1.0 if since is None else max(since.total_seconds(), _AT_LEAST_S)
    nothing = type(reading.used)(
        cpu_time_ns=0,
        resident_bytes=0,
        disks={
            key: type(disk)(read_bytes=0, written_bytes=0, reads=0, writes=0)
            for key, disk in reading.used.disks.items()
        },
        nics={
            key: type(nic)(received_bytes=0, sent_bytes=0) for key, nic in reading.used.nics.items()
        },
    )
    return Reading(at=reading.at - seconds, used=nothing)


def _shape(vm: Machine) -> Shape:
    boot_time = vm.properties["runtime"].bootTime
    uptime = (datetime.now(UTC) - boot_time).total_seconds() if boot_time is not None else 0.0
    disks = [each for each in vm.devices if isinstance(each, _device.VirtualDisk)]
    return Shape(
        cpus=vm.config.hardware.numCPU,
        mhz=vm.host.properties["hardware"].cpuInfo.hz // 1_000_000,
        memory_kib=vm.memory_mib * 1024,
        disks={each.key: place_name(each, vm.devices) or "" for each in disks},
        uptime_s=int(uptime),
    )


_QUICK = [BY_NAME[pair] for pair in (("cpu", "usagemhz"), ("mem", "consumed"), ("mem", "active"))]


def _shown(values: Values) -> list[int | None]:
    return [values.get((key, WHOLE)) for key in _QUICK]
