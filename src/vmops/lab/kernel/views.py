"""Views: lists of objects that filters and reads start from."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator

from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject as Reference

from vmops.lab.kernel.kernel import Kernel, ManagedObject
from vmops.lab.kernel.sessions import Session, current_session

CHILDREN: tuple[tuple[type, tuple[str, ...]], ...] = (
    (vim.Folder, ("childEntity",)),
    (vim.Datacenter, ("vmFolder", "hostFolder", "datastoreFolder", "networkFolder")),
    (vim.ComputeResource, ("host", "resourcePool")),
    (vim.ResourcePool, ("resourcePool", "vm")),
    (vim.HostSystem, ("vm",)),
)
"""The types a container view can start from or pass through, and where their children are."""


class View(ManagedObject):
    """A view of one session."""

    def __init__(self, kernel: Kernel, session: Session) -> None:
        super().__init__(kernel, f"session[{session.key}]{uuid.uuid4()}")
        self.owner = session
        session.holdings[self] = self.DestroyView

    def DestroyView(self) -> None:
        """Destroy the view; filters that start from it lose its objects."""
        if self.owner is not None:
            self.owner.holdings.pop(self, None)
        self.kernel.remove(self)


class ContainerView(View):
    """What lies below a container, following the inventory as it changes."""

    wire_type = vim.view.ContainerView

    def __init__(
        self, kernel: Kernel, session: Session, container: ManagedObject, types: list[type]
    ) -> None:
        super().__init__(kernel, session)
        self._container = container
        self._types = tuple(types) or (vim.ManagedEntity, vim.Datastore, vim.Network)
        self._view: list[Reference] | None = None
        self.recursive = False
        self.computed["view"] = self._now
        self.properties |= {"container": container.ref, "type": types or None}
        kernel.watch(self._note)

    def DestroyView(self) -> None:
        """Destroy the view."""
        if self.moid in self.kernel.registry:
            self.kernel.unwatch(self._note)
        super().DestroyView()

    def _note(self, obj: ManagedObject, paths: Collection[str]) -> None:
        names = _child_properties(obj.wire_type)
        if names and (not paths or any(path in names for path in paths)):
            self._view = None
            self.kernel.touch(self, "view")

    def _now(self) -> list[Reference]:
        if self._view is None:
            self._view = [
                obj.ref for obj in self._below() if issubclass(obj.wire_type, self._types)
            ]
        return self._view

    def _below(self) -> Iterator[ManagedObject]:
        registry = self.kernel.registry
        waiting = _children(self._container)[::-1]
        reached: set[str] = set()
        while waiting:
            moid = waiting.pop()
            if moid in reached or moid not in registry:
                continue
            reached.add(moid)
            obj = registry.get(moid)
            yield obj
            if self.recursive:
                waiting += _children(obj)[::-1]


class ListView(View):
    """What a client put in it."""

    wire_type = vim.view.ListView

    def __init__(self, kernel: Kernel, session: Session) -> None:
        super().__init__(kernel, session)
        self._members: dict[str, Reference] = {}
        self.computed["view"] = lambda: list(self._members.values())

    def ModifyListView(
        self, add: list[Reference] | None = None, remove: list[Reference] | None = None
    ) -> list[Reference]:
        """Add and remove objects; those that do not exist come back."""
        for ref in remove or []:
            self._members.pop(ref._moId, None)
        unresolved = self._add(add or [])
        self.kernel.touch(self, "view")
        return unresolved

    def ResetListView(self, obj: list[Reference] | None = None) -> list[Reference]:
        """Hold these objects and no others; those that do not exist come back."""
        self._members.clear()
        unresolved = self._add(obj or [])
        self.kernel.touch(self, "view")
        return unresolved

    def ResetListViewFromView(self, view: Reference) -> None:
        """Hold what another view holds now."""
        self.ResetListView(self.kernel.registry.find(view, View).read("view"))

    def _add(self, refs: list[Reference]) -> list[Reference]:
        unresolved = []
        for ref in refs:
            try:
                self._members[ref._moId] = self.kernel.registry.get(ref).ref
            except vmodl.fault.ManagedObjectNotFound:
                unresolved.append(ref)
        return unresolved


class ViewManager(ManagedObject):
    """Makes views of what is in the inventory."""

    wire_type = vim.view.ViewManager

    def __init__(self, kernel: Kernel, moid: str) -> None:
        super().__init__(kernel, moid)
        self.computed["viewList"] = self._list

    def CreateContainerView(
        self,
        container: Reference,
        type: list[type[Reference]] | None,  # noqa: A002
        recursive: bool,
    ) -> Reference:
        """A view of what lies in a container, or everywhere below it."""
        found = self.kernel.registry.get(container)
        if not _child_properties(found.wire_type):
            raise vmodl.fault.InvalidArgument(invalidProperty="container")
        view = ContainerView(self.kernel, current_session.get(), found, type or [])
        view.recursive = recursive
        view.properties["recursive"] = recursive
        self.kernel.add(view)
        return view.ref

    def CreateListView(self, obj: list[Reference] | None = None) -> Reference:
        """A view of these objects; those that do not exist are left out."""
        view = ListView(self.kernel, current_session.get())
        self.kernel.add(view)
        view.ResetListView(obj)
        return view.ref

    def CreateListViewFromView(self, view: Reference) -> Reference:
        """A list view of what another view holds now."""
        return self.CreateListView(self.kernel.registry.find(view, View).read("view"))

    def _list(self) -> list[Reference]:
        session = current_session.get(None)
        return [view.ref for view in self.kernel.registry.all(View) if view.owner is session]


def _child_properties(wire_type: type) -> tuple[str, ...]:
    for container, names in CHILDREN:
        if issubclass(wire_type, container):
            return names
    return ()


def _children(obj: ManagedObject) -> list[str]:
    found: list[str] = []
    for name in _child_properties(obj.wire_type):
        value = obj.read(name)
        found += [ref._moId for ref in (value if isinstance(value, list) else [value]) if ref]
    return found
