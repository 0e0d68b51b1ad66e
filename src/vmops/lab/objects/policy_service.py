"""The managed objects of the storage policy service; see `storage_policies`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pyVmomi import pbm, vim, vmodl

from vmops.lab.inventory.argument_faults import invalid_argument
from vmops.lab.inventory.managed_entity import ManagedEntity
from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.service_instance import PRODUCT_VERSION
from vmops.lab.machine.machine import Machine
from vmops.lab.machine.storage_policies import HOME, POLICIES, StoragePolicy, policy

_STORAGE, _REQUIREMENT, _HUB = "STORAGE", "REQUIREMENT", "Datastore"
_Hub = pbm.placement.PlacementHub
_MADE = datetime(2024, 1, 1, tzinfo=UTC)
_USER = "Temporary user handle"  # what a vCenter shows of the policies it made itself


def add_policy_service(own: Kernel, main: Kernel) -> None:
    """Add the service's objects to a kernel of their own; ``main`` has the inventory."""
    own.add(PolicyServiceInstance(own, "ServiceInstance", main))
    own.add(ProfileManager(own, "ProfileManager", main))
    own.add(PlacementSolver(own, "placementSolver", main))


class PolicyServiceInstance(ManagedObject):
    """Tells which managers the service has; of some there is a name alone."""

    wire_type = pbm.ServiceInstance

    def __init__(self, kernel: Kernel, moid: str, main: Kernel) -> None:
        super().__init__(kernel, moid)
        self._main = main

    def PbmRetrieveServiceContent(self) -> pbm.ServiceInstanceContent:
        """References of the managers."""
        service: Any = self._main.registry.get(vim.ServiceInstance("ServiceInstance"))
        about = service.RetrieveServiceContent().about
        return pbm.ServiceInstanceContent(
            aboutInfo=pbm.AboutInfo(
                name="PBM", version=PRODUCT_VERSION, instanceUuid=about.instanceUuid
            ),
            sessionManager=pbm.auth.SessionManager("SessionManager"),
            capabilityMetadataManager=pbm.capability.CapabilityMetadataManager("CapabilityManager"),
            profileManager=pbm.profile.ProfileManager("ProfileManager"),
            complianceManager=pbm.compliance.ComplianceManager("complianceManager"),
            placementSolver=pbm.placement.PlacementSolver("placementSolver"),
        )


class ProfileManager(ManagedObject):
    """Lists the policies, and tells which machines and disks have one."""

    wire_type = pbm.profile.ProfileManager

    def __init__(self, kernel: Kernel, moid: str, main: Kernel) -> None:
        super().__init__(kernel, moid)
        self._main = main

    def PbmFetchResourceType(self) -> list[pbm.profile.ResourceType]:
        """The kinds of things that have policies: storage."""
        return [pbm.profile.ResourceType(resourceType=_STORAGE)]

    def PbmQueryProfile(
        self, resourceType: pbm.profile.ResourceType, profileCategory: str | None = None
    ) -> list[pbm.profile.ProfileId]:
        """The ids of all policies."""
        if resourceType.resourceType != _STORAGE:
            raise invalid_argument("resourceType", "Policies are of storage.")
        if profileCategory not in (None, _REQUIREMENT):
            return []
        return [_profile_id(each) for each in POLICIES]

    def PbmRetrieveContent(
        self, profileIds: Sequence[pbm.profile.ProfileId]
    ) -> list[pbm.profile.CapabilityBasedProfile]:
        """What the policies of these ids are.

        Raises:
            vmodl.fault.InvalidArgument: there is no such policy.
        """
        return [_profile(policy(self._main, each.uniqueId, "profileIds")) for each in profileIds]

    def PbmQueryAssociatedProfile(self, entity: pbm.ServerObjectRef) -> list[pbm.profile.ProfileId]:
        """The policies of a machine's own files, or of a disk, which is named "vm-12:2000".

        Raises:
            vmodl.fault.InvalidArgument: there is no such machine, or it is no machine or disk.
        """
        moid, _, key = entity.key.partition(":")
        if entity.objectType not in ("virtualMachine", "virtualDiskId"):
            raise invalid_argument("entity", "It is neither a machine nor a disk.")
        try:
            vm = self._main.registry.find(moid, Machine)
        except vmodl.fault.ManagedObjectNotFound as error:
            raise invalid_argument("entity", f"There is no machine '{moid}'.") from error
        given = vm.policies.get(key if entity.objectType == "virtualDiskId" else HOME)
        return [] if given is None else [pbm.profile.ProfileId(uniqueId=given)]

    def PbmQueryAssociatedProfiles(
        self, entities: Sequence[pbm.ServerObjectRef]
    ) -> list[pbm.profile.QueryProfileResult]:
        """The same for several of them."""
        return [
            pbm.profile.QueryProfileResult(
                object=each, profileId=self.PbmQueryAssociatedProfile(each)
            )
            for each in entities
        ]


