"""Nova's own driver from PyPI, given what the rest of Nova would give it.

The database, Glance and Neutron are not there: instances and images are Nova's objects, made from
what the request says; image bytes come from files; Neutron is told nothing. All else is the driver
and oslo.vmware as they are, with their defaults.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from benchmarks.programs.serving import serve, timestamp
from benchmarks.workers import BUILD

BLOCK = 64 * 1024
HOSTS_DOMAIN = ".lab.local"
BLOCK_DEVICES: dict[str, Any] = {
    "root_device_name": "/dev/sda",
    "swap": None,
    "ephemerals": [],
    "block_device_mapping": [],
}


class ImageFiles:
    """What the driver asks of Nova's image API, from files."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}

    def get(self, _context: Any, image_id: str, **_: Any) -> dict[str, Any]:
        return {"id": image_id, "name": image_id, "size": self._size(image_id), "locations": []}

    def _size(self, image_id: str) -> int:
        file = self.files[image_id]
        return file.stat().st_size if file.exists() else 0

    def update(self, _context: Any, image_id: str, _metadata: Any, data: Any, **_: Any) -> None:
        """Take the bytes of an image that the driver makes."""
        with self.files[image_id].open("wb") as file:
            while block := data.read(BLOCK):
                file.write(block)

    def download(self, _context: Any, image_id: str, **_: Any) -> Iterator[bytes]:
        with self.files[image_id].open("rb") as file:
            while block := file.read(BLOCK):
                yield block


class NoNeutron:
    """What the driver asks of Nova's network API: to note the order of the NICs."""

    def update_instance_vnic_index(self, *_: Any) -> None:
        pass


