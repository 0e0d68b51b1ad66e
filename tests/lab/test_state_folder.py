"""A state folder is its owner's alone, or it is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from vmops.lab import Lab, LabSettings, daemon
from vmops.lab.state import StateError, make_folder


def shared(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def of_a_group(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def sticky(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)


def linked(folder: Path) -> None:
    target = folder.with_name("target")
    target.mkdir(mode=0o700)
    folder.symlink_to(target)


def dangling(folder: Path) -> None:
    folder.symlink_to(folder.with_name("nothing"))


def a_file(folder: Path) -> None:
    folder.touch(0o600)


def with_a_linked_password(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    other = folder.with_name("other")
    other.write_text("known to others")
    (folder / "password").symlink_to(other)


def of_another_user(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)


EVIL: dict[Callable[[Path], None], str] = {
    shared: "other users can write",
    of_a_group: "other users can write",
    sticky: "other users can write",
    linked: "symbolic link",
    dangling: "symbolic link",
    a_file: "not a folder",
    with_a_linked_password: "password is not a file of this user's own",
    of_another_user: "belongs to another user",
}


@pytest.mark.parametrize("make", EVIL)
def test_a_folder_that_others_may_have_touched_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
    make(settings.state_dir)
    before = sorted(tmp_path.rglob("*"))

    for begin in (daemon.start, make_folder, lambda it: Lab.run(it).__enter__()):
        with pytest.raises(StateError, match=EVIL[make]) as caught:
            begin(settings)
        assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_tells_secrets_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        settings = LabSettings(state_dir=tmp_path / "lab", hypervisor="none")
        daemon.start(settings)
        daemon.stop(settings)
        files = [each for each in settings.state_dir.iterdir() if each.is_file()]
        assert {"password", "key.pem", "lab.pid", "lab.json", "lab.log"} <= {
            each.name for each in files
        }
        settings.password_file.chmod(0o644)
        settings.pid_file.chmod(0o666)
        daemon.start(settings)
        daemon.stop(settings)
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) & 0o077 for each in files}
    assert not {name for name, open_to_others in modes.items() if open_to_others}
    assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700
