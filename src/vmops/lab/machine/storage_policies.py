"""Storage policies: which there are, where they are met, and which files have one.

They are fixed. Two are those every vCenter has, and all datastores meet them; one is met by the
second datastore alone, so that placement has something to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyVmomi import vim

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.kernel.kernel import Kernel

HOME = ""
"""What has the policy of a machine's own files; disks are named by their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePolicy:
    """A policy; ``datastores`` are those that meet it, None: all."""

    id: str
    name: str
    description: str
    datastores: frozenset[str] | None = None

    def is_met_by(self, datastore: str) -> bool:
        """Say whether files on a datastore can have the policy."""
        return self.datastores is None or datastore in self.datastores


POLICIES = (
    StoragePolicy(
        id="aa6d5a82-1c88-45da-85d3-3d74b91a5bad",
        name="vSAN Default Storage Policy",
        description="The lab has no vSAN; every datastore meets it.",
    ),
    StoragePolicy(
        id="4d5f673c-536f-11e6-beb8-9e71128cae77",
        name="VM Encryption Policy",
        description="The lab does not encrypt; every datastore meets it.",
    ),
    StoragePolicy(
        id="6b1d6c1e-5e0f-4f57-9d0e-0c2f3c3b7a11",
        name="Second Datastore",
        description="Met by datastore2 alone.",
        datastores=frozenset({"datastore2"}),
    ),
)


def policy(kernel: Kernel, profile_id: str, argument: str) -> StoragePolicy:
    """Return the policy of an id.

    Raises:
        vmodl.fault.InvalidArgument: there is none; a single ESXi has none at all.
    """
    for each in () if kernel.settings.esx else POLICIES:
        if each.id == profile_id:
            return each
    raise invalid_argument(argument, f"There is no storage policy '{profile_id}'.")


def asked_policies(
    kernel: Kernel, spec: vim.vm.ConfigSpec, disk_keys: Mapping[int, int]
) -> dict[str, str | None]:
    """Return the policies that a ConfigSpec gives, and with None those that it takes away.

    ``disk_keys`` gives the key of each disk by the index of its change.

    Raises:
        vmodl.fault.InvalidArgument: there is no such policy.
    """
    asked: dict[str, str | None] = {}
    if spec.vmProfile:
        asked[HOME] = _id(kernel, spec.vmProfile, "configSpec.vmProfile")
    for index, change in enumerate(spec.deviceChange or ()):
        if change.profile:
            argument = f"configSpec.deviceChange[{index}].profile"
            given = _id(kernel, change.profile, argument)
            if index in disk_keys:
                asked[str(disk_keys[index])] = given
    return asked


def check_policies(kernel: Kernel, spec: vim.vm.ConfigSpec) -> None:
    """Raise vmodl.fault.InvalidArgument if a ConfigSpec names a policy that there is not."""
    asked_policies(kernel, spec, {})


def _id(kernel: Kernel, profiles: Sequence[vim.vm.ProfileSpec], argument: str) -> str | None:
    for each in profiles:
        if isinstance(each, vim.vm.DefinedProfileSpec):
            return policy(kernel, each.profileId, f"{argument}.profileId").id
    return None
