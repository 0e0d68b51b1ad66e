"""What a host of the lab says it is made of: the machine the lab runs on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pyVmomi import vim

from vmops.lab.inventory.wire_defaults import filled

ESXI_VERSION = "8.0.3"
_BUILD = "24022510"
_DEFAULT_MHZ = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine under the lab: processors, their clock in MHz, memory in bytes."""

    threads: int
    mhz: int
    model: str
    memory_bytes: int


@cache
def this_machine() -> Machine:
    """Read what this machine is made of."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    clock = re.search(r"^cpu MHz\s*:\s*([0-9]{1,9})", text, re.MULTILINE)
    return Machine(
        threads=os.cpu_count() or 1,
        mhz=int(clock.group(1)) if clock else _DEFAULT_MHZ,
        model=model.group(1).strip() if model else "x86-64",
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def product() -> vim.AboutInfo:
    """Build the AboutInfo of a host."""
    return vim.AboutInfo(
        name="VMware ESXi",
        fullName=f"VMware ESXi {ESXI_VERSION} build-{_BUILD}",
        vendor="VMware, Inc.",
        version=ESXI_VERSION,
        build=_BUILD,
        osType="vmnix-x86",
        productLineId="embeddedEsx",
        apiType="HostAgent",
        apiVersion=f"{ESXI_VERSION}.0",
        licenseProductName="VMware ESX Server",
        licenseProductVersion="8.0",
    )


def hardware(uuid: str) -> vim.host.HardwareInfo:
    """Build a host's HardwareInfo."""
    machine = this_machine()
    return vim.host.HardwareInfo(
        systemInfo=vim.host.SystemInfo(vendor="vmops", model="lab host", uuid=uuid),
        cpuInfo=vim.host.CpuInfo(
            numCpuPackages=1,
            numCpuCores=machine.threads,
            numCpuThreads=machine.threads,
            hz=machine.mhz * 1_000_000,
        ),
        cpuPkg=[
            vim.host.CpuPackage(
                index=0,
                vendor="intel" if "Intel" in machine.model else "amd",
                hz=machine.mhz * 1_000_000,
                busHz=100_000_000,
                description=machine.model,
                threadId=list(range(machine.threads)),
            )
        ],
        memorySize=machine.memory_bytes,
        numaInfo=vim.host.NumaInfo(type="UMA", numNodes=1),
        smcPresent=False,
        biosInfo=vim.host.BIOSInfo(biosVersion="1", releaseDate=datetime(2024, 1, 1, tzinfo=UTC)),
    )


def hardware_summary(uuid: str) -> vim.host.Summary.HardwareSummary:
    """Build the short form that ``summary.hardware`` has."""
    machine = this_machine()
    return vim.host.Summary.HardwareSummary(
        vendor="vmops",
        model="lab host",
        uuid=uuid,
        memorySize=machine.memory_bytes,
        cpuModel=machine.model,
        cpuMhz=machine.mhz,
        numCpuPkgs=1,
        numCpuCores=machine.threads,
        numCpuThreads=machine.threads,
        numNics=1,
        numHBAs=1,
    )


def capability() -> vim.host.Capability:
    """Build what a lab host can do; all else is False."""
    return filled(
        vim.host.Capability,
        recursiveResourcePoolsSupported=True,
        cpuMemoryResourceConfigurationSupported=True,
        maintenanceModeSupported=True,
        vlanTaggingSupported=True,
        screenshotSupported=True,
        deltaDiskBackingsSupported=True,
        maxSupportedVcpus=768,
        maxHostSupportedVcpus=4096,
        maxSupportedVMs=1024,
        maxRunningVMs=1024,
        maxHostRunningVms=1024,
        maxRegisteredVMs=4096,
    )