class NovaProgram:
    """The handlers; what they take is the same as in `engine`."""

    def __init__(self) -> None:
        self.images = ImageFiles()
        self.instances: dict[str, Any] = {}

    def connect(
        self,
        *,
        url: str,
        username: str,
        password: str,
        ca_file: str,
        cluster: str,
        datastore: str,
        poll_s: float = 0.5,
        **_: Any,
    ) -> str:
        """Start the driver; part of what it takes is importing it. `poll_s` as Nova has it."""
        import nova.conf
        from nova import context, objects, rpc

        # The driver makes clients of Nova's message bus and says nothing over it.
        os.environ["OS_DEFAULT__TRANSPORT_URL"] = "fake:///"
        conf = nova.conf.CONF
        conf([], project="nova", default_config_files=[], default_config_dirs=[])
        address = urlsplit(url)
        for name, value in {
            "host_ip": address.hostname,
            "host_port": address.port or 443,
            "host_username": username,
            "host_password": password,
            "ca_file": ca_file,
            "cluster_name": cluster,
            "datastore_regex": f"^{datastore}$",
            "task_poll_interval": poll_s,
        }.items():
            conf.set_override(name, value, "vmware")
        conf.set_override("lock_path", str(BUILD / "locks"), "oslo_concurrency")
        objects.register_all()
        rpc.init(conf)
        # There is no database to save an instance's progress in.
        objects.Instance.save = lambda *_, **__: None

        # The session's defaults are read from the settings when these are imported.
        from nova.virt.vmwareapi import driver, images

        images.IMAGE_API = self.images
        # Nova 34 writes a flat image's capacity as 8192.0, which is no xsd:long and is refused.
        images.VMwareImage.file_size_in_kb = property(lambda image: image.file_size // 1024)
        self.context = context.get_admin_context()
        self.driver = driver.VMwareVCDriver(SimpleNamespace())
        self.driver._vmops._network_api = NoNeutron()
        from nova import version

        return str(version.version_string())

    def spawn(self, uuid: str, name: str, image: dict[str, Any], size: dict[str, int],
              network: str | None) -> None:  # fmt: skip
        from nova import objects

        instance = self.instances[uuid] = self._instance(uuid, name, image["id"], size)
        network_info = self._network_info(network)
        instance.info_cache = objects.InstanceInfoCache(network_info=network_info)
        meta = self._image_meta(image)
        self.driver.spawn(self.context, instance, meta, [], None, {}, network_info, None)

    def _image_meta(self, image: dict[str, Any]) -> Any:
        from nova import objects

        self.images.files[image["id"]] = Path(image["path"])
        return objects.ImageMeta.from_dict(
            {
                "id": image["id"],
                "name": image["id"],
                "disk_format": "vmdk",
                "container_format": "bare",
                "size": Path(image["path"]).stat().st_size,
                "properties": {
                    "os_distro": image["guest_id"],
                    "hw_disk_type": image["disk_type"],
                    "hw_disk_bus": "scsi",
                    "hw_scsi_model": image.get("scsi_model", "lsilogic"),
                    "hw_vif_model": "vmxnet3",
                },
            }
        )

    def _flavor(self, size: dict[str, int]) -> Any:
        from nova import objects

        return objects.Flavor(
            id=1, flavorid="1", name="benchmark", extra_specs={}, swap=0, ephemeral_gb=0, **size
        )

    def _instance(self, uuid: str, name: str, image_id: str, size: dict[str, int]) -> Any:
        from nova import objects

        return objects.Instance(
            context=self.context,
            id=len(self.instances) + 1,
            uuid=uuid,
            display_name=name,
            hostname=name,
            host="benchmark",
            node="benchmark",
            project_id="benchmark",
            user_id="benchmark",
            image_ref=image_id,
            flavor=self._flavor(size),
            ephemeral_gb=0,
            config_drive="",
            system_metadata={"image_hw_vif_model": "vmxnet3"},
            metadata={},
            numa_topology=None,
            task_state=None,
            vm_state="building",
            **size,
        )

    def _network_info(self, network: str | None) -> Any:
        from nova.network import model

        if network is None:
            return model.NetworkInfo([])
        vif = model.VIF(
            id="5a6f7e0e-4a43-4ad3-8d1e-1f1a3a1bb001",
            address="00:50:56:3b:10:01",
            type=model.VIF_TYPE_DVS,
            network=model.Network(id="network", bridge=network, label=network),
            details={"dvs_port_group_name": network},
        )
        return model.NetworkInfo([vif])

    def power_off(self, uuid: str) -> None:
        self.driver.power_off(self.instances[uuid])

    def power_on(self, uuid: str) -> None:
        self.driver.power_on(self.context, self.instances[uuid], None)

    def reboot(self, uuid: str) -> None:
        self.driver.reboot(self.context, self.instances[uuid], None, "HARD")

    def suspend(self, uuid: str) -> None:
        self.driver.suspend(self.context, self.instances[uuid])

    def resume(self, uuid: str) -> None:
        self.driver.resume(self.context, self.instances[uuid], None)

    def destroy(self, uuid: str) -> None:
        self.driver.destroy(self.context, self.instances.pop(uuid), None)

    def get_info(self, uuid: str) -> None:
        self.driver.get_info(self.instances[uuid])

    def list_instances(self) -> int:
        return len(self.driver.list_instances())

    def snapshot(self, uuid: str) -> None:
        """An image of the root disk, which is then removed: that costs no call."""
        name = f"snapshot-{uuid}"
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            self.images.files[name] = Path(folder) / name
            self.driver.snapshot(self.context, self.instances[uuid], name, lambda **_: None)
            if self.images.files.pop(name).stat().st_size < BLOCK:
                raise RuntimeError("the image has no bytes")

    def migrate(self, uuid: str, size: dict[str, int]) -> None:
        self.driver.migrate_disk_and_power_off(
            self.context, self.instances[uuid], None, self._flavor(size), []
        )

    def finish(self, uuid: str, image: dict[str, Any]) -> None:
        self.driver.finish_migration(
            self.context,
            None,
            self.instances[uuid],
            None,
            [],
            self._image_meta(image),
            True,
            {},
            block_device_info=BLOCK_DEVICES,
        )

    def confirm(self, uuid: str) -> None:
        self.driver.confirm_migration(self.context, None, self.instances[uuid], [])

    def revert(self, uuid: str) -> None:
        self.driver.finish_revert_migration(
            self.context, self.instances[uuid], [], None, block_device_info=BLOCK_DEVICES
        )

    def rescue(self, uuid: str, image: dict[str, Any]) -> None:
        meta = self._image_meta(image)
        self.driver.rescue(self.context, self.instances[uuid], [], meta, "", BLOCK_DEVICES, None)

    def unrescue(self, uuid: str) -> None:
        self.driver.unrescue(self.context, self.instances[uuid])

    def live_migration(self, uuid: str) -> None:
        """To the cluster that it is on: the driver takes the first of its hosts."""
        from nova import objects
        from nova.conf import CONF

        data = objects.VMwareLiveMigrateData(
            cluster_name=CONF.vmware.cluster_name, datastore_regex=CONF.vmware.datastore_regex
        )
        failed = []
        self.driver.live_migration(
            self.context,
            self.instances[uuid],
            "benchmark",
            lambda *_: None,
            lambda *_: failed.append(uuid),
            migrate_data=data,
        )
        if failed:
            raise RuntimeError("the instance did not move")

    def attach_volume(self, uuid: str, connection: dict[str, Any]) -> None:
        self.driver.attach_volume(self.context, connection, self.instances[uuid], "/dev/sdb")

    def detach_volume(self, uuid: str, connection: dict[str, Any]) -> None:
        self.driver.detach_volume(self.context, connection, self.instances[uuid], "/dev/sdb")

    def wake_up(self, uuid: str, method: str) -> float:
        """Seconds from the end of a task, by the server's clock, to the end of waiting for it."""
        from nova.virt.vmwareapi import vm_util
        from oslo_vmware import vim_util

        session = self.driver._session
        vm = vm_util.get_vm_ref(session, self.instances[uuid])
        task = session._call_method(session.vim, method, vm)
        session._wait_for_task(task)
        woken = time.time()
        ended = session._call_method(vim_util, "get_object_property", task, "info.completeTime")
        return woken - timestamp(ended)

    def upload(self, path: str, datacenter: str, datastore: str, name: str) -> None:
        """Put a file on a datastore the way the driver puts images there."""
        from nova.virt.vmwareapi import images
        from oslo_vmware import rw_handles

        session = self.driver._session
        self.images.files["upload"] = Path(path)
        target = rw_handles.FileWriteHandle(
            session._host,
            session._port,
            datacenter,
            datastore,
            session.vim.client.cookiejar,
            name,
            Path(path).stat().st_size,
        )
        source = rw_handles.ImageReadHandle(self.images.download(None, "upload"))
        images.image_transfer(source, target)


def resolve_hosts() -> None:
    """Be the DNS that knows the lab's hosts: the driver uploads images straight to them."""
    getaddrinfo = socket.getaddrinfo

    def resolved(host: Any, *rest: Any, **more: Any) -> Any:
        is_host = isinstance(host, str) and host.endswith(HOSTS_DOMAIN)
        return getaddrinfo("127.0.0.1" if is_host else host, *rest, **more)

    socket.getaddrinfo = resolved


def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    resolve_hosts()
    program = NovaProgram()
    names = [name for name in vars(NovaProgram) if not name.startswith("_")]
    serve({name: getattr(program, name) for name in names})


if __name__ == "__main__":
    main()
