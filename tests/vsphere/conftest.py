from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from pyVmomi import vim

import vmops
from tests.backends import vcsim
from tests.vsphere.interposer import Interposer
from vmops.errors import ManagedObjectNotFound
from vmops.lab import Lab, LabSettings
from vmops.vsphere.objects.folder import Folder
from vmops.vsphere.objects.virtual_machine import VirtualMachine
from vmops.vsphere.session import Session
from vmops.vsphere.wire.limits import Limits

Found = TypeVar("Found")


@dataclass(frozen=True)
class Place:
    """An endpoint, and who may log in there."""

    kind: str
    url: str
    username: str
    password: str
    thumbprint: str

    def connect(self, **settings: Any) -> Session:
        return vmops.connect(
            self.url, self.username, self.password, thumbprint=self.thumbprint, **settings
        )


class MakeVm(Protocol):
    """Creates a virtual machine; returns it with its instance's UUID."""

    def __call__(
        self, session: Session, name: str | None = None, **config: Any
    ) -> tuple[VirtualMachine, str]: ...


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    settings = LabSettings(state_dir=tmp_path_factory.mktemp("lab"), hypervisor="none")
    with Lab.run(settings) as running:
        yield Place("lab", running.url, running.username, running.password, running.thumbprint)


@pytest.fixture(scope="session")
def slow_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A lab whose tasks take three tenths of a second."""
    settings = LabSettings(
        state_dir=tmp_path_factory.mktemp("slow-lab"), hypervisor="none", task_delay_s=0.3
    )
    with Lab.run(settings) as running:
        yield Place("lab", running.url, running.username, running.password, running.thumbprint)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Place]:
    if reason := vcsim.missing():
        pytest.skip(reason)
    with vcsim.Vcsim() as running:
        yield Place("vcsim", running.url, running.username, running.password, running.thumbprint)


@pytest.fixture(params=["lab", pytest.param("vcsim", marks=pytest.mark.vcsim)])
def place(request: pytest.FixtureRequest) -> Place:
    """Each endpoint in turn."""
    found = request.getfixturevalue("lab" if request.param == "lab" else "simulator")
    assert isinstance(found, Place)
    return found


@pytest.fixture
def session(place: Place) -> Iterator[Session]:
    with place.connect() as connected:
        yield connected


@pytest.fixture
def between(lab: Place, tmp_path: Path) -> Iterator[Interposer]:
    """What stands between the client and the lab."""
    with Interposer(lab.url, tmp_path) as interposer:
        yield interposer


@pytest.fixture
def disturbed(lab: Place, between: Interposer, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session through the interposer; its parameter, if there is one, is its `Limits`."""
    limits: Limits = getattr(request, "param", Limits())
    with vmops.connect(
        between.url, lab.username, lab.password, ca_file=between.ca_file, timeout_s=3, limits=limits
    ) as connected:
        yield connected


def end_session(session: Session, admin: Session) -> None:
    """End a session at the server, as an expiry does."""
    manager = session.client.content.sessionManager
    key = session.properties.read_one(manager, "currentSession")["currentSession"].key
    admin.call(admin.content.sessionManager, "TerminateSession", sessionId=[key])


@pytest.fixture
def make_vm() -> Iterator[MakeVm]:
    """Creates virtual machines without disks; they are gone after the test."""
    made: list[VirtualMachine] = []

    def make(
        session: Session, name: str | None = None, **config: Any
    ) -> tuple[VirtualMachine, str]:
        instance_uuid = str(config.pop("instanceUuid", uuid.uuid4()))
        name = name or f"vm-{instance_uuid[:8]}"
        cluster = session.inventory.cluster()
        datastore = session.inventory.datastores()[0]
        spec = vim.vm.ConfigSpec(
            name=name,
            instanceUuid=instance_uuid,
            numCPUs=1,
            memoryMB=64,
            guestId="otherGuest",
            files=vim.vm.FileInfo(vmPathName=f"[{datastore.name}]"),
            **config,
        )
        folder = Folder(session, session.inventory.datacenter(cluster.datacenter).vm_folder)
        vm = folder.create_vm(spec, cluster.resource_pool)
        made.append(vm)
        return vm, instance_uuid

    yield make
    for vm in made:
        if not vm.session.client.is_closed:
            with suppress(ManagedObjectNotFound):
                if vm.power_state() != "poweredOff":
                    vm.power_off()
                vm.destroy()


@pytest.fixture(autouse=True)
def no_thread_of_the_client_is_left() -> Iterator[None]:
    yield
    end = time.monotonic() + 3
    while left := [
        t.name for t in threading.enumerate() if t.name in {"vmops-stream", "vmops-lease"}
    ]:
        assert time.monotonic() < end, left
        time.sleep(0.02)


def eventually(condition: Callable[[], Found | None], seconds: float = 5.0) -> Found:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.01)
    return found
