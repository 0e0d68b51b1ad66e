"""Storage policies: which there are, and which datastores comply with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyVmomi import pbm

from vmops.errors import NotSupported, StoragePolicyNotFound
from vmops.vsphere.live.records import DatastoreInfo
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.policy_stub import SERVICE_INSTANCE

_STORAGE = "STORAGE"  # PbmProfileResourceTypeEnum
_REQUIREMENT = "REQUIREMENT"  # PbmProfileCategoryEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePolicy:
    """A policy that files can be given; ``id`` is what a spec names it by."""

    id: str
    name: str


class StoragePolicies:
    """The policies of a vCenter. A single ESXi has none.

    The first question of a session costs one more call than it says.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._managers: pbm.ServiceInstanceContent | None = None

    def all(self) -> tuple[StoragePolicy, ...]:
        """All policies that a machine's files can be given; two calls.

        Raises:
            NotSupported: the endpoint has no policies.
        """
        manager = self._content().profileManager
        ids = self._client.call(
            manager,
            "PbmQueryProfile",
            resourceType=pbm.profile.ResourceType(resourceType=_STORAGE),
            profileCategory=_REQUIREMENT,
        )
        if not ids:
            return ()
        found = self._client.call(manager, "PbmRetrieveContent", profileIds=list(ids))
        return tuple(
            StoragePolicy(id=str(each.profileId.uniqueId), name=str(each.name)) for each in found
        )

    def named(self, name: str) -> StoragePolicy:
        """The policy of this name; two calls.

        Raises:
            StoragePolicyNotFound: there is none; the error names those there are.
            NotSupported: the endpoint has no policies.
        """
        there = self.all()
        for policy in there:
            if policy.name == name:
                return policy
        raise StoragePolicyNotFound(name, [policy.name for policy in there])

    def compliant(
        self, policy: StoragePolicy, datastores: Sequence[DatastoreInfo]
    ) -> frozenset[str]:
        """The moids of those datastores that comply with a policy; one call."""
        if not datastores:
            return frozenset()
        results = self._client.call(
            self._content().placementSolver,
            "PbmCheckRequirements",
            hubsToSearch=[
                pbm.placement.PlacementHub(hubType="Datastore", hubId=each.moid)
                for each in datastores
            ],
            placementSubjectRequirement=[
                pbm.placement.CapabilityProfileRequirement(
                    profileId=pbm.profile.ProfileId(uniqueId=policy.id)
                )
            ],
        )
        complying = {str(each.hub.hubId) for each in results or () if not each.error}
        # vcsim tells of all datastores, whichever it is asked for.
        return frozenset(complying & {each.moid for each in datastores})

    def _content(self) -> pbm.ServiceInstanceContent:
        if self._client.content.about.apiType != "VirtualCenter":
            raise NotSupported("A single ESXi has no storage policies; they are a vCenter's.")
        if self._managers is None:
            self._managers = self._client.call(SERVICE_INSTANCE, "PbmRetrieveServiceContent")
        return self._managers
