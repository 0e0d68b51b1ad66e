"""The engine's border: objects and mappings of Nova's shapes become typed requests here.

Nova is not imported: what is read is what its objects and the older mappings have in common. Our
own dataclasses pass unchanged. Inside, nothing else reads a foreign shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from vmops.errors import InstanceUnacceptable, Invalid, InvalidName
from vmops.images.content import complete
from vmops.images.store import ImageStore
from vmops.model.hardware import FlavorHardware
from vmops.model.host_name import guest_host_name
from vmops.model.image import Image, ImageProperties, VifModel, vif_model
from vmops.model.instance import Flavor, Instance, Requester, Subnet, Vif
from vmops.model.properties import IMAGE_PROPERTIES
from vmops.model.size import Allocation
from vmops.model.topology import CpuTopology, cores_per_socket

Shape: TypeAlias = Any
"""An object with attributes, or a mapping: what Nova passes."""

_MISSING = object()


def field(shape: Shape, *names: str, default: Any = None) -> Any:
    """The first of ``names`` that the mapping or object has with a value."""
    for name in names:
        value = (
            shape.get(name, _MISSING)
            if isinstance(shape, Mapping)
            else getattr(shape, name, _MISSING)
        )
        if value is not _MISSING and value is not None:
            return value
    return default


def instance_uuid(instance: Shape) -> str:
    """The UUID of an instance of any shape, or given as text.

    Raises:
        InvalidName: there is none.
    """
    found = instance if isinstance(instance, str) else field(instance, "uuid")
    if not isinstance(found, str) or not found:
        raise InvalidName(f"{instance!r} has no instance UUID.")
    return found.lower()


def host_name(instance: Shape) -> str:
    """What a guest may call itself: the host name Nova has for it, else its name; "" if none."""
    if isinstance(instance, str):
        return ""
    name = str(field(instance, "hostname", "name", default=""))
    return guest_host_name(name, str(field(instance, "uuid", default=""))) if name else ""


def parse_instance(instance: Shape) -> Instance:
    """An instance with its size, from ours or Nova's shape.

    The VM's name is the instance's name if it is ours. Nova's display names need not be unique, so
    theirs becomes "<display name> (<uuid>)".

    Raises:
        InvalidName: it has no UUID or a name that vSphere cannot have.
        InstanceUnacceptable: its flavor cannot be built.
    """
    if isinstance(instance, Instance):
        return instance
    uuid = instance_uuid(instance)
    flavor = field(instance, "flavor", default=instance)
    shown = field(instance, "display_name")
    name = (
        f"{_printable(str(shown))[:41]} ({uuid})"
        if shown
        else field(instance, "name", default=uuid)
    )
    return Instance(
        uuid=uuid,
        name=str(name),
        display_name=str(shown or ""),
        flavor=parse_flavor(flavor) if flavor is not instance else _flavor(instance, ""),
        project_id=str(field(instance, "project_id", default="")),
    )


def parse_flavor(flavor: Shape) -> Flavor:
    """A flavor, from ours or Nova's shape; its extra specs may ask for more than the size.

    Raises:
        InstanceUnacceptable: it cannot be built.
    """
    if isinstance(flavor, Flavor):
        return flavor
    return _flavor(flavor, str(field(flavor, "name", default="")))


def vif_claim(instance: Shape) -> Allocation | None:
    """What an instance's flavor says of its interfaces' bandwidth, None if nothing.

    Raises:
        InstanceUnacceptable: it makes no sense.
    """
    flavor = field(instance, "flavor", default={})
    if isinstance(flavor, Flavor):
        return flavor.vif
    return Allocation.if_asked(_extra_specs(flavor), "vif")


def _extra_specs(flavor: Shape) -> dict[str, str]:
    specs = field(flavor, "extra_specs", default={})
    return {str(key): str(value) for key, value in specs.items()}


def _flavor(shape: Shape, name: str) -> Flavor:
    specs = _extra_specs(shape)
    vcpus = int(field(shape, "vcpus", default=1))
    topology = CpuTopology.from_properties(specs, "hw:cpu_", InstanceUnacceptable)
    return Flavor(
        vcpus=vcpus,
        memory_mib=int(field(shape, "memory_mb", default=512)),
        root_gib=int(field(shape, "root_gb", default=0)),
        ephemeral_gib=int(field(shape, "ephemeral_gb", default=0)),
        swap_mib=int(field(shape, "swap", default=0) or 0),
        name=name,
        cores_per_socket=cores_per_socket(vcpus, topology, CpuTopology()),
        cpu=Allocation.from_extra_specs(specs, "cpu"),
        memory=Allocation.from_extra_specs(specs, "memory"),
        disk_io=Allocation.if_asked(specs, "disk_io"),
        vif=Allocation.if_asked(specs, "vif"),
        topology=topology,
        hardware=FlavorHardware.from_extra_specs(specs),
        storage_policy=specs.get("vmware:storage_policy", ""),
    )


def parse_requester(context: Shape) -> Requester:
    """Who asks, from Nova's request context; nobody known where there is none."""
    words = ("user_id", "user_name", "project_id", "project_name")
    return Requester(**{word: str(field(context, word, default="")) for word in words})


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() and c not in "/\\[]%" else "_" for c in text)


