"""The managers every lab has, under the ids that vCenter or an ESXi host gives them."""

from __future__ import annotations

from vmops.lab.kernel.collector import PropertyCollector
from vmops.lab.kernel.filters import Fingerprint
from vmops.lab.kernel.kernel import Kernel
from vmops.lab.kernel.option_manager import OptionManager
from vmops.lab.kernel.service_instance import ServiceInstance
from vmops.lab.kernel.session_manager import SessionManager
from vmops.lab.kernel.task import Tasks
from vmops.lab.kernel.task_manager import TaskManager
from vmops.lab.kernel.views import ViewManager


def add_service(
    kernel: Kernel, *, password: str, instance_uuid: str, fingerprint: Fingerprint
) -> SessionManager:
    """Add them to an empty kernel; the session manager is also the HTTP side's."""
    esx = kernel.settings.esx
    kernel.provide(Tasks(kernel))
    sessions = SessionManager(kernel, "ha-sessionmgr" if esx else "SessionManager", password)
    options: dict[str, object] = (
        {"Config.HostAgent.plugins.solo.enableMob": False}
        if esx
        else {
            "VirtualCenter.InstanceName": "127.0.0.1",
            "VirtualCenter.FQDN": "127.0.0.1",
            "config.vpxd.stats.maxQueryMetrics": 64,
        }
    )
    for obj in (
        ServiceInstance(kernel, "ServiceInstance", instance_uuid),
        sessions,
        PropertyCollector(
            kernel, "ha-property-collector" if esx else "propertyCollector", fingerprint
        ),
        ViewManager(kernel, "ViewManager"),
        TaskManager(kernel, "ha-taskmgr" if esx else "TaskManager"),
        OptionManager(kernel, "HostAgentSettings" if esx else "VpxSettings", options),
    ):
        kernel.add(obj)
    return sessions
