"""``extraConfig`` for specs; its keys are those of `vmops.model.extra_config`."""

from __future__ import annotations

from collections.abc import Mapping

from pyVmomi import vim


def option_values(values: Mapping[str, str]) -> list[vim.option.OptionValue]:
    """``extraConfig`` for a spec; a value of "" removes its key."""
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]
