"""vmops itself, asked for the same things as Nova's driver."""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.programs.serving import serve, timestamp

POLL_S = 0.02


class EngineProgram:
    """The handlers; what they take is the same as in `nova_driver`."""

    def __init__(self, store: Path) -> None:
        self.store_dir = store

    def connect(
        self,
        *,
        url: str,
        username: str,
        password: str,
        ca_file: str,
        cluster: str,
        datastore: str,
        **_: Any,
    ) -> str:
        """Import the engine and log in."""
        import vmops
        from vmops.images.directory_store import DirectoryImageStore

        self.session = vmops.connect(url, username, password, ca_file=ca_file)
        self.images = DirectoryImageStore(self.store_dir)
        self.vmops = vmops.VMwareVMOps(
            self.session,
            cluster_name=cluster,
            images=self.images,
            config=vmops.EngineSettings(datastore=datastore),
        )
        return vmops.__version__

    def add_image(self, image: dict[str, Any]) -> None:
        """Put an image into the engine's store, under its id."""
        from vmops.model.image import DiskType

        properties = {
            "vmware_ostype": image["guest_id"],
            "hw_scsi_model": image.get("scsi_model", "lsilogic"),
            "hw_vif_model": "vmxnet3",
            "img_linked_clone": image.get("linked_clone", "true"),
        }
        self.images.add(
            Path(image["path"]),
            image["id"],
            disk_type=DiskType(image["disk_type"]),
            properties=properties,
        )

    def spawn(self, uuid: str, name: str, image: dict[str, Any], size: dict[str, int],
              network: str | None) -> None:  # fmt: skip
        from vmops import Instance, Vif

        instance = Instance(uuid=uuid, name=name, project_id="benchmark", flavor=self._flavor(size))
        vifs = [Vif(network=network, mac_address="00:50:56:3b:10:01")] if network else []
        self.vmops.spawn(None, instance, image["id"], vifs)

    def _flavor(self, size: dict[str, int]) -> Any:
        from vmops import Flavor

        return Flavor(vcpus=size["vcpus"], memory_mib=size["memory_mb"], root_gib=size["root_gb"])

    def spawn_to_login(self, datastore_root: str, pattern: str, uuid: str, **spawn: Any) -> float:
        """Spawn, and wait for the guest's serial log to show that it is ready: seconds of both."""
        serial_log = Path(datastore_root) / uuid / "serial.log"
        ready = re.compile(pattern.encode())
        begin = time.perf_counter()
        self.spawn(uuid=uuid, **spawn)
        spawned = time.perf_counter() - begin
        while not (serial_log.exists() and ready.search(serial_log.read_bytes())):
            if time.perf_counter() - begin > 120:
                raise TimeoutError(f"{serial_log} shows no {pattern!r}")
            time.sleep(POLL_S)
        return spawned

    def power_off(self, uuid: str) -> None:
        self.vmops.power_off(uuid)

    def power_on(self, uuid: str) -> None:
        self.vmops.power_on(None, uuid)

    def reboot(self, uuid: str) -> None:
        self.vmops.reboot(uuid, None, "HARD")

    def suspend(self, uuid: str) -> None:
        self.vmops.suspend(uuid)

    def resume(self, uuid: str) -> None:
        self.vmops.resume(uuid)

    def destroy(self, uuid: str) -> None:
        self.vmops.destroy(uuid, None)

    def get_info(self, uuid: str) -> None:
        self.vmops.get_info(uuid)

    def list_instances(self) -> int:
        return len(self.vmops.list_instances())

    def snapshot(self, uuid: str) -> int:
        """An image of the root disk, which is then removed, at no call; how large it was."""
        made = self.vmops.snapshot(None, uuid, f"snapshot-{uuid}", lambda **_: None)
        size = sum(file.stat().st_size for file in self.store_dir.glob(f"{made.image.name}*.vmdk"))
        self.images.remove(made.image.id)
        return size

    def migrate(self, uuid: str, size: dict[str, int]) -> None:
        self.vmops.migrate_disk_and_power_off(None, uuid, None, self._flavor(size))

    def finish(self, uuid: str, image: dict[str, Any]) -> None:
        self.vmops.finish_migration(None, None, uuid, None, [], image["id"], True)

    def confirm(self, uuid: str) -> None:
        self.vmops.confirm_migration(None, uuid, [])

    def revert(self, uuid: str) -> None:
        self.vmops.finish_revert_migration(uuid, [])

    def rescue(self, uuid: str, image: dict[str, Any]) -> None:
        self.vmops.rescue(None, uuid, [], image["id"])

    def unrescue(self, uuid: str) -> None:
        self.vmops.unrescue(uuid)

    def live_migration(self, uuid: str) -> None:
        """To the next host of the cluster."""
        at = self.session.inventory.vm_by_uuid(uuid)
        assert at, uuid
        hosts = sorted(self.session.inventory.hosts(), key=lambda host: host.name)
        others = [host.name for host in hosts if host.moid != at.host]
        self.vmops.live_migration(None, uuid, others[0], lambda *_: None, lambda *_: None)

    def tell_guest(self, uuid: str, command: str) -> str:
        """Leave a command where the guest's own program finds it; the moid of the machine."""
        from pyVmomi import vim

        vm = self.session.inventory.vm_by_uuid(uuid)
        assert vm, uuid
        option = vim.option.OptionValue(key="guestinfo.do", value=command)
        spec = vim.vm.ConfigSpec(extraConfig=[option])
        self.session.run_task(vm.moref, "ReconfigVM_Task", spec=spec)
        return vm.moid

    def attach_volume(self, uuid: str, connection: dict[str, Any]) -> None:
        self.vmops.attach_volume(None, connection, uuid)

    def detach_volume(self, uuid: str, connection: dict[str, Any]) -> None:
        self.vmops.detach_volume(None, connection, uuid)

    def wake_up(self, uuid: str, method: str) -> float:
        """Seconds from the end of a task, by the server's clock, to the end of waiting for it."""
        vm = self.session.inventory.vm_by_uuid(uuid)
        assert vm, uuid
        task = self.session.call(vm.moref, method)
        self.session.tasks.wait(task)
        woken = time.time()
        ended = self.session.properties.read_one(task, "info.completeTime")["info.completeTime"]
        return woken - timestamp(ended)

    def upload(self, path: str, datastore: str, name: str, **_: Any) -> None:
        """Put a file on a datastore the way the engine puts images there."""
        from vmops.model.datastore_path import DatastorePath

        file = Path(path)
        with file.open("rb", buffering=0) as source:
            self.session.datastore_files.upload(
                source, file.stat().st_size, DatastorePath(datastore).joined(name)
            )

    def close(self) -> None:
        self.session.close()


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="vmops-benchmark-") as store:
        program = EngineProgram(Path(store))
        names = [name for name in vars(EngineProgram) if not name.startswith("_")]
        serve({name: getattr(program, name) for name in names})
        if hasattr(program, "session"):
            program.close()


if __name__ == "__main__":
    main()
