"""Every error has an exit code, and the page of codes says the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vmops import errors
from vmops.cli.errors import exit_code, report, report_interrupt
from vmops.errors import VMOpsError

# The groups of the tree: a new one must be given its code here. Those in them follow.
CODES = {
    "NotFound": 3,
    "Conflict": 4,
    "Refused": 5,
    "Exhausted": 1,
    "Invalid": 2,
    "Unavailable": 6,
    "TransferFailed": 1,
    "NotSupported": 1,
    "VsphereFault": 1,
}


def inside(kind: type[VMOpsError]) -> Iterator[type[VMOpsError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from inside(inner)


# Those that are about a state, or about what is left, whatever their group.
OTHERWISE: dict[type[VMOpsError], int] = {
    errors.LeftBehind: 7,
    errors.NotRescued: 4,
    errors.NotResized: 4,
    errors.ConsoleTypeUnavailable: 4,
}


def test_every_group_of_errors_has_its_code() -> None:
    groups = errors.VMOpsError.__subclasses__()
    assert {kind.__name__ for kind in groups} == set(CODES)
    for group in groups:
        kinds = [kind for kind in inside(group) if kind not in OTHERWISE]
        assert {exit_code(kind.__new__(kind)) for kind in kinds} == {CODES[group.__name__]}, group
    assert {kind: exit_code(kind.__new__(kind)) for kind in OTHERWISE} == OTHERWISE


def test_an_error_is_told_with_its_notes_and_without_noise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = errors.ConnectionLost("Cannot reach h: [Errno 111] Connection refused")
    lost.add_note("Could not undo 'Create the VM': EOF (_ssl.c:2427)")
    assert report(lost) == 6
    assert capsys.readouterr().err.splitlines() == [
        "Error: Cannot reach h: Connection refused",
        "  Could not undo 'Create the VM': EOF",
        "  What is left can be found and removed with: vmops audit --fix",
    ]


def test_a_fault_of_our_own_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ValueError("odd")) == 1
    said = capsys.readouterr().err
    assert "ValueError: odd" in said
    assert said.endswith("this is a fault of vmops itself; the lines above tell where.\n")


def test_an_error_of_this_machine_is_a_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VMOPS_STATE_DIR", str(tmp_path))
    assert report(PermissionError(13, "Permission denied", str(tmp_path / "lab"))) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"Error: Permission denied: {tmp_path}/lab",
        f"The state folder is {tmp_path}; VMOPS_STATE_DIR sets another one.",
    ]


@pytest.mark.parametrize(("kind", "code"), [(KeyboardInterrupt, 130), (EOFError, 130)])
def test_an_interrupt(
    capsys: pytest.CaptureFixture[str], kind: type[BaseException], code: int
) -> None:
    assert report_interrupt(kind()) == code
    assert capsys.readouterr().err == "Interrupted.\n"


UUID = "7e570252-0756-4801-8882-2962d8eff8df"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            f"Instance web1 ({UUID}) is suspended. Resume it first.",
            "web1 is suspended. Resume it first: vmops resume web1",
        ),
        (
            f"Instance {UUID} is powered off, so it cannot be rebooted. Start it instead.",
            f"{UUID} is powered off, so it cannot be rebooted. Start it instead:"
            f" vmops start {UUID}",
        ),
        (
            f"Instance my web (1) ({UUID}) is rescued already. Unrescue it first.",
            "my web (1) is rescued already. Unrescue it first: vmops unrescue 'my web (1)'",
        ),
        (
            f"Instance web1 ({UUID}) is resized, and not confirmed. Confirm or revert the resize"
            " first.",
            "web1 is resized, and not confirmed. Confirm or revert the resize first:"
            " vmops resize --confirm|--revert web1",
        ),
        (f"Instance web1 ({UUID}) has no disk.", "web1 has no disk."),
        ("There is no cluster 'c1'.", "There is no cluster 'c1'."),
    ],
)
def test_a_state_is_told_with_what_to_type(
    capsys: pytest.CaptureFixture[str], message: str, told: str
) -> None:
    assert report(errors.InvalidState(message)) == 4
    assert capsys.readouterr().err == f"Error: {told}\n"


def test_a_taken_name_is_told_without_the_servers_task(capsys: pytest.CaptureFixture[str]) -> None:
    taken = errors.DuplicateName("The name 'web1' is taken.")
    taken.add_note("Task Folder.createVm on Folder:group-v3 (vm).")
    report(taken)
    assert capsys.readouterr().err.splitlines() == [
        "Error: The name 'web1' is taken.",
        "Choose another name, or destroy the instance that has it.",
    ]
