"""Shapes that callers pass, read at the border."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import a_uuid, an_instance
from vmops import Vif
from vmops.errors import ImageNotFound, Invalid, InvalidName
from vmops.model.image import Image, ImageProperties, VifModel
from vmops.ops.vmops import shapes

UUID = "7e570000-0000-4000-8000-000000000001"


class OneImage:
    """A store with one image."""

    image = Image(
        id="image-1",
        name="tiny",
        size_bytes=1024,
        capacity_bytes=4096,
        properties=ImageProperties(guest_id="otherLinux64Guest", linked_clone=False),
    )

    def list(self) -> tuple[Image, ...]:
        return (self.image,)

    def get(self, name_or_id: str) -> Image:
        if name_or_id in {"image-1", "tiny"}:
            return self.image
        raise ImageNotFound(name_or_id, ["tiny"])

    def open(self, image: Image) -> Any:
        raise AssertionError("nothing is read at the border")

    def refuse_taken(self, name: str) -> None:
        raise AssertionError("nothing is written at the border")

    def receive(self, name: str, blocks: Iterable[bytes], **told: Any) -> Image:
        raise AssertionError("nothing is written at the border")

    def remove(self, name_or_id: str) -> None:
        raise AssertionError("nothing is removed at the border")


@pytest.mark.parametrize(
    "shape",
    [
        {"uuid": UUID, "name": "web", "vcpus": 2, "memory_mb": 1024, "root_gb": 10},
        {
            "uuid": UUID.upper(),
            "name": "web",
            "flavor": {"vcpus": 2, "memory_mb": 1024, "root_gb": 10},
        },
        SimpleNamespace(
            uuid=UUID,
            name="web",
            display_name=None,
            flavor=SimpleNamespace(vcpus=2, memory_mb=1024, root_gb=10, name="m1"),
        ),
    ],
    ids=["old mapping", "mapping with flavor", "object"],
)
def test_instances_of_every_shape(shape: Any) -> None:
    parsed = shapes.parse_instance(shape)
    assert (parsed.uuid, parsed.name) == (UUID, "web")
    flavor = parsed.flavor
    assert (flavor.vcpus, flavor.memory_mib, flavor.root_gib) == (2, 1024, 10)


def test_ours_passes_unchanged() -> None:
    instance = an_instance()
    assert shapes.parse_instance(instance) is instance


def test_a_display_name_is_made_unique_and_printable() -> None:
    parsed = shapes.parse_instance(
        {"uuid": UUID, "display_name": "a/b\n[c]" + "x" * 60, "vcpus": 1, "memory_mb": 4}
    )
    assert parsed.name == "a_b__c_" + "x" * 34 + f" ({UUID})"
    assert len(parsed.name) <= 80


@pytest.mark.parametrize("shape", [{}, {"uuid": ""}, {"uuid": 7}, None, ""])
def test_without_a_uuid_there_is_no_instance(shape: Any) -> None:
    with pytest.raises(InvalidName):
        shapes.instance_uuid(shape)


def test_a_uuid_may_be_given_as_text() -> None:
    assert shapes.instance_uuid(UUID.upper()) == UUID


@pytest.mark.parametrize(
    "shape", ["tiny", "image-1", {"id": "image-1"}, {"name": "tiny"}, SimpleNamespace(id="image-1")]
)
def test_images_of_every_shape(shape: Any) -> None:
    assert shapes.parse_image(shape, OneImage()) == OneImage.image


def test_properties_given_with_the_call_win_and_the_others_stay() -> None:
    parsed = shapes.parse_image(
        {"id": "tiny", "properties": {"vmware_ostype": "sles15_64Guest"}}, OneImage()
    )
    assert parsed.properties.guest_id == "sles15_64Guest"
    assert parsed.properties.linked_clone is False
    assert parsed.capacity_bytes == 4096


def test_an_object_that_does_not_load_what_was_not_set_is_read_all_the_same() -> None:
    class Properties:
        hw_vif_model = "vmxnet3"

        def __getattr__(self, name: str) -> Any:
            raise NotImplementedError(f"cannot load {name}")

    shape = SimpleNamespace(id="tiny", properties=Properties())
    assert shapes.parse_image(shape, OneImage()).properties.vif_model is VifModel.VMXNET3


def test_an_image_without_a_name_is_refused() -> None:
    with pytest.raises(Invalid):
        shapes.parse_image({}, OneImage())


@pytest.mark.parametrize(
    ("shape", "network"),
    [
        ({"network": {"bridge": "br", "label": "l"}}, "br"),
        ({"network": {"label": "l"}}, "l"),
        ({"network": "plain"}, "plain"),
        ({"network": {"bridge": "br"}, "details": {"dvs_port_group_name": "dv"}}, "dv"),
        ({}, "default"),
        (SimpleNamespace(network=SimpleNamespace(bridge="br")), "br"),
    ],
)
def test_the_port_group_of_an_interface(shape: Any, network: str) -> None:
    (vif,) = shapes.parse_vifs([shape], "default")
    assert vif.network == network


def test_what_an_interface_says_is_kept_in_order() -> None:
    first, second = shapes.parse_vifs(
        [
            {"id": "a", "address": "00:50:56:AA:00:01", "network": "n", "vnic_model": "e1000e"},
            Vif(network="m", id="b"),
        ],
        None,
    )
    assert (first.id, first.mac_address, first.model) == ("a", "00:50:56:aa:00:01", VifModel.E1000E)
    assert second == Vif(network="m", id="b")


def test_no_interfaces() -> None:
    assert shapes.parse_vifs(None, None) == ()


def test_an_interface_without_network_and_default_is_refused() -> None:
    with pytest.raises(InvalidName):
        shapes.parse_vifs([{"address": "00:50:56:00:00:01"}], None)


def test_uuids_of_tests_are_uuids() -> None:
    assert shapes.instance_uuid(a_uuid())
