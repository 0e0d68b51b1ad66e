"""QEMU under the lab: command lines, processes, monitor, network segments."""

from vmops.lab.qemu.hypervisor import QemuHypervisor

__all__ = ["QemuHypervisor"]
