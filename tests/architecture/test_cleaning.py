"""Every place of the engine that deletes is known, with why it may.

The rule is that of `vmops.ops.engine.made_files`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "vmops"
DELETES = {
    "delete", "delete_disks", "destroy", "give_up", "remove", "rmdir", "rmtree", "unlink",
}  # fmt: skip

UNIQUE = "the name is one that nobody else can have"
ABSENT = "the path was seen to be free before, and what came there since is left out"
ASKED = "deleting it is what was asked for"
NOTED = "the VM's note or mark says that it is its own"
NO_FILE = "it is no file: a set's or a directory's own entry in memory"
REASONS = {
    "images/content.py _converted": UNIQUE,
    "images/directory_store.py _store": ABSENT,
    "images/directory_store.py remove": ASKED,
    "images/filling.py _delete": UNIQUE,
    "images/filling.py _remove_unanswered": UNIQUE,
    "images/filling.py delete_flat": UNIQUE,
    "ops/spawn/further_disks.py _delete": ABSENT,
    "images/filling.py delete_sparse": UNIQUE,
    "images/filling.py import_image": UNIQUE,
    "images/filling.py take_imported_disk": UNIQUE,
    "images/folder_lease.py end_lease": UNIQUE,
    "images/qemu_img.py convert": UNIQUE,
    "images/temporary_files.py _new_lock": UNIQUE,
    "images/temporary_files.py _remove": "another name of a file that a dead process made",
    "images/temporary_files.py temporary_file": UNIQUE,
    "ops/engine/folder_contents.py delete_disks": "whose each is was asked before",
    "ops/engine/port_groups.py _add": NO_FILE,
    "ops/engine/port_groups.py claim": "port groups that were missing, while nobody uses them",
    "ops/engine/port_groups.py create_port_groups": "the same",
    "ops/instances/destroy.py _delete_strays": "in the VM's own folder, and nobody's",
    "ops/instances/destroy.py _clear": "in the VM's own folder, and nobody else's",
    "ops/instances/destroy.py destroy": ASKED,
    "ops/instances/destroy.py remove_with_files": ASKED,
    "ops/instances/live_migration.py _delete_unused": "copies of its own, which it left",
    "ops/instances/leftovers.py _remove_folder": UNIQUE,
    "ops/instances/leftovers.py _remove_import": UNIQUE,
    "ops/instances/leftovers.py _remove_spawned": NOTED,
    "ops/instances/orphans.py take": "it stood still, and nobody has it",
    "ops/instances/rescue.py delete_rescue_disk": ABSENT,
    "ops/instances/snapshot.py _outlive_lease": UNIQUE,
    "ops/instances/snapshot.py _upload_export": UNIQUE,
    "ops/instances/snapshot.py _copy_and_upload": UNIQUE,
    "ops/instances/snapshot.py upload_disk": UNIQUE,
    "ops/instances/unmerged.py remove_snapshot": "the snapshot whose reference the caller has",
    "ops/resize/begin.py copy_root_disk": ABSENT,
    "ops/resize/confirm.py delete_old_disks": NOTED,
    "ops/resize/finish.py _delete_loose": ABSENT,
    "ops/resize/revert.py delete_grown_disk": ABSENT,
    "ops/spawn/config_drive.py upload_config_drive": ABSENT,
    "ops/spawn/disks.py _delete_created": ABSENT,
    "ops/spawn/disks.py copy_root_disk": ABSENT,
    "ops/spawn/machine.py _remove_unanswered": NOTED,
    "ops/spawn/machine.py _take_back": "this spawn has created it",
    "ops/vmops/vmops.py destroy": ASKED,
    "ops/volumes/made.py _delete_unanswered": UNIQUE,
    "ops/volumes/made.py create_first_class_disk": UNIQUE,
    "ops/volumes/made.py create_shadow_vm": UNIQUE,
    "ops/volumes/made.py delete_disk": ASKED,
}


def deletions() -> Iterator[str]:
    for room in ("images", "ops"):
        for file in sorted((PACKAGE / room).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef) and any(map(_deletes, ast.walk(function))):
                    yield f"{file.relative_to(PACKAGE)} {function.name}"


def _deletes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in DELETES


def test_every_place_that_deletes_has_a_reason() -> None:
    assert sorted(set(deletions())) == sorted(REASONS)
