"""A look at an endpoint with nothing but pyVmomi: what the code under test says is checked here."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter

VERSION = "vim.version.version12"  # 6.5: the newest that all back ends speak


@contextmanager
def logged_in(url: str, username: str, password: str, context: ssl.SSLContext) -> Iterator[Any]:
    """Give the service content of a session of its own."""
    address = urlsplit(url)
    stub = SoapStubAdapter(
        host=address.hostname,
        port=address.port or 443,
        path="/sdk",
        version=VERSION,
        sslContext=context,
    )
    content: Any = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    content.sessionManager.Login(username, password)
    try:
        yield content
    finally:
        with suppress(vmodl.MethodFault, OSError):
            content.sessionManager.Logout()
        stub.DropConnections()


def finished(task: Any, seconds: float = 60.0) -> Any:
    """Wait for a task by asking, and return its result; its fault is raised.

    Leaf paths: the whole `Task.info` of a file manager's task does not decode.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = properties(task, "info.state", "info.error", "info.result")
        if found.get("info.state") == "success":
            return found.get("info.result")
        if found.get("info.state") == "error":
            raise found["info.error"]
        assert time.monotonic() < deadline, f"{task} does not end"
        time.sleep(0.01)


def properties(obj: Any, *paths: str) -> dict[str, Any]:
    """The values of an object's properties in one read; what is unset is absent."""
    stub = obj._GetStub()
    content: Any = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
    found = retrieve(content, [obj], type(obj), paths)
    return next(iter(found.values()), {})


def retrieve(
    content: Any, objects: list[Any], kind: Any, paths: tuple[str, ...]
) -> dict[Any, dict[str, Any]]:
    if not objects:
        return {}
    spec = vmodl.query.PropertyCollector.FilterSpec(
        objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=obj) for obj in objects],
        propSet=[vmodl.query.PropertyCollector.PropertySpec(type=kind, pathSet=list(paths))],
    )
    try:
        answer = content.propertyCollector.RetrieveContents([spec])
    except vmodl.fault.ManagedObjectNotFound as gone:
        # It went between two calls; vcsim also lists some that went long ago.
        left = [obj for obj in objects if obj != gone.obj]
        if len(left) == len(objects):
            raise
        return retrieve(content, left, kind, paths)
    return {one.obj: {each.name: each.val for each in one.propSet} for one in answer}


def every(content: Any, kind: Any, *paths: str) -> dict[Any, dict[str, Any]]:
    """All objects of a type with these properties."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    try:
        objects = list(properties(view, "view").get("view") or [])
    finally:
        view.Destroy()
    return retrieve(content, objects, kind, paths)


def named(content: Any, kind: Any, name: str) -> Any:
    """The one object of this type and name.

    Raises:
        LookupError: there is none.
    """
    for obj, found in every(content, kind, "name").items():
        if found.get("name") == name:
            return obj
    raise LookupError(f"there is no {kind.__name__} {name}")


def only(content: Any, kind: Any) -> Any:
    """The only object of a type, as the datacenter is."""
    return next(iter(every(content, kind, "name")))


def vm_of(content: Any, uuid: str) -> Any:
    """The virtual machine of an instance UUID, or None."""
    for vm, found in every(content, vim.VirtualMachine, "config.instanceUuid").items():
        if found.get("config.instanceUuid") == uuid:
            return vm
    return None


def vms(content: Any) -> dict[str, dict[str, Any]]:
    """What tells whether a VM is there and was touched, by reference and by name."""
    found = every(
        content,
        vim.VirtualMachine,
        "name",
        "runtime.powerState",
        "config.instanceUuid",
        "config.changeVersion",
        "config.files.vmPathName",
    )
    return {vm._GetMoId(): values for vm, values in found.items()}


def devices(vm: Any, kind: Any) -> list[Any]:
    """The devices of a kind, in the server's order."""
    found = properties(vm, "config.hardware.device")["config.hardware.device"]
    return [device for device in found if isinstance(device, kind)]


def extra_config(vm: Any) -> dict[str, str]:
    """All of ``extraConfig``."""
    options = properties(vm, "config.extraConfig").get("config.extraConfig") or []
    return {option.key: option.value for option in options}
