"""Bulk reads through the property collector: never one object at a time, never a lazy attribute.

Only leaf paths should be asked for ("runtime.powerState", not "runtime"): less is sent, and one odd
value cannot spoil its neighbours.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from vmops.errors import ConnectionLost, InvalidArgument, ManagedObjectNotFound, NotAuthenticated
from vmops.model.entity_name import plain
from vmops.vsphere.wire.client import Client
from vmops.vsphere.wire.moref import Moref, describe, moid, wire_type

PAGE_SIZE = 500
_RESTARTS = 2

_NAME_PATHS = frozenset({"name", "config.name", "summary.config.name"})

Values = dict[str, Any]
T = TypeVar("T")

_collector = vmodl.query.PropertyCollector


def shown_value(moref: Moref, path: str, value: T) -> T | str:
    """The value of a property; the name of an entity that is no datastore as it was given."""
    if path in _NAME_PATHS and isinstance(value, str) and not isinstance(moref, vim.Datastore):
        return plain(value)
    return value


def through_view(view: Moref) -> _collector.ObjectSpec:
    """The selection of everything that a view holds."""
    return _collector.ObjectSpec(
        obj=view,
        skip=True,
        selectSet=[_collector.TraversalSpec(name="view", type=type(view), path="view", skip=False)],
    )


def property_spec(kind: str, paths: Iterable[str]) -> _collector.PropertySpec:
    """The properties wanted of objects of this wire type."""
    return _collector.PropertySpec(type=wire_type(kind), all=False, pathSet=list(paths))


@dataclass(frozen=True, slots=True)
class Selection:
    """Some objects, as ``ObjectSpec``, and the properties wanted of those of one type."""

    objects: Sequence[_collector.ObjectSpec]
    kind: str
    paths: Sequence[str]

    def spec(self) -> _collector.FilterSpec:
        """The ``FilterSpec`` that selects them."""
        return _collector.FilterSpec(
            objectSet=list(self.objects),
            propSet=[property_spec(self.kind, dict.fromkeys(self.paths))],
            reportMissingObjectsInResults=False,
        )


class Properties:
    """Reads properties. A property that is unset or may not be seen is absent from the answer."""

    def __init__(self, client: Client, *, page_size: int = PAGE_SIZE) -> None:
        self._client = client
        self._page_size = page_size
        self._views_lock = threading.Lock()
        self._views: dict[str, tuple[int, Moref]] = {}
        self._unserved: set[tuple[str, str]] = set()

    def read(self, morefs: Iterable[Moref], kind: str, paths: Sequence[str]) -> dict[str, Values]:
        """Values by path, by moid, of many objects in as few calls as possible.

        An object without any of the properties has an empty dict; one that is gone is absent.

        Raises:
            InvalidArgument: the type has no such property.
        """
        left = {moid(moref): moref for moref in morefs}
        while left:
            selected = [_collector.ObjectSpec(obj=moref, skip=False) for moref in left.values()]
            try:
                return {moid(moref): values for moref, values in self._all(selected, kind, paths)}
            except ManagedObjectNotFound as error:
                # One object that is gone fails the call for all: ask again without it.
                gone = [name for name, moref in left.items() if describe(moref) == error.moref]
                if not gone:
                    raise
                for name in gone:
                    del left[name]
        return {}

    def read_one(self, moref: Moref, *paths: str) -> Values:
        """Values by path of one object.

        Raises:
            ManagedObjectNotFound: it is gone.
            InvalidArgument: its type has no such property.
        """
        kind = type(moref)._wsdlName
        selected = [_collector.ObjectSpec(obj=moref, skip=False)]
        for _, values in self._all(selected, kind, paths):
            return values
        raise ManagedObjectNotFound(describe(moref))

    def read_container(
        self, kind: str, paths: Sequence[str], root: Moref | None = None
    ) -> dict[str, Values]:
        """Values of every object of a type below ``root`` (None: of the whole inventory), by moid.

        Each has its reference under the path "". One that goes meanwhile is absent, or has no other
        values. The view of the whole inventory is made once for each type and kept for the session,
        so that each page is one call and there is no other.
        """
        if root is not None:
            view = self._make_view(kind, root)
            try:
                return self._in_view(view, kind, paths)
            finally:
                self._client.call(view, "DestroyView")
        for _ in range(_RESTARTS):
            view = self._kept_view(kind)
            try:
                return self._in_view(view, kind, paths)
            except ManagedObjectNotFound as error:
                if error.moref == describe(view):  # it ended with the session it belonged to
                    self._views.pop(kind, None)
        return self._in_view(self._kept_view(kind), kind, paths)

    def read_selections(self, *selections: Selection) -> dict[str, Values]:
        """Values by path, by moid, of several selections in one call.

        What is selected twice has the values of both.

        Raises:
            ManagedObjectNotFound: an object that was named is gone.
            InvalidArgument: a type has no such property.
        """
        found: dict[str, Values] = {}
        for moref, values in self.collect(*selections):
            found.setdefault(moid(moref), {}).update(values)
        return found

    def collect(self, *selections: Selection) -> list[tuple[Moref, Values]]:
        """Objects with their values, in one call for each page; what is selected twice comes twice.

        Raises:
            ManagedObjectNotFound: an object that was named is gone.
            InvalidArgument: a type has no such property.
        """
        return self._restarting([one.spec() for one in selections])

    def serves(self, kind: str, path: str) -> bool:
        """Whether no answer so far said that the server does not know this path.

        That is learnt from reading it: some servers know no single key of a list.
        """
        return (kind, path) not in self._unserved

    def _in_view(self, view: Moref, kind: str, paths: Sequence[str]) -> dict[str, Values]:
        found = self._all([through_view(view)], kind, paths)
        return {moid(moref): {"": moref, **values} for moref, values in found}

    def _kept_view(self, kind: str) -> Moref:
        with self._views_lock:
            logins = self._client.logins
            made_at, view = self._views.get(kind, (0, None))
            if view is None or made_at != logins:
                view = self._make_view(kind, self._client.content.rootFolder)
                self._views[kind] = (logins, view)
            return view

    def _make_view(self, kind: str, root: Moref) -> Moref:
        view: Moref = self._client.call(
            self._client.content.viewManager,
            "CreateContainerView",
            container=root,
            type=[wire_type(kind)],
            recursive=True,
        )
        return view

    def _all(
        self, selected: list[_collector.ObjectSpec], kind: str, paths: Sequence[str]
    ) -> list[tuple[Moref, Values]]:
        return self._restarting([Selection(selected, kind, paths).spec()])

    def _restarting(self, specs: list[_collector.FilterSpec]) -> list[tuple[Moref, Values]]:
        for _ in range(_RESTARTS):
            try:
                return list(self._pages(specs))
            except _PageLost:
                continue
        return list(self._pages(specs))

    def _pages(self, specs: list[_collector.FilterSpec]) -> Iterator[tuple[Moref, Values]]:
        collector = self._client.content.propertyCollector
        page = self._client.call(
            collector,
            "RetrievePropertiesEx",
            specSet=specs,
            options=_collector.RetrieveOptions(maxObjects=self._page_size),
        )
        while page is not None:
            for found in page.objects:
                self._learn(found)
                yield (
                    found.obj,
                    {
                        each.name: shown_value(found.obj, each.name, each.val)
                        for each in found.propSet
                    },
                )
            if not page.token:
                return
            try:
                page = self._client.call(
                    collector, "ContinueRetrievePropertiesEx", token=page.token
                )
            except (ConnectionLost, InvalidArgument, NotAuthenticated) as error:
                # The token is used up, or ended with the session it belonged to.
                raise _PageLost from error

    def _learn(self, found: _collector.ObjectContent) -> None:
        for missing in found.missingSet or ():
            if isinstance(missing.fault, vmodl.query.InvalidProperty):
                self._unserved.add((type(found.obj)._wsdlName, missing.path))


class _PageLost(Exception):
    """A page in the middle did not come; the read has to begin anew."""