class PlacementSolver(ManagedObject):
    """Says which datastores meet a policy."""

    wire_type = pbm.placement.PlacementSolver

    def __init__(self, kernel: Kernel, moid: str, main: Kernel) -> None:
        super().__init__(kernel, moid)
        self._main = main

    def PbmQueryMatchingHub(
        self, profile: pbm.profile.ProfileId, hubsToSearch: Sequence[_Hub] = ()
    ) -> list[Any]:
        """The datastores, of those given or of all, that meet a policy."""
        results = self._results(hubsToSearch, [policy(self._main, profile.uniqueId, "profile")])
        return [each.hub for each in results if not each.error]

    def PbmCheckCompatibility(
        self, profile: pbm.profile.ProfileId, hubsToSearch: Sequence[_Hub] = ()
    ) -> list[Any]:
        """Each datastore, with what is against it."""
        return self._results(hubsToSearch, [policy(self._main, profile.uniqueId, "profile")])

    def PbmCheckRequirements(
        self,
        hubsToSearch: Sequence[_Hub] = (),
        placementSubjectRef: object = None,
        placementSubjectRequirement: Sequence[Any] = (),
    ) -> list[Any]:
        """Each datastore, with what is against it as the place of something with requirements.

        Raises:
            vmodl.fault.NotSupported: a requirement is another thing than a policy.
        """
        del placementSubjectRef  # where it is now counts for nothing here
        required = []
        for each in placementSubjectRequirement or ():
            if not isinstance(each, pbm.placement.CapabilityProfileRequirement):
                raise vmodl.fault.NotSupported(msg="A requirement is a policy here.")
            required.append(policy(self._main, each.profileId.uniqueId, "requirement"))
        return self._results(hubsToSearch, required)

    def _results(self, hubs: Sequence[_Hub], required: Sequence[StoragePolicy]) -> list[Any]:
        there = {
            each.moid: each for each in self._main.registry.all(ManagedEntity)
            if each.wire_type is vim.Datastore
        }  # fmt: skip
        asked = hubs or [pbm.placement.PlacementHub(hubType=_HUB, hubId=moid) for moid in there]
        return [self._result(hub, there.get(hub.hubId), required) for hub in asked]

    @staticmethod
    def _result(
        hub: _Hub, datastore: ManagedEntity | None, required: Sequence[StoragePolicy]
    ) -> pbm.placement.CompatibilityResult:
        if datastore is None or hub.hubType != _HUB:
            raise invalid_argument("hubsToSearch", f"There is no datastore '{hub.hubId}'.")
        missed = [each for each in required if not each.is_met_by(datastore.name)]
        return pbm.placement.CompatibilityResult(
            hub=hub,
            error=[
                pbm.fault.CompatibilityCheckFault(
                    hub=hub, msg=f"'{datastore.name}' does not meet '{each.name}'."
                )
                for each in missed
            ],
        )


def _profile_id(each: StoragePolicy) -> pbm.profile.ProfileId:
    return pbm.profile.ProfileId(uniqueId=each.id)


def _profile(each: StoragePolicy) -> pbm.profile.CapabilityBasedProfile:
    rule = pbm.capability.CapabilityInstance(
        id=pbm.capability.CapabilityMetadata.UniqueId(namespace="vmops.lab", id="datastore"),
        constraint=[
            pbm.capability.ConstraintInstance(
                propertyInstance=[
                    pbm.capability.PropertyInstance(
                        id="name", value=",".join(sorted(each.datastores or {"any"}))
                    )
                ]
            )
        ],
    )
    sub_profile = pbm.profile.SubProfileCapabilityConstraints.SubProfile(
        name="Rule-Set 1", capability=[rule]
    )
    return pbm.profile.CapabilityBasedProfile(
        profileId=_profile_id(each),
        name=each.name,
        description=each.description,
        creationTime=_MADE,
        createdBy=_USER,
        lastUpdatedTime=_MADE,
        lastUpdatedBy=_USER,
        profileCategory=_REQUIREMENT,
        resourceType=pbm.profile.ResourceType(resourceType=_STORAGE),
        constraints=pbm.profile.SubProfileCapabilityConstraints(subProfiles=[sub_profile]),
        generationId=0,
        isDefault=False,
    )
