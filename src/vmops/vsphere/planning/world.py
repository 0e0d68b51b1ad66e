"""What the server would have after what was planned so far, laid over what it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pyVmomi import vim

from vmops.vsphere.planning.files import PlannedFiles
from vmops.vsphere.planning.plan import Plan, PlanEnds
from vmops.vsphere.wire.moref import Moref, describe, moid

Values = dict[str, Any]

EXTRA_CONFIG = "config.extraConfig"
_ONE_KEY = f'{EXTRA_CONFIG}["'
_PREFIX = "planned"
_WORDS = {
    "VirtualMachine": "vm",
    "VirtualMachineSnapshot": "snapshot",
    "HttpNfcLease": "lease",
    "DistributedVirtualPortgroup": "portgroup",
}


class World:
    """The planned objects, and the planned values of those that the server has."""

    def __init__(self) -> None:
        self.plan = Plan()
        self.files = PlannedFiles()
        self._objects: dict[str, Moref] = {}
        self._values: dict[str, Values] = {}
        self._gone: set[str] = set()
        self.extensions: dict[str, Any] = {}
        """Those that are to be registered, by key."""
        self.disks: dict[str, Any] = {}
        """First class disks that are to be made, by id; None: to be deleted."""
        self._numbers: Counter[str] = Counter()

    def new(self, kind: type[Moref], values: Values | None = None) -> Moref:
        """An object that only the plan has, such as "planned-vm-1"."""
        word = _WORDS.get(kind._wsdlName, kind._wsdlName.lower())
        self._numbers[word] += 1
        made = kind(f"{_PREFIX}-{word}-{self._numbers[word]}")
        self._objects[moid(made)] = made
        self._values[moid(made)] = dict(values or {})
        return made

    def next_number(self, what: str) -> int:
        """1, 2, 3 and so on, for each ``what``."""
        self._numbers[what] += 1
        return self._numbers[what]

    def is_planned(self, moref: Moref) -> bool:
        """Whether the server has no such object."""
        return moid(moref) in self._objects

    def is_gone(self, moref: Moref) -> bool:
        """Whether the object would be there no more."""
        return describe(moref) in self._gone

    def planned(self, kind: str) -> Iterator[Moref]:
        """The planned objects of a type that are not gone again."""
        for each in self._objects.values():
            if type(each)._wsdlName == kind and not self.is_gone(each):
                yield each

    def change(self, moref: Moref, values: Values) -> None:
        """Give an object other values; None unsets one."""
        self._values.setdefault(moid(moref), {}).update(values)

    def is_gone_by(self, kind: str, name: str) -> bool:
        """The same for an object whose type and moid are known."""
        return f"{kind}:{name}" in self._gone

    def remove(self, moref: Moref) -> None:
        """Let an object be gone."""
        self._gone.add(describe(moref))

    def is_changed(self, name: str) -> bool:
        """Whether anything is planned for the object of this moid."""
        return name in self._values

    def values(self, name: str) -> Values:
        """All that is planned of the object of this moid."""
        return self._values.get(name, {})

    def laid_over(self, name: str, paths: Iterable[str], found: Values) -> Values:
        """What the server says of an object, with the planned values in place of its own.

        Raises:
            PlanEnds: a path is asked for as a whole of which a part is planned.
        """
        planned = self._values.get(name)
        if planned is None:
            return found
        result = dict(found)
        for path in paths:
            if path in planned:
                value = planned[path]
            elif path.startswith(_ONE_KEY) and EXTRA_CONFIG in planned:
                value = _option(planned[EXTRA_CONFIG], path[len(_ONE_KEY) : -2])
            elif any(each.startswith(f"{path}.") for each in planned):
                self.give_up(f"{path} of {name}, of which the plan changes a part")
            else:
                continue
            if value is None:
                result.pop(path, None)
            else:
                result[path] = value
        return result

    def give_up(self, what: str) -> None:
        """End the plan, because the server alone knows ``what``.

        Raises:
            PlanEnds: always, but for what comes after a plan's end, where nothing matters any more.
        """
        if self.plan.is_over:
            return
        self.plan.note(f"The plan ends here: what follows depends on {what}.")
        self.plan.end()
        raise PlanEnds(what)


def _option(options: Iterable[vim.option.OptionValue], key: str) -> object:
    found = next((each for each in options if each.key == key), None)
    return None if found is None else vim.option.OptionValue(key=key, value=found.value)