def parse_image(image_meta: Shape, store: ImageStore) -> Image:
    """The image to spawn from: ours, or the one in the store that Nova's image names.

    Properties given with the call win over those of the store, which knows best what it holds. The
    size and type of its disk are looked for where the store does not tell them.

    Raises:
        ImageNotFound: the store does not have it.
        ImageNotAcceptable: a property makes no sense, or it is of a format that cannot be used.
    """
    if isinstance(image_meta, Image):
        return complete(store, image_meta)
    if isinstance(image_meta, str):
        return complete(store, store.get(image_meta))
    name = field(image_meta, "id", "name")
    if not name:
        raise Invalid("The image has neither an id nor a name.")
    stored = store.get(str(name))
    given = _properties(field(image_meta, "properties", default={}))
    if given:
        stored = replace(stored, properties=stored.properties.overridden_by(given))
    return complete(store, stored)


def parse_image_properties(image_meta: Shape) -> ImageProperties:
    """The properties alone, of an image that is not spawned from; an image of None has none.

    Raises:
        ImageNotAcceptable: one makes no sense.
        UnsupportedDevice: the NIC model does not exist on vSphere.
    """
    if isinstance(image_meta, Image):
        return image_meta.properties
    if image_meta is None or isinstance(image_meta, str):
        return ImageProperties()
    return ImageProperties.from_mapping(_properties(field(image_meta, "properties", default={})))


def _properties(shape: Shape) -> dict[str, object]:
    if isinstance(shape, Mapping):
        return {str(key): value for key, value in shape.items()}
    # Nova's ImageMetaProps does not tell which it has.
    found = {}
    for name in IMAGE_PROPERTIES:
        try:
            value = field(shape, name)
        except NotImplementedError:  # Nova's objects load nothing lazily that was not set
            continue
        if value is not None:
            found[name] = value
    return found


def parse_vifs(
    network_info: Iterable[Shape] | None,
    default_network: str | None,
    allocation: Allocation | None = None,
) -> tuple[Vif, ...]:
    """The interfaces, in order; what has no allocation itself gets ``allocation``.

    The port group's name is, in this order: the VIF details' ``dvs_port_group_name``, the network's
    ``bridge``, its ``label``, the engine's default network.

    Raises:
        InvalidName: an interface names no network, or has no proper MAC address.
        UnsupportedDevice: its model does not exist.
    """
    return tuple(_parse_vif(vif, default_network, allocation) for vif in network_info or ())


def _parse_vif(vif: Shape, default_network: str | None, allocation: Allocation | None) -> Vif:
    if isinstance(vif, Vif):
        return vif if vif.allocation or allocation is None else replace(vif, allocation=allocation)
    network = field(vif, "network", default={})
    details = field(vif, "details", default={})
    name = (
        field(details, "dvs_port_group_name")
        or (network if isinstance(network, str) else field(network, "bridge", "label"))
        or default_network
    )
    model = field(vif, "vnic_model", "model")
    return Vif(
        network=str(name or ""),
        id=str(field(vif, "id", default="")),
        mac_address=str(field(vif, "address", default="")),
        model=model if model is None or isinstance(model, VifModel) else vif_model(str(model)),
        subnets=tuple(
            _parse_subnet(subnet)
            for subnet in (
                () if isinstance(network, str) else field(network, "subnets", default=())
            )
            if field(subnet, "cidr")
        ),
        vlan=_vlan(network),
        allocation=allocation,
    )


def _vlan(network: Shape) -> int | None:
    """The VLAN id of a network whose port group is to be made."""
    meta = {} if isinstance(network, str) else field(network, "meta", default={})
    if not field(meta, "should_create_vlan", default=False):
        return None
    return int(field(meta, "vlan", default=0))


def _parse_subnet(subnet: Shape) -> Subnet:
    """Nova's subnet: its addresses are objects with an ``address``."""
    return Subnet(
        cidr=str(field(subnet, "cidr")),
        addresses=_addresses(field(subnet, "ips", default=())),
        gateway=next(iter(_addresses((field(subnet, "gateway", default=""),))), ""),
        dns=_addresses(field(subnet, "dns", default=())),
    )


def _addresses(shapes: Iterable[Shape]) -> tuple[str, ...]:
    found = (s if isinstance(s, str) else field(s, "address", default="") for s in shapes)
    return tuple(str(address) for address in found if address)
