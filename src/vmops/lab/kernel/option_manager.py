"""The service's settings, as far as clients ask for them."""

from __future__ import annotations

from pyVmomi import vim

from vmops.lab.kernel.kernel import Kernel, ManagedObject


class OptionManager(ManagedObject):
    """Keeps settings by name; those set by a client last until the lab stops."""

    wire_type = vim.option.OptionManager

    def __init__(self, kernel: Kernel, moid: str, options: dict[str, object]) -> None:
        super().__init__(kernel, moid)
        self._options = dict(options)
        self.computed["setting"] = lambda: _values(self._options)

    def QueryOptions(self, name: str | None = None) -> list[vim.option.OptionValue]:
        """All settings, one by its name, or those below a name ending in a dot."""
        if not name:
            return _values(self._options)
        found = {
            key: value
            for key, value in self._options.items()
            if key == name or (name.endswith(".") and key.startswith(name))
        }
        if not found:
            raise vim.fault.InvalidName(name=name)
        return _values(found)

    def UpdateOptions(self, changedValue: list[vim.option.OptionValue]) -> None:
        """Set these settings, and leave others as they are."""
        self._options |= {each.key: each.value for each in changedValue}
        self.kernel.touch(self, "setting")


def _values(options: dict[str, object]) -> list[vim.option.OptionValue]:
    return [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]
