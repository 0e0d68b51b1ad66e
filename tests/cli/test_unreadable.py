"""An instance whose files cannot be read since the server started: it is seen, as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command, spawn
from vmops.lab import Lab, LabSettings


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


def pointed_at(lab: Lab, images: Command) -> Command:
    return images.with_env(
        VMOPS_URL=lab.url,
        VMOPS_USERNAME=lab.username,
        VMOPS_PASSWORD=lab.password,
        VMOPS_THUMBPRINT=lab.thumbprint,
    )


def test_it_is_listed_shown_and_named_where_its_name_is_taken(vmops: Command, state: Path) -> None:
    settings = LabSettings(state_dir=state, hypervisor="none")
    with Lab.run(settings) as lab:
        made = spawn(pointed_at(lab, vmops), "web1", "--no-power-on")
        assert made.code == 0, made.err
        root = lab.datastore_root("datastore1")
    uuid = made.out.strip()
    vmx = root / uuid / f"{uuid}.vmx"
    vmx.rename(vmx.with_suffix(".hidden"))
    (state / "datastores/datastore1/somebody").mkdir()
    with Lab.run(settings) as lab:
        command = pointed_at(lab, vmops)
        (row,) = command("list", "-o", "json").json
        assert (row["name"], row["uuid"], row["status"]) == ("web1", uuid, "inaccessible")
        for word in ("web1", uuid):
            shown = command("show", word, "-o", "json")
            assert (shown.code, shown.json["status"]) == (0, "inaccessible"), shown.err
        for verb in (("start", "web1"), ("destroy", "web1", "--yes")):
            refused = command(*verb)
            assert (refused.code, refused.out) == (4, ""), (verb, refused.err)
            assert "is inaccessible: its files cannot be read" in refused.err, refused.err
        taken = spawn(command, "web1", "--no-power-on")
        assert taken.code != 0
        assert "The name 'web1' is taken" in taken.err
        assert "A virtual machine has it that is inaccessible: [datastore1]" in taken.err
    vmx.with_suffix(".hidden").rename(vmx)
    with Lab.run(settings) as lab:
        command = pointed_at(lab, vmops)
        assert command("show", "web1", "-o", "json").json["status"] == "off"
        assert command("destroy", "web1", "--yes").code == 0
