"""QEMU under the lab: command lines, processes, monitor, network segments.

Here belongs what only QEMU needs; what any hypervisor does is said in `hypervisor`.
"""

from vmops.lab.qemu.hypervisor import QemuHypervisor

__all__ = ["QemuHypervisor"]
