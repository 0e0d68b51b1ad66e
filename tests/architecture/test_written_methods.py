"""What the engine changes on the server is known to its plans, method by method."""

from __future__ import annotations

import ast

from pyVmomi import VmomiSupport, pbm, vim  # noqa: F401 - their types are told of when imported

from tests.architecture import source
from vmops.vsphere.planning.client import is_sent
from vmops.vsphere.planning.effects import EFFECTS, UNTOLD, WITHOUT_EFFECT

# Where methods stand in tables, and are not called.
TABLES = (
    "src/vmops/lab/",
    "src/vmops/vsphere/planning/",
    "src/vmops/vsphere/wire/coherence.py",
    "src/vmops/vsphere/wire/faults.py",
    "src/vmops/vsphere/wire/retry.py",
)
# The client's own, beneath any call; a planning session logs in and out, too.
OF_THE_CLIENT = {"Login", "Logout"}


def wire_methods() -> set[str]:
    """All methods of the API, as they are called on the wire."""
    return {
        str(info.wsdlName)
        for name in list(VmomiSupport._managedDefMap)
        for info in VmomiSupport.GetVmodlType(name)._GetMethodList()
    }


def named_methods(tree: ast.Module, methods: set[str]) -> set[str]:
    """The methods that a file names: a call needs the name, wherever it is put together."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in methods
    }


def written() -> set[str]:
    """The methods that the engine calls and that are not reads."""
    methods = wire_methods()
    named = {
        name
        for path, tree in source.modules()
        if not path.startswith(TABLES)
        for name in named_methods(tree, methods)
    }
    # `FirstClassDisks` puts this before them on a single ESXi.
    named |= {f"Host{name}" for name in named} & methods
    return {name for name in named if not is_sent(name)} - OF_THE_CLIENT


def test_each_written_method_has_an_effect_in_plans_or_a_reason() -> None:
    assert written() == {*EFFECTS, *WITHOUT_EFFECT, *UNTOLD}


def test_no_method_has_two_rows() -> None:
    assert len({*EFFECTS, *WITHOUT_EFFECT, *UNTOLD}) == sum(
        map(len, (EFFECTS, WITHOUT_EFFECT, UNTOLD))
    )


def test_a_new_call_is_seen() -> None:
    tree = ast.parse('session.run_task(vm, "CloneVM_Task" if flat else "InstantClone_Task")')
    assert named_methods(tree, wire_methods()) == {"CloneVM_Task", "InstantClone_Task"}
    assert not is_sent("CloneVM_Task")
